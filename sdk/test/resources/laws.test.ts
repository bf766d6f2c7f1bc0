import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  add,
  addQuantities,
  allocate,
  contains,
  containsQuantities,
  equals,
  formatResources,
  fromWire,
  isEmpty,
  nonShared,
  noResources,
  parseResources,
  quantitiesOf,
  type Resources,
  resourcesOf,
  select,
  subtract,
  subtractQuantities,
  toWire,
  trySubtract,
  unallocate,
} from '../../src/resources/index.ts';
import { anyResources, anySpec } from './arbitrary-resources.ts';

function law<T extends unknown[]>(
  title: string,
  holds: (...given: T) => void,
  ...arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> }
): void {
  test(title, (t) => {
    t.notThrows(() => fc.assert(fc.property(fc.tuple<T>(...arbitraries), (given) => holds(...given))));
  });
}

const scalarsOf = (resources: Resources): Resources => select(resources, ({ kind }) => kind === 'scalar');

/** A part of `whole` and what is left: each entry whole, or half of it, or not at all. */
const partOf = (whole: Resources, choices: readonly number[]): Resources =>
  resourcesOf(
    whole.flatMap((resource, i) => {
      const choice = choices[i % choices.length];
      if (choice === 0) return [];
      if (choice === 1) return [resource];
      if (resource.copies !== undefined) return [{ ...resource, copies: 1 }];
      if (resource.kind === 'ranges') return [{ ...resource, ranges: resource.ranges.slice(0, 1) }];
      if (resource.kind === 'set') return [{ ...resource, items: resource.items.slice(1) }];
      return resource.disk === undefined && resource.name !== 'gpus'
        ? [{ ...resource, amount: Math.floor(resource.amount / 2) }]
        : [resource];
    }),
  );
const anyChoices = fc.array(fc.nat(2), { minLength: 1, maxLength: 8, size: 'max' });

law(
  'add is commutative',
  (a: Resources, b: Resources) => assert(equals(add(a, b), add(b, a))),
  anyResources,
  anyResources,
);

law(
  'add is associative',
  (a: Resources, b: Resources, c: Resources) => assert.deepEqual(add(add(a, b), c), add(a, add(b, c))),
  anyResources,
  anyResources,
  anyResources,
);

law('adding nothing changes nothing', (a: Resources) => assert.deepEqual(add(a, noResources), a), anyResources);

law(
  'the order in which resources are listed does not matter',
  (specs: Parameters<typeof resourcesOf>[0]) => assert(equals(resourcesOf(specs), resourcesOf([...specs].reverse()))),
  fc.array(anySpec, { maxLength: 10, size: 'max' }),
);

law(
  'normal form has no entry twice, none that is empty, and is the normal form of itself',
  (a: Resources, b: Resources) => {
    const total = add(a, b);
    const keys = total.map(({ key }) => key);
    assert.deepEqual(keys, [...new Set(keys)].sort());
    assert.deepEqual(resourcesOf(total), total);
  },
  anyResources,
  anyResources,
);

law(
  'taking scalars and volumes away again undoes adding them',
  (a: Resources, b: Resources) => assert.deepEqual(subtract(add(a, scalarsOf(b)), scalarsOf(b)), a),
  anyResources,
  anyResources,
);

law(
  'what is taken and what is left are the whole',
  (whole: Resources, choices: number[]) => {
    const part = partOf(whole, choices);
    assert(contains(whole, part));
    const rest = subtract(whole, part);
    assert(contains(whole, rest));
    assert(equals(add(rest, part), whole));
    assert(equals(subtract(whole, rest), part));
  },
  anyResources,
  anyChoices,
);

law(
  'subtraction succeeds exactly where the part is contained',
  (a: Resources, b: Resources) => assert.equal(trySubtract(a, b) !== undefined, contains(a, b)),
  anyResources,
  anyResources,
);

law(
  'everything contains itself and nothing, and less itself is nothing',
  (a: Resources) => {
    assert(contains(a, a));
    assert(contains(a, noResources));
    assert(isEmpty(subtract(a, a)));
  },
  anyResources,
);

law(
  'resources that contain each other are equal',
  (a: Resources, choices: number[]) => {
    const b = partOf(a, choices);
    assert.equal(contains(a, b) && contains(b, a), equals(a, b));
  },
  anyResources,
  anyChoices,
);

law(
  'contains is transitive',
  (a: Resources, first: number[], second: number[]) => {
    const b = partOf(a, first);
    assert(contains(a, partOf(b, second)));
  },
  anyResources,
  anyChoices,
  anyChoices,
);

law(
  'a sum contains its parts',
  (a: Resources, b: Resources) => assert(contains(add(a, b), b)),
  anyResources,
  anyResources,
);

law(
  'text and back gives the same',
  (a: Resources) => assert.deepEqual(parseResources(formatResources(a)), a),
  anyResources,
);

law('the wire and back gives the same', (a: Resources) => assert.deepEqual(fromWire(toWire(a)), a), anyResources);

law(
  'the wire keeps every amount to the thousandth',
  (amount: number) => {
    const a = resourcesOf([{ name: 'mem', kind: 'scalar', amount }]);
    assert.deepEqual(fromWire(toWire(a)), a);
    assert.deepEqual(parseResources(formatResources(a)), a);
  },
  fc.maxSafeNat().map((n) => n % 1_000_000_000_000_001),
);

law(
  'quantities of a sum are the sum of the quantities, but for shared volumes',
  (x: Resources, y: Resources) => {
    const [a, b] = [nonShared(x), nonShared(y)];
    assert.deepEqual(quantitiesOf(add(a, b)), addQuantities(quantitiesOf(a), quantitiesOf(b)));
  },
  anyResources,
  anyResources,
);

law(
  'quantities of what is left are what is left of the quantities',
  (x: Resources, choices: number[]) => {
    const whole = nonShared(x);
    const part = partOf(whole, choices);
    const [held, taken] = [quantitiesOf(whole), quantitiesOf(part)];
    assert(containsQuantities(held, taken));
    assert.deepEqual(quantitiesOf(subtract(whole, part)), subtractQuantities(held, taken));
  },
  anyResources,
  anyChoices,
);

law(
  'allocating moves everything into the name of one role, and back',
  (a: Resources) => {
    const free = unallocate(a);
    const held = allocate(a, 'web');
    assert(held.every(({ allocationRole }) => allocationRole === 'web'));
    assert(equals(unallocate(held), free));
  },
  anyResources,
);
