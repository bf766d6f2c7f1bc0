import test from 'ava';
import {
  allocatableTo,
  allocate,
  describeResources,
  formatResources,
  nonRevocable,
  parseResources,
  persistentVolumes,
  popReservation,
  pushReservation,
  quantitiesOf,
  type Resources,
  reserved,
  reservedTo,
  resources,
  resourcesOf,
  revocable,
  toRevocable,
  toUnreserved,
  unallocate,
  unreserved,
} from '../../src/resources/index.ts';

const agent = parseResources('cpus:4;cpus(ads):2;cpus(ads/web):1;cpus(adsense):8;mem(ops):512');

const cases: [string, Resources, string][] = [
  ['unreserved', unreserved(agent), 'cpus:4'],
  ['reserved', reserved(agent), 'cpus(ads):2;cpus(ads/web):1;cpus(adsense):8;mem(ops):512'],
  ['reserved to ads', reservedTo(agent, 'ads'), 'cpus(ads):2'],
  ['reserved to a role that nothing is reserved to', reservedTo(agent, '*'), ''],
  ['allocatable to ads', allocatableTo(agent, 'ads'), 'cpus:4;cpus(ads):2'],
  ['allocatable to ads/web', allocatableTo(agent, 'ads/web'), 'cpus:4;cpus(ads):2;cpus(ads/web):1'],
  ['allocatable to another role', allocatableTo(agent, 'other'), 'cpus:4'],
];
for (const [what, selected, expected] of cases) {
  test(`${what}: ${expected || 'nothing'}`, (t) => {
    t.is(formatResources(selected), expected);
  });
}

test('revocable and other resources are told apart', (t) => {
  const both = resourcesOf([
    { name: 'cpus', kind: 'scalar', amount: 1000 },
    { name: 'cpus', kind: 'scalar', amount: 2000, revocable: true },
  ]);
  t.deepEqual(quantitiesOf(revocable(both)), { cpus: 2000 });
  t.deepEqual(quantitiesOf(nonRevocable(both)), { cpus: 1000 });
});

test('only what has a persistence id is a persistent volume', (t) => {
  const disks = resourcesOf([
    { name: 'disk', kind: 'scalar', amount: 1000, disk: { source: { type: 'mount' } } },
    { name: 'disk', kind: 'scalar', amount: 2000, disk: { persistence: { id: 'v' } } },
  ]);
  t.deepEqual(quantitiesOf(persistentVolumes(disks)), { disk: 2000 });
});

test('a shared volume counts once in the quantities however often it is held', (t) => {
  const volume = { name: 'disk', kind: 'scalar', amount: 1000, disk: { persistence: { id: 'v' } }, copies: 3 } as const;
  t.deepEqual(quantitiesOf(resourcesOf([{ ...volume, shared: true }])), { disk: 1000 });
  t.deepEqual(quantitiesOf(resourcesOf([volume])), { disk: 3000 });
});

test('unallocating merges what was held in the names of two roles', (t) => {
  const one = allocate(resources({ cpus: 1 }), 'a');
  const two = allocate(resources({ cpus: 2 }), 'b');
  t.deepEqual(unallocate(resourcesOf([...one, ...two])), resources({ cpus: 3 }));
});

test('a reservation is refined, and the refinement undone', (t) => {
  const ads = pushReservation(resources({ cpus: 1 }), { type: 'dynamic', role: 'ads', principal: 'p' });
  const web = pushReservation(ads, { type: 'dynamic', role: 'ads/web', principal: 'p' });
  t.deepEqual(reservedTo(web, 'ads/web'), web);
  t.deepEqual(popReservation(web), ads);
  t.deepEqual(popReservation(ads), resources({ cpus: 1 }));
  t.deepEqual(toUnreserved(web), resources({ cpus: 1 }));
});

test('a reservation cannot be refined for a role elsewhere', (t) => {
  const ads = pushReservation(resources({ cpus: 1 }), { type: 'dynamic', role: 'ads' });
  t.throws(() => pushReservation(ads, { type: 'dynamic', role: 'web' }), { message: /refines one to 'ads'/ });
});

test('resources are made revocable, and shown so', (t) => {
  const lent = toRevocable(resources({ cpus: 1, mem: 64 }));
  t.deepEqual(revocable(lent), lent);
  t.is(describeResources(lent), 'cpus{REV}:1;mem{REV}:64');
});
