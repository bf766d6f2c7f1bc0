import { encode, mesobus } from '@mesobus/protos';
import { type AgentEntry, holdingKey } from '@mesobus/registry/core';
import { add, noResources, type Resources, toWire } from '@mesobus/sdk/resources';
import { inactiveBecause, totalOf } from './agents.ts';
import { maxOpenOffers } from './conduct.ts';
import { noteConsumption } from './consumption.ts';
import { isRemoved, rolesOf } from './frameworks.ts';
import type { LiveFilter } from './live-filters.ts';
import { unavailabilityOf } from './machines.ts';
import { reclaimabilityOf, reclaimableOn, runningOf } from './reclaimable.ts';
import type { Reclaim } from './reclaims.ts';
import type { State } from './state.ts';

/** A batch is full with so many items, or so many bytes of them. */
const itemsPerBatch = 500;
const bytesPerBatch = 128 * 1024;
/** Batches that an allocator has not digested yet: no more are sent, and what changes meanwhile is said once. */
const maxBatchesUnderWay = 32;
/** Of a framework in a role on an agent so many tasks are named that may be asked back: those that would be first. */
const maxReclaimable = 100;
/** Filters that wait for the next batch; a feed that is further behind begins anew. */
const maxWaitingFilters = 20_000;

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

type Item = mesobus.v1.FeedItem.$Properties;

/** What one allocator has not been told yet. */
export interface Feed {
  readonly allocatorId: string;
  /** Of the allocator's process. */
  readonly incarnation: string;
  /** Among all that this leader has begun, from 1. */
  readonly number: number;
  /** What the allocator had lost when this feed began. */
  readonly losses: number;
  lastHeardMs: number;
  /** Numbers of the last batch sent, and of the last that the allocator has digested. */
  sent: number;
  digested: number;
  /** Agents of the snapshot that are not sent yet. */
  snapshotRest: number;
  /** Number of the batch that ended the snapshot; 0: not sent yet. */
  snapshotEnd: number;
  /** Highest number of an allocation whose outcome the items sent show, and the appointment that they name. */
  allocationsShown: number;
  appointmentShown: number;
  readonly agents: Set<string>;
  readonly frameworks: Set<string>;
  readonly roles: Set<string>;
  /** Of a snapshot, when all else of it is said: the filters that were live then and are not said yet. */
  snapshotFilters: LiveFilter[] | undefined;
  /** Filters set and lifted since then, in the order in which it happened. */
  filters: Item[];
}

/** A feed that has said nothing yet: everything is to be said. */
export function createFeed(
  { ledger }: State,
  about: Pick<Feed, 'allocatorId' | 'incarnation' | 'number' | 'losses' | 'lastHeardMs'>,
): Feed {
  const frameworks = [...ledger.frameworks.values()].filter((framework) => !isRemoved(framework));
  const agents = [...ledger.agents.values()].filter(({ record }) => record.lifecycle === ADMITTED);
  return {
    ...about,
    sent: 0,
    digested: 0,
    snapshotRest: agents.length,
    snapshotEnd: 0,
    allocationsShown: 0,
    appointmentShown: 0,
    agents: new Set(agents.map(({ id }) => id)),
    frameworks: new Set(frameworks.map(({ id }) => id)),
    roles: new Set(ledger.roles.keys()),
    snapshotFilters: undefined,
    filters: [],
  };
}

/** What an agent has, or what of it is offered or allocated, is not as before. */
export function agentChanged({ allocators, consumption }: State, agentId: string): void {
  noteConsumption(consumption, agentId);
  for (const feed of allocators.feeds.values()) feed.agents.add(agentId);
}

export function frameworkChanged({ allocators }: State, frameworkId: string): void {
  for (const feed of allocators.feeds.values()) feed.frameworks.add(frameworkId);
}

export function roleChanged({ allocators }: State, role: string): void {
  for (const feed of allocators.feeds.values()) feed.roles.add(role);
}

/** A framework does not want offers within these resources for a while. */
export function filterSet(
  { allocators, filters, nowMs }: State,
  filter: { frameworkId: string; role: string; agentId: string; resources: Resources; refuseMs: number },
): void {
  if (filter.refuseMs === 0) return;
  const live = { ...filter, untilMs: nowMs + filter.refuseMs };
  filters.set(nowMs, live);
  tellFilters(allocators.feeds.values(), filterItem(live, nowMs));
}

/** @param roles - empty: all of them */
export function filtersLifted({ allocators, filters }: State, frameworkId: string, roles: readonly string[]): void {
  filters.lift(frameworkId, roles);
  tellFilters(allocators.feeds.values(), { filtersLifted: { frameworkId, roles: [...roles] } });
}

/** A feed that has yet to say the filters of its snapshot will say them as they are then. */
function tellFilters(feeds: Iterable<Feed>, item: Item): void {
  for (const feed of feeds) if (feed.snapshotFilters !== undefined) feed.filters.push(item);
}

/** With what is left of its time, in whole ms. */
function filterItem({ frameworkId, role, agentId, resources, untilMs }: LiveFilter, nowMs: number): Item {
  const refuseMs = Math.max(0, Math.round(untilMs - nowMs));
  return { filter: { frameworkId, role, agentId, resources: toWire(resources), refuseMs } };
}

/** The allocator has digested the whole snapshot, and everything since but for what is under way. */
export const isSynchronised = ({ snapshotEnd, digested }: Feed): boolean => snapshotEnd > 0 && digested >= snapshotEnd;

/** Whether so many filters wait that a snapshot is cheaper. */
export const isTooFarBehind = ({ filters }: Feed): boolean => filters.length > maxWaitingFilters;

/**
 * The allocators for which {@link takeFeed} has something. It is urgent for the one that allocates, for one that has yet to
 * get its snapshot, and where the appointment is new; others only keep up.
 */
export function* waitingFeeds({ allocators }: State): Iterable<{ allocatorId: string; urgent: boolean }> {
  const { appointment, appointedId, allocationsSeen } = allocators;
  for (const feed of allocators.feeds.values()) {
    if (feed.sent - feed.digested >= maxBatchesUnderWay) continue;
    const { allocatorId, snapshotEnd, appointmentShown, allocationsShown } = feed;
    const urgent = allocatorId === appointedId || snapshotEnd === 0 || appointmentShown !== appointment;
    const changed = feed.agents.size + feed.frameworks.size + feed.roles.size + feed.filters.length > 0;
    const judged = allocatorId === appointedId && allocationsSeen > allocationsShown;
    if (changed || judged || snapshotEnd === 0 || appointmentShown !== appointment) yield { allocatorId, urgent };
  }
}

/**
 * The next batch for an allocator of {@link waitingFeeds}. Items are made when they are taken, so that many changes of one
 * entity are said once, as they are then.
 */
export function takeFeed(state: State, allocatorId: string): mesobus.v1.FeedBatch | undefined {
  const { appointment, appointedId, allocationsSeen, feeds } = state.allocators;
  const feed = feeds.get(allocatorId);
  if (feed === undefined) return undefined;
  const items = takeItems(state, feed);
  feed.sent += 1;
  const { sent: number } = feed;
  const complete = feed.agents.size + feed.frameworks.size + feed.roles.size === 0;
  if (complete || feed.appointmentShown !== appointment) feed.allocationsShown = complete ? allocationsSeen : 0;
  feed.appointmentShown = appointment;
  const snapshotEnds = feed.snapshotEnd === 0 && feed.snapshotFilters?.length === 0;
  if (snapshotEnds) feed.snapshotEnd = number;
  return new mesobus.v1.FeedBatch({
    masterId: state.config.masterId,
    feed: feed.number,
    number,
    appointment,
    appointedAllocatorId: appointedId,
    allocationsSeen: feed.allocationsShown,
    snapshotBegins: number === 1,
    snapshotEnds,
    items,
  });
}

function takeItems(state: State, feed: Feed): Item[] {
  const items: Item[] = [];
  let bytes = 0;
  const isFull = (): boolean => items.length >= itemsPerBatch || bytes >= bytesPerBatch;
  const put = (item: Item): void => {
    items.push(item);
    bytes += encode(mesobus.v1.FeedItem, item).length;
  };
  const putSnapshotFilters = (): void => {
    for (let next = feed.snapshotFilters?.pop(); next !== undefined; next = feed.snapshotFilters?.pop()) {
      put(filterItem(next, state.nowMs));
      if (isFull()) return;
    }
  };
  const { reclaimAfterMs, masterInfo } = state.config;
  const { domain } = masterInfo;
  if (feed.sent === 0 && (domain || reclaimAfterMs > 0)) {
    put({ cluster: { ...(domain && { domain }), reclaimAfterMs } });
  }
  putSnapshotFilters();
  // Filters first: nobody may see that something is free before he sees who does not want it.
  let filters = 0;
  while (!isFull() && filters < feed.filters.length) put(feed.filters[filters++] as Item);
  feed.filters.splice(0, filters);
  for (const role of taking(feed.roles, isFull)) put(roleItem(state, role));
  for (const id of taking(feed.frameworks, isFull)) put(frameworkItem(state, id));
  for (const id of taking(feed.agents, isFull)) {
    feed.snapshotRest -= 1;
    put(agentItem(state, id));
  }
  if (feed.snapshotFilters !== undefined || !isSaid(feed)) return items;
  // In a snapshot they come last: whoever is told of a filter must know its framework and agent.
  feed.snapshotFilters = state.filters.live(state.nowMs);
  if (!isFull()) putSnapshotFilters();
  return items;
}

/**
 * Whether a snapshot lacks its filters only. Roles and frameworks always go first, and agents in the order in which they
 * were marked: those of the snapshot before any that changed since.
 */
const isSaid = ({ snapshotRest, roles, frameworks }: Feed): boolean =>
  snapshotRest <= 0 && roles.size + frameworks.size === 0;

function* taking(ids: Set<string>, isFull: () => boolean): Iterable<string> {
  for (const id of ids) {
    if (isFull()) return;
    ids.delete(id);
    yield id;
  }
}

function roleItem({ ledger }: State, role: string): Item {
  const record = ledger.roles.get(role);
  return { role: { role, weight: record?.weight ?? 0, ...(record?.quota && { quota: record.quota }) } };
}

function frameworkItem({ ledger, frameworks }: State, id: string): Item {
  const entry = ledger.frameworks.get(id);
  if (entry === undefined || isRemoved(entry)) return { frameworkRemoved: id };
  const { info, suppressedRoles, offerConstraints } = entry.record;
  const link = frameworks.get(id);
  return {
    framework: {
      frameworkId: id,
      active: link?.connected ?? false,
      roles: rolesOf(info),
      suppressedRoles,
      capabilities: info?.capabilities ?? [],
      offerFilters: info?.offerFilters ?? {},
      ...(offerConstraints && { offerConstraints }),
      ...(link && { demands: [...link.demands], maxOpenOffers: maxOpenOffers(link) }),
    },
  };
}

function agentItem(state: State, id: string): Item {
  const entry = state.ledger.agents.get(id);
  if (entry?.record.lifecycle !== ADMITTED) return { agentRemoved: id };
  const { info, capabilities } = entry.record;
  const inactive = inactiveBecause(state, entry);
  const unavailability = unavailabilityOf(state, id);
  const reclaim = state.reclaims.byAgent.get(id);
  return {
    agent: {
      agentId: id,
      hostname: info?.hostname ?? '',
      total: toWire(totalOf(state, entry)),
      attributes: info?.attributes ?? [],
      capabilities,
      ...(info?.domain && { domain: info.domain }),
      active: inactive === undefined,
      ...(inactive !== undefined && { inactive }),
      ...(unavailability && { unavailability }),
      holdings: holdingsOf(state, entry),
      ...(reclaim && { reclaiming: reclaimingOf(reclaim) }),
    },
  };
}

function reclaimingOf(reclaim: Reclaim): mesobus.v1.Reclaiming.$Properties {
  const { claimant, killAtMs } = reclaim;
  const victims = runningOf(reclaim).map(({ frameworkId, role, resources }) => {
    return { frameworkId, role, resources: toWire(resources) };
  });
  return { ...claimant, killAtMs, victims };
}

interface Held {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
  readonly offered: Resources;
}

/** Offered and allocated, summed per framework and role. */
function holdingsOf(state: State, entry: AgentEntry): mesobus.v1.Holding.$Properties[] {
  const sums = new Map<string, Held>();
  for (const [key, { frameworkId, role, resources }] of entry.holdings) {
    sums.set(key, { frameworkId, role, resources, offered: noResources });
  }
  for (const { frameworkId, role, resources } of state.agents.get(entry.id)?.offers ?? []) {
    const key = holdingKey(frameworkId, role);
    const held = sums.get(key) ?? { resources: noResources, offered: noResources };
    const sum = { resources: add(held.resources, resources), offered: add(held.offered, resources) };
    sums.set(key, { frameworkId, role, ...sum });
  }
  const reclaimable = state.config.reclaimAfterMs > 0 ? reclaimableByHolding(state, entry) : undefined;
  return [...sums].map(([key, { resources, offered, ...whose }]) => ({
    ...whose,
    resources: toWire(resources),
    offered: toWire(offered),
    reclaimable: reclaimable?.get(key) ?? [],
  }));
}

/** The tasks that may be asked back; not those that are already. */
function reclaimableByHolding(state: State, entry: AgentEntry): Map<string, mesobus.v1.Reclaimable.$Properties[]> {
  const byHolding = new Map<string, mesobus.v1.Reclaimable.$Properties[]>();
  const asked = new Set(state.reclaims.byAgent.get(entry.id)?.tasks);
  for (const task of reclaimableOn(state, entry)) {
    const key = holdingKey(task.frameworkId, task.role);
    const list = byHolding.get(key) ?? [];
    byHolding.set(key, list);
    if (asked.has(task) || list.length >= maxReclaimable) continue;
    list.push({ resources: toWire(task.resources), launchedAtMs: reclaimabilityOf(state, task).launchedAtMs });
  }
  return byHolding;
}
