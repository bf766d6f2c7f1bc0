import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  addQuantities,
  containsQuantities,
  equalQuantities,
  formatQuantities,
  isEmptyQuantities,
  noQuantities,
  type Quantities,
  scaleQuantities,
  shortfall,
  subtractQuantities,
  toQuantities,
} from '../../src/resources/index.ts';

const anyQuantities: fc.Arbitrary<Quantities> = fc.dictionary(
  fc.constantFrom('cpus', 'mem', 'disk'),
  fc.integer({ min: 1, max: 5000 }),
  { noNullPrototype: true },
);

test('quantities add up and can be taken away again', (t) => {
  const law = fc.property(anyQuantities, anyQuantities, (a, b) => {
    const total = addQuantities(a, b);
    assert(equalQuantities(total, addQuantities(b, a)));
    assert(containsQuantities(total, b));
    assert.deepEqual(subtractQuantities(total, b), a);
    assert.equal(containsQuantities(a, b), isEmptyQuantities(shortfall(b, a)));
    assert.equal(equalQuantities(a, b), containsQuantities(a, b) && containsQuantities(b, a));
  });
  t.notThrows(() => fc.assert(law));
});

test('no quantity is ever stored as 0', (t) => {
  t.deepEqual(subtractQuantities({ cpus: 1000, mem: 5 }, { cpus: 1000 }), { mem: 5 });
  t.deepEqual(scaleQuantities({ cpus: 1000, mem: 1 }, 0.25), { cpus: 250 });
  t.deepEqual(toQuantities({ cpus: 0.0001, mem: 1.5 }), { mem: 1500 });
});

test('taking away more than there is throws and shows both', (t) => {
  const error = t.throws(() => subtractQuantities({ cpus: 1000 }, { mem: 1 }), { name: 'InvariantError' });
  t.regex(error.message, /'mem:0\.001' from 'cpus:1'/);
});

test('a shortfall is what is missing, and nothing where there is enough', (t) => {
  t.deepEqual(shortfall({ cpus: 4000, mem: 10 }, { cpus: 1000, mem: 20 }), { cpus: 3000 });
});

test('quantities that would break plain objects are refused', (t) => {
  t.throws(() => toQuantities({ constructor: 1 } as unknown as Record<string, number>), { message: /reserved/ });
  t.throws(() => toQuantities({ cpus: Number.POSITIVE_INFINITY }), {
    message: /quantity 'cpus': its amount is infinite/,
  });
});

test('quantities are written in order of name', (t) => {
  t.is(formatQuantities({ mem: 128_000, cpus: 1500 }), 'cpus:1.5;mem:128');
  t.is(formatQuantities(noQuantities), '');
});
