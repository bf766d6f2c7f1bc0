import type { Random } from '../random.ts';

export type { Random } from '../random.ts';

/**
 * What a policy sees of a role, or of a framework within a role. It is a view that is used again for the next
 * candidate: take from it what is needed and do not keep it.
 */
export interface Candidate {
  /** Full path of a role, or the id of a framework. */
  readonly name: string;
  /**
   * Above 0; 1 unless the operator has set another. Of a role's own frameworks beside its subroles, and of a framework:
   * 1.
   */
  readonly weight: number;
  /**
   * Product of weight shares from the root: its claim among all active leaves, above 0 and at most 1. For flat
   * policies.
   */
  readonly claim: number;
  /** Largest fraction of any one scalar of the cluster that it holds, offered and allocated; not divided by weight. */
  readonly dominantShare: number;
  /** How often it was given something since this allocator has the books. */
  readonly allocations: number;
  /** Kept by the policy for this candidate; starts undefined; lost with the allocator's books. */
  memory: unknown;
}

/**
 * Decides who is served next: a key for each candidate, of which the lowest goes first. Quotas, limits, constraints,
 * filters and demands are judged elsewhere: a policy only puts those in order who may be given something.
 *
 * A policy of your own is the default export of a module; `--role-sorter` and `--framework-sorter` take its path:
 *
 * ```ts
 * import type { Policy } from '@mesobus/allocator/policy';
 *
 * const fewestFirst: Policy = {
 *   name: 'fewest-first',
 *   contest: 'level',
 *   keysLast: 'change',
 *   key: ({ allocations, weight }) => allocations / weight,
 * };
 * export default fewestFirst;
 * ```
 *
 * Keys are asked for very often: make no object in `key`, and wait for nothing. The same calls must give the same keys,
 * or decisions cannot be checked or played again: so take time from `at` and dice from `random`. A key that is not a
 * number, or a `key` that throws, puts the candidate last and is logged once for each policy; nobody else is concerned.
 */
export interface Policy {
  readonly name: string;
  /**
   * 'level': siblings compete below each role (Mesos' DRF). 'flat': all active leaves compete at once (Mesos' random
   * sorter).
   */
  readonly contest: 'level' | 'flat';
  /**
   * 'change': keys only follow from the candidate. 'round': they are made anew for each round (time counts). 'visit':
   * they are made anew for each agent that is looked at (dice count: thrown once a round, they would give one all
   * agents).
   */
  readonly keysLast: 'change' | 'round' | 'visit';
  /**
   * Lowest goes first; equal keys: fewest allocations, then name.
   *
   * @param at - ms, monotonic
   * @returns any number but NaN; Infinity goes last
   */
  key(candidate: Candidate, at: number, random: Random): number;
}

/** A policy gave no key for a candidate. */
export interface PolicyProblem {
  readonly policy: string;
  /** The first candidate that it happened to. */
  readonly candidate: string;
  /** What happened, why, and what to do, in a sentence. */
  readonly message: string;
  /** What the policy threw, if it did. */
  readonly cause?: unknown;
}

/**
 * The same policy, for an allocator that must outlive it: a candidate for which it throws or gives no number goes last.
 *
 * @param onProblem - called the first time only: what fails once mostly fails for everyone, thousands of times a second
 */
export function guarded(policy: Policy, onProblem: (problem: PolicyProblem) => void): Policy {
  const { name, contest, keysLast } = policy;
  let isKnown = false;
  const last = (candidate: Candidate, what: string, thrown?: { cause: unknown }): number => {
    if (!isKnown) {
      isKnown = true;
      const message = `The policy '${name}' ${what} for '${candidate.name}', which goes last: let its key be a number`;
      onProblem({ policy: name, candidate: candidate.name, message, ...thrown });
    }
    return Number.POSITIVE_INFINITY;
  };
  return {
    name,
    contest,
    keysLast,
    key(candidate, at, random) {
      let key: unknown;
      try {
        key = policy.key(candidate, at, random);
      } catch (cause) {
        return last(candidate, 'threw an error', { cause });
      }
      if (typeof key === 'number' && !Number.isNaN(key)) return key;
      return last(candidate, typeof key === 'number' ? 'gave NaN' : `gave a key of type ${typeof key}`);
    },
  };
}

/** Says what keeps a value from being a policy, a sentence for each member; empty if it is one. */
export function policyProblems(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [`it is of type ${value === null ? 'null' : typeof value}`];
  const { name, contest, keysLast, key } = value as Record<keyof Policy, unknown>;
  const problems: string[] = [];
  if (typeof name !== 'string' || name === '') problems.push(`'name' must be a text that is not empty`);
  if (contest !== 'level' && contest !== 'flat') problems.push(`'contest' must be 'level' or 'flat'`);
  if (keysLast !== 'change' && keysLast !== 'round' && keysLast !== 'visit')
    problems.push(`'keysLast' must be 'change', 'round' or 'visit'`);
  if (typeof key !== 'function') problems.push(`'key' must be a function`);
  return problems;
}
