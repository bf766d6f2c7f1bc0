import {
  allocatableTo,
  contains,
  containsQuantities,
  type Quantities,
  quantitiesOf,
  type Resources,
  select,
  toQuantities,
} from '@mesobus/sdk/resources';
import { open } from './books.ts';
import { dominantShare } from './dominant-share.ts';
import { filterKey } from './on-feed.ts';
import { shuffle } from './random.ts';
import { sortMembers, sortRoles } from './sorter.ts';
import { type Agent, type Framework, memberOf, type OpenAllocation, type Role, type State } from './state.ts';

/** An allocation, and the shares before it: why this framework and no other. */
export interface Decision extends OpenAllocation {
  readonly roleShare: number;
  readonly frameworkShare: number;
}

/** An offer below all of these is not worth making: at least 0.01 cpus or 32 MB. */
const defaultMinimums: readonly Quantities[] = [toQuantities({ cpus: 0.01 }), toQuantities({ mem: 32 })];

/** One round is short; what it leaves over is for the next. */
const maxAgentsPerRound = 1_000;
const minAgentsPerRound = 10;
const rankingsPerRound = 20_000;

/** Numbers of mesos.v1.FrameworkInfo.Capability.Type. */
const revocableResources = 1;
const gpuResources = 3;
const sharedResources = 4;

/**
 * Gives what is available on the candidate agents to the roles and frameworks with the lowest dominant shares. An agent
 * is given whole: to the first framework that can take it, but for what is reserved to others. At most so many agents as
 * make a short round; the others stay candidates.
 *
 * @returns the decisions, numbered on from the last; the books are charged with them
 */
export function allocate(state: State, at: number): Decision[] {
  if (!mayAllocate(state)) return [];
  const decisions: Decision[] = [];
  const agents = shuffle([...state.candidates], state.random).slice(0, agentsPerRound(state));
  for (const id of agents) {
    state.candidates.delete(id);
    const agent = state.agents.get(id);
    if (agent?.active && agent.available.length > 0) allocateAgent(state, at, agent, decisions);
  }
  return decisions;
}

/** The more frameworks there are to rank, the fewer agents: whoever does not answer in time is replaced. */
function agentsPerRound({ roles }: State): number {
  let members = 1;
  for (const role of roles.values()) members += role.members.size;
  return Math.min(maxAgentsPerRound, Math.max(minAgentsPerRound, Math.floor(rankingsPerRound / members)));
}

/** A standby follows the books and decides nothing; so does everyone who has missed a part of the feed. */
export function mayAllocate(state: State): boolean {
  return state.synchronised && state.appointedAllocatorId === state.allocatorId;
}

function allocateAgent(state: State, at: number, agent: Agent, decisions: Decision[]): void {
  for (const role of sortRoles(state)) {
    if (agent.available.length === 0) return;
    for (const frameworkId of sortMembers(state, role)) {
      const framework = state.frameworks.get(frameworkId);
      if (framework === undefined || !wantsOffers(framework, role)) continue;
      const resources = offerable(state, at, agent, framework, role);
      if (resources !== undefined) decisions.push(decide(state, agent, framework, role, resources));
    }
  }
}

const wantsOffers = (framework: Framework, role: Role): boolean =>
  framework.active && framework.roles.has(role.name) && !framework.suppressedRoles.has(role.name);

/** What the framework would be offered of the agent; undefined if nothing, or nothing that it wants. */
function offerable(state: State, at: number, agent: Agent, framework: Framework, role: Role): Resources | undefined {
  const resources = capable(allocatableTo(agent.available, role.name), agent, framework);
  if (resources.length === 0 || !isEnough(resources, framework, role)) return undefined;
  const filters = state.filters.get(framework.id)?.get(filterKey(role.name, agent.id));
  const filtered = filters?.some((filter) => filter.untilMs > at && contains(filter.resources, resources));
  return filtered ? undefined : resources;
}

/** Without what the framework cannot handle; nothing of an agent with gpus for one that does not use them. */
function capable(resources: Resources, agent: Agent, { capabilities }: Framework): Resources {
  if (!capabilities.has(gpuResources) && agent.total.some(({ name }) => name === 'gpus'))
    return select(resources, () => false);
  return select(
    resources,
    (resource) =>
      (resource.revocable === undefined || capabilities.has(revocableResources)) &&
      (resource.shared === undefined || capabilities.has(sharedResources)),
  );
}

function isEnough(resources: Resources, framework: Framework, role: Role): boolean {
  const minimums = framework.minimums.get(role.name) ?? defaultMinimums;
  if (minimums.length === 0) return true;
  const quantities = quantitiesOf(resources);
  return minimums.some((minimum) => containsQuantities(quantities, minimum));
}

function decide(state: State, agent: Agent, framework: Framework, role: Role, resources: Resources): Decision {
  const member = memberOf(role, framework.id);
  const shares = {
    roleShare: dominantShare(role.account.held, state.total, role.weight).share,
    frameworkShare: dominantShare(member.held, state.total, 1).share,
  };
  state.lastNumber += 1;
  role.account.allocations += 1;
  member.allocations += 1;
  const allocation: OpenAllocation = {
    number: state.lastNumber,
    agentId: agent.id,
    frameworkId: framework.id,
    role: role.name,
    resources,
  };
  open(state, agent, allocation);
  return { ...allocation, ...shares };
}

/**
 * Makes agents candidates again whose filters have ended.
 *
 * @returns when the next one ends, in ms; undefined if there is none
 */
export function expireFilters(state: State, at: number): number | undefined {
  if (at >= state.filtersEndAtMs) dropEndedFilters(state, at);
  return Number.isFinite(state.filtersEndAtMs) ? state.filtersEndAtMs : undefined;
}

function dropEndedFilters(state: State, at: number): void {
  state.filtersEndAtMs = Number.POSITIVE_INFINITY;
  for (const [frameworkId, filters] of state.filters) {
    for (const [key, list] of filters) {
      const live = list.filter(({ untilMs }) => untilMs > at);
      if (live.length < list.length) state.candidates.add(key.slice(key.indexOf('\n') + 1));
      if (live.length === 0) filters.delete(key);
      else if (live.length < list.length) filters.set(key, live);
      for (const { untilMs } of live) state.filtersEndAtMs = Math.min(state.filtersEndAtMs, untilMs);
    }
    if (filters.size === 0) state.filters.delete(frameworkId);
  }
}
