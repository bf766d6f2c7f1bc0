import { amountProblem, finiteProblem, toThousandths } from './amount.ts';
import { MalformedResourceError, refuse, type Where } from './malformed-resource-error.ts';
import { coalesce, type Range } from './ranges.ts';
import type { ResourceValue } from './resource.ts';
import { rangeProblem } from './resource-problem.ts';

const decimal = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;

/** A value as `--resources` writes it: `1.5`, `[21000-24000,30000-34000]` or `{a,b}`; an amount is in units. */
export function parseValue(text: string, where: Where): ResourceValue {
  const value = parseListOrNumber(text, where);
  if (value === undefined) {
    refuse(
      where,
      `'${text}' is no amount`,
      'write a number such as 24, ranges such as [31000-32000], or a set such as {a,b}',
    );
  }
  if (value.kind !== 'number') return value;
  const problem = amountProblem(value.units);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return { kind: 'scalar', amount: toThousandths(value.units) };
}

/** A value of an attribute: as of a resource, or negative, or any other text. */
export function parseAttributeValue(
  text: string,
  where: Where,
): ResourceValue | { readonly kind: 'text'; readonly text: string } {
  const value = parseListOrNumber(text, where);
  if (value === undefined) return { kind: 'text', text };
  if (value.kind !== 'number') return value;
  const problem = finiteProblem(value.units);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return { kind: 'scalar', amount: toThousandths(value.units) };
}

function parseListOrNumber(
  text: string,
  where: Where,
): Exclude<ResourceValue, { kind: 'scalar' }> | { readonly kind: 'number'; readonly units: number } | undefined {
  if (text.startsWith('[')) return { kind: 'ranges', ranges: parseRanges(text, where) };
  if (text.startsWith('{')) return { kind: 'set', items: parseItems(text, where) };
  return decimal.test(text) ? { kind: 'number', units: Number(text) } : undefined;
}

function parseRanges(text: string, where: Where): readonly Range[] {
  if (!text.endsWith(']')) refuse(where, `'${text}' has no closing bracket`, "write ranges as '[31000-32000]'");
  const pieces = listPieces(text);
  const ranges = pieces.map((piece) => {
    const [, begin, end] = /^(\d+)\s*-\s*(\d+)$/.exec(piece) ?? [];
    if (begin === undefined || end === undefined) {
      refuse(where, `'${piece}' is no range`, "write ranges as '[31000-32000,33000-34000]'");
    }
    const range = { begin: Number(begin), end: Number(end) };
    const problem = rangeProblem(range);
    if (problem !== undefined) throw new MalformedResourceError(where(), problem);
    return range;
  });
  return coalesce(ranges);
}

function parseItems(text: string, where: Where): readonly string[] {
  if (!text.endsWith('}')) refuse(where, `'${text}' has no closing brace`, "write a set as '{a,b}'");
  const items = listPieces(text);
  if (items.includes('')) refuse(where, `'${text}' holds an empty item`, "write a set as '{a,b}'");
  return [...new Set(items)].sort();
}

function listPieces(text: string): string[] {
  const inside = text.slice(1, -1).trim();
  return inside === '' ? [] : inside.split(',').map((piece) => piece.trim());
}
