// Which running tasks are asked back, and for whom. See docs/adr/0014-reclaiming.md.
import { putHoldings, reclaimingOn } from './books.ts';
import { type Bundle, emptyBundle } from './bundle.ts';
import { claimsOf } from './claims.ts';
import { isAnythingLeft } from './demand.ts';
import { createOffer, mayHaveMore, type Offer, offerable, Reason } from './offerable.ts';
import { isShort } from './quota.ts';
import { fewestNeeded } from './rescue.ts';
import { shareOfAmounts } from './serving-order.ts';
import type { Agent, Holding, Member, ReclaimableTask, Reclaiming, Role, State, Victim } from './state.ts';

/** Of a fair share: so much apart are the shares of a claimant and its victim, afterwards, or nothing is taken. */
const margin = 0.05;
/** Agents looked at in one search, over all claimants; and on how many it is tried out which tasks would help: 0.1 s. */
const maxLooks = 100_000;
const maxTrials = 1_000;

/** What is claimed: what is missing of a guarantee, or of a fair share. */
export type Claim = 'guarantee' | 'share';

/** Tasks of one agent that are to be asked back. */
export interface Reclaim {
  readonly claimant: Member;
  readonly claim: Claim;
  readonly agent: Agent;
  /** One for each task. */
  readonly victims: readonly Victim[];
}

interface Search {
  readonly state: State;
  readonly at: number;
  readonly claims: ReadonlyMap<Role, number>;
  /** What is asked back already, on all agents. */
  readonly underWay: readonly Reclaiming[];
  readonly budget: Budget;
}

/** How often it may still be tried out which tasks would help, and where the last search had to stop; 0: nowhere. */
interface Budget {
  trials: number;
  stoppedAt: number;
}

const scratch: Offer = createOffer();

/**
 * Looks, once in an allocation interval, who has lacked a guarantee or a fair share of what it wants for too long, and for
 * whom running tasks are to be asked back. Guarantees come first; whoever was never sought for comes before the others.
 *
 * @param decide - told of each at once, so that the next is sought in books that know of it
 */
export function findReclaims(state: State, at: number, decide: (reclaim: Reclaim) => void): void {
  if (state.reclaimAfterMs === 0 || at < state.reclaimAtMs) return;
  state.reclaimAtMs = at + state.settings.allocationIntervalMs;
  const claims = claimsOf(state);
  const due: { member: Member; claim: Claim }[] = [];
  for (const role of state.roles.values()) {
    for (const member of role.members.values()) {
      const claim = claimOf(state, claims, member);
      member.claimingSinceMs = claim === undefined ? Number.POSITIVE_INFINITY : Math.min(member.claimingSinceMs, at);
      if (claim !== undefined && at - member.claimingSinceMs >= state.reclaimAfterMs) due.push({ member, claim });
    }
  }
  due.sort((a, b) => byClaim(a.claim, b.claim) || byTurn(a.member, b.member));
  const budget = { trials: maxTrials, stoppedAt: 0 };
  for (const { member } of due.slice(0, Math.max(1, Math.floor(maxLooks / Math.max(1, state.agents.size))))) {
    if (budget.trials === 0) return;
    member.tasksSoughtAtMs = at;
    const reclaim = isHelped(state, at, member) ? undefined : findReclaim(state, at, member, claims, budget);
    member.tasksSoughtUpTo = reclaim === undefined ? budget.stoppedAt : 0;
    if (reclaim !== undefined) decide(reclaim);
  }
}

/** When it is looked again who lacks what, in ms; Infinity if tasks are never asked back. */
export const reclaimsAtMs = ({ reclaimAfterMs, reclaimAtMs, root }: State): number =>
  reclaimAfterMs > 0 && root.wanting > 0 ? reclaimAtMs : Number.POSITIVE_INFINITY;

const byClaim = (a: Claim, b: Claim): number => (a === b ? 0 : a === 'guarantee' ? -1 : 1);

function byTurn(a: Member, b: Member): number {
  if (a.tasksSoughtAtMs !== b.tasksSoughtAtMs) return a.tasksSoughtAtMs - b.tasksSoughtAtMs;
  if (a.claimingSinceMs !== b.claimingSinceMs) return a.claimingSinceMs - b.claimingSinceMs;
  if (a.frameworkId !== b.frameworkId) return a.frameworkId < b.frameworkId ? -1 : 1;
  return a.role.name < b.role.name ? -1 : 1;
}

/** What a member lacks, of which tasks of others may be asked back if nothing else helps; undefined if nothing. */
export function claimOf(state: State, claims: ReadonlyMap<Role, number>, member: Member): Claim | undefined {
  const { demand, role } = member;
  if (!member.wanting || (demand !== undefined && !isAnythingLeft(state, member, demand))) return undefined;
  if (isShort(state, role)) return 'guarantee';
  const claim = claims.get(role) ?? 0;
  return demand !== undefined && fairShareOf(state, role, claim) < 1 ? 'share' : undefined;
}

/** The tasks that help a member who lacks something, if any do. That nothing else helps is known. */
export function findReclaim(
  state: State,
  at: number,
  member: Member,
  claims: ReadonlyMap<Role, number>,
  budget: Budget = { trials: maxTrials, stoppedAt: 0 },
): Reclaim | undefined {
  budget.stoppedAt = 0;
  if (mayHaveMore(state, member) !== 0) return undefined;
  const underWay = reclaimsUnderWay(state);
  if (underWay.some(({ role }) => role === member.role.name)) return undefined;
  const search: Search = { state, at, claims, underWay, budget };
  if (isShort(state, member.role)) {
    const top = topOf(member.role.name);
    // What is on its way to a role of the same top may be what all of them lack.
    const found = underWay.some(({ role }) => topOf(role) === top) ? undefined : best(search, member, 'guarantee');
    if (found !== undefined || budget.trials === 0) return found;
  }
  const isBelow = fairShareOf(state, member.role, claims.get(member.role) ?? 0) < 1;
  return member.demand !== undefined && isBelow ? best(search, member, 'share') : undefined;
}

function reclaimsUnderWay({ agents }: State): Reclaiming[] {
  const found: Reclaiming[] = [];
  for (const agent of agents.values()) {
    const reclaiming = reclaimingOn(agent);
    if (reclaiming !== undefined) found.push(reclaiming);
  }
  return found;
}

const topOf = (role: string): string => role.split('/', 1)[0] as string;

/** Something free or offered would do, or was declined. */
export function isHelped(state: State, at: number, member: Member): boolean {
  for (const agent of state.agents.values()) {
    if (agent.inactive !== undefined) continue;
    if (mayUse(state, at, agent, member, 'share') || mayUse(state, at, agent, member, 'guarantee')) return true;
    const offers = agent.holdings.filter(
      (holding) => holding.offered !== emptyBundle && holding.member.frameworkId !== member.frameworkId,
    );
    if (offers.length > 0 && fewestNeeded(state, at, agent, member, offers) !== undefined) return true;
  }
  return false;
}

function mayUse(state: State, at: number, agent: Agent, member: Member, claim: Claim): boolean {
  if (claim === 'guarantee' && state.quotas === 0) return false;
  const reason = offerable(state, at, agent, member, claim, scratch);
  return reason === 0 || reason === Reason.FILTERED;
}

/** On the agent where the fewest tasks are in the way, of as many as can be tried out: from where the last search stopped. */
function best(search: Search, member: Member, claim: Claim): Reclaim | undefined {
  const { state, budget } = search;
  const agents = [...state.agents.values()];
  const mayTake = victimTest(search, member, claim);
  let fewest: Reclaim | undefined;
  for (let i = 0; i < agents.length && fewest?.victims.length !== 1; i += 1) {
    const place = (member.tasksSoughtUpTo + i) % agents.length;
    const agent = agents[place] as Agent;
    if (agent.inactive !== undefined || reclaimingOn(agent) !== undefined) continue;
    const tasks = victimsOn(agent, mayTake);
    if (tasks.length === 0) continue;
    if (budget.trials === 0) {
      budget.stoppedAt = place;
      break;
    }
    budget.trials -= 1;
    const victims = new Trial(search, agent, member, claim).run(tasks);
    if (victims !== undefined && (fewest === undefined || victims.length < fewest.victims.length)) {
      fewest = { claimant: member, claim, agent, victims };
    }
  }
  return fewest;
}

interface Task {
  readonly whose: Member;
  readonly task: ReclaimableTask;
}

/** Revocable ones first, then the youngest. */
function victimsOn(agent: Agent, mayTake: (victim: Member) => boolean): Task[] {
  const tasks: Task[] = [];
  for (const { member: whose, reclaimable } of agent.holdings) {
    if (reclaimable.length > 0 && mayTake(whose)) for (const task of reclaimable) tasks.push({ whose, task });
  }
  return tasks.sort(
    (a, b) =>
      Number(b.task.revocable) - Number(a.task.revocable) ||
      b.task.launchedAtMs - a.task.launchedAtMs ||
      compare(a.whose.frameworkId, b.whose.frameworkId) ||
      compare(a.whose.role.name, b.whose.role.name),
  );
}

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

/** Whether tasks of a member may be taken, as far as that does not depend on the task. */
function victimTest({ state, claims, underWay }: Search, claimant: Member, claim: Claim): (victim: Member) => boolean {
  const lacking = lackingRole(state, claimant.role);
  const known = new Map<Role, boolean>();
  const mayTakeOf = (role: Role): boolean => {
    if (claim === 'share') return fairShareOf(state, role, claims.get(role) ?? 0, underWay) > 1;
    // What is taken within the role that lacks it brings its guarantee no further.
    return lacking === undefined || !isWithin(role, lacking);
  };
  return ({ frameworkId, role }) => {
    if (frameworkId === claimant.frameworkId) return false;
    const may = known.get(role) ?? mayTakeOf(role);
    known.set(role, may);
    return may;
  };
}

/** The lowest role, of it and those above, that has not got its own guarantee. */
function lackingRole({ amounts, columns }: State, role: Role): Role | undefined {
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
    for (let column = 0; column < columns.count; column += 1) {
      const consumed = amounts.data[above.consumed * amounts.width + column] as number;
      if ((above.quota?.guarantees[column] ?? 0) > consumed) return above;
    }
  }
  return undefined;
}

function isWithin(role: Role, top: Role): boolean {
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) if (above === top) return true;
  return false;
}

/**
 * The dominant share of a role's own members, divided by its claim: 1 is fair.
 *
 * @param underWay - what is taken from it and given to it as if it had been already
 * @param more - given to it besides, by column
 */
function fairShareOf(
  state: State,
  role: Role,
  claim: number,
  underWay: readonly Reclaiming[] = [],
  more: Float64Array = nothing,
): number {
  const { amounts, columns } = state;
  const begin = role.leaf.held * amounts.width;
  const held = amounts.data.slice(begin, begin + columns.count);
  for (let column = 0; column < more.length; column += 1) add(held, column, more[column] as number);
  for (const { role: to, victims } of underWay) {
    for (const victim of victims) {
      if (victim.role === role.name) addAll(held, victim, -1);
      if (to === role.name) addAll(held, victim, 1);
    }
  }
  return claim > 0 ? shareOfAmounts(state, held) / claim : Number.POSITIVE_INFINITY;
}

const nothing = new Float64Array(0);

function add(sum: Float64Array, column: number, amount: number): void {
  sum[column] = (sum[column] as number) + amount;
}

function addAll(sum: Float64Array, { amounts, extras }: Bundle, sign: 1 | -1): void {
  for (const [column, amount] of amounts.entries()) add(sum, column, sign * amount);
  for (const [i, column] of extras.scalars.columns.entries())
    add(sum, column, sign * (extras.scalars.amounts[i] as number));
}

/** Of what counts against quotas. */
function looseIn({ amounts, extras }: Bundle, column: number): number {
  const place = extras.loose.columns.indexOf(column);
  return (amounts[column] ?? 0) + (place < 0 ? 0 : (extras.loose.amounts[place] as number));
}

/** Tries out in the books of one agent what would be without some of its tasks. */
class Trial {
  readonly #search: Search;
  readonly #agent: Agent;
  readonly #claimant: Member;
  readonly #claim: Claim;
  readonly #holdings: readonly Holding[];

  constructor(search: Search, agent: Agent, claimant: Member, claim: Claim) {
    this.#search = search;
    this.#agent = agent;
    this.#claimant = claimant;
    this.#claim = claim;
    this.#holdings = agent.holdings;
  }

  /**
   * Takes one task after the other until what is free then fits; leaves out what is not needed, the least wanted of them
   * first. The books are as before.
   */
  run(tasks: readonly Task[]): Victim[] | undefined {
    const { state } = this.#search;
    const { reconsider } = state;
    const chosen = this.#choose(tasks);
    putHoldings(state, this.#agent, this.#holdings);
    state.reconsider = reconsider;
    return chosen?.map(({ whose, task: { amounts, extras } }) => {
      return { frameworkId: whose.frameworkId, role: whose.role.name, amounts, extras };
    });
  }

  #choose(tasks: readonly Task[]): readonly Task[] | undefined {
    let chosen: readonly Task[] = [];
    let fits = false;
    for (const task of tasks) {
      const more = [...chosen, task];
      if (!this.#isPossible(more) || !this.#mayTake(task)) continue;
      chosen = more;
      fits = this.#fits();
      if (fits) break;
    }
    if (!fits) return undefined;
    for (const task of chosen.slice(0, -1).reverse()) {
      const fewer = chosen.filter((other) => other !== task);
      if (this.#isPossible(fewer) && this.#fits()) chosen = fewer;
    }
    return this.#isPossible(chosen) && this.#fits() && this.#isFair(chosen) ? chosen : undefined;
  }

  /** Puts the books as if the tasks had ended. @returns whether they could: then they are */
  #isPossible(tasks: readonly Task[]): boolean {
    const { state } = this.#search;
    const left: Holding[] = [];
    for (const holding of this.#holdings) {
      let rest: Holding | undefined = holding;
      for (const { whose, task } of tasks) if (whose === holding.member) rest = rest && withoutTask(state, rest, task);
      if (rest === undefined) return false;
      left.push(rest);
    }
    putHoldings(state, this.#agent, left);
    return true;
  }

  /** Whether its role and those above still have their guarantees without it, and its role more than the claimant. */
  #mayTake({ whose, task }: Task): boolean {
    return keepsGuarantees(this.#search, whose.role, this.#claimant.role, task) && this.#staysAbove(whose.role);
  }

  #staysAbove(victim: Role, given: Float64Array = nothing): boolean {
    if (this.#claim === 'guarantee') return true;
    const { state, claims, underWay } = this.#search;
    const share = (role: Role, more: Float64Array): number =>
      fairShareOf(state, role, claims.get(role) ?? 0, underWay, more);
    return share(victim, nothing) > share(this.#claimant.role, given) + margin;
  }

  #fits(): boolean {
    const { state, at } = this.#search;
    const toShare =
      this.#claim === 'share' && offerable(state, at, this.#agent, this.#claimant, 'share', scratch) === 0;
    if (toShare || state.quotas === 0) return toShare;
    return offerable(state, at, this.#agent, this.#claimant, 'guarantee', scratch) === 0;
  }

  /** With all that the claimant would be offered now. */
  #isFair(chosen: readonly Task[]): boolean {
    if (this.#claim === 'guarantee') return true;
    const given = new Float64Array(this.#search.state.columns.count);
    addAll(given, { amounts: [...scratch.amounts.subarray(0, scratch.columns)], extras: scratch.extras }, 1);
    return chosen.every(({ whose }) => this.#staysAbove(whose.role, given));
  }
}

function withoutTask(state: State, holding: Holding, task: ReclaimableTask): Holding | undefined {
  const extras = state.extras.subtract(holding.extras, task.extras);
  const columns = Math.max(holding.amounts.length, task.amounts.length);
  const amounts = Array.from({ length: columns }, (_, i) => (holding.amounts[i] ?? 0) - (task.amounts[i] ?? 0));
  if (extras === undefined || amounts.some((amount) => amount < 0)) return undefined;
  return { ...holding, amounts, extras };
}

/**
 * Whether a role, and those above it that are not above the claimant too, consume what they are guaranteed, in books where
 * a task has ended already.
 */
function keepsGuarantees({ state, underWay }: Search, victim: Role, claimant: Role, task: Bundle): boolean {
  const { amounts, columns } = state;
  for (let above: Role | undefined = victim; above !== undefined && !isWithin(claimant, above); above = above.parent) {
    for (let column = 0; column < columns.count; column += 1) {
      const guarantee = above.quota?.guarantees[column] ?? 0;
      if (guarantee === 0 || looseIn(task, column) === 0) continue;
      let left = amounts.data[above.consumed * amounts.width + column] as number;
      for (const { victims } of underWay) {
        for (const other of victims) if (isNamedWithin(other.role, above.name)) left -= looseIn(other, column);
      }
      if (left < guarantee) return false;
    }
  }
  return true;
}

const isNamedWithin = (role: string, top: string): boolean => role === top || role.startsWith(`${top}/`);
