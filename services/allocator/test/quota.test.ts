// Guarantees, limits and headroom, computed by hand.
import { parseResources, quantitiesOf } from '@mesobus/sdk/resources';
import test from 'ava';
import { World } from './oracle/world.ts';

const cpusOf = (
  list: Iterable<{ role: string; resources: Parameters<typeof quantitiesOf>[0] }>,
): Record<string, number> => {
  const cpus: Record<string, number> = {};
  for (const { role, resources } of list)
    cpus[role] = (cpus[role] ?? 0) + (quantitiesOf(resources)['cpus'] ?? 0) / 1000;
  return cpus;
};

function cluster(agents: number, total: string, ...roles: string[]): World {
  const world = new World();
  for (const role of roles) world.putFramework(`f of ${role}`, { roles: [role] });
  world.addAgents(...Array.from({ length: agents }, () => total));
  return world;
}

test('what is guaranteed to a role without frameworks stays free', (t) => {
  const world = cluster(10, 'cpus:1', 'other');
  world.quota('later', { cpus: 6 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { other: 4 });
  world.putFramework('f', { roles: ['later'] });
  t.deepEqual(cpusOf(world.offerAll()), { later: 6 });
});

test('a guarantee is met before fair shares, and the rest is shared', (t) => {
  const world = cluster(12, 'cpus:1', 'big', 'small');
  world.quota('big', { cpus: 9 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { big: 9, small: 3 });
});

test('an agent is cut where a limit is reached, and what is no scalar goes with it', (t) => {
  const world = cluster(1, 'cpus:2;ports:[1-9]', 'ads');
  world.quota('ads', {}, { cpus: 1.5 });
  const [offer] = world.offerAll();
  t.deepEqual(offer?.resources, parseResources('cpus:1.5;ports:[1-9]'));
});

test('a limit counts what is reserved, used or not', (t) => {
  const world = cluster(1, 'cpus:4;cpus(ads):2', 'ads');
  world.quota('ads', {}, { cpus: 3 });
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('cpus:1;cpus(ads):2'));
});

test('a subrole is within the limits of all roles above it', (t) => {
  const world = cluster(10, 'cpus:1', 'eng/a/x', 'eng/b');
  world.quota('eng', {}, { cpus: 5 });
  world.quota('eng/a', {}, { cpus: 2 });
  world.quota('eng/a/x', {}, { cpus: 9 });
  t.deepEqual(cpusOf(world.offerAll()), { 'eng/a/x': 2, 'eng/b': 3 });
});

test("a subrole is given of its parent's guarantee what is not guaranteed to its siblings", (t) => {
  const world = cluster(10, 'cpus:1', 'eng/b', 'other');
  world.quota('eng', { cpus: 10 }, {});
  world.quota('eng/a', { cpus: 6 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { 'eng/b': 4 });
  world.putFramework('f', { roles: ['eng/a'] });
  t.deepEqual(cpusOf(world.offerAll()), { 'eng/a': 6 });
});

test("a role's own frameworks are given what is not guaranteed to its subroles", (t) => {
  const world = cluster(10, 'cpus:1', 'eng');
  world.quota('eng', { cpus: 8 }, {});
  world.quota('eng/a', { cpus: 3 }, {});
  world.quota('eng/a/x', { cpus: 2 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { eng: 7 });
});

test('guarantees of subroles are kept where their parent has none', (t) => {
  const world = cluster(10, 'cpus:1', 'other');
  world.quota('eng/a', { cpus: 3 }, {});
  world.quota('eng/b', { cpus: 4 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { other: 3 });
});

test('guarantees beyond the cluster are met as far as it goes', (t) => {
  const world = cluster(6, 'cpus:1', 'ads', 'eng', 'other');
  world.quota('ads', { cpus: 8 }, {});
  world.quota('eng', { cpus: 8 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { ads: 3, eng: 3 });
});

test('disks of their own count against quotas, and are cut if they can be', (t) => {
  const world = cluster(0, '', 'ads');
  world.quota('ads', {}, { disk: 250 });
  const disk = (type: string, size: number): string =>
    JSON.stringify([
      { name: 'cpus', type: 'SCALAR', scalar: { value: 1 } },
      {
        name: 'disk',
        type: 'SCALAR',
        scalar: { value: size },
        disk: { source: { type, [type.toLowerCase()]: { root: '/d' } } },
      },
    ]);
  const disks = (): number[] => world.offerAll().map(({ resources }) => (quantitiesOf(resources)['disk'] ?? 0) / 1000);
  world.addAgents(disk('PATH', 100));
  t.deepEqual(disks(), [100]);
  world.addAgents(disk('MOUNT', 151));
  t.deepEqual(disks(), [0]);
  world.addAgents(disk('PATH', 200));
  t.deepEqual(disks(), [150]);
});

test('what a limit withheld on one agent is offered when something ends on another', (t) => {
  const world = cluster(2, 'cpus:2;mem:10', 'ads');
  world.quota('ads', {}, { cpus: 2, mem: 10 });
  const [offer] = world.offerAll();
  const first = offer?.agentId ?? '';
  const held = world.offerOn(first, 0);
  t.truthy(held);
  world.putAgent(first, { book: { active: false } });
  t.deepEqual(world.offerAll(), []);
  world.answer(first, 0, '', 0);
  t.deepEqual(world.offerAll(), []);
  world.at += 1_000;
  t.not(world.offerAll()[0]?.agentId, first);
  t.is(world.plain.unanswered('f of ads', 'ads').length, 1);
});

test('a quota that is taken away binds nobody any more', (t) => {
  const world = cluster(4, 'cpus:1', 'ads');
  world.quota('ads', {}, { cpus: 1 });
  world.quota('later', { cpus: 2 }, {});
  t.deepEqual(cpusOf(world.offerAll()), { ads: 1 });
  world.putRole('ads', { quota: null });
  t.deepEqual(cpusOf(world.offerAll()), { ads: 1 });
  world.putRole('later', { quota: null });
  t.deepEqual(cpusOf(world.offerAll()), { ads: 2 });
});

test('reserved resources are offered to a role that is at its limit', (t) => {
  const world = cluster(1, 'cpus:4;cpus(ads):2', 'ads');
  world.quota('ads', {}, { cpus: 2 });
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('cpus(ads):2'));
});
