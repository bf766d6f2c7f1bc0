// One pool of resources that clients fill task by task: what a policy does, without agents, offers and books.
import { createRandom } from '../src/core/random.ts';
import type { Candidate, Policy } from '../src/core/sorter/policy.ts';

/** Amounts of each resource of the pool, whole numbers, in an order of their own. */
export type Amounts = readonly number[];

/** It wants as many tasks of this shape as it can get. */
export interface Client {
  readonly shape: Amounts;
  readonly weight: number;
}

/** Of the pool, what this is a part of; the largest part of any one resource unless a test plants another. */
export type ShareOf = (amounts: Amounts, total: Amounts) => number;

export const largestPart: ShareOf = (amounts, total) =>
  Math.max(...amounts.map((amount, r) => amount / (total[r] ?? 0)));

/** Who was given a task, and who could have been: clients by their place in the list. */
export interface Pick {
  readonly client: number;
  readonly fitting: readonly number[];
  /** Tasks of each client before it. */
  readonly tasks: readonly number[];
}

export interface Filling {
  /** Of each client, in the end. */
  readonly tasks: readonly number[];
  readonly picks: readonly Pick[];
  readonly left: Amounts;
}

/** Gives a task to the lowest key whose task fits, until none fits. */
export function fill(
  policy: Policy,
  clients: readonly Client[],
  total: Amounts,
  shareOf: ShareOf = largestPart,
): Filling {
  const dice = createRandom(1);
  const weights = clients.reduce((sum, { weight }) => sum + weight, 0);
  const candidates = clients.map(({ weight }, i) => ({
    name: `f${i}`,
    weight,
    claim: weight / weights,
    dominantShare: 0,
    allocations: 0,
    memory: undefined as unknown,
  }));
  const left = [...total];
  const picks: Pick[] = [];
  for (;;) {
    const fitting = [...clients.keys()].filter((i) => clients[i]?.shape.every((amount, r) => amount <= (left[r] ?? 0)));
    const [client] = inOrder(policy, candidates, fitting, dice);
    if (client === undefined) break;
    picks.push({ client, fitting, tasks: candidates.map(({ allocations }) => allocations) });
    const { shape } = clients[client] as Client;
    for (const [r, amount] of shape.entries()) left[r] = (left[r] ?? 0) - amount;
    const candidate = candidates[client] as (typeof candidates)[number];
    candidate.allocations += 1;
    candidate.dominantShare = shareOf(times(shape, candidate.allocations), total);
  }
  return { tasks: candidates.map(({ allocations }) => allocations), picks, left };
}

function inOrder(
  policy: Policy,
  candidates: readonly Candidate[],
  of: readonly number[],
  dice: ReturnType<typeof createRandom>,
): number[] {
  const keyed = of.map((i) => ({ i, candidate: candidates[i] as Candidate }));
  const keys = new Map(keyed.map(({ i, candidate }) => [i, policy.key(candidate, 0, dice)]));
  keyed.sort(
    (a, b) =>
      (keys.get(a.i) ?? 0) - (keys.get(b.i) ?? 0) ||
      a.candidate.allocations - b.candidate.allocations ||
      (a.candidate.name < b.candidate.name ? -1 : 1),
  );
  return keyed.map(({ i }) => i);
}

export const times = (amounts: Amounts, count: number): number[] => amounts.map((amount) => amount * count);
