import type { Role, State } from './state.ts';

/**
 * The part of the cluster that is each role's fair share, its subroles apart: the product of its parts of the weights down
 * the tree, among those that want or hold something. All roles stand in one row if their dominant shares are divided by it.
 */
export function claimsOf(state: State): ReadonlyMap<Role, number> {
  const claims = new Map<Role, number>();
  claimBelow(state, state.root, 1, claims);
  return claims;
}

function claimBelow(state: State, role: Role, claim: number, claims: Map<Role, number>): void {
  const rivals = [...role.children.values()].filter((child) => child.wanting > 0 || holdsAnything(state, child.held));
  const hasLeaf = role.memberOrder.size > 0 || holdsAnything(state, role.leaf.held);
  let sum = hasLeaf ? role.leaf.weight : 0;
  for (const { weight } of rivals) sum += weight;
  if (hasLeaf) claims.set(role, (claim * role.leaf.weight) / sum);
  for (const rival of rivals) claimBelow(state, rival, (claim * rival.weight) / sum, claims);
}

function holdsAnything({ amounts, columns }: State, row: number): boolean {
  for (let column = 0; column < columns.count; column += 1) {
    if ((amounts.data[row * amounts.width + column] as number) !== 0) return true;
  }
  return false;
}
