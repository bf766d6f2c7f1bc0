import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { coalesce, containsRanges, type Ranges, subtractRanges, unionRanges } from '../../src/resources/ranges.ts';

const anyRanges = fc
  .array(
    fc.tuple(fc.nat(40), fc.nat(8)).map(([begin, size]) => ({ begin, end: begin + size })),
    { maxLength: 8, size: 'max' },
  )
  .map(coalesce);

const numbersOf = (ranges: Ranges): Set<number> =>
  new Set(ranges.flatMap(({ begin, end }) => Array.from({ length: end - begin + 1 }, (_, i) => begin + i)));

test('ranges behave as the sets of their numbers', (t) => {
  const law = fc.property(anyRanges, anyRanges, (a, b) => {
    assert.deepEqual(numbersOf(unionRanges(a, b)), new Set([...numbersOf(a), ...numbersOf(b)].sort((x, y) => x - y)));
    const [inA, inB] = [numbersOf(a), numbersOf(b)];
    assert.deepEqual(numbersOf(subtractRanges(a, b)), new Set([...inA].filter((number) => !inB.has(number))));
    assert.equal(
      containsRanges(a, b),
      [...inB].every((number) => inA.has(number)),
    );
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('differences stay coalesced', (t) => {
  const law = fc.property(anyRanges, anyRanges, (a, b) => {
    const rest = subtractRanges(a, b);
    assert.deepEqual(coalesce(rest), rest);
  });
  t.notThrows(() => fc.assert(law));
});

test('adjacent ranges are joined', (t) => {
  const joined = coalesce([
    { begin: 5, end: 9 },
    { begin: 1, end: 4 },
    { begin: 11, end: 11 },
  ]);
  t.deepEqual(joined, [
    { begin: 1, end: 9 },
    { begin: 11, end: 11 },
  ]);
});
