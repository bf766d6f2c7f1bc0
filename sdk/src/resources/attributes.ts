import { finiteProblem, toThousandths } from './amount.ts';
import { formatValue } from './format-resources.ts';
import { readRanges } from './from-wire.ts';
import { MalformedResourceError, refuse, type Where } from './malformed-resource-error.ts';
import { parseAttributeValue } from './parse-value.ts';
import { coalesce } from './ranges.ts';
import type { ResourceValue } from './resource.ts';
import { splitPieces } from './split-pieces.ts';
import { writeRanges } from './to-wire.ts';
import type { WireAttribute, WireAttributeInput } from './wire-resource.ts';

/** A scalar is in integer thousandths and may be negative. */
export type AttributeValue = ResourceValue | { readonly kind: 'text'; readonly text: string };

/** What an agent says about itself. Two attributes may have the same name; their order is kept. */
export type Attribute = { readonly name: string } & AttributeValue;

/**
 * Attributes from the text of Mesos' `--attributes`: `rack:abc;zone:west;level:10;keys:[1000-1500];tags:{a,b}`.
 *
 * @throws {MalformedResourceError} naming the piece, where it stands, and how to write it
 */
export function parseAttributes(text: string): Attribute[] {
  return splitPieces(text).map(({ piece, position }) => {
    const where: Where = () => `'${piece}' (at character ${position} of the attributes)`;
    const colon = piece.indexOf(':');
    const name = piece.slice(0, Math.max(colon, 0)).trim();
    const value = piece.slice(colon + 1).trim();
    if (name === '' || value === '') refuse(where, "it is not 'name:value'", "write it as in 'rack:abc;level:10'");
    return { name, ...parseAttributeValue(value, where) };
  });
}

/** Writes attributes as `--attributes` does. `parseAttributes` reads the same again where it wrote them. */
export function formatAttributes(attributes: readonly Attribute[]): string {
  return attributes
    .map((attribute) => `${attribute.name}:${attribute.kind === 'text' ? attribute.text : formatValue(attribute)}`)
    .join(';');
}

export function attributesToWire(attributes: readonly Attribute[]): WireAttribute[] {
  return attributes.map((attribute) => ({ name: attribute.name, ...writeValue(attribute) }));
}

function writeValue(value: AttributeValue): Omit<WireAttribute, 'name'> {
  switch (value.kind) {
    case 'scalar':
      return { type: 0, scalar: { value: value.amount / 1000 } };
    case 'ranges':
      return { type: 1, ranges: writeRanges(value.ranges) };
    case 'set':
      return { type: 2, set: { item: [...value.items] } };
    case 'text':
      return { type: 3, text: { value: value.text } };
  }
}

/** @throws {MalformedResourceError} naming the first attribute that is malformed */
export function attributesFromWire(list: readonly WireAttributeInput[]): Attribute[] {
  return list.map((wire, i) => {
    const where: Where = () => `attribute ${i + 1} ('${wire.name ?? ''}')`;
    if (!wire.name) refuse(where, 'it has no name', "name the attribute, for example 'rack'");
    return { name: wire.name, ...readAttributeValue(wire, where) };
  });
}

const kinds = ['scalar', 'ranges', 'set', 'text'] as const;

function readAttributeValue(wire: WireAttributeInput, where: Where): AttributeValue {
  const kind = kinds[wire.type ?? -1];
  if (kind === undefined) {
    refuse(where, `its type ${wire.type} is unknown`, 'use 0 (SCALAR), 1 (RANGES), 2 (SET) or 3 (TEXT)');
  }
  if (wire[kind] == null) refuse(where, `its type is '${kind}' but '${kind}' is missing`, `set '${kind}'`);
  if (kind === 'ranges') return { kind, ranges: coalesce(readRanges(wire.ranges, where)) };
  if (kind === 'set') return { kind, items: [...new Set(wire.set?.item)].sort() };
  if (kind === 'text') return { kind, text: wire.text?.value ?? '' };
  const units = wire.scalar?.value;
  if (units == null) refuse(where, 'its scalar has no value', "set 'value'");
  const problem = finiteProblem(units);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return { kind, amount: toThousandths(units) };
}
