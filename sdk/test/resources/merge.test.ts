import test from 'ava';
import {
  add,
  contains,
  equals,
  type ResourceSpec,
  resourcesOf,
  subtract,
  toWire,
  trySubtract,
} from '../../src/resources/index.ts';

const cpus = (amount: number, traits: Partial<ResourceSpec> = {}): ResourceSpec =>
  ({ name: 'cpus', kind: 'scalar', amount, ...traits }) as ResourceSpec;
const disk = (amount: number, of: ResourceSpec['disk'], traits: Partial<ResourceSpec> = {}): ResourceSpec =>
  ({ name: 'disk', kind: 'scalar', amount, disk: of, ...traits }) as ResourceSpec;
const reservedBy = (principal: string, labels?: { key: string; value?: string }[]): Partial<ResourceSpec> => ({
  reservations: [{ type: 'dynamic', role: 'ads', principal, ...(labels && { labels }) }],
});

const labelled = (...keys: string[]) =>
  reservedBy(
    'p',
    keys.map((key) => ({ key })),
  );
const staticAds = { reservations: [{ type: 'static', role: 'ads' }] } as const;
const dynamicAds = { reservations: [{ type: 'dynamic', role: 'ads' }] } as const;

const cases: [string, ResourceSpec, ResourceSpec, boolean][] = [
  ['two plain amounts', cpus(1000), cpus(2000), true],
  ['two names', cpus(1000), { name: 'mem', kind: 'scalar', amount: 1000 }, false],
  ['two types of one name', cpus(1000), { name: 'cpus', kind: 'set', items: ['a'] }, false],
  ['reserved and unreserved', cpus(1000), cpus(1000, staticAds), false],
  ['static and dynamic reservations', cpus(1000, staticAds), cpus(1000, dynamicAds), false],
  ['reservations of one principal', cpus(1000, reservedBy('p')), cpus(1000, reservedBy('p')), true],
  ['reservations of two principals', cpus(1000, reservedBy('p')), cpus(1000, reservedBy('q')), false],
  ['reservations with labels and without', cpus(1000, reservedBy('p')), cpus(1000, labelled('x')), false],
  [
    'reservations whose labels differ in order only',
    cpus(1000, labelled('x', 'y')),
    cpus(1000, labelled('y', 'x')),
    true,
  ],
  ['revocable and not', cpus(1000), cpus(1000, { revocable: true }), false],
  ['both revocable', cpus(1000, { revocable: true }), cpus(1000, { revocable: true }), true],
  ['of a provider and of the agent', cpus(1000), cpus(1000, { providerId: 'rp' }), false],
  ['allocated to two roles', cpus(1000, { allocationRole: 'a' }), cpus(1000, { allocationRole: 'b' }), false],
  [
    'a path disk with itself',
    disk(1000, { source: { type: 'path', root: '/a' } }),
    disk(1000, { source: { type: 'path', root: '/a' } }),
    true,
  ],
  [
    'two path disks',
    disk(1000, { source: { type: 'path', root: '/a' } }),
    disk(1000, { source: { type: 'path', root: '/b' } }),
    false,
  ],
  [
    'raw disks without identity',
    disk(1000, { source: { type: 'raw' } }),
    disk(1000, { source: { type: 'raw' } }),
    true,
  ],
  [
    'raw disks with an identity',
    disk(1000, { source: { type: 'raw', id: 'x' } }),
    disk(2000, { source: { type: 'raw', id: 'x' } }),
    false,
  ],
  [
    'mount disks',
    disk(1000, { source: { type: 'mount', root: '/m' } }),
    disk(2000, { source: { type: 'mount', root: '/m' } }),
    false,
  ],
  ['block disks', disk(1000, { source: { type: 'block' } }), disk(2000, { source: { type: 'block' } }), false],
  ['persistent volumes', disk(1000, { persistence: { id: 'v' } }), disk(2000, { persistence: { id: 'v' } }), false],
];

for (const [what, a, b, merges] of cases) {
  test(`${what}: ${merges ? 'merge into one' : 'stay apart'}`, (t) => {
    t.is(resourcesOf([a, b]).length, merges ? 1 : 2);
  });
}

test('a persistent volume cannot be taken in part', (t) => {
  const volume = resourcesOf([disk(2000, { persistence: { id: 'v' } })]);
  const half = resourcesOf([disk(1000, { persistence: { id: 'v' } })]);
  t.false(contains(volume, half));
  t.is(trySubtract(volume, half), undefined);
});

test('a mount disk can be taken whole', (t) => {
  const mount = resourcesOf([disk(2000, { source: { type: 'mount', root: '/m' } })]);
  t.deepEqual(subtract(mount, mount), resourcesOf([]));
});

test('a volume is the same one however a task mounts it and whoever made it', (t) => {
  const offered = resourcesOf([disk(1000, { persistence: { id: 'v', principal: 'p' } })]);
  const volume = { mode: 'read-only', containerPath: 'data' } as const;
  const used = resourcesOf([disk(1000, { persistence: { id: 'v' }, volume })]);
  t.true(equals(offered, used));
  t.true(contains(offered, used));
});

test('copies of a shared volume are counted and written one by one', (t) => {
  const once = resourcesOf([disk(1000, { persistence: { id: 'v' } }, { shared: true })]);
  const twice = add(once, once);
  t.is(twice.length, 1);
  t.is(twice[0]?.copies, 2);
  t.is(toWire(twice).length, 2);
  t.false(contains(once, twice));
  t.deepEqual(subtract(twice, once), once);
});

test('a port that is in both is in the sum once', (t) => {
  const ports = (begin: number, end: number) =>
    resourcesOf([{ name: 'ports', kind: 'ranges', ranges: [{ begin, end }] }]);
  t.deepEqual(add(ports(1, 5), ports(4, 9)), ports(1, 9));
});

test('subtracting more than there is throws and shows both', (t) => {
  const error = t.throws(() => subtract(resourcesOf([cpus(1000)]), resourcesOf([cpus(1500)])), {
    name: 'InvariantError',
  });
  t.regex(error.message, /'cpus:1\.5' from 'cpus:1'/);
});

test('copies of what can be divided are refused', (t) => {
  t.throws(() => resourcesOf([cpus(1000, { copies: 2 })]), { name: 'MalformedResourceError' });
});
