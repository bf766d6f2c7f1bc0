import test from 'ava';
import {
  type AmountsInput,
  formatAmount,
  formatResources,
  parseResources,
  readAmounts,
  resources,
  toResources,
} from '../../src/resources/index.ts';

test('plain amounts are in Mesos units', (t) => {
  const plain = resources({ cpus: 1.5, mem: 128, ports: [[31000, 31005]], licences: 2, gpus: undefined });
  t.is(formatResources(plain), 'cpus:1.5;licences:2;mem:128;ports:[31000-31005]');
});

test('ports may be pairs, ranges or a text', (t) => {
  const pairs = resources({ ports: [[31000, 31005]] });
  t.deepEqual(resources({ ports: [{ begin: 31000, end: 31005 }] }), pairs);
  t.deepEqual(resources({ ports: '31000-31005' }), pairs);
  t.deepEqual(resources({ ports: '[31000-31005]' }), pairs);
});

test('either form of input gives resources', (t) => {
  const made = resources({ cpus: 1 });
  t.is(toResources(made), made);
  t.deepEqual(toResources({ cpus: 1 }), made);
});

const refused: [string, AmountsInput, RegExp][] = [
  ['a negative amount', { cpus: -1 }, /the amount of 'cpus': its amount -1 is negative/],
  ['NaN', { mem: Number.NaN }, /NaN/],
  ['half a gpu', { gpus: 0.5 }, /not whole/],
  ['a lone port', { ports: [31000] as unknown as [number, number][] }, /'31000' is no range; give ranges as \[\[31000/],
  ['a port range of fractions', { ports: [[1.5, 2]] }, /whole numbers/],
  ['an object', { cpus: {} as unknown as number }, /neither a number nor ranges/],
  ['a name that every object has', { toString: 1 } as unknown as AmountsInput, /reserved/],
];
for (const [what, input, message] of refused) {
  test(`${what} is refused`, (t) => {
    t.throws(() => resources(input), { name: 'MalformedResourceError', message });
  });
}

test('amounts are read in Mesos units, added up over reservations', (t) => {
  const agent = parseResources('cpus:1;cpus(ads):0.5;mem:128;ports:[1-2];ports(ads):[3-4];tags:{b,a}');
  t.deepEqual(readAmounts(agent), {
    cpus: 1.5,
    mem: 128,
    disk: 0,
    gpus: 0,
    ports: [{ begin: 1, end: 4 }],
    tags: ['a', 'b'],
  });
});

for (const [thousandths, text] of [
  [0, '0'],
  [1, '0.001'],
  [1500, '1.5'],
  [24_576_000, '24576'],
] as const) {
  test(`${thousandths} thousandths are written as ${text}`, (t) => {
    t.is(formatAmount(thousandths), text);
  });
}
