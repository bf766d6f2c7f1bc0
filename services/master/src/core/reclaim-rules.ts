// What may be taken from whom. The allocator goes by the same rules, in books that may be a moment old.
import { holdsResources, type TaskEntry } from '@mesobus/registry/core';
import { contains, noResources, quantitiesOf, type Resources, sum, toThousandths } from '@mesobus/sdk/resources';
import { consumedBy, looseQuantities, pathOf } from './consumption.ts';
import { rolesOf } from './frameworks.ts';
import { quotaOf } from './quota.ts';
import type { Claimant, Reclaim } from './reclaims.ts';
import type { State } from './state.ts';

/** Whether a framework still wants something in a role: by its word, or else as long as a guarantee is not met. */
export function wants(state: State, { frameworkId, role }: Claimant): boolean {
  const record = state.ledger.frameworks.get(frameworkId)?.record;
  const link = state.frameworks.get(frameworkId);
  if (record === undefined || !link?.connected || !rolesOf(record.info).includes(role)) return false;
  if (record.suppressedRoles.includes(role)) return false;
  const demand = link.demands.find((one) => one.role === role);
  if (demand === undefined) return lackedBy(state, role);
  const offered = quantitiesOf(sum([...link.offers].filter((one) => one.role === role).map((one) => one.resources)));
  const left = new Map<string, number>();
  for (const { quantities, count } of demand.shapes) {
    for (const [name, { value }] of Object.entries(quantities)) {
      left.set(name, (left.get(name) ?? -(offered[name] ?? 0)) + toThousandths(value) * count);
    }
  }
  return demand.shapes.some(({ quantities }) =>
    Object.entries(quantities).every(([name, { value }]) => (left.get(name) ?? 0) >= toThousandths(value)),
  );
}

/** Whether the role, or one above it, consumes less than it is guaranteed. */
export function lackedBy(state: State, role: string): boolean {
  for (const above of pathOf(role)) {
    for (const [name, amount] of guaranteesOf(state, above)) {
      if ((consumedBy(state, above).get(name) ?? 0) < amount) return true;
    }
  }
  return false;
}

function guaranteesOf({ ledger }: State, role: string): ReadonlyMap<string, number> {
  const quota = ledger.roles.get(role)?.quota;
  return quota ? quotaOf(quota).guarantees : none;
}

const none: ReadonlyMap<string, number> = new Map();

/**
 * Whether all roles that the tasks are of, and those above them that are not above the claimant too, consume what they are
 * guaranteed without them, and without all that is asked back already.
 *
 * @param own - the reclaim that the tasks are of, if it is under way
 */
export function protects(state: State, claimantRole: string, tasks: readonly TaskEntry[], own?: Reclaim): boolean {
  const shared = new Set(pathOf(claimantRole));
  const leaving = [...tasks];
  for (const reclaim of state.reclaims.byAgent.values()) if (reclaim !== own) leaving.push(...reclaim.tasks);
  const less = new Map<string, Map<string, number>>();
  for (const task of leaving) if (holdsResources(task.state)) addLoose(less, task);
  const touched = new Set(tasks.flatMap(({ role }) => [...pathOf(role)]).filter((role) => !shared.has(role)));
  for (const role of touched) {
    for (const [name, guarantee] of guaranteesOf(state, role)) {
      const back = less.get(role)?.get(name) ?? 0;
      if (back > 0 && (consumedBy(state, role).get(name) ?? 0) - back < guarantee) return false;
    }
  }
  return true;
}

function addLoose(sums: Map<string, Map<string, number>>, { role, resources }: TaskEntry): void {
  const loose = Object.entries(looseQuantities(resources));
  for (const above of pathOf(role)) {
    const amounts = sums.get(above) ?? new Map<string, number>();
    sums.set(above, amounts);
    for (const [name, amount] of loose) amounts.set(name, (amounts.get(name) ?? 0) + amount);
  }
}

/**
 * Of tasks in the order in which they are preferred those that together hold so much: none that guarantees need, and none
 * that is not needed; undefined if they do not.
 *
 * @param besides - tasks that are taken already
 */
export function pickTasks(
  state: State,
  claimantRole: string,
  tasks: readonly TaskEntry[],
  wanted: Resources,
  besides: readonly TaskEntry[],
): TaskEntry[] | undefined {
  const holds = (chosen: readonly TaskEntry[]): boolean =>
    contains(chosen.length === 0 ? noResources : sum(chosen.map(({ resources }) => resources)), wanted);
  let chosen: TaskEntry[] = [];
  for (const task of tasks) {
    if (holds(chosen)) break;
    if (protects(state, claimantRole, [...besides, ...chosen, task])) chosen.push(task);
  }
  if (!holds(chosen)) return undefined;
  for (const task of chosen.slice(0, -1).reverse()) {
    const fewer = chosen.filter((other) => other !== task);
    if (holds(fewer)) chosen = fewer;
  }
  return chosen;
}
