import { InvariantError } from '../errors.ts';
import { amountProblem, formatAmount, toThousandths } from './amount.ts';
import { MalformedResourceError } from './malformed-resource-error.ts';
import { nameProblem } from './resource-name.ts';

/**
 * How much there is of each scalar resource, in integer thousandths of the Mesos unit (cpus, MB). A name that is absent
 * stands for 0; no entry is ever 0. Where it lies, for whom and how it may be used is not told: see `Resources`.
 */
export type Quantities = Readonly<Record<string, number>>;

export const noQuantities: Quantities = Object.freeze({});

/**
 * Quantities from amounts in Mesos units: `{ cpus: 1.5, mem: 128 }`.
 *
 * @throws {MalformedResourceError} if a name or an amount is unusable
 */
export function toQuantities(units: Readonly<Record<string, number>>): Quantities {
  const quantities: Record<string, number> = {};
  for (const [name, value] of Object.entries(units)) {
    const problem = nameProblem(name) ?? amountProblem(value);
    if (problem !== undefined) throw new MalformedResourceError(`quantity '${name}'`, problem);
    const amount = toThousandths(value);
    if (amount !== 0) quantities[name] = amount;
  }
  return quantities;
}

export function addQuantities(a: Quantities, b: Quantities): Quantities {
  const total: Record<string, number> = { ...a };
  for (const name in b) total[name] = (total[name] ?? 0) + (b[name] as number);
  return total;
}

/**
 * What is left of `whole` without `part`.
 *
 * @throws {InvariantError} if `whole` does not contain `part`
 */
export function subtractQuantities(whole: Quantities, part: Quantities): Quantities {
  if (!containsQuantities(whole, part)) {
    const [held, taken] = [formatQuantities(whole), formatQuantities(part)];
    throw new InvariantError(`Cannot subtract '${taken}' from '${held}': there is not so much; check the books`);
  }
  return shortfall(whole, part);
}

/** What `held` lacks to reach `wanted`; nothing where it holds as much or more. */
export function shortfall(wanted: Quantities, held: Quantities): Quantities {
  const missing: Record<string, number> = {};
  for (const name in wanted) {
    const amount = (wanted[name] as number) - (held[name] ?? 0);
    if (amount > 0) missing[name] = amount;
  }
  return missing;
}

export function containsQuantities(whole: Quantities, part: Quantities): boolean {
  for (const name in part) if ((whole[name] ?? 0) < (part[name] as number)) return false;
  return true;
}

export function equalQuantities(a: Quantities, b: Quantities): boolean {
  return containsQuantities(a, b) && containsQuantities(b, a);
}

export function isEmptyQuantities(quantities: Quantities): boolean {
  for (const _ in quantities) return false;
  return true;
}

/** Every amount times `factor` (0 or more), rounded half away from zero. */
export function scaleQuantities(quantities: Quantities, factor: number): Quantities {
  const scaled: Record<string, number> = {};
  for (const name in quantities) {
    const amount = Math.round((quantities[name] as number) * factor);
    if (amount !== 0) scaled[name] = amount;
  }
  return scaled;
}

/** Writes quantities in units, in order of name: `cpus:1.5;mem:128`. */
export function formatQuantities(quantities: Quantities): string {
  const names = Object.keys(quantities).sort();
  return names.map((name) => `${name}:${formatAmount(quantities[name] as number)}`).join(';');
}
