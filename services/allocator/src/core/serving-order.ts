import { settleClaims } from './role-tree.ts';
import type { Candidate, Policy } from './sorter/policy.ts';
import type { Account, Leaf, Member, Role, State } from './state.ts';

/** What the policy sees: one object, filled anew for each candidate. */
const view: { -readonly [Key in keyof Candidate]: Candidate[Key] } = {
  name: '',
  weight: 1,
  claim: 1,
  dominantShare: 0,
  allocations: 0,
  memory: undefined,
};

/** The largest fraction of any one scalar of the cluster that is held; not divided by a weight. */
export const shareOf = (state: State, row: number): number =>
  shareOfAmounts(state, state.amounts.data, row * state.amounts.width);

/** The same of amounts by column that stand from a place on. */
export function shareOfAmounts(state: State, amounts: Float64Array, from = 0): number {
  const { data, width } = state.amounts;
  const { excludedFromShares } = state.settings;
  const total = state.total * width;
  let share = 0;
  for (let column = 0; column < state.columns.count; column += 1) {
    const amount = amounts[from + column] as number;
    if (amount === 0) continue;
    const whole = data[total + column] as number;
    const fraction = whole > 0 ? amount / whole : 0;
    if (fraction <= share) continue;
    if (excludedFromShares.length > 0 && excludedFromShares.includes(state.columns.nameOf(column))) continue;
    share = fraction;
  }
  return share;
}

function keyOf(state: State, at: number, policy: Policy, account: Account, name: string, claim: number): number {
  view.name = name;
  view.weight = account.weight;
  view.claim = claim;
  view.dominantShare = shareOf(state, account.held);
  view.allocations = account.allocations;
  view.memory = account.memory;
  const key = policy.key(view, at, state.random);
  account.memory = view.memory;
  return key;
}

/** Changes whenever all keys of the policy are to be made anew. */
function versionOf(state: State, { keysLast }: Policy): number {
  if (keysLast === 'change') return state.keysVersion;
  return state.keysVersion + (keysLast === 'round' ? state.rounds : state.visits);
}

/**
 * Goes through the roles in which somebody takes part, in the order in which they are served. What is given meanwhile
 * counts from the next time.
 *
 * @param visit - says whether to go on
 * @returns whether it went through all of them
 */
export function everyRole(state: State, at: number, visit: (role: Role) => boolean): boolean {
  const { rolePolicy } = state.settings;
  if (rolePolicy.contest === 'level') return everyRoleBelow(state, at, state.root, visit);
  settleClaims(state);
  const { leaves } = state;
  leaves.settle(versionOf(state, rolePolicy), (leaf) => keyOf(state, at, rolePolicy, leaf, leaf.role.name, leaf.claim));
  for (let place = 0; place < leaves.size; place += 1) if (!visit(leaves.at(place).role)) return false;
  return true;
}

function everyRoleBelow(state: State, at: number, role: Role, visit: (role: Role) => boolean): boolean {
  const { rolePolicy } = state.settings;
  const { order } = role;
  order.settle(versionOf(state, rolePolicy), (child) => keyOf(state, at, rolePolicy, child, child.name, 1));
  for (let place = 0; place < order.size; place += 1) {
    const child = order.at(place);
    const goesOn = isLeaf(child) ? visit(child.role) : everyRoleBelow(state, at, child, visit);
    if (!goesOn) return false;
  }
  return true;
}

const isLeaf = (account: Role | Leaf): account is Leaf => 'role' in account;

/** Goes through the members of a role that take part, as {@link everyRole} does. */
export function everyMember(state: State, at: number, role: Role, visit: (member: Member) => boolean): boolean {
  const { frameworkPolicy } = state.settings;
  const { memberOrder } = role;
  const claim = 1 / memberOrder.size;
  memberOrder.settle(versionOf(state, frameworkPolicy), (member) =>
    keyOf(state, at, frameworkPolicy, member, member.name, claim),
  );
  for (let place = 0; place < memberOrder.size; place += 1) if (!visit(memberOrder.at(place))) return false;
  return true;
}
