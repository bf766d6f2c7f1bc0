import { mesobus } from '@mesobus/protos';
import { noResources, type Resources } from '@mesobus/sdk/resources';
import { type Amounts, exact } from './amounts.ts';
import { open } from './books.ts';
import { emptyBundle, toResources } from './bundle.ts';
import { noExtras } from './extras.ts';
import { isHidden } from './filters.ts';
import { createOffer, mayHaveMore, type Offer, offerable, type Stage } from './offerable.ts';
import { isShort } from './quota.ts';
import { shuffle } from './random.ts';
import { findRescues, type Rescue } from './rescue.ts';
import { everyMember, everyRole, shareOf } from './serving-order.ts';
import type { Agent, Member, Role, State } from './state.ts';
import { overdueMembers, settleGuarantees, settleWaiting, waitAnew } from './waiting.ts';

const { OFFER, RESCIND } = mesobus.v1.Allocation.Kind;

/** What the leader is told: an offer, or that offers are taken back. */
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
}

/** One round is short, lest its allocator be taken for one that hangs; what it leaves over is for the next. */
const maxAgentsPerRound = 1_000;
const minAgentsPerRound = 10;
const checksPerRound = 100_000;

const offer: Offer = createOffer();

/**
 * Gives what is free on the candidate agents, in this order: to those who have waited too long, to roles below their
 * guarantees, to whoever holds the smallest share. An agent is given whole to the first who can take it, but for what is
 * reserved to others, kept for guarantees, or not wanted. At most so many agents as make a short round; the others stay
 * candidates.
 *
 * Takes offers back for those who have waited too long if there is no other way.
 *
 * @returns the decisions, numbered on from the last; the books are charged with them
 */
export function allocate(state: State, at: number): Decision[] {
  if (!mayAllocate(state)) return [];
  state.rounds += 1;
  settleWaiting(state, at);
  considerAllIfDue(state, at);
  const decisions: Decision[] = [];
  const agents = state.candidates.draw(agentsPerRound(state), state.random);
  const overdue = overdueMembers(state, at);
  if (overdue.length > 0) for (const agent of agents) serveOverdue(state, at, agent, overdue, decisions);
  if (isShort(state, state.root)) {
    for (const agent of agents) serve(state, at, agent, 'guarantee', decisions);
    shuffle(agents, state.random);
  }
  for (const agent of agents) serve(state, at, agent, 'share', decisions);
  settleWaiting(state, at);
  for (const rescue of findRescues(state, at)) rescind(state, at, rescue, decisions);
  return decisions;
}

/** The more frameworks there are to look at, the fewer agents. */
function agentsPerRound({ root }: State): number {
  return Math.min(maxAgentsPerRound, Math.max(minAgentsPerRound, Math.floor(checksPerRound / (root.wanting + 1))));
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

/** Whether there is something to give. */
function isOpen({ amounts, columns }: State, { inactive, freeRow, freeExtras }: Agent): boolean {
  if (inactive !== undefined) return false;
  if (freeExtras !== noExtras) return true;
  const begin = freeRow * amounts.width;
  for (let column = 0; column < columns.count; column += 1) {
    if ((amounts.data[begin + column] as number) > 0) return true;
  }
  return false;
}

function serve(state: State, at: number, agent: Agent, stage: Stage, decisions: Decision[]): void {
  if (!isOpen(state, agent)) return;
  state.visits += 1;
  everyRole(state, at, (role) => {
    if (stage === 'guarantee' && !isShort(state, role)) return true;
    return everyMember(state, at, role, (member) => {
      if (mayHaveMore(state, member) !== 0) return true;
      give(state, at, agent, member, stage, decisions);
      return isOpen(state, agent);
    });
  });
}

function serveOverdue(state: State, at: number, agent: Agent, overdue: readonly Member[], decisions: Decision[]): void {
  for (const member of overdue) {
    if (!isOpen(state, agent)) return;
    if (!member.wanting || mayHaveMore(state, member) !== 0) continue;
    const stage = isShort(state, member.role) ? 'guarantee' : 'share';
    give(state, at, agent, member, stage, decisions);
  }
}

function give(state: State, at: number, agent: Agent, member: Member, stage: Stage, decisions: Decision[]): void {
  if (isHidden(state, member, agent, at)) return;
  if (offerable(state, at, agent, member, stage, offer) !== 0) return;
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
  decisions.push({
    number,
    kind: OFFER,
    agentId: agent.id,
    frameworkId: member.frameworkId,
    role: role.name,
    resources: toResources(state.columns, { amounts, extras }),
    ...shares,
    why: '',
  });
}

function amountsOf({ amounts, columns }: Offer): Amounts {
  let count = columns;
  while (count > 0 && amounts[count - 1] === 0) count -= 1;
  const list: number[] = [];
  for (let column = 0; column < count; column += 1) list.push(amounts[column] as number);
  return exact(list);
}

function rescind(state: State, at: number, { beneficiary, agent, holdings }: Rescue, decisions: Decision[]): void {
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
    });
  }
}
