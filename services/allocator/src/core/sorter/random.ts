import type { Policy } from './policy.ts';

const throws = 2 ** 32;

/**
 * A weighted random order without replacement, as by Mesos' random sorter: each place goes to one of those who have
 * none yet, with a probability in proportion to its claim. As there, each agent has an order of its own. What anyone
 * holds does not count.
 *
 *     key = -ln(u) / claim, with u uniform in (0, 1)
 *
 * Mesos sorts by -(u ^ (1 / claim)). That is the same order, for x -> -ln(-x) only grows, but it loses small claims:
 * with thousands of frameworks most of its keys are too small for a number and become 0, all the same.
 *
 * @see Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97, 2006
 */
export const random: Policy = {
  name: 'random',
  contest: 'flat',
  keysLast: 'visit',
  key: (candidate, _at, dice) => -Math.log((dice.below(throws) + 0.5) / throws) / candidate.claim,
};
