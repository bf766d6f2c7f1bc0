import { InvariantError } from '../errors.ts';
import { formatResources } from './format-resources.ts';
import { MalformedResourceError } from './malformed-resource-error.ts';
import type { Quantities } from './quantities.ts';
import { containsRanges, equalRanges, subtractRanges, unionRanges } from './ranges.ts';
import { isIndivisible, isNothing, normalise, type Resource, type ResourceSpec } from './resource.ts';
import { resourceProblem } from './resource-problem.ts';

declare const normalForm: unique symbol;

/**
 * Resources in normal form: what can be merged is merged, nothing is empty, in order of key. Never changed in place.
 * Equal resources are equal lists, but for what does not count (a volume's mount, who made it).
 *
 * Scalars and copies of indivisible resources are counted. Ranges and sets are sets: what is in both is in the sum once.
 */
export type Resources = readonly Resource[] & { readonly [normalForm]: true };

export const noResources: Resources = Object.freeze([]) as readonly Resource[] as Resources;

/**
 * Resources from a list of single ones, in any order.
 *
 * @throws {MalformedResourceError} if one of them is malformed
 */
export function resourcesOf(specs: Iterable<ResourceSpec>): Resources {
  const list = [...specs];
  for (const [i, spec] of list.entries()) {
    const problem = resourceProblem(spec);
    if (problem !== undefined) throw new MalformedResourceError(`resource ${i + 1} ('${spec.name}')`, problem);
  }
  return collect(list);
}

/** Brings well-formed resources into normal form. */
export function collect(specs: readonly ResourceSpec[]): Resources {
  return collectNormal(specs.map(normalise));
}

/** Sorts and merges resources that are each in normal form. */
export function collectNormal(resources: Resource[]): Resources {
  const sorted = resources.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const collected: Resource[] = [];
  for (const resource of sorted) {
    if (isNothing(resource)) continue;
    const last = collected.at(-1);
    if (last?.key === resource.key) collected[collected.length - 1] = merge(last, resource);
    else collected.push(resource);
  }
  return collected as readonly Resource[] as Resources;
}

export function isEmpty(resources: Resources): boolean {
  return resources.length === 0;
}

export function add(a: Resources, b: Resources): Resources {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  // Mostly they are of the same stuff. A list that is made at once takes as much memory as it needs, and no more.
  if (a.length === b.length && a.every(({ key }, i) => key === (b[i] as Resource).key)) {
    return a.map((left, i) => merge(left, b[i] as Resource)) as readonly Resource[] as Resources;
  }
  const total: Resource[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const left = a[i] as Resource;
    const right = b[j] as Resource;
    if (left.key === right.key) {
      total.push(merge(left, right));
      i += 1;
      j += 1;
    } else if (left.key < right.key) {
      total.push(left);
      i += 1;
    } else {
      total.push(right);
      j += 1;
    }
  }
  for (; i < a.length; i += 1) total.push(a[i] as Resource);
  for (; j < b.length; j += 1) total.push(b[j] as Resource);
  return total as readonly Resource[] as Resources;
}

export function sum(list: Iterable<Resources>): Resources {
  let total = noResources;
  for (const resources of list) total = add(total, resources);
  return total;
}

/** Whether all of `part` is in `whole`, of the same stuff. */
export function contains(whole: Resources, part: Resources): boolean {
  let i = 0;
  for (const wanted of part) {
    while (i < whole.length && (whole[i] as Resource).key !== wanted.key) i += 1;
    const held = whole[i];
    if (held === undefined || !covers(held, wanted)) return false;
    i += 1;
  }
  return true;
}

/**
 * What is left of `whole` without `part`.
 *
 * @throws {InvariantError} if `whole` does not contain `part`
 */
export function subtract(whole: Resources, part: Resources): Resources {
  const rest = trySubtract(whole, part);
  if (rest === undefined) {
    const [held, taken] = [formatResources(whole), formatResources(part)];
    throw new InvariantError(
      `Cannot subtract '${taken}' from '${held}': it is not contained; check with contains() or use trySubtract()`,
    );
  }
  return rest;
}

/** What is left of `whole` without `part`; undefined if `whole` does not contain it. */
export function trySubtract(whole: Resources, part: Resources): Resources | undefined {
  if (part.length === 0) return whole;
  const rest: Resource[] = [];
  let j = 0;
  for (const held of whole) {
    const wanted = part[j];
    if (wanted === undefined || held.key !== wanted.key) {
      rest.push(held);
      continue;
    }
    j += 1;
    if (!covers(held, wanted)) return undefined;
    const left = reduce(held, wanted);
    if (left !== undefined) rest.push(left);
  }
  // Both are in order of key: whatever `whole` does not have is still waiting.
  return j === part.length ? (rest as readonly Resource[] as Resources) : undefined;
}

export function equals(a: Resources, b: Resources): boolean {
  return a.length === b.length && a.every((resource, i) => isEqual(resource, b[i] as Resource));
}

/** The scalars by name, wherever they lie and whoever they are for. A shared volume counts once, however often held. */
export function quantitiesOf(resources: Resources): Quantities {
  const quantities: Record<string, number> = {};
  for (const resource of resources) {
    if (resource.kind !== 'scalar') continue;
    const count = resource.shared ? 1 : (resource.copies ?? 1);
    quantities[resource.name] = (quantities[resource.name] ?? 0) + resource.amount * count;
  }
  return quantities;
}

/** The sum of two resources with the same key. */
function merge(a: Resource, b: Resource): Resource {
  if (a.kind === 'scalar' && b.kind === 'scalar') {
    if (isIndivisible(a)) return { ...a, copies: (a.copies ?? 1) + (b.copies ?? 1) };
    return { ...a, amount: a.amount + b.amount };
  }
  if (a.kind === 'ranges' && b.kind === 'ranges') return { ...a, ranges: unionRanges(a.ranges, b.ranges) };
  if (a.kind === 'set' && b.kind === 'set') return { ...a, items: [...new Set([...a.items, ...b.items])].sort() };
  throw new TypeError(`Cannot merge a ${a.kind} with a ${b.kind}: their keys differ; compare keys first`);
}

/** Whether there is as much of `held` as of `wanted`, which has the same key. */
function covers(held: Resource, wanted: Resource): boolean {
  if (held.kind === 'scalar' && wanted.kind === 'scalar') {
    return held.amount >= wanted.amount && (held.copies ?? 1) >= (wanted.copies ?? 1);
  }
  if (held.kind === 'ranges' && wanted.kind === 'ranges') return containsRanges(held.ranges, wanted.ranges);
  if (held.kind === 'set' && wanted.kind === 'set') return wanted.items.every((item) => held.items.includes(item));
  return false;
}

/** What is left of `held`, which covers `taken`; undefined if nothing is. */
function reduce(held: Resource, taken: Resource): Resource | undefined {
  if (held.kind === 'scalar' && taken.kind === 'scalar') {
    if (isIndivisible(held)) return withCopies(held, (held.copies ?? 1) - (taken.copies ?? 1));
    const amount = held.amount - taken.amount;
    return amount === 0 ? undefined : { ...held, amount };
  }
  if (held.kind === 'ranges' && taken.kind === 'ranges') {
    const ranges = subtractRanges(held.ranges, taken.ranges);
    return ranges.length === 0 ? undefined : { ...held, ranges };
  }
  if (held.kind === 'set' && taken.kind === 'set') {
    const items = held.items.filter((item) => !taken.items.includes(item));
    return items.length === 0 ? undefined : { ...held, items };
  }
  return undefined;
}

function withCopies(resource: Resource, copies: number): Resource | undefined {
  if (copies === 0) return undefined;
  const { copies: _, ...once } = resource;
  return copies === 1 ? once : { ...once, copies };
}

function isEqual(a: Resource, b: Resource): boolean {
  if (a.key !== b.key) return false;
  if (a.kind === 'scalar' && b.kind === 'scalar') {
    return a.amount === b.amount && (a.copies ?? 1) === (b.copies ?? 1);
  }
  if (a.kind === 'ranges' && b.kind === 'ranges') return equalRanges(a.ranges, b.ranges);
  if (a.kind !== 'set' || b.kind !== 'set') return false;
  return a.items.length === b.items.length && a.items.every((item, i) => item === b.items[i]);
}
