// Shares in a tree of roles, computed by hand.
import { addQuantities, noQuantities, parseResources, quantitiesOf } from '@mesobus/sdk/resources';
import test from 'ava';
import { shares } from '../src/core/index.ts';
import { volumeOf, World } from './oracle/world.ts';

/** How many cpus each role was offered, of as many agents with one. */
function offered(world: World, agents: number): Record<string, number> {
  world.addAgents(...Array.from({ length: agents }, () => 'cpus:1;mem:100'));
  const cpus: Record<string, number> = {};
  for (const { role } of world.offerAll()) cpus[role] = (cpus[role] ?? 0) + 1;
  return cpus;
}

test('siblings share what their parent has, each by its weight', (t) => {
  const world = new World();
  for (const [role, weight] of [
    ['eng', 2],
    ['ads', 1],
    ['eng/a', 1],
    ['eng/b', 3],
  ] as const)
    world.putRole(role, { weight });
  for (const [id, role] of [
    ['f1', 'eng/a'],
    ['f2', 'eng/b'],
    ['f3', 'ads'],
  ] as const) {
    world.putFramework(id, { roles: [role] });
  }
  t.deepEqual(offered(world, 24), { 'eng/a': 4, 'eng/b': 12, ads: 8 });
});

test("a role's own frameworks compete with its subroles, at weight 1 whatever its own", (t) => {
  const world = new World();
  for (const [role, weight] of [
    ['eng', 5],
    ['eng/a', 3],
  ] as const)
    world.putRole(role, { weight });
  for (const [id, role] of [
    ['f1', 'eng'],
    ['f2', 'eng/a'],
  ] as const)
    world.putFramework(id, { roles: [role] });
  t.deepEqual(offered(world, 20), { eng: 5, 'eng/a': 15 });
});

test('a deep role has no more than its branch, however few others there are in it', (t) => {
  const world = new World();
  for (const [id, role] of [
    ['f1', 'a/b/c'],
    ['f2', 'x'],
    ['f3', 'a/d'],
  ] as const)
    world.putFramework(id, { roles: [role] });
  t.deepEqual(offered(world, 12), { 'a/b/c': 3, 'a/d': 3, x: 6 });
});

test('a framework in several roles is offered in each by the share of the role', (t) => {
  const world = new World();
  world.putFramework('f1', { roles: ['ads', 'eng'] });
  world.putFramework('f2', { roles: ['ads'] });
  t.deepEqual(offered(world, 8), { ads: 4, eng: 4 });
  t.deepEqual(
    (shares(world.state, 0).frameworks ?? []).map(({ role, frameworkId, dominantShare }) => [
      role,
      frameworkId,
      dominantShare,
    ]),
    [
      ['ads', 'f1', 0.25],
      ['ads', 'f2', 0.25],
      ['eng', 'f1', 0.5],
    ],
  );
});

test('what a subrole is suppressed in goes to its siblings first', (t) => {
  const world = new World();
  for (const [id, role] of [
    ['f1', 'a/b'],
    ['f2', 'a/c'],
    ['f3', 'x'],
  ] as const)
    world.putFramework(id, { roles: [role] });
  world.putFramework('f1', { suppressedRoles: ['a/b'] });
  t.deepEqual(offered(world, 8), { 'a/c': 4, x: 4 });
});

test('what is reserved to a role is offered to it and to its subroles, and to nobody else', (t) => {
  const world = new World();
  for (const [id, role] of [
    ['f1', 'x'],
    ['f2', 'a/b'],
  ] as const)
    world.putFramework(id, { roles: [role] });
  world.addAgents('cpus(a):2;cpus(a/b):1;cpus(a/c):4;mem(a):100');
  const [offer, ...others] = world.offerAll();
  t.deepEqual(others, []);
  t.like(offer, { frameworkId: 'f2', role: 'a/b', resources: parseResources('cpus(a):2;cpus(a/b):1;mem(a):100') });
});

test('a shared volume counts once for its framework, once for each role and once for the cluster', (t) => {
  const world = new World();
  for (const id of ['f1', 'f2']) world.putFramework(id, { roles: ['ads'] });
  const volume = volumeOf('ads', true);
  const held = ['f1', 'f2'].map((frameworkId) => ({
    frameworkId,
    role: 'ads',
    allocated: volume,
    offered: [] as never,
  }));
  world.putAgent('a1', { total: volume, held });
  const [role] = shares(world.state, 0).roles ?? [];
  t.is(role?.dominantShare, 1);
  t.deepEqual(quantitiesOf(volume), addQuantities(noQuantities, { disk: 100_000 }));
  world.putAgent('a1', { held: held.slice(1) });
  t.is(shares(world.state, 0).roles?.[0]?.dominantShare, 1);
  world.putAgent('a1', { held: [] });
  t.is(shares(world.state, 0).roles?.[0]?.dominantShare, 0);
});
