import { contains, type Resources, trySubtract } from '@mesobus/sdk/resources';

/** How many tasks, each needing `each`, fit into what is there; at most `limit`. */
export function howManyFit(there: Resources, each: Resources, limit: number): number {
  let left: Resources | undefined = there;
  let fit = 0;
  while (fit < limit && left !== undefined && contains(left, each)) {
    left = trySubtract(left, each);
    fit += 1;
  }
  return fit;
}
