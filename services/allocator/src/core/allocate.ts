import { mesobus } from '@mesobus/protos';
import { add, noResources, type Resources } from '@mesobus/sdk/resources';
import { type Amounts, exact } from './amounts.ts';
import { isOpen, open } from './books.ts';
import { emptyBundle, toResources } from './bundle.ts';
import { isHidden } from './filters.ts';
import { createOffer, isSliver, mayHaveMore, type Offer, offerable, type Stage } from './offerable.ts';
import { isShort } from './quota.ts';
import { shuffle } from './random.ts';
import { findReclaims, type Reclaim } from './reclaim.ts';
import { findRescues, type Rescue } from './rescue.ts';
import { everyMember, everyRole, shareOf } from './serving-order.ts';
import type { Agent, Member, Role, State, Victim } from './state.ts';
import { goesFirst, isOverdue, settleGuarantees, settleWaiting, waitAnew, waitingRoles } from './waiting.ts';

const { OFFER, RESCIND, RECLAIM } = mesobus.v1.Allocation.Kind;

/** What the leader is told: an offer, that offers are taken back, or that tasks are asked back for the framework. */
export interface Decision {
  readonly number: number;
  readonly kind: mesobus.v1.Allocation.Kind;
  readonly agentId: string;
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
  /** The shares before the decision, divided by weight: why this framework and no other. */
  readonly roleShare: number;
  readonly frameworkShare: number;
  /** Of what is taken back: for whom. */
  readonly why: string;
  /** Of tasks that are asked back: how much of whom. */
  readonly victims: readonly DecidedVictim[];
}

export interface DecidedVictim {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
}

/** One round is short, lest its allocator be taken for one that hangs; what it leaves over is for the next. */
const maxAgentsPerRound = 1_000;
const checksPerRound = 100_000;
/** Agents are drawn by so many: what guarantees need of them is given before the rest. */
const maxAgentsPerDraw = 100;
const minAgentsPerDraw = 10;

const offer: Offer = createOffer();

/** What a round has come to. */
interface Round {
  readonly state: State;
  readonly at: number;
  /** Roles in which somebody waits, if somebody has waited too long. */
  readonly waiting: ReadonlySet<Role>;
  readonly decisions: Decision[];
  /** How often somebody was asked about an agent. */
  checks: number;
}

/**
 * Gives what is free on the candidate agents, in this order: to those who wait, if one of them has waited too long; to
 * roles below their guarantees; to whoever holds the smallest share. An agent is given whole to the first who can take it, but for what is
 * reserved to others, kept for guarantees, or not wanted. At most so many agents as make a short round; the others stay
 * candidates.
 *
 * Takes offers back for those who have waited too long if there is no other way; if that is none either, and the leader
 * wants it, running tasks are asked back.
 *
 * @returns the decisions, numbered on from the last; the books are charged with them
 */
export function allocate(state: State, at: number): Decision[] {
  if (!mayAllocate(state)) return [];
  state.rounds += 1;
  settleWaiting(state, at);
  considerAllIfDue(state, at);
  const round: Round = { state, at, waiting: waitingRoles(state, at), decisions: [], checks: 0 };
  serveFreed(round);
  for (let visited = 0; visited < maxAgentsPerRound && round.checks < checksPerRound; ) {
    const agents = state.candidates.draw(Math.min(agentsPerDraw(state), maxAgentsPerRound - visited), state.random);
    if (agents.length === 0) break;
    visited += agents.length;
    visit(round, agents);
  }
  settleWaiting(state, at);
  for (const rescue of findRescues(state, at)) rescind(round, rescue);
  findReclaims(state, at, (reclaim) => askBack(round, reclaim));
  return round.decisions;
}

/** The more frameworks there are to ask, the fewer agents. */
function agentsPerDraw({ root }: State): number {
  return Math.min(maxAgentsPerDraw, Math.max(minAgentsPerDraw, Math.floor(checksPerRound / (root.wanting + 1))));
}

function visit(round: Round, agents: Agent[]): void {
  const { state } = round;
  if (round.waiting.size > 0) for (const agent of agents) serve(round, agent, 'waiting');
  if (isShort(state, state.root)) {
    for (const agent of agents) serve(round, agent, 'guarantee');
    shuffle(agents, state.random);
  }
  for (const agent of agents) serve(round, agent, 'share');
}

/** A standby follows the books and decides nothing; so does everyone who has missed a part of the feed. */
export function mayAllocate(state: State): boolean {
  return state.synchronised && state.appointedAllocatorId === state.allocatorId;
}

function considerAllIfDue(state: State, at: number): void {
  if (!state.reconsider || at < fullRoundAtMs(state)) return;
  state.reconsider = false;
  state.lastFullAtMs = at;
  settleGuarantees(state, at);
  for (const agent of state.agents.values()) if (isOpen(state, agent)) state.candidates.add(agent);
}

/** When all agents are looked at again, in ms; Infinity if nothing has changed for many. */
export function fullRoundAtMs({ reconsider, lastFullAtMs, settings }: State): number {
  return reconsider ? lastFullAtMs + settings.allocationIntervalMs : Number.POSITIVE_INFINITY;
}

function serve(round: Round, agent: Agent, turn: Stage | 'waiting'): void {
  const { state, at } = round;
  if (!isOpen(state, agent)) return;
  state.visits += 1;
  let sliver = isSliver(state, agent, offer);
  everyRole(state, at, (role) => {
    round.checks += 1;
    if (turn === 'waiting' && !round.waiting.has(role)) return true;
    if (turn === 'guarantee' && !isShort(state, role)) return true;
    // Keys that last for one visit are made for all of them, whoever is asked.
    if (state.settings.frameworkPolicy.keysLast === 'visit') round.checks += role.memberOrder.size;
    return everyMember(state, at, role, (member) => {
      if (turn === 'waiting' && !goesFirst(state, at, member)) return true;
      if (sliver && member.minimums === state.minimums && member.demand === undefined) return true;
      const given = turn === 'waiting' ? giveWaiting(round, agent, member) : give(round, agent, member, turn);
      if (!given) return true;
      sliver = isSliver(state, agent, offer);
      return isOpen(state, agent);
    });
  });
}

/** What a guarantee lacks may be something else than what is wanted. */
function giveWaiting(round: Round, agent: Agent, member: Member): boolean {
  const isForGuarantee = isShort(round.state, member.role) && give(round, agent, member, 'guarantee');
  return isForGuarantee || give(round, agent, member, 'share');
}

/** What was taken back for somebody is not for others who are overdue: it may be all that fits. */
function serveFreed(round: Round): void {
  const { state, at } = round;
  // Once: whoever was given something is not overdue any more.
  for (const [agent, member] of state.freed) if (isOverdue(state, at, member)) giveWaiting(round, agent, member);
  state.freed.clear();
}

/** @returns whether it was given something */
function give(round: Round, agent: Agent, member: Member, stage: Stage): boolean {
  const { state, at } = round;
  round.checks += 1;
  if (isHidden(state, member, agent) || mayHaveMore(state, member) !== 0) return false;
  if (offerable(state, at, agent, member, stage, offer) !== 0) return false;
  const { role } = member;
  const shares = {
    roleShare: shareOf(state, role.held) / role.weight,
    frameworkShare: shareOf(state, member.held),
  };
  state.lastNumber += 1;
  member.allocations += 1;
  role.leaf.allocations += 1;
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) above.allocations += 1;
  const number = state.lastNumber;
  const amounts = amountsOf(offer);
  const { extras } = offer;
  open(state, { number, kind: 'offer', agent, member, atMs: at, amounts, extras });
  waitAnew(state, at, member);
  round.decisions.push({
    number,
    kind: OFFER,
    agentId: agent.id,
    frameworkId: member.frameworkId,
    role: role.name,
    resources: toResources(state.columns, { amounts, extras }),
    ...shares,
    why: '',
    victims: [],
  });
  return true;
}

function amountsOf({ amounts, columns }: Offer): Amounts {
  let count = columns;
  while (count > 0 && amounts[count - 1] === 0) count -= 1;
  const list: number[] = [];
  for (let column = 0; column < count; column += 1) list.push(amounts[column] as number);
  return exact(list);
}

function rescind({ state, at, decisions }: Round, { beneficiary, agent, holdings }: Rescue): void {
  const seconds = ((at - beneficiary.waitingSinceMs) / 1000).toFixed(1);
  const why = `framework ${beneficiary.frameworkId} in role '${beneficiary.role.name}' has waited for ${seconds} s`;
  for (const { member } of holdings) {
    state.lastNumber += 1;
    const number = state.lastNumber;
    open(state, { number, kind: 'rescind', agent, member, atMs: at, beneficiary, ...emptyBundle });
    decisions.push({
      number,
      kind: RESCIND,
      agentId: agent.id,
      frameworkId: member.frameworkId,
      role: member.role.name,
      resources: noResources,
      roleShare: shareOf(state, member.role.held) / member.role.weight,
      frameworkShare: shareOf(state, member.held),
      why,
      victims: [],
    });
  }
}

function askBack({ state, at, decisions }: Round, { claimant: member, claim, agent, victims }: Reclaim): void {
  const { frameworkId, role } = member;
  state.lastNumber += 1;
  const number = state.lastNumber;
  const reclaiming = { frameworkId, role: role.name, victims, killAtMs: 0 };
  open(state, { number, kind: 'reclaim', agent, member, atMs: at, reclaiming, ...emptyBundle });
  const seconds = ((at - member.claimingSinceMs) / 1000).toFixed(1);
  const what = claim === 'guarantee' ? 'its guarantee' : 'its fair share';
  decisions.push({
    number,
    kind: RECLAIM,
    agentId: agent.id,
    frameworkId,
    role: role.name,
    resources: noResources,
    roleShare: shareOf(state, role.held) / role.weight,
    frameworkShare: shareOf(state, member.held),
    why: `framework ${frameworkId} in role '${role.name}' has been below ${what} for ${seconds} s`,
    victims: summed(state, victims),
  });
}

/** One for each framework and role. */
function summed({ columns }: State, victims: readonly Victim[]): DecidedVictim[] {
  const byWhom = Map.groupBy(victims, ({ frameworkId, role }) => `${role}\n${frameworkId}`);
  return [...byWhom.values()].map((own) => {
    const { frameworkId, role } = own[0] as Victim;
    return { frameworkId, role, resources: own.map((victim) => toResources(columns, victim)).reduce(add) };
  });
}
