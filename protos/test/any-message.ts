import fc from 'fast-check';
import { descriptor } from '#descriptor';
import type { FieldDescriptor } from '../src/descriptor.ts';
import { infoNamed, type MessageInfo } from '../src/index.ts';

type Properties = Record<string, unknown>;

/** Optional messages are filled in down to this depth; required ones always. */
const depth = 2;

const number64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const natural64 = { min: 0n, max: 2n ** 64n - 1n };
const number32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };
const natural32 = { min: 0, max: 2 ** 32 - 1 };
const text = fc.string({ unit: 'binary', maxLength: 50 });

const scalars: Record<Exclude<FieldDescriptor['kind'], 'enum' | 'message'>, fc.Arbitrary<unknown>> = {
  double: fc.double(),
  float: fc.float(),
  int32: fc.integer(number32),
  sint32: fc.integer(number32),
  sfixed32: fc.integer(number32),
  uint32: fc.integer(natural32),
  fixed32: fc.integer(natural32),
  int64: withExtremes(number64),
  sint64: withExtremes(number64),
  sfixed64: withExtremes(number64),
  uint64: withExtremes(natural64),
  fixed64: withExtremes(natural64),
  bool: fc.boolean(),
  string: fc.oneof(text, fc.constantFrom('', '__proto__', 'x'.repeat(200), 'é'.repeat(100))),
  bytes: fc.uint8Array({ maxLength: 200 }),
};

const count = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 28, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER));

function withExtremes(range: { min: bigint; max: bigint }): fc.Arbitrary<bigint> {
  return fc.oneof(
    fc.bigInt(range),
    fc.bigInt({ min: range.min < 0n ? -300n : 0n, max: 300n }),
    fc.constantFrom(range.min, range.max, 2n ** 28n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 53n + 1n),
  );
}

const cache = new Map<string, fc.Arbitrary<Properties>>();

/** Any plain object that the message can be made from; enums have numbers that have names. */
export function anyMessage(info: MessageInfo, left: number = depth): fc.Arbitrary<Properties> {
  const key = `${info.name} ${left}`;
  const found = cache.get(key);
  if (found !== undefined) return found;
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of info.fields) {
    if (field.kind === 'message' && field.rule !== 'required' && left === 0) continue;
    model[field.property] = anyField(field, left);
  }
  const required = info.fields.filter(({ rule }) => rule === 'required').map(({ property }) => property);
  const arbitrary = fc.record(model, { requiredKeys: required }).map((properties) => oneOfEach(info, properties));
  cache.set(key, arbitrary);
  return arbitrary;
}

function anyField(field: FieldDescriptor, left: number): fc.Arbitrary<unknown> {
  const value = anyValue(field, left);
  if (field.rule === 'repeated') return fc.array(value, { maxLength: 3 });
  if (field.rule === 'map') {
    const entry = fc.tuple(fc.oneof(text, fc.constant('__proto__')), value);
    return fc.array(entry, { maxLength: 3 }).map((entries) => Object.fromEntries(entries));
  }
  return value;
}

function anyValue(field: FieldDescriptor, left: number): fc.Arbitrary<unknown> {
  if (field.kind === 'message') return anyMessage(infoNamed(field.type as string), Math.max(0, left - 1));
  if (field.kind === 'enum') return fc.constantFrom(...Object.values(descriptor.enums[field.type as string] ?? {}));
  if (field.count === true) return count;
  return scalars[field.kind];
}

function oneOfEach(info: MessageInfo, properties: Properties): Properties {
  const seen = new Set<string>();
  const kept = info.fields.filter(({ property, oneof }) => {
    if (!Object.hasOwn(properties, property)) return false;
    if (oneof === undefined) return true;
    const first = !seen.has(oneof);
    seen.add(oneof);
    return first;
  });
  return Object.fromEntries(kept.map(({ property }) => [property, properties[property]]));
}
