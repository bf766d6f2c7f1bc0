/** Dice that give the same throws for the same seed. */
export interface Random {
  /** A whole number from 0, below `bound`. */
  below(bound: number): number;
}

/**
 * xorshift32: quick, and good enough to shuffle agents.
 *
 * @see Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003
 */
export function createRandom(seed: number): Random {
  let state = seed >>> 0 || 0x9e3779b9;
  return {
    below(bound) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % bound;
    },
  };
}

/** Shuffles in place. */
export function shuffle<T>(list: T[], random: Random): T[] {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = random.below(last + 1);
    [list[last], list[other]] = [list[other] as T, list[last] as T];
  }
  return list;
}
