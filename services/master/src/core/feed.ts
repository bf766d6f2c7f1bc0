import { mesobus } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { add, type Resources, toWire } from '@mesobus/sdk/resources';
import { isOffering } from './agents.ts';
import { isRemoved, rolesOf } from './frameworks.ts';
import type { State } from './state.ts';

/** At most so many items in one batch: about 100 KB. */
const itemsPerBatch = 500;
/** Filters that wait for the next batch; a feed that is further behind begins anew. */
const maxWaitingFilters = 100_000;
/** An appointed allocator that has said nothing for so long may be replaced. */
export const allocatorSilenceMs = 2_000;

type Item = mesobus.v1.FeedItem.$Properties;

/** What the allocators have not been told yet. */
export interface Feed {
  appointment: number;
  /** Empty: nobody is appointed, and the feed says nothing. */
  allocatorId: string;
  /** Of the appointed allocator's process. */
  incarnation: string;
  lastHeardMs: number;
  /** Highest number of an allocation that was judged. */
  allocationsSeen: number;
  /** The same, as far as the items sent show it. */
  allocationsShown: number;
  snapshotBegins: boolean;
  /** Entities of a snapshot that are not sent yet; -1: no snapshot is under way. */
  snapshotRest: number;
  readonly agents: Set<string>;
  readonly frameworks: Set<string>;
  readonly roles: Set<string>;
  /** Filters set and lifted, in the order in which it happened. */
  filters: Item[];
}

export function createFeed(): Feed {
  return {
    appointment: 0,
    allocatorId: '',
    incarnation: '',
    lastHeardMs: Number.NEGATIVE_INFINITY,
    allocationsSeen: 0,
    allocationsShown: 0,
    snapshotBegins: false,
    snapshotRest: -1,
    agents: new Set(),
    frameworks: new Set(),
    roles: new Set(),
    filters: [],
  };
}

const isSilent = (feed: Feed): boolean => feed.allocatorId === '';

export function agentChanged({ feed }: State, agentId: string): void {
  if (!isSilent(feed)) feed.agents.add(agentId);
}

export function frameworkChanged({ feed }: State, frameworkId: string): void {
  if (!isSilent(feed)) feed.frameworks.add(frameworkId);
}

export function roleChanged({ feed }: State, role: string): void {
  if (!isSilent(feed)) feed.roles.add(role);
}

/** A framework does not want offers within these resources for a while. */
export function filterSet(
  { feed }: State,
  filter: { frameworkId: string; role: string; agentId: string; resources: Resources; refuseMs: number },
): void {
  if (isSilent(feed) || filter.refuseMs === 0) return;
  const { frameworkId, role, agentId, resources, refuseMs } = filter;
  feed.filters.push({ filter: { frameworkId, role, agentId, resources: toWire(resources), refuseMs } });
}

/** @param roles - empty: all of them */
export function filtersLifted({ feed }: State, frameworkId: string, roles: readonly string[]): void {
  if (!isSilent(feed)) feed.filters.push({ filtersLifted: { frameworkId, roles: [...roles] } });
}

/** Whether {@link takeFeed} has something. */
export function feedWaits({ feed }: State): boolean {
  if (isSilent(feed)) return false;
  const entities = feed.agents.size + feed.frameworks.size + feed.roles.size;
  return entities + feed.filters.length > 0 || feed.snapshotRest >= 0 || feed.allocationsSeen > feed.allocationsShown;
}

/** Makes everything be said again, from a fresh start of the stream. */
export function beginSnapshot({ feed, ledger }: State): void {
  feed.agents.clear();
  feed.frameworks.clear();
  feed.roles.clear();
  feed.filters = [];
  for (const role of ledger.roles.keys()) feed.roles.add(role);
  for (const [id, framework] of ledger.frameworks) if (!isRemoved(framework)) feed.frameworks.add(id);
  for (const id of ledger.agents.keys()) feed.agents.add(id);
  feed.snapshotBegins = true;
  feed.snapshotRest = feed.roles.size + feed.frameworks.size + feed.agents.size;
}

/**
 * The next batch; nothing if there is nothing to say. Items are made when they are taken, so that many changes of one
 * entity are said once, as they are then.
 */
export function takeFeed(state: State): mesobus.v1.FeedBatch | undefined {
  const { feed } = state;
  if (!feedWaits(state)) return undefined;
  const items: Item[] = [];
  // Entities come in the order in which they were marked: those of a snapshot before any that changed since.
  const snapshotItems = takeFrom(state, items);
  if (feed.snapshotRest >= 0) feed.snapshotRest -= snapshotItems;
  const snapshotEnds = feed.snapshotRest === 0;
  if (snapshotEnds) feed.snapshotRest = -1;
  const entitiesLeft = feed.agents.size + feed.frameworks.size + feed.roles.size;
  if (entitiesLeft === 0) items.push(...feed.filters.splice(0, itemsPerBatch));
  if (entitiesLeft === 0) feed.allocationsShown = feed.allocationsSeen;
  const batch = new mesobus.v1.FeedBatch({
    appointment: feed.appointment,
    appointedAllocatorId: feed.allocatorId,
    allocationsSeen: feed.allocationsShown,
    snapshotBegins: feed.snapshotBegins,
    snapshotEnds,
    items,
  });
  feed.snapshotBegins = false;
  return batch;
}

/** Whether so many filters wait that a snapshot is cheaper. */
export const isTooFarBehind = ({ feed }: State): boolean => feed.filters.length > maxWaitingFilters;

/** How many entities were taken, up to the end of a snapshot or the size of a batch. */
function takeFrom(state: State, items: Item[]): number {
  const { feed } = state;
  const room = feed.snapshotRest >= 0 ? Math.min(itemsPerBatch, feed.snapshotRest) : itemsPerBatch;
  const makers = [
    [feed.roles, roleItem],
    [feed.frameworks, frameworkItem],
    [feed.agents, agentItem],
  ] as const;
  for (const [ids, make] of makers) {
    for (const id of ids) {
      if (items.length >= room) return items.length;
      ids.delete(id);
      items.push(make(state, id));
    }
  }
  return items.length;
}

function roleItem({ ledger }: State, role: string): Item {
  const record = ledger.roles.get(role);
  return { role: { role, weight: record?.weight ?? 0, ...(record?.quota && { quota: record.quota }) } };
}

function frameworkItem({ ledger, frameworks }: State, id: string): Item {
  const entry = ledger.frameworks.get(id);
  if (entry === undefined || isRemoved(entry)) return { frameworkRemoved: id };
  const { info, suppressedRoles } = entry.record;
  return {
    framework: {
      frameworkId: id,
      active: frameworks.get(id)?.connected ?? false,
      roles: rolesOf(info),
      suppressedRoles,
      capabilities: info?.capabilities ?? [],
      offerFilters: info?.offerFilters ?? {},
    },
  };
}

function agentItem(state: State, id: string): Item {
  const entry = state.ledger.agents.get(id);
  if (entry === undefined) return { agentRemoved: id };
  const { info, capabilities } = entry.record;
  return {
    agent: {
      agentId: id,
      hostname: info?.hostname ?? '',
      total: toWire(entry.total),
      attributes: info?.attributes ?? [],
      capabilities,
      ...(info?.domain && { domain: info.domain }),
      active: isOffering(state, entry),
      holdings: holdingsOf(state, entry),
    },
  };
}

/** Offered and allocated, summed per framework and role. */
function holdingsOf(state: State, entry: AgentEntry): mesobus.v1.Holding.$Properties[] {
  const sums = new Map<string, { frameworkId: string; role: string; resources: Resources }>();
  for (const [key, { frameworkId, role, resources }] of entry.holdings) sums.set(key, { frameworkId, role, resources });
  for (const { frameworkId, role, resources } of state.agents.get(entry.id)?.offers ?? []) {
    const key = `${frameworkId}\0${role}`;
    const held = sums.get(key);
    sums.set(key, { frameworkId, role, resources: held === undefined ? resources : add(held.resources, resources) });
  }
  return [...sums.values()].map(({ resources, ...whose }) => ({ ...whose, resources: toWire(resources) }));
}
