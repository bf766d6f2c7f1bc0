import { mesobus, mesos } from '@mesobus/protos';
import { isIndivisible, isSubroleOf, type Resource, type Resources, reservationRole } from '@mesobus/sdk/resources';
import { reclaimingOn } from './books.ts';
import { holds, holdsWantedShape, isAnythingLeft, leftByColumn } from './demand.ts';
import { amountOf, cutTo, type Extras, isLoose, noExtras, traits } from './extras.ts';
import { filterAgainst } from './filters.ts';
import { type Budget, budgetFor, createBudget } from './quota.ts';
import type { Agent, Member, State } from './state.ts';

/** Why nothing is offered; 0: something is. */
export type Reason = mesobus.v1.Withheld.Reason;
export const Reason: typeof mesobus.v1.Withheld.Reason = mesobus.v1.Withheld.Reason;

const { Type: FrameworkCan } = mesos.v1.FrameworkInfo.Capability;
const { Type: AgentCan } = mesos.v1.AgentInfo.Capability;
const { Inactive } = mesobus.v1.AgentBook;

/** What is given: up to a guarantee (with what else may be had then), or a fair share of what nobody is guaranteed. */
export type Stage = 'guarantee' | 'share';

/** What may be offered; filled anew by each {@link offerable}. */
export interface Offer {
  /** By column; as many as `columns`. */
  amounts: Float64Array;
  columns: number;
  extras: Extras;
  /** A limit, or what is kept for others, has taken something away. */
  limited: boolean;
  kept: boolean;
  readonly budget: Budget;
}

export function createOffer(): Offer {
  return {
    amounts: new Float64Array(8),
    columns: 0,
    extras: noExtras,
    limited: false,
    kept: false,
    budget: createBudget(),
  };
}

/** Scratch: what is still wanted by column. */
let left = new Float64Array(8);

/** Why the member is offered nothing of any agent; 0 if nothing is in its way. */
export function withheldFromAll(state: State, member: Member): Reason {
  const { framework, role } = member;
  if (framework === undefined) return Reason.FRAMEWORK_UNKNOWN;
  if (!framework.active) return Reason.FRAMEWORK_DISCONNECTED;
  if (!framework.roles.has(role.name)) return Reason.ROLE_NOT_SUBSCRIBED;
  if (framework.suppressedRoles.has(role.name)) return Reason.ROLE_SUPPRESSED;
  if (framework.demands.get(role.name)?.shapes.length === 0) return Reason.NO_DEMAND;
  return mayHaveMore(state, member);
}

/** As {@link withheldFromAll}, of a member that is wanting. */
export function mayHaveMore(state: State, member: Member): Reason {
  const max = member.framework?.maxOpenOffers ?? 0;
  if (max > 0 && openOffersOf(state, member) >= max) return Reason.TOO_MANY_OPEN_OFFERS;
  const demand = member.demand;
  return demand === undefined || isAnythingLeft(state, member, demand) ? 0 : Reason.DEMAND_UNDER_OFFER;
}

/** Of the framework, in all of its roles. */
function openOffersOf(state: State, { framework, frameworkId }: Member): number {
  let count = 0;
  for (const role of framework?.roles ?? []) {
    count += state.roles.get(role)?.members.get(frameworkId)?.openOffers ?? 0;
  }
  return count;
}

/**
 * What of an agent's free resources the member may be offered, or the reason why nothing.
 *
 * @param offer - holds what may be offered, if the answer is 0
 */
export function offerable(state: State, at: number, agent: Agent, member: Member, stage: Stage, offer: Offer): Reason {
  const unfit = unfitness(state, agent, member);
  if (unfit !== 0) return unfit;
  takeFree(state, agent, offer);
  if (isNothing(offer)) return Reason.NOTHING_FREE;
  const missing = keepOwn(state, agent, member, stage, offer);
  if (missing !== 0 && isNothing(offer)) return missing;
  budgetFor(state, member.role, offer.budget);
  offer.limited = false;
  offer.kept = false;
  if (offer.budget.applies && !keepToBudget(state, stage, offer)) return Reason.QUOTA_HEADROOM;
  const small = tooSmall(state, member, offer);
  const isLess = missing !== 0 || offer.limited || offer.kept;
  if (small !== 0) return isLess ? whySmall(state, agent, member, stage, offer, missing || small) : small;
  return filterAgainst(member, agent, at, offer) === undefined ? 0 : Reason.FILTERED;
}

/**
 * What was left is too small: because of a limit or what is kept, because of what is left out, or would it have been anyway?
 *
 * @param otherwise - the reason if no quota has cut anything
 */
function whySmall(state: State, agent: Agent, member: Member, stage: Stage, offer: Offer, otherwise: Reason): Reason {
  const { limited, kept } = offer;
  takeFree(state, agent, offer);
  const anyway = tooSmall(state, member, offer);
  if (anyway !== 0) return anyway;
  takeFree(state, agent, offer);
  keepOwn(state, agent, member, stage, offer);
  if ((!limited && !kept) || tooSmall(state, member, offer) !== 0) return otherwise;
  return limited ? Reason.QUOTA_LIMIT : Reason.QUOTA_HEADROOM;
}

/** Why nothing of the agent can be offered to the member, whatever is free; 0 if it can. */
export function unfitness(state: State, agent: Agent, member: Member): Reason {
  if (agent.inactive !== undefined) return inactiveReason(agent.inactive);
  const { framework, role } = member;
  const claim = reclaimingOn(agent);
  const isAnothers = claim !== undefined && (claim.frameworkId !== member.frameworkId || claim.role !== role.name);
  if (isAnothers) return Reason.RECLAIMED_FOR_OTHERS;
  if (framework === undefined) return Reason.FRAMEWORK_UNKNOWN;
  const can = framework.capabilities;
  if (member.meets !== undefined && !member.meets(agent.facts)) return Reason.CONSTRAINT_NOT_MET;
  if (state.settings.filterGpuResources && (can & (1 << FrameworkCan.GPU_RESOURCES)) === 0 && hasGpus(state, agent)) {
    return Reason.GPU_ONLY_FOR_GPU_FRAMEWORKS;
  }
  if ((can & (1 << FrameworkCan.REGION_AWARE)) === 0 && isElsewhere(state, agent)) return Reason.OTHER_REGION;
  const needed =
    (can & (1 << FrameworkCan.MULTI_ROLE) ? 1 << AgentCan.MULTI_ROLE : 0) |
    (role.name.includes('/') ? 1 << AgentCan.HIERARCHICAL_ROLE : 0);
  return (agent.capabilities & needed) === needed ? 0 : Reason.CAPABILITY_MISSING;
}

export function inactiveReason(inactive: mesobus.v1.AgentBook.Inactive): Reason {
  switch (inactive) {
    case Inactive.DEACTIVATED:
      return Reason.AGENT_DEACTIVATED;
    case Inactive.DRAINING:
      return Reason.AGENT_DRAINING;
    case Inactive.NOT_WHITELISTED:
      return Reason.AGENT_NOT_WHITELISTED;
    case Inactive.DOWN_FOR_MAINTENANCE:
      return Reason.AGENT_DOWN;
    default:
      return Reason.AGENT_DISCONNECTED;
  }
}

function hasGpus({ amounts, gpus }: State, { totalRow, extras }: Agent): boolean {
  return (extras.traits & traits.gpus) !== 0 || (amounts.data[totalRow * amounts.width + gpus] as number) > 0;
}

function isElsewhere({ region }: State, { facts }: Agent): boolean {
  const own = facts.domain?.faultDomain?.region.name;
  return region !== undefined && own !== undefined && own !== region;
}

function takeFree({ amounts, columns }: State, agent: Agent, offer: Offer): void {
  if (offer.amounts.length < columns.count) offer.amounts = new Float64Array(columns.count * 2);
  const begin = agent.freeRow * amounts.width;
  for (let column = 0; column < columns.count; column += 1) {
    offer.amounts[column] = amounts.data[begin + column] as number;
  }
  offer.columns = columns.count;
  offer.extras = agent.freeExtras;
}

function isNothing({ amounts, columns, extras }: Offer): boolean {
  if (extras !== noExtras) return false;
  for (let column = 0; column < columns; column += 1) if ((amounts[column] as number) > 0) return false;
  return true;
}

/**
 * Leaves only what may be offered in the role and what the framework can handle. Up to a guarantee nothing of the roles
 * above is given, for that is no progress.
 *
 * @returns why something is left out; 0 if nothing is
 */
function keepOwn(state: State, agent: Agent, member: Member, stage: Stage, offer: Offer): Reason {
  if ((offer.extras.traits & (traits.reserved | traits.revocable | traits.shared)) === 0) return 0;
  // What is not enough whoever may have it need not be looked at more closely.
  if (member.demand === undefined && !isEnough(state, member, offer)) return 0;
  let why: Reason = 0;
  const can = member.framework?.capabilities ?? 0;
  const role = member.role.name;
  const lacks = (capability: number): boolean => (can & (1 << capability)) === 0;
  offer.extras = state.extras.select(offer.extras, (resource) => {
    const { reservations, revocable, shared } = resource;
    if (reservations !== undefined) {
      const owner = reservationRole(resource);
      if (owner !== role && (stage === 'guarantee' || !isSubroleOf(role, owner))) {
        why ||= Reason.RESERVED_FOR_OTHERS;
        return false;
      }
    }
    const unable =
      (revocable && lacks(FrameworkCan.REVOCABLE_RESOURCES)) ||
      (shared && lacks(FrameworkCan.SHARED_RESOURCES)) ||
      ((reservations?.length ?? 0) > 1 && lacks(FrameworkCan.RESERVATION_REFINEMENT));
    if (unable) why = Reason.CAPABILITY_MISSING;
    return !unable && !(shared && isOfferedTo(agent, member, resource));
  });
  return why;
}

/** Nobody is offered the same shared volume twice at a time. */
function isOfferedTo(agent: Agent, member: Member, { key }: Resource): boolean {
  const has = ({ list }: Extras): boolean => list.some((resource) => resource.key === key);
  return (
    agent.holdings.some((holding) => holding.member === member && has(holding.offered.extras)) ||
    agent.open.some((decision) => decision.member === member && has(decision.extras))
  );
}

/** Cuts what is unreserved and not revocable. @returns whether it brings the guarantee forward, if that is the stage */
function keepToBudget(state: State, stage: Stage, offer: Offer): boolean {
  const { room, progress, spare } = offer.budget;
  const toGuarantee = stage === 'guarantee';
  const allowed = (column: number): number => {
    const entitled = (spare[column] as number) + (toGuarantee ? (progress[column] as number) : 0);
    return Math.min(room[column] as number, entitled);
  };
  const lost = cut(state, offer, isLoose, allowed, false);
  for (const column of lost) {
    if (allowed(column) === room[column]) offer.limited = true;
    else offer.kept = true;
  }
  if (!toGuarantee) return true;
  for (let column = 0; column < offer.columns; column += 1) {
    if ((progress[column] as number) > 0 && looseIn(offer, column) > 0) return true;
  }
  return false;
}

function looseIn({ amounts, extras }: Offer, column: number): number {
  const at = extras.loose.columns.indexOf(column);
  return (amounts[column] as number) + (at < 0 ? 0 : (extras.loose.amounts[at] as number));
}

/**
 * Cuts plain scalars, and those of the extras that `picks` takes, to so much of each: plain ones are kept first, then
 * the others in order of their keys. Revocable ones are cut apart: no task can mix them with others.
 *
 * @param overshoots - what can only be had whole is kept if any of it is allowed; else only if all of it is
 * @returns columns of which something was lost
 */
function cut(
  state: State,
  offer: Offer,
  picks: (resource: Resource) => boolean,
  allowed: (column: number) => number,
  overshoots: boolean,
): Set<number> {
  const lost = new Set<number>();
  const budgets: number[] = [];
  const lent: number[] = [];
  for (let column = 0; column < offer.columns; column += 1) {
    const budget = allowed(column);
    const amount = Math.min(offer.amounts[column] as number, budget);
    if (amount < (offer.amounts[column] as number)) lost.add(column);
    offer.amounts[column] = amount;
    budgets.push(budget - amount);
    lent.push(budget);
  }
  if (!offer.extras.list.some((resource) => resource.kind === 'scalar' && picks(resource))) return lost;
  const list: Resource[] = [];
  for (const resource of offer.extras.list) {
    const keeps =
      resource.kind === 'scalar' && picks(resource)
        ? cutOne(state, resource, resource.revocable ? lent : budgets, overshoots)
        : resource;
    if (keeps !== resource) lost.add(state.columns.columnOf(resource.name));
    if (keeps !== undefined) list.push(keeps);
  }
  if (lost.size > 0) offer.extras = state.extras.describe(list as readonly Resource[] as Resources);
  return lost;
}

function cutOne(state: State, resource: Resource, budgets: number[], overshoots: boolean): Resource | undefined {
  const column = state.columns.columnOf(resource.name);
  const budget = budgets[column] ?? 0;
  const amount = amountOf(resource);
  const fits = amount <= budget || (overshoots && budget > 0 && isIndivisible(resource));
  const kept = fits ? resource : cutTo(resource, budget);
  budgets[column] = budget - (kept === undefined ? 0 : amountOf(kept));
  return kept;
}

/** Why the offer is not worth making, if so; cuts it to what is wanted where that is known. */
function tooSmall(state: State, member: Member, offer: Offer): Reason {
  if (isNothing(offer)) return Reason.BELOW_MINIMUM;
  const demand = member.demand;
  if (demand !== undefined) {
    if (!holdsWantedShape(state, member, demand, offer)) return Reason.SHAPE_DOES_NOT_FIT;
    if (left.length < offer.columns) left = new Float64Array(offer.columns * 2);
    leftByColumn(state, member, demand, left);
    for (const resource of offer.extras.list) {
      if (resource.reservations === undefined || resource.kind !== 'scalar') continue;
      const column = state.columns.columnOf(resource.name);
      left[column] = (left[column] as number) - amountOf(resource);
    }
    cut(
      state,
      offer,
      ({ reservations }) => reservations === undefined,
      (column) => Math.max(0, left[column] as number),
      true,
    );
    return 0;
  }
  return isEnough(state, member, offer) ? 0 : Reason.BELOW_MINIMUM;
}

/** Whether all that is free on the agent would be a sliver for every member that has said neither what it takes nor wants. */
export function isSliver(state: State, agent: Agent, offer: Offer): boolean {
  takeFree(state, agent, offer);
  return state.minimums.length > 0 && !state.minimums.some((minimum) => holds(state, offer, minimum));
}

function isEnough(state: State, { minimums }: Member, offer: Offer): boolean {
  if (minimums.length === 0) return true;
  for (const minimum of minimums) if (holds(state, offer, minimum)) return true;
  return false;
}
