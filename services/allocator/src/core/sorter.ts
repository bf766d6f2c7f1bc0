import type { Quantities } from '@mesobus/sdk/resources';
import { dominantShare } from './dominant-share.ts';
import type { Account, Role, State } from './state.ts';

interface Ranked<T> {
  readonly item: T;
  readonly name: string;
  readonly share: number;
  readonly allocations: number;
}

/** Lowest share first; then who was given less often; then by name. */
function rank<T>(list: Ranked<T>[]): T[] {
  list.sort((a, b) => a.share - b.share || a.allocations - b.allocations || (a.name < b.name ? -1 : 1));
  return list.map(({ item }) => item);
}

const ranked = <T>(item: T, name: string, account: Account, total: Quantities, weight: number): Ranked<T> => ({
  item,
  name,
  share: dominantShare(account.held, total, weight).share,
  allocations: account.allocations,
});

/** The roles in the order in which they are served. */
export function sortRoles(state: State): Role[] {
  return rank([...state.roles.values()].map((role) => ranked(role, role.name, role.account, state.total, role.weight)));
}

/** The frameworks of a role in the order in which they are served, by id. */
export function sortMembers(state: State, role: Role): string[] {
  return rank([...role.members].map(([id, account]) => ranked(id, id, account, state.total, 1)));
}
