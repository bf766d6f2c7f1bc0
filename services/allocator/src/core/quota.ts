import type { mesos } from '@mesobus/protos';
import { maxAmountUnits, toThousandths } from '@mesobus/sdk/resources';
import type { Quota, Role, State } from './state.ts';

/**
 * How much of what is unreserved and not revocable a role may be given, by column. Quotas may be nested: what a role is
 * guaranteed is a part of what the role above it is.
 *
 *     unmet(r)    = max(0, guarantee(r) - consumed(r))
 *     kept(r)     = max(unmet(r), sum of kept over its children)
 *     progress(r) = kept(top of r) - sum of kept over all branches beside the way from there to r's own members
 *     room(r)     = least limit - consumed of r and all above it
 *     spare       = what is free on active agents - sum of kept over the top roles, at least 0
 *
 * Giving a role up to its progress never lowers what is spare, as what must be kept falls by as much.
 */
export interface Budget {
  /** False: there are no quotas, and the rest says nothing. */
  applies: boolean;
  room: Float64Array;
  progress: Float64Array;
  spare: Float64Array;
}

export function createBudget(): Budget {
  const none = new Float64Array(0);
  return { applies: false, room: none, progress: none, spare: none };
}

/** Works out what a role may be given as things stand. */
export function budgetFor(state: State, role: Role, budget: Budget): void {
  budget.applies = state.quotas > 0;
  if (!budget.applies) return;
  const { count } = state.columns;
  if (budget.room.length < count) {
    for (const part of ['room', 'progress', 'spare'] as const) budget[part] = new Float64Array(count);
  }
  const { room, progress, spare } = budget;
  for (let column = 0; column < count; column += 1) {
    room[column] = roomOf(state, role, column);
    progress[column] = progressOf(state, role, column);
    spare[column] = Math.max(0, headroomOf(state, column) - requiredHeadroomOf(state, column));
  }
}

/** Whether something of a guarantee is missing that the members of a role could be given; of the root: of any guarantee. */
export function isShort(state: State, role: Role): boolean {
  if (state.quotas === 0) return false;
  const { data, width } = state.amounts;
  if (role.parent === undefined) {
    for (let column = 0; column < state.columns.count; column += 1) {
      if ((data[role.keptForChildren * width + column] as number) > 0) return true;
    }
    return false;
  }
  for (let column = 0; column < state.columns.count; column += 1) if (progressOf(state, role, column) > 0) return true;
  return false;
}

function progressOf({ amounts }: State, role: Role, column: number): number {
  const { data, width } = amounts;
  let beside = data[role.keptForChildren * width + column] as number;
  for (let above = role; ; above = above.parent as Role) {
    const kept = data[above.kept * width + column] as number;
    const { parent } = above;
    if (parent?.parent === undefined) return Math.max(0, kept - beside);
    beside += (data[parent.keptForChildren * width + column] as number) - kept;
  }
}

/** What it may still be given by its own limit and those above it; Infinity without any. */
export function roomOf({ amounts }: State, role: Role, column: number): number {
  const { data, width } = amounts;
  let least = Number.POSITIVE_INFINITY;
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
    const limit = above.quota?.limits[column];
    if (limit !== undefined) least = Math.min(least, limit - (data[above.consumed * width + column] as number));
  }
  return Math.max(0, least);
}

export const headroomOf = ({ amounts, headroom }: State, column: number): number =>
  amounts.data[headroom * amounts.width + column] as number;

export const requiredHeadroomOf = ({ amounts, root }: State, column: number): number =>
  amounts.data[root.keptForChildren * amounts.width + column] as number;

/** The role consumes more or less than before: works out what must be kept for it and for those above it. */
export function settleKept(state: State, role: Role): void {
  if (state.quotas === 0) return;
  const { data, width } = state.amounts;
  for (let above = role; above.parent !== undefined; above = above.parent) {
    const { quota, parent } = above;
    for (let column = 0; column < state.columns.count; column += 1) {
      const kept = above.kept * width + column;
      const unmet = (quota?.guarantees[column] ?? 0) - (data[above.consumed * width + column] as number);
      const now = Math.max(0, unmet, data[above.keptForChildren * width + column] as number);
      (data[parent.keptForChildren * width + column] as number) += now - (data[kept] as number);
      data[kept] = now;
    }
  }
}

/** Sets or removes the quota of a role. One without guarantees and limits is none. */
export function setQuota(state: State, role: Role, config: mesos.v1.quota.QuotaConfig | null): void {
  const guarantees = byColumn(state, config?.guarantees ?? {});
  const limits = byColumn(state, config?.limits ?? {});
  putQuota(state, role, guarantees.length + limits.length > 0 ? { guarantees, limits } : undefined);
}

/** Puts a quota, or none, in the place of that of a role. */
export function putQuota(state: State, role: Role, quota: Quota | undefined): void {
  const before = state.quotas;
  if (role.quota !== undefined) state.quotas -= 1;
  role.quota = quota;
  if (quota !== undefined) state.quotas += 1;
  // Without any quota nothing is kept, and nobody keeps up what would be.
  if (before > 0 && state.quotas > 0) settleKept(state, role);
  else if (before !== state.quotas) settleAllKept(state, state.root);
}

function byColumn({ columns }: State, amounts: Readonly<Record<string, { readonly value: number }>>): number[] {
  const list: number[] = [];
  for (const [name, { value }] of Object.entries(amounts)) {
    // A master sends no amount that is none; one would count as nothing.
    if (value >= 0 && value <= maxAmountUnits) list[columns.columnOf(name)] = toThousandths(value);
  }
  return list;
}

/** From the leaves up, for quotas came or went. */
function settleAllKept(state: State, role: Role): void {
  const { amounts } = state;
  for (const row of [role.kept, role.keptForChildren]) {
    amounts.data.fill(0, row * amounts.width, (row + 1) * amounts.width);
  }
  for (const child of role.children.values()) settleAllKept(state, child);
  if (role.parent !== undefined) settleOne(state, role, role.parent);
}

function settleOne(state: State, role: Role, parent: Role): void {
  const { data, width } = state.amounts;
  for (let column = 0; column < state.columns.count; column += 1) {
    const unmet = (role.quota?.guarantees[column] ?? 0) - (data[role.consumed * width + column] as number);
    const now = Math.max(0, unmet, data[role.keptForChildren * width + column] as number);
    data[role.kept * width + column] = now;
    (data[parent.keptForChildren * width + column] as number) += now;
  }
}
