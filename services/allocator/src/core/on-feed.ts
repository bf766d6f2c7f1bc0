import type { mesobus, mesos } from '@mesobus/protos';
import { NamedAmounts, readAmounts } from './amounts.ts';
import { close, isOpen, putAgent, removeAgent } from './books.ts';
import { type Bundle, emptyBundle, readBundle } from './bundle.ts';
import { compileConstraints } from './constraints.ts';
import { isMore, readDemand } from './demand.ts';
import { traits } from './extras.ts';
import { liftFilters, liftFiltersOn, setFilter } from './filters.ts';
import { setQuota } from './quota.ts';
import { forgetIfUnused, forgetMemberIfUnused, memberOf, roleNamed, setWanting } from './role-tree.ts';
import type { Agent, EarlyFilter, Framework, Holding, Member, ReclaimableTask, Reclaiming, State } from './state.ts';

/** Filters that wait for their books. Of more than these an offer may come again too early, once. */
const maxEarlyFilters = 10_000;

/** One for all agents: most have neither attributes nor tasks that may be asked back. */
const none: never[] = [];

/** The leader's books have changed. */
export function onFeed(state: State, at: number, batch: mesobus.v1.FeedBatch): void {
  if (batch.snapshotBegins) forgetEverything(state);
  // Every snapshot is of a fresh appointment, even where another leader happens to count to the same number.
  if (batch.snapshotBegins || batch.appointment !== state.appointment) startAppointment(state, batch.appointment);
  state.masterId = batch.masterId;
  for (const item of batch.items) applyItem(state, at, item);
  settleEarlyFilters(state, at);
  for (const decision of state.open.values()) {
    if (decision.number > batch.allocationsSeen) break;
    close(state, decision);
  }
  if (state.considersAll) considerAllAgents(state);
  if (batch.allocationsSeen > state.lastNumber) state.lastNumber = batch.allocationsSeen;
  state.appointedAllocatorId = batch.appointedAllocatorId;
  if (batch.snapshotEnds) state.synchronised = true;
}

function forgetEverything(state: State): void {
  state.synchronised = false;
  for (const id of [...state.agents.keys()]) removeAgent(state, id);
  for (const id of [...state.frameworks.keys()]) onFrameworkRemoved(state, id);
  for (const role of [...state.roles.values()]) {
    setQuota(state, role, null);
    role.configured = false;
    forgetIfUnused(state, role);
  }
  state.filters.clear();
  state.earlyFilters = [];
  state.freed.clear();
  state.rooms = undefined;
  state.region = undefined;
  state.reclaimAfterMs = 0;
}

/** Numbers count from 1 again, and what the last appointment left open has no outcome. */
function startAppointment(state: State, appointment: number): void {
  for (const decision of [...state.open.values()]) close(state, decision);
  state.appointment = appointment;
  state.lastNumber = 0;
}

function applyItem(state: State, at: number, item: mesobus.v1.FeedItem): void {
  if (item.agent) onAgentBook(state, at, item.agent);
  else if (item.agentRemoved) onAgentRemoved(state, item.agentRemoved);
  else if (item.framework) onFrameworkBook(state, item.framework);
  else if (item.frameworkRemoved) onFrameworkRemoved(state, item.frameworkRemoved);
  else if (item.role) onRoleBook(state, item.role);
  else if (item.filter) onFilter(state, at, item.filter);
  else if (item.filtersLifted) onFiltersLifted(state, item.filtersLifted);
  else if (item.cluster) onClusterBook(state, item.cluster);
}

const read = ({ columns, extras }: State, wire: readonly mesos.v1.Resource[]): Bundle =>
  readBundle(wire, columns, extras);

function onAgentBook(state: State, at: number, book: mesobus.v1.AgentBook): void {
  const before = state.agents.get(book.agentId);
  const attributesBefore = before?.facts.attributes ?? book.attributes;
  const holdings = book.holdings.map((holding) => readHolding(state, at, before, holding));
  const { agentId: id, hostname, domain } = book;
  const attributes = book.attributes.length > 0 ? book.attributes : none;
  const agent = putAgent(state, {
    id,
    total: read(state, book.total),
    inactive: book.active ? undefined : book.inactive,
    facts: { attributes, hostname, domain },
    capabilities: bitsOf(book.capabilities),
    holdings,
    reclaiming: book.reclaiming ? readReclaiming(state, book.reclaiming) : undefined,
  });
  // As in Mesos: another agent may be what the framework wants.
  if (agent.filters !== undefined && textOf(attributesBefore) !== textOf(attributes)) liftFiltersOn(state, agent);
}

function onAgentRemoved(state: State, id: string): void {
  removeAgent(state, id);
  dropEarlyFilters(state, ({ agentId }) => agentId === id);
}

const textOf = (attributes: readonly mesos.v1.Attribute[]): string =>
  attributes.length === 0
    ? ''
    : JSON.stringify(attributes, (_, value) => (typeof value === 'bigint' ? `${value}` : value));

function readHolding(state: State, at: number, agent: Agent | undefined, wire: mesobus.v1.Holding): Holding {
  const member = memberOf(state, roleNamed(state, wire.role), wire.frameworkId);
  const held = read(state, wire.resources);
  const offered = wire.offered.length > 0 ? read(state, wire.offered) : emptyBundle;
  const before = agent?.holdings.find((holding) => holding.member === member);
  const open = agent?.open.find((decision) => decision.member === member && decision.kind === 'offer');
  const since = before !== undefined && before.offered !== emptyBundle ? before.offeredSinceMs : (open?.atMs ?? at);
  const { amounts, extras } = held;
  const reclaimable = wire.reclaimable.length > 0 ? wire.reclaimable.map((task) => readReclaimable(state, task)) : none;
  return { amounts, extras, member, offered, offeredSinceMs: since, reclaimable };
}

function readReclaimable(state: State, { resources, launchedAtMs }: mesobus.v1.Reclaimable): ReclaimableTask {
  const { amounts, extras } = read(state, resources);
  return { amounts, extras, revocable: (extras.traits & traits.revocable) !== 0, launchedAtMs };
}

function readReclaiming(state: State, { frameworkId, role, victims, killAtMs }: mesobus.v1.Reclaiming): Reclaiming {
  const outgoing = victims.map(({ resources, ...whose }) => {
    const { amounts, extras } = read(state, resources);
    return { frameworkId: whose.frameworkId, role: whose.role, amounts, extras };
  });
  return { frameworkId, role, killAtMs, victims: outgoing };
}

function bitsOf(capabilities: readonly { readonly type: number }[]): number {
  let bits = 0;
  for (const { type } of capabilities) bits |= 1 << type;
  return bits;
}

function onFrameworkBook(state: State, book: mesobus.v1.FrameworkBook): void {
  const framework: Framework = {
    id: book.frameworkId,
    active: book.active,
    roles: new Set(book.roles),
    suppressedRoles: new Set(book.suppressedRoles),
    capabilities: bitsOf(book.capabilities),
    minimums: new Map(Object.entries(book.offerFilters).map(([role, filters]) => [role, minimumsOf(filters)])),
    constraints: compileConstraints(book.offerConstraints),
    demands: new Map(book.demands.map((demand) => [demand.role, readDemand(demand)])),
    maxOpenOffers: book.maxOpenOffers,
  };
  putFramework(state, framework);
}

/** Puts a framework's new books in the place of its old ones. */
export function putFramework(state: State, framework: Framework): void {
  const before = state.frameworks.get(framework.id);
  state.frameworks.set(framework.id, framework);
  for (const role of framework.roles) memberOf(state, roleNamed(state, role), framework.id);
  for (const member of membersOf(state, framework.id)) {
    const { name } = member.role;
    member.framework = framework;
    member.meets = framework.constraints.get(name);
    member.minimums = framework.minimums.get(name) ?? state.minimums;
    member.demand = framework.demands.get(name);
    setWanting(state, member, isWanted(framework, name) && member.demand?.shapes.length !== 0);
    if (!framework.active) liftFilters(state, member);
    state.unsettled.add(member);
    forgetMemberIfUnused(state, member);
  }
  if (!framework.active) dropEarlyFilters(state, ({ frameworkId }) => frameworkId === framework.id);
  if (before === undefined || wantsMore(before, framework)) state.considersAll = true;
}

const isWanted = ({ active, roles, suppressedRoles }: Framework, role: string): boolean =>
  active && roles.has(role) && !suppressedRoles.has(role);

/** Whether there may be something for it that was not for it before. */
function wantsMore(before: Framework, now: Framework): boolean {
  if (before.capabilities !== now.capabilities || windowOf(now) > windowOf(before)) return now.active;
  for (const role of now.roles) {
    if (!isWanted(now, role)) continue;
    if (!isWanted(before, role) || before.constraints.get(role) !== now.constraints.get(role)) return true;
    if (!sameMinimums(before.minimums.get(role), now.minimums.get(role))) return true;
    if (isMore(before.demands.get(role), now.demands.get(role))) return true;
  }
  return false;
}

const windowOf = ({ maxOpenOffers }: Framework): number => maxOpenOffers || Number.POSITIVE_INFINITY;

const sameMinimums = (a: readonly NamedAmounts[] | undefined, b: readonly NamedAmounts[] | undefined): boolean =>
  a?.length === b?.length && (a ?? []).every((minimum, i) => minimum.equals(b?.[i]));

/** As they are now: what is done with them may be that they are forgotten. */
const membersOf = (state: State, frameworkId: string): Member[] => [...(state.members.get(frameworkId) ?? [])];

function minimumsOf({ minAllocatableResources }: mesos.v1.OfferFilters): NamedAmounts[] {
  return (minAllocatableResources?.quantities ?? []).map(({ quantities }) => new NamedAmounts(readAmounts(quantities)));
}

function onFrameworkRemoved(state: State, frameworkId: string): void {
  const members = membersOf(state, frameworkId);
  state.frameworks.delete(frameworkId);
  for (const member of members) {
    member.framework = undefined;
    setWanting(state, member, false);
    state.waiting.delete(member);
    liftFilters(state, member);
    forgetMemberIfUnused(state, member);
  }
  dropEarlyFilters(state, (filter) => filter.frameworkId === frameworkId);
}

function onRoleBook(state: State, book: mesobus.v1.RoleBook): void {
  const role = roleNamed(state, book.role);
  role.weight = book.weight > 0 ? book.weight : 1;
  role.configured = book.weight > 0 || book.quota !== null;
  setQuota(state, role, book.quota);
  // A guarantee may be short now that was not before, of a role that it says nothing of too.
  for (const other of state.roles.values()) for (const member of other.members.values()) state.unsettled.add(member);
  state.keysVersion += 1;
  state.claimsStale = true;
  forgetIfUnused(state, role);
  state.considersAll = true;
}

function onFilter(state: State, at: number, filter: mesobus.v1.OfferFilter): void {
  if (filter.refuseMs === 0) return;
  const early = { filter, untilMs: at + filter.refuseMs };
  if (!putFilter(state, early) && state.earlyFilters.length < maxEarlyFilters) state.earlyFilters.push(early);
}

/** @returns false if its agent, or its framework in the role, is not known yet: filters go before the books in a feed */
function putFilter(state: State, { filter, untilMs }: EarlyFilter): boolean {
  const agent = state.agents.get(filter.agentId);
  const member = state.roles.get(filter.role)?.members.get(filter.frameworkId);
  if (agent === undefined || member === undefined) return false;
  setFilter(state, member, agent, read(state, filter.resources), untilMs);
  return true;
}

/** Sets those whose books have come meanwhile. */
function settleEarlyFilters(state: State, at: number): void {
  if (state.earlyFilters.length === 0) return;
  state.earlyFilters = state.earlyFilters.filter((early) => early.untilMs > at && !putFilter(state, early));
}

function dropEarlyFilters(state: State, drops: (filter: mesobus.v1.OfferFilter) => boolean): void {
  if (state.earlyFilters.length === 0) return;
  state.earlyFilters = state.earlyFilters.filter(({ filter }) => !drops(filter));
}

function onFiltersLifted(state: State, { frameworkId, roles }: mesobus.v1.FiltersLifted): void {
  for (const member of membersOf(state, frameworkId)) {
    if (roles.length === 0 || roles.includes(member.role.name)) liftFilters(state, member);
  }
  dropEarlyFilters(
    state,
    (filter) => filter.frameworkId === frameworkId && (roles.length === 0 || roles.includes(filter.role)),
  );
  state.considersAll = true;
}

function onClusterBook(state: State, { domain, reclaimAfterMs }: mesobus.v1.ClusterBook): void {
  state.reclaimAfterMs = reclaimAfterMs;
  state.region = domain?.faultDomain?.region.name;
  state.considersAll = true;
}

/** Once for all that a batch says. */
function considerAllAgents(state: State): void {
  state.considersAll = false;
  for (const agent of state.agents.values()) if (isOpen(state, agent)) state.candidates.add(agent);
}
