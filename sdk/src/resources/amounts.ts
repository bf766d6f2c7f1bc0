import { amountProblem, toThousandths } from './amount.ts';
import { MalformedResourceError, refuse, type Where } from './malformed-resource-error.ts';
import { parseValue } from './parse-value.ts';
import type { Range, Ranges } from './ranges.ts';
import { unionRanges } from './ranges.ts';
import type { ResourceSpec, ResourceValue } from './resource.ts';
import { resourceProblem } from './resource-problem.ts';
import { collect, quantitiesOf, type Resources } from './resources.ts';

/**
 * An amount as a framework author writes it: a number of Mesos units, `[[31000, 31005]]` or `[{ begin, end }]` for ranges,
 * or a text: `'31000-31005,31010-31010'` for ranges, `'{a,b}'` for a set.
 */
export type AmountInput = number | string | readonly (readonly [number, number] | Range)[];

/** Resources as a framework author writes them, in Mesos units: cpus may be fractions, mem and disk are in MB. */
export interface AmountsInput {
  readonly cpus?: number | undefined;
  readonly mem?: number | undefined;
  readonly disk?: number | undefined;
  readonly gpus?: number | undefined;
  readonly ports?: AmountInput | undefined;
  readonly [name: string]: AmountInput | undefined;
}

/** Wherever resources are wanted from a framework author, either form will do. */
export type ResourcesInput = Resources | AmountsInput;

/**
 * Resources from plain amounts: `resources({ cpus: 1, mem: 128, ports: [[31000, 31005]] })`. Unreserved, not revocable.
 *
 * @throws {MalformedResourceError} naming the amount that is malformed
 */
export function resources(amounts: AmountsInput): Resources {
  const specs: ResourceSpec[] = [];
  for (const [name, input] of Object.entries(amounts)) {
    if (input === undefined) continue;
    const where: Where = () => `the amount of '${name}'`;
    const spec: ResourceSpec = { name, ...readAmount(input, where) };
    const problem = resourceProblem(spec);
    if (problem !== undefined) throw new MalformedResourceError(where(), problem);
    specs.push(spec);
  }
  return collect(specs);
}

/** Resources from either form. */
export function toResources(input: ResourcesInput): Resources {
  return isResources(input) ? input : resources(input);
}

function isResources(input: ResourcesInput): input is Resources {
  return Array.isArray(input);
}

function readAmount(input: AmountInput, where: Where): ResourceValue {
  if (typeof input === 'string') return parseValue(/^[[{]/.test(input) ? input : `[${input}]`, where);
  if (typeof input !== 'number') return { kind: 'ranges', ranges: readRanges(input, where) };
  const problem = amountProblem(input);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return { kind: 'scalar', amount: toThousandths(input) };
}

function readRanges(input: unknown, where: Where): Range[] {
  if (!Array.isArray(input)) refuse(where, 'it is neither a number nor ranges', 'give 1.5, or [[31000, 31005]]');
  return input.map((range: unknown) => {
    if (Array.isArray(range) && range.length === 2) return { begin: range[0], end: range[1] };
    if (isRange(range)) return range;
    return refuse(where, `'${range}' is no range`, 'give ranges as [[31000, 31005]]');
  });
}

function isRange(value: unknown): value is Range {
  return typeof value === 'object' && value !== null && 'begin' in value && 'end' in value;
}

/** What there is, in Mesos units: the common scalars are always there, ranges and sets under their names. */
export interface Amounts {
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
  readonly gpus: number;
  readonly ports: readonly Range[];
  readonly [name: string]: number | readonly Range[] | readonly string[];
}

/** Adds up resources for reading, whatever their reservations; a shared volume counts once. */
export function readAmounts(resources: Resources): Amounts {
  const scalars: Record<string, number> = { cpus: 0, mem: 0, disk: 0, gpus: 0 };
  const quantities = quantitiesOf(resources);
  for (const name in quantities) scalars[name] = (quantities[name] as number) / 1000;
  const ranges: Record<string, Ranges> = { ports: [] };
  const sets: Record<string, readonly string[]> = {};
  for (const resource of resources) {
    const name = resource.name;
    if (resource.kind === 'ranges') ranges[name] = unionRanges(ranges[name] ?? [], resource.ranges);
    if (resource.kind === 'set') sets[name] = [...new Set([...(sets[name] ?? []), ...resource.items])].sort();
  }
  return { ...sets, ...ranges, ...scalars, ports: ranges['ports'] } as unknown as Amounts;
}
