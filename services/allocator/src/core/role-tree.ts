import { liftFilters } from './filters.ts';
import type { Order } from './sorter/order.ts';
import { createAccount, createRole, type Leaf, type Member, type Role, type State } from './state.ts';

/** The role of that path, with all above it. One that nobody mentioned before has weight 1. */
export function roleNamed(state: State, path: string): Role {
  const known = state.roles.get(path);
  if (known !== undefined) return known;
  const slash = path.lastIndexOf('/');
  const parent = slash < 0 ? state.root : roleNamed(state, path.slice(0, slash));
  const role = createRole(state.amounts, state.settings, path, parent);
  parent.children.set(path, role);
  state.roles.set(path, role);
  return role;
}

/** Takes a role out of the tree, and those above it that were only there for it, if nothing is known of it any more. */
export function forgetIfUnused(state: State, role: Role): void {
  if (role.parent === undefined || role.members.size > 0 || role.children.size > 0) return;
  if (role.configured || role.reservations > 0) return;
  for (const row of [role.held, role.leaf.held, role.consumed, role.kept, role.keptForChildren]) {
    state.amounts.remove(row);
  }
  role.parent.children.delete(role.name);
  state.roles.delete(role.name);
  forgetIfUnused(state, role.parent);
}

/** The framework in the role; it becomes a member if it is none. */
export function memberOf(state: State, role: Role, frameworkId: string): Member {
  const known = role.members.get(frameworkId);
  if (known !== undefined) return known;
  const member: Member = {
    ...createAccount(state.amounts, frameworkId),
    number: state.vacantNumbers.pop() ?? state.nextNumber++,
    frameworkId,
    role,
    framework: state.frameworks.get(frameworkId),
    offered: state.amounts.add(),
    openOffers: 0,
    uses: 0,
    wanting: false,
    filtered: 0,
    meets: undefined,
    minimums: state.minimums,
    demand: undefined,
    waitingSinceMs: Number.POSITIVE_INFINITY,
    rescinding: 0,
    soughtAtMs: Number.NEGATIVE_INFINITY,
    soughtUpTo: undefined,
    tasksSoughtAtMs: Number.NEGATIVE_INFINITY,
    tasksSoughtUpTo: 0,
    claimingSinceMs: Number.POSITIVE_INFINITY,
    settledOffers: 0,
    settledAmounts: 0,
    settledUsed: 0,
    unused: 0,
  };
  role.members.set(frameworkId, member);
  const others = state.members.get(frameworkId);
  if (others === undefined) state.members.set(frameworkId, new Set([member]));
  else others.add(member);
  return member;
}

/** A framework stays a member of a role that it left for as long as it holds something there. */
export function forgetMemberIfUnused(state: State, member: Member): void {
  if (member.uses > 0 || member.framework?.roles.has(member.role.name)) return;
  setWanting(state, member, false);
  liftFilters(state, member);
  state.vacantNumbers.push(member.number);
  state.waiting.delete(member);
  state.unsettled.delete(member);
  state.amounts.remove(member.held);
  state.amounts.remove(member.offered);
  member.role.members.delete(member.frameworkId);
  const others = state.members.get(member.frameworkId);
  others?.delete(member);
  if (others?.size === 0) state.members.delete(member.frameworkId);
  forgetIfUnused(state, member.role);
}

/** Lets a member take part in its role, or not; roles below which nobody takes part are not looked at. */
export function setWanting(state: State, member: Member, wanting: boolean): void {
  if (member.wanting === wanting) return;
  member.wanting = wanting;
  const { role } = member;
  if (wanting) role.memberOrder.add(member);
  else role.memberOrder.remove(member);
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
    above.wanting += wanting ? 1 : -1;
    if (above.wanting === 0) above.parent?.order.remove(above);
    else above.parent?.order.add(above);
  }
  const order = orderOfLeaf(state, role);
  if (role.memberOrder.size === 0) order.remove(role.leaf);
  else order.add(role.leaf);
  state.claimsStale = true;
}

/** Where a leaf competes: beside the children of its role, or with all others. */
const orderOfLeaf = (state: State, role: Role): Order<Leaf> | Order<Role | Leaf> =>
  state.settings.rolePolicy.contest === 'flat' ? state.leaves : role.order;

/** Something that the role or its leaf holds has changed: both may stand elsewhere now, and all above. */
export function touchPath(state: State, role: Role): void {
  orderOfLeaf(state, role).touch(role.leaf);
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) above.parent?.order.touch(above);
}

/** Works out the claims of all leaves that take part: for each role its part of the weights of its siblings. */
export function settleClaims(state: State): void {
  if (!state.claimsStale) return;
  state.claimsStale = false;
  state.keysVersion += 1;
  claimBelow(state.root, 1);
}

function claimBelow(role: Role, claim: number): void {
  const rivals = [...role.children.values()].filter(({ wanting }) => wanting > 0);
  let sum = 0;
  for (const { weight } of rivals) sum += weight;
  if (role.memberOrder.size > 0) sum += role.leaf.weight;
  role.leaf.claim = sum > 0 ? claim * (rivals.length > 0 ? role.leaf.weight / sum : 1) : 0;
  for (const rival of rivals) claimBelow(rival, (claim * rival.weight) / sum);
}
