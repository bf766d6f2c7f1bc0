import { inactiveBecause } from './agents.ts';
import { agentChanged } from './feed.ts';
import type { Turn } from './turn.ts';

/** The list of agents whose resources are offered is another. What is offered already stays so, as in Mesos. */
export function onWhitelist(turn: Turn, hostnames: ReadonlySet<string> | undefined): void {
  const { state } = turn;
  const before = new Map([...state.ledger.agents.values()].map((agent) => [agent, inactiveBecause(state, agent)]));
  state.whitelist = hostnames;
  for (const [agent, was] of before) if (inactiveBecause(state, agent) !== was) agentChanged(state, agent.id);
}
