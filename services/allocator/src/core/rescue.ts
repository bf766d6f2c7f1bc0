import { putHoldings } from './books.ts';
import { type Bundle, emptyBundle } from './bundle.ts';
import { createOffer, mayHaveMore, offerable, unfitness } from './offerable.ts';
import { type Need, needOf, Rooms } from './rooms.ts';
import type { Agent, Holding, Member, State } from './state.ts';
import { byWaiting, isOverdue } from './waiting.ts';

/** What it takes to look at an agent, more and more closely; in units of about 10 ns. */
const effort = { look: 1, unfit: 30, measure: 30, offer: 60, takeBack: 300 };
/** So much is done in one search for a member: a millisecond. The next search goes on where it stopped. */
const maxEffort = 100_000;
/** And in one round. */
const maxEffortPerRound = 4_000_000;
/** Of so many agents where offers could be taken back, the one is chosen where the fewest are in the way. */
const maxChoices = 16;

/** Offers on one agent that are to be taken back for somebody. */
export interface Rescue {
  readonly beneficiary: Member;
  readonly agent: Agent;
  readonly holdings: readonly Holding[];
}

/** What a round has found so far, and at what cost. */
interface Search {
  readonly state: State;
  readonly at: number;
  readonly rooms: Rooms;
  readonly found: Map<Agent, Rescue>;
  effort: number;
}

const scratch = createOffer();

/**
 * Whom it would help to take offers back, and which: on an agent where few are in the way. Only offers of frameworks that
 * have not said what they want, or that have been left unanswered for the starvation bound, and none that a guarantee
 * needs. Where enough is free already, the agent becomes a candidate.
 *
 * Everyone who is overdue has his turn, once in an allocation interval, whoever was never sought for first. A turn is
 * short, and so is what a round does of them; what it leaves over is for the next.
 */
export function findRescues(state: State, at: number): Rescue[] {
  const overdue = [...state.waiting].filter((member) => isOverdue(state, at, member) && member.rescinding === 0);
  const isOld = state.rooms === undefined || at >= state.rooms.madeAtMs + state.settings.allocationIntervalMs;
  if (isOld) state.rooms = undefined;
  if (overdue.length === 0) return [];
  const rooms = state.rooms ?? measureRooms(state, at);
  state.rooms = rooms;
  const search: Search = {
    state,
    at,
    rooms,
    found: new Map(),
    effort: isOld ? rooms.agents.length * effort.measure : 0,
  };
  const turn = overdue.filter(({ soughtAtMs }) => soughtAtMs < rooms.madeAtMs);
  for (const member of turn.sort((a, b) => a.soughtAtMs - b.soughtAtMs || byWaiting(a, b))) {
    if (search.effort >= maxEffortPerRound) break;
    member.soughtAtMs = at;
    const rescue = mayHaveMore(state, member) === 0 ? findRescue(search, member) : undefined;
    if (rescue !== undefined) search.found.set(rescue.agent, rescue);
  }
  return [...search.found.values()];
}

/** Offers that may be taken back before the next search are counted in. */
function measureRooms(state: State, at: number): Rooms {
  const until = at + state.settings.allocationIntervalMs;
  return new Rooms(state, at, (holding) => isLeftLying(state, until, holding));
}

/** Looks at agents once around, or as far as a turn goes. */
function findRescue(search: Search, member: Member): Rescue | undefined {
  const { state, rooms } = search;
  const limit = search.effort + maxEffort;
  const from = member.soughtUpTo ?? rooms.cursor;
  member.soughtUpTo = undefined;
  let best: Rescue | undefined;
  let choices = 0;
  for (const place of rooms.around(from, needsOf(state, member))) {
    const agent = rooms.agents[place] as Agent;
    search.effort += rooms.takeLooks() * effort.look;
    const holdings = fewestInTheWay(search, member, agent);
    if (holdings !== undefined) {
      rooms.cursor = place + 1;
      if (holdings.length === 0) return undefined;
      if (best === undefined || best.holdings.length > holdings.length) best = { beneficiary: member, agent, holdings };
      choices += 1;
      if (holdings.length === 1 || choices === maxChoices) break;
    }
    if (search.effort < limit) continue;
    if (best === undefined) member.soughtUpTo = place + 1;
    break;
  }
  search.effort += rooms.takeLooks() * effort.look;
  return best;
}

/** Any of these will do, as far as amounts go. */
function needsOf(state: State, { demand, minimums }: Member): Need[] {
  const shapes = demand?.shapes ?? minimums;
  return shapes.length > 0 ? shapes.map((shape) => needOf(state, shape)) : [{ columns: [], amounts: [] }];
}

/** What would have to be taken back; nothing if enough is free, and then it becomes a candidate; undefined: it is no use. */
function fewestInTheWay(search: Search, member: Member, agent: Agent): readonly Holding[] | undefined {
  const { state, at } = search;
  search.effort += effort.unfit;
  if (unfitness(state, agent, member) !== 0 || search.found.has(agent)) return undefined;
  search.effort += effort.offer;
  if (isFitting(state, at, agent, member)) {
    state.candidates.add(agent);
    return [];
  }
  const rescindable = agent.holdings.filter((holding) => isRescindable(state, at, agent, holding, member));
  // Each that is tried charges all of the agent anew.
  search.effort += effort.takeBack * rescindable.length * agent.holdings.length;
  return rescindable.length > 0 ? fewestNeeded(state, at, agent, member, rescindable) : undefined;
}

function isFitting(state: State, at: number, agent: Agent, member: Member): boolean {
  return (
    offerable(state, at, agent, member, 'share', scratch) === 0 ||
    (state.quotas > 0 && offerable(state, at, agent, member, 'guarantee', scratch) === 0)
  );
}

function isRescindable(state: State, at: number, agent: Agent, holding: Holding, beneficiary: Member): boolean {
  const { member } = holding;
  if (member.frameworkId === beneficiary.frameworkId || !isLeftLying(state, at, holding)) return false;
  return !agent.open.some((decision) => decision.kind === 'rescind' && decision.member === member);
}

/** Some of it is offered, and its framework says nothing or has not answered for the bound. */
function isLeftLying({ settings }: State, at: number, { member, offered, offeredSinceMs }: Holding): boolean {
  if (offered === emptyBundle) return false;
  return member.demand === undefined || at - offeredSinceMs >= settings.starvationBoundMs;
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
