import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  type Attribute,
  attributesFromWire,
  attributesToWire,
  formatAttributes,
  parseAttributes,
  type WireAttributeInput,
} from '../../src/resources/index.ts';

const example = 'rack:abc;zone:west;os:centos5;level:10;keys:[1000-1500]';

test('the example of the Mesos documentation is understood', (t) => {
  t.deepEqual(parseAttributes(example), [
    { name: 'rack', kind: 'text', text: 'abc' },
    { name: 'zone', kind: 'text', text: 'west' },
    { name: 'os', kind: 'text', text: 'centos5' },
    { name: 'level', kind: 'scalar', amount: 10_000 },
    { name: 'keys', kind: 'ranges', ranges: [{ begin: 1000, end: 1500 }] },
  ]);
  t.is(formatAttributes(parseAttributes(example)), example);
});

test('a set, a negative number, a text with a colon, and a name twice are understood', (t) => {
  t.deepEqual(parseAttributes('tags:{b,a};celsius:-5.5;url:http://x:1;tags:c'), [
    { name: 'tags', kind: 'set', items: ['a', 'b'] },
    { name: 'celsius', kind: 'scalar', amount: -5500 },
    { name: 'url', kind: 'text', text: 'http://x:1' },
    { name: 'tags', kind: 'text', text: 'c' },
  ]);
});

const anyAttribute: fc.Arbitrary<Attribute> = fc
  .tuple(
    fc.constantFrom('rack', 'zone', 'a b'),
    fc.oneof(
      fc.constantFrom('abc', 'x:y', 'Infinity', 'é').map((text) => ({ kind: 'text' as const, text })),
      fc.integer({ min: -5000, max: 5000 }).map((amount) => ({ kind: 'scalar' as const, amount })),
      fc.constantFrom([], [{ begin: 1, end: 2 }]).map((ranges) => ({ kind: 'ranges' as const, ranges })),
      fc.constantFrom([], ['a'], ['a', 'b']).map((items) => ({ kind: 'set' as const, items })),
    ),
  )
  .map(([name, value]) => ({ name, ...value }));

test('attributes survive text and the wire', (t) => {
  const law = fc.property(fc.array(anyAttribute, { maxLength: 8, size: 'max' }), (attributes) => {
    assert.deepEqual(parseAttributes(formatAttributes(attributes)), attributes);
    assert.deepEqual(attributesFromWire(attributesToWire(attributes)), attributes);
  });
  t.notThrows(() => fc.assert(law));
});

test('a piece without a colon is refused with its place', (t) => {
  const message = /'west' \(at character 10 of the attributes\): it is not 'name:value'/;
  t.throws(() => parseAttributes('rack:abc;west'), { name: 'MalformedResourceError', message });
});

const refused: [string, WireAttributeInput, RegExp][] = [
  ['no name', { type: 3, text: { value: 'a' } }, /attribute 1 \(''\): it has no name/],
  ['an unknown type', { name: 'a', type: 4 }, /type 4 is unknown/],
  ['a missing value', { name: 'a', type: 3 }, /'text' is missing/],
  ['a scalar without value', { name: 'a', type: 0, scalar: {} }, /no value/],
  ['an infinite scalar', { name: 'a', type: 0, scalar: { value: Number.NEGATIVE_INFINITY } }, /infinite/],
  ['a bad range', { name: 'a', type: 1, ranges: { range: [{ begin: 2, end: 1 }] } }, /ends before/],
];
for (const [what, wire, message] of refused) {
  test(`an attribute with ${what} is refused`, (t) => {
    t.throws(() => attributesFromWire([wire]), { name: 'MalformedResourceError', message });
  });
}
