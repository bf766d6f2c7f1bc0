import type { Problem } from './malformed-resource-error.ts';

/**
 * The most that one amount may be, in units. Up to here a double tells any two thousandths apart, so that an amount
 * survives the wire.
 */
export const maxAmountUnits = 1_000_000_000_000;

const smallestNormal = 2 ** -1022;

/**
 * Units of Mesos (cpus, MB) as integer thousandths, rounded half away from zero. The value must have passed
 * `amountProblem`.
 */
export function toThousandths(units: number): number {
  const rounded = Math.round(Math.abs(units) * 1000);
  return units < 0 && rounded !== 0 ? -rounded : rounded;
}

/** Says why a number of units cannot be an amount of a resource; undefined if it can. */
export function amountProblem(units: number): Problem | undefined {
  if (units < 0) return { problem: `its amount ${units} is negative`, remedy: 'give 0 or more' };
  return finiteProblem(units);
}

/** Says why a number of units is no usable number at all; undefined if it is. Negative ones are. */
export function finiteProblem(units: number): Problem | undefined {
  if (typeof units !== 'number') return { problem: 'its amount is not a number', remedy: 'give a number such as 1.5' };
  const size = Math.abs(units);
  if (size <= maxAmountUnits && (size === 0 || size >= smallestNormal)) return undefined;
  if (Number.isNaN(units)) return { problem: 'its amount is NaN', remedy: 'give a number such as 1.5' };
  if (size === Number.POSITIVE_INFINITY) return { problem: 'its amount is infinite', remedy: 'give a finite number' };
  if (size < smallestNormal) return { problem: 'its amount is subnormal', remedy: 'give 0 or at least 0.001' };
  return { problem: `its amount ${units} is too large`, remedy: `give at most ${maxAmountUnits}` };
}

/** Writes thousandths as units: 1500 as '1.5', 24000 as '24'. */
export function formatAmount(thousandths: number): string {
  return String(thousandths / 1000);
}
