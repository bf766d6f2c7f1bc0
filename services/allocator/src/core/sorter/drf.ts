import type { Policy } from './policy.ts';

/**
 * Dominant resource fairness: whoever holds the smallest part of the cluster, counted in what it holds most of and
 * divided by its weight, goes first.
 *
 *     key = dominantShare / weight
 *
 * @see Ghodsi et al., "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types", NSDI 2011, sections 4.1
 *   and 4.3
 */
export const drf: Policy = {
  name: 'drf',
  contest: 'level',
  keysLast: 'change',
  key: (candidate) => candidate.dominantShare / candidate.weight,
};
