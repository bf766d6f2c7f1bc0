import type { FieldDescriptor } from '../src/descriptor.ts';
import { has, infoNamed, type MessageInfo } from '../src/index.ts';

type Properties = Record<string, unknown>;

/** Whether an unset field and the default that its .proto file spells out are the same ('reads') or not ('presence'). */
type Equality = 'presence' | 'reads';

/**
 * The path of the first field in which a decoded message differs from the properties that it was made from.
 *
 * @returns undefined if they are equal
 */
export function difference(info: MessageInfo, made: object, decoded: object, equality: Equality): string | undefined {
  const wanted = new info.type(made as never) as Properties;
  for (const field of info.fields) {
    const different = fieldDifference(field, wanted, decoded as Properties, equality);
    if (different !== undefined) return `${field.property}${different}`;
  }
  return undefined;
}

function fieldDifference(
  field: FieldDescriptor,
  wanted: Properties,
  got: Properties,
  equality: Equality,
): string | undefined {
  const defaultCounts = field.implicit === true || (equality === 'reads' && field.default !== undefined);
  if (!defaultCounts && has(wanted, field.property) !== has(got, field.property)) {
    return ` is ${has(got, field.property) ? '' : 'not '}set`;
  }
  if (!defaultCounts && !has(wanted, field.property)) return undefined;
  const [left, right] = [wanted[field.property], got[field.property]];
  if (field.rule === 'repeated') return listDifference(field, [...(left as unknown[])], right as unknown[], equality);
  if (field.rule === 'map') return mapDifference(field, left as Properties, right as Properties, equality);
  return valueDifference(field, left, right, equality);
}

function listDifference(
  field: FieldDescriptor,
  left: unknown[],
  right: unknown[],
  equality: Equality,
): string | undefined {
  if (left.length !== right.length) return ` has ${right.length} items, not ${left.length}`;
  return left
    .map((item, index) => valueDifference(field, item, right[index], equality))
    .find((found) => found !== undefined);
}

function mapDifference(
  field: FieldDescriptor,
  left: Properties,
  right: Properties,
  equality: Equality,
): string | undefined {
  const [keys, others] = [Object.keys(left).sort(), Object.keys(right).sort()];
  if (JSON.stringify(keys) !== JSON.stringify(others)) return ` has the keys ${others}, not ${keys}`;
  return keys
    .map((key) => valueDifference(field, left[key], right[key], equality))
    .find((found) => found !== undefined);
}

function valueDifference(
  field: FieldDescriptor,
  left: unknown,
  right: unknown,
  equality: Equality,
): string | undefined {
  if (field.kind === 'message') {
    const found = difference(infoNamed(field.type as string), left as object, right as object, equality);
    return found === undefined ? undefined : `.${found}`;
  }
  if (field.kind === 'bytes')
    return Buffer.compare(left as Uint8Array, right as Uint8Array) === 0 ? undefined : ' differs';
  return Object.is(left, right) ? undefined : ` is ${right}, not ${left}`;
}
