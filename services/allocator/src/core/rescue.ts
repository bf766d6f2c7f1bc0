import { putHoldings } from './books.ts';
import { type Bundle, emptyBundle } from './bundle.ts';
import { createOffer, mayHaveMore, offerable } from './offerable.ts';
import type { Agent, Holding, Member, State } from './state.ts';
import { byWaiting, isOverdue } from './waiting.ts';

/** Agents looked at in one search, over all who are helped: some tens of milliseconds. */
const maxLooks = 100_000;

/** Offers on one agent that are to be taken back for somebody. */
export interface Rescue {
  readonly beneficiary: Member;
  readonly agent: Agent;
  readonly holdings: readonly Holding[];
}

const scratch = createOffer();

/**
 * Whom it would help to take offers back, and which: of all agents, on the one where the fewest are in the way. Only
 * offers of frameworks that have not said what they want, or that have been left unanswered for the starvation bound,
 * and none that a guarantee needs. Where enough is free already, the agent becomes a candidate.
 *
 * Whoever was never sought for comes first; those for whom nothing was found wait until all others have had their turn.
 */
export function findRescues(state: State, at: number): Rescue[] {
  if (state.waiting.size === 0 || at < state.rescueAtMs) return [];
  const overdue = [...state.waiting].filter((member) => isOverdue(state, at, member));
  if (overdue.length === 0) return [];
  state.rescueAtMs = at + state.settings.allocationIntervalMs;
  const { size } = state.agents;
  const turn = overdue
    .filter(({ rescinding }) => rescinding === 0)
    .sort((a, b) => a.soughtAtMs - b.soughtAtMs || byWaiting(a, b));
  const rescues: Rescue[] = [];
  for (const member of turn.slice(0, Math.max(1, Math.floor(maxLooks / Math.max(1, size))))) {
    member.soughtAtMs = at;
    const rescue = mayHaveMore(state, member) === 0 ? findRescue(state, at, member, rescues) : undefined;
    if (rescue !== undefined) rescues.push(rescue);
  }
  return rescues;
}

function findRescue(state: State, at: number, member: Member, taken: readonly Rescue[]): Rescue | undefined {
  let best: Rescue | undefined;
  for (const agent of state.agents.values()) {
    if (agent.inactive !== undefined || taken.some((other) => other.agent === agent)) continue;
    if (isFitting(state, at, agent, member)) {
      state.candidates.add(agent);
      return undefined;
    }
    const rescindable = agent.holdings.filter((holding) => isRescindable(state, at, agent, holding, member));
    if (rescindable.length === 0) continue;
    const needed = fewestNeeded(state, at, agent, member, rescindable);
    if (needed === undefined || (best !== undefined && best.holdings.length <= needed.length)) continue;
    best = { beneficiary: member, agent, holdings: needed };
    if (needed.length === 1) break;
  }
  return best;
}

function isFitting(state: State, at: number, agent: Agent, member: Member): boolean {
  return (
    offerable(state, at, agent, member, 'share', scratch) === 0 ||
    (state.quotas > 0 && offerable(state, at, agent, member, 'guarantee', scratch) === 0)
  );
}

function isRescindable(state: State, at: number, agent: Agent, holding: Holding, beneficiary: Member): boolean {
  const { member, offered, offeredSinceMs } = holding;
  if (offered === emptyBundle || member.frameworkId === beneficiary.frameworkId) return false;
  if (agent.open.some((decision) => decision.kind === 'rescind' && decision.member === member)) return false;
  return member.demand === undefined || at - offeredSinceMs >= state.settings.starvationBoundMs;
}

/** Takes back one offer after the other, the largest first, until what is free then fits; undefined if it never does. */
export function fewestNeeded(
  state: State,
  at: number,
  agent: Agent,
  member: Member,
  rescindable: readonly Holding[],
): Holding[] | undefined {
  const largestFirst = [...rescindable].sort((a, b) => sizeOf(state, b) - sizeOf(state, a));
  const { reconsider } = state;
  const before = agent.holdings;
  const needed: Holding[] = [];
  let fits = false;
  for (const holding of largestFirst) {
    const kept = agent.holdings;
    const required = requiredHeadroom(state);
    const without = kept.map((other) => (other === holding ? withoutOffered(state, holding) : other));
    putHoldings(state, agent, without);
    // What one role is guaranteed is not taken for another.
    if (requiredHeadroom(state).some((amount, column) => amount > (required[column] as number))) {
      putHoldings(state, agent, kept);
      continue;
    }
    needed.push(holding);
    fits = isFitting(state, at, agent, member);
    if (fits) break;
  }
  putHoldings(state, agent, before);
  state.reconsider = reconsider;
  return fits ? needed : undefined;
}

/** Its largest part of the cluster, of any one scalar. */
function sizeOf({ amounts, total, columns }: State, { offered }: Holding): number {
  let size = 0;
  for (let column = 0; column < columns.count; column += 1) {
    const whole = amounts.data[total * amounts.width + column] as number;
    if (whole > 0) size = Math.max(size, (offered.amounts[column] ?? 0) / whole);
  }
  return size;
}

function requiredHeadroom({ amounts, root }: State): Float64Array {
  return amounts.data.slice(root.keptForChildren * amounts.width, (root.keptForChildren + 1) * amounts.width);
}

function withoutOffered(state: State, holding: Holding): Holding {
  const { offered } = holding;
  const rest: Bundle = {
    amounts: holding.amounts.map((amount, column) => amount - (offered.amounts[column] ?? 0)),
    extras: state.extras.subtract(holding.extras, offered.extras) ?? emptyBundle.extras,
  };
  return { ...holding, ...rest, offered: emptyBundle };
}
