import type { Candidate, Policy } from './policy.ts';

export interface DecayedDrfOptions {
  /** After this time, in ms, use counts half. Above 0. */
  readonly halfLifeMs?: number;
}

/** Ten minutes: long beside a task of an interactive job, short beside a working day. */
export const defaultHalfLifeMs = 600_000;

/** What is remembered of a candidate. */
interface Use {
  /** When it was last seen, in ms. */
  at: number;
  /** The dominant share that it had from then on. */
  share: number;
  /**
   * The average of its dominant share until then, in which use counts half as much for each half-life that it is past.
   */
  average: number;
}

/**
 * Dominant resource fairness in which recent use counts, and not only the present: of two that hold the same, the one
 * that has held less goes first.
 *
 *     key(t)     = (share(t) + average(t)) / weight
 *     average(t) = average(s) * k + share(s) * (1 - k), with k = 2 ^ -((t - s) / halfLife)
 *
 * where s is when the key was last asked for. The present always counts in full, so that within a round it is DRF with
 * a handicap; who holds the same for long gets twice its share; who holds nothing gets half of its key after each
 * half-life. Between changes a share is constant, for which the step is exact, however long or short it is: asked
 * seldom or often, a candidate gets the same key, as long as it is asked whenever its share has changed. What changes
 * while nobody asks counts from the next time. Whoever is seen first, by a new allocator too, is taken to have held for
 * long what it holds.
 *
 * The sum of present and exponentially averaged past is the priority of Stateful DRF; there, only use beyond an equal
 * part of the cluster enters the average, resource by resource. Here all use does, by its dominant share, as in
 * HTCondor's user priorities, from which the step for irregular times is (and where the average alone counts), and in
 * Slurm's fair-share.
 *
 * @throws {RangeError} if the half-life is not above 0
 * @see Sadok, Campista and Costa, "Stateful DRF: Considering the Past in a Multi-Resource Allocation", IEEE
 *   Transactions on Computers 70(7), 2021
 * @see "HTCondor Manual", User Priorities and Negotiation, Priority Calculation (`PRIORITY_HALFLIFE`)
 * @see "Slurm Multifactor Priority Plugin" (`PriorityDecayHalfLife`)
 */
export function decayedDrf({ halfLifeMs = defaultHalfLifeMs }: DecayedDrfOptions = {}): Policy {
  if (!(halfLifeMs > 0)) throw new RangeError(`The half-life of past use is ${halfLifeMs} ms: give more than 0`);
  return {
    name: 'decayed-drf',
    contest: 'level',
    keysLast: 'round',
    key(candidate, at) {
      const use = useOf(candidate, at);
      if (at > use.at) {
        const kept = 2 ** ((use.at - at) / halfLifeMs);
        use.average = use.average * kept + use.share * (1 - kept);
        use.at = at;
      }
      use.share = candidate.dominantShare;
      return (use.share + use.average) / candidate.weight;
    },
  };
}

function useOf(candidate: Candidate, at: number): Use {
  candidate.memory ??= { at, share: candidate.dominantShare, average: candidate.dominantShare } satisfies Use;
  return candidate.memory as Use;
}
