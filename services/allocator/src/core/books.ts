import {
  addQuantities,
  isEmptyQuantities,
  noResources,
  quantitiesOf,
  shortfall,
  trySubtract,
} from '@mesobus/sdk/resources';
import {
  type Account,
  type Agent,
  type Holding,
  memberOf,
  type OpenAllocation,
  removeMember,
  roleNamed,
  type State,
} from './state.ts';

/** Charges a holding to its role and framework. */
export function charge(state: State, { frameworkId, role: roleName, resources }: Holding): void {
  const role = roleNamed(state, roleName);
  const quantities = quantitiesOf(resources);
  for (const account of [role.account, memberOf(role, frameworkId)]) {
    account.held = addQuantities(account.held, quantities);
  }
}

/** Takes back what {@link charge} did. A member that neither holds nor subscribes leaves its role. */
export function discharge(state: State, { frameworkId, role: roleName, resources }: Holding): void {
  const role = roleNamed(state, roleName);
  const quantities = quantitiesOf(resources);
  const member = memberOf(role, frameworkId);
  const lower = (account: Account): void => {
    account.held = shortfall(account.held, quantities);
  };
  lower(role.account);
  lower(member);
  if (isEmptyQuantities(member.held) && !state.frameworks.get(frameworkId)?.roles.has(roleName)) {
    removeMember(state, role, frameworkId);
  }
}

/**
 * Puts an agent's new books in the place of its old ones; undefined removes it. Open allocations stay with it.
 */
export function replaceAgent(state: State, id: string, agent: Omit<Agent, 'open' | 'available'> | undefined): void {
  const old = state.agents.get(id);
  if (old !== undefined) {
    state.total = shortfall(state.total, quantitiesOf(old.total));
    for (const holding of old.holdings) discharge(state, holding);
  }
  if (agent === undefined) {
    for (const allocation of old?.open.values() ?? []) close(state, allocation);
    state.agents.delete(id);
    state.candidates.delete(id);
    return;
  }
  state.total = addQuantities(state.total, quantitiesOf(agent.total));
  for (const holding of agent.holdings) charge(state, holding);
  const replaced: Agent = { ...agent, open: old?.open ?? new Map(), available: noResources };
  state.agents.set(id, replaced);
  recount(replaced);
  state.candidates.add(id);
}

/** Works out what is available on an agent. */
export function recount(agent: Agent): void {
  let available = agent.total;
  for (const { resources } of [...agent.holdings, ...agent.open.values()]) {
    // More is held than there is while an agent shrinks, or while an allocation that the leader refused is still open.
    available = trySubtract(available, resources) ?? noResources;
  }
  agent.available = available;
}

/** Notes an allocation that was decided now. */
export function open(state: State, agent: Agent, allocation: OpenAllocation): void {
  charge(state, allocation);
  agent.open.set(allocation.number, allocation);
  state.open.set(allocation.number, allocation);
  agent.available = trySubtract(agent.available, allocation.resources) ?? noResources;
}

/** Its outcome is in the books of its agent now. */
export function close(state: State, allocation: OpenAllocation): void {
  if (!state.open.delete(allocation.number)) return;
  discharge(state, allocation);
  const agent = state.agents.get(allocation.agentId);
  if (agent === undefined || !agent.open.delete(allocation.number)) return;
  recount(agent);
  state.candidates.add(agent.id);
}
