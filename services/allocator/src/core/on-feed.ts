import type { mesobus } from '@mesobus/protos';
import { fromWire, isEmptyQuantities, type Quantities, toQuantities } from '@mesobus/sdk/resources';
import { close, replaceAgent } from './books.ts';
import {
  type Framework,
  forgetIfUnused,
  type Holding,
  memberOf,
  removeMember,
  roleNamed,
  type State,
} from './state.ts';

/** The leader's books have changed. */
export function onFeed(state: State, at: number, batch: mesobus.v1.FeedBatch): void {
  if (batch.snapshotBegins) forgetEverything(state);
  // Every snapshot is of a fresh appointment, even where another leader happens to count to the same number.
  if (batch.snapshotBegins || batch.appointment !== state.appointment) startAppointment(state, batch.appointment);
  state.masterId = batch.masterId;
  for (const item of batch.items) applyItem(state, at, item);
  for (const allocation of state.open.values()) {
    if (allocation.number > batch.allocationsSeen) break;
    close(state, allocation);
  }
  if (batch.allocationsSeen > state.lastNumber) state.lastNumber = batch.allocationsSeen;
  state.appointedAllocatorId = batch.appointedAllocatorId;
  if (batch.snapshotEnds) state.synchronised = true;
}

function forgetEverything(state: State): void {
  state.synchronised = false;
  for (const allocation of [...state.open.values()]) close(state, allocation);
  for (const id of [...state.agents.keys()]) replaceAgent(state, id, undefined);
  state.frameworks.clear();
  state.roles.clear();
  state.filters.clear();
}

/** Numbers count from 1 again, and what the last appointment left open has no outcome. */
function startAppointment(state: State, appointment: number): void {
  for (const allocation of [...state.open.values()]) close(state, allocation);
  state.appointment = appointment;
  state.lastNumber = 0;
}

function applyItem(state: State, at: number, item: mesobus.v1.FeedItem): void {
  if (item.agent) onAgentBook(state, item.agent);
  else if (item.agentRemoved) onAgentRemoved(state, item.agentRemoved);
  else if (item.framework) onFrameworkBook(state, item.framework);
  else if (item.frameworkRemoved) onFrameworkRemoved(state, item.frameworkRemoved);
  else if (item.role) onRoleBook(state, item.role);
  else if (item.filter) onFilter(state, at, item.filter);
  else if (item.filtersLifted) onFiltersLifted(state, item.filtersLifted);
}

function onAgentBook(state: State, book: mesobus.v1.AgentBook): void {
  const holdings = book.holdings.map(
    ({ frameworkId, role, resources }): Holding => ({ frameworkId, role, resources: fromWire(resources) }),
  );
  replaceAgent(state, book.agentId, { id: book.agentId, total: fromWire(book.total), active: book.active, holdings });
}

function onAgentRemoved(state: State, agentId: string): void {
  replaceAgent(state, agentId, undefined);
  for (const filters of state.filters.values()) {
    for (const key of filters.keys()) if (key.endsWith(`\n${agentId}`)) filters.delete(key);
  }
}

function onFrameworkBook(state: State, book: mesobus.v1.FrameworkBook): void {
  const framework: Framework = {
    id: book.frameworkId,
    active: book.active,
    roles: new Set(book.roles),
    suppressedRoles: new Set(book.suppressedRoles),
    capabilities: new Set(book.capabilities.map(({ type }) => Number(type))),
    minimums: new Map(Object.entries(book.offerFilters).map(([role, filters]) => [role, minimumsOf(filters)])),
  };
  const before = state.frameworks.get(framework.id);
  state.frameworks.set(framework.id, framework);
  for (const role of framework.roles) memberOf(roleNamed(state, role), framework.id);
  if (before !== undefined) leaveRoles(state, framework.id, before, framework.roles);
  if (!framework.active) state.filters.delete(framework.id);
  else if (before === undefined || !before.active || wantsMore(before, framework)) considerAllAgents(state);
}

const minimumsOf = (filters: { minAllocatableResources?: unknown }): Quantities[] => {
  const minimum = filters.minAllocatableResources as
    | { quantities: { quantities: Record<string, { value: number }> }[] }
    | null
    | undefined;
  return (minimum?.quantities ?? []).map(({ quantities }) =>
    toQuantities(Object.fromEntries(Object.entries(quantities).map(([name, { value }]) => [name, value]))),
  );
};

const wantsMore = (before: Framework, now: Framework): boolean =>
  [...now.roles].some(
    (role) => !now.suppressedRoles.has(role) && (!before.roles.has(role) || before.suppressedRoles.has(role)),
  );

function onFrameworkRemoved(state: State, frameworkId: string): void {
  const framework = state.frameworks.get(frameworkId);
  state.frameworks.delete(frameworkId);
  state.filters.delete(frameworkId);
  if (framework !== undefined) leaveRoles(state, frameworkId, framework, new Set());
}

/** A framework stays a member of a role that it left for as long as it holds something there. */
function leaveRoles(state: State, frameworkId: string, before: Framework, now: ReadonlySet<string>): void {
  for (const name of before.roles) {
    if (now.has(name)) continue;
    const role = roleNamed(state, name);
    if (isEmptyQuantities(memberOf(role, frameworkId).held)) removeMember(state, role, frameworkId);
  }
}

function onRoleBook(state: State, book: mesobus.v1.RoleBook): void {
  const role = roleNamed(state, book.role);
  role.weight = book.weight > 0 ? book.weight : 1;
  role.configured = book.weight > 0 || book.quota !== null;
  forgetIfUnused(state, role);
  considerAllAgents(state);
}

function onFilter(state: State, at: number, filter: mesobus.v1.OfferFilter): void {
  if (filter.refuseMs === 0) return;
  const ofFramework = state.filters.get(filter.frameworkId) ?? new Map();
  state.filters.set(filter.frameworkId, ofFramework);
  const key = filterKey(filter.role, filter.agentId);
  const live = (ofFramework.get(key) ?? []).filter(({ untilMs }: { untilMs: number }) => untilMs > at);
  const untilMs = at + filter.refuseMs;
  live.push({ resources: fromWire(filter.resources), untilMs });
  state.filtersEndAtMs = Math.min(state.filtersEndAtMs, untilMs);
  ofFramework.set(key, live);
}

export const filterKey = (role: string, agentId: string): string => `${role}\n${agentId}`;

function onFiltersLifted(state: State, { frameworkId, roles }: mesobus.v1.FiltersLifted): void {
  const filters = state.filters.get(frameworkId);
  if (filters === undefined) return;
  for (const key of filters.keys()) {
    if (roles.length === 0 || roles.some((role) => key.startsWith(`${role}\n`))) filters.delete(key);
  }
  considerAllAgents(state);
}

function considerAllAgents(state: State): void {
  for (const agent of state.agents.values()) if (agent.available.length > 0) state.candidates.add(agent.id);
}
