import { mesos } from '@mesobus/protos';
import { noResources, parseResources, resources, resourcesOf, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import type { Decision } from '../src/core/index.ts';
import { step } from '../src/core/index.ts';
import { FakeLeader } from './fake-leader.ts';
import { quantitiesAt } from './quantities-at.ts';

const given = (decisions: readonly Decision[]): string[] =>
  decisions.map(({ agentId, frameworkId, role }) => `${agentId} to ${frameworkId} as ${role}`);

function cluster(...agents: string[]): FakeLeader {
  const leader = new FakeLeader();
  for (const [i, agent] of agents.entries()) leader.addAgent(`a${i + 1}`, agent);
  return leader;
}

test('an agent is given whole to the only framework', (t) => {
  const leader = cluster('cpus:4;mem:1024;ports:[31000-31009]');
  leader.addFramework('f1');
  const [decision] = leader.round();
  t.like(decision, { number: 1, agentId: 'a1', frameworkId: 'f1', role: '*' });
  t.deepEqual(decision?.resources, parseResources('cpus:4;mem:1024;ports:[31000-31009]'));
  t.deepEqual(leader.round(), []);
});

test('what was decided is not decided again before its outcome is known', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  t.is(leader.round().length, 1);
  leader.feed([leader.bookOf('a1')]); // an older view of the books, from before the allocation arrived
  t.deepEqual(leader.round(), []);
});

test('an allocation that the leader refused is available again', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  const [first] = leader.round();
  leader.settle(first as Decision, noResources);
  t.like(leader.round(), [{ number: 2, agentId: 'a1' }]);
});

test('freed resources are given again, and only they', (t) => {
  const leader = cluster('cpus:4;mem:512');
  leader.addFramework('f1');
  leader.offer(leader.round()[0] as Decision);
  leader.release('a1', 'f1', '*', resources({ cpus: 1, mem: 64 }));
  t.deepEqual(leader.round()[0]?.resources, resources({ cpus: 1, mem: 64 }));
});

test('a role of weight 2 gets twice the dominant share of one of weight 1', (t) => {
  const leader = cluster(...Array.from({ length: 30 }, () => 'cpus:1;mem:100'));
  leader.feed([{ role: { role: 'heavy', weight: 2 } }]);
  leader.addFramework('f1', ['light']);
  leader.addFramework('f2', ['heavy']);
  const decisions = leader.round();
  t.is(decisions.filter(({ role }) => role === 'heavy').length, 20);
  t.is(decisions.filter(({ role }) => role === 'light').length, 10);
});

test('two frameworks of one role share it evenly', (t) => {
  const leader = cluster(...Array.from({ length: 10 }, () => 'cpus:1'));
  for (const id of ['f1', 'f2']) leader.addFramework(id, ['ads']);
  t.is(leader.round().filter(({ frameworkId }) => frameworkId === 'f1').length, 5);
});

test('a suppressed framework gets nothing until it wants offers again', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1', ['*'], { suppressedRoles: ['*'] });
  t.deepEqual(leader.round(), []);
  leader.addFramework('f1');
  t.deepEqual(given(leader.round()), ['a1 to f1 as *']);
});

test('an inactive framework and an inactive agent take no part', (t) => {
  const leader = cluster('cpus:4', 'cpus:4');
  leader.addFramework('f1', ['*'], { active: false });
  leader.addFramework('f2');
  leader.books('a2').active = false;
  leader.feed([leader.bookOf('a2')]);
  t.deepEqual(given(leader.round()), ['a1 to f2 as *']);
});

test('an agent that is active again is offered again', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  leader.books('a1').active = false;
  leader.feed([leader.bookOf('a1')]);
  t.deepEqual(leader.round(), []);
  leader.books('a1').active = true;
  leader.feed([leader.bookOf('a1')]);
  t.deepEqual(given(leader.round()), ['a1 to f1 as *']);
});

test('a declined agent goes to the other framework, and comes back when the filter ends', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  const [first] = leader.round();
  leader.settle(first as Decision, noResources);
  const filter = { frameworkId: 'f1', role: '*', agentId: 'a1', resources: leader.bookOf('a1').agent?.total ?? [] };
  leader.feed([{ filter: { ...filter, refuseMs: 5_000 } }]);
  t.deepEqual(step(leader.state, leader.at, { kind: 'round' }), [{ kind: 'wake', atMs: 5_000 }]);
  leader.at = 4_999;
  t.deepEqual(leader.round(), []);
  leader.at = 5_000;
  t.deepEqual(given(leader.round()), ['a1 to f1 as *']);
});

test('a filter does not hide more than was declined', (t) => {
  const leader = cluster('cpus:4;mem:512');
  leader.addFramework('f1');
  leader.offer(leader.round()[0] as Decision);
  const declined = { name: 'cpus', type: mesos.v1.Value.Type.SCALAR, scalar: { value: 1 } };
  const filter = { frameworkId: 'f1', role: '*', agentId: 'a1', resources: [declined], refuseMs: 60_000 };
  leader.feed([{ filter }]);
  leader.release('a1', 'f1', '*', resources({ cpus: 1 }));
  t.deepEqual(leader.round(), []);
  leader.release('a1', 'f1', '*', resources({ cpus: 1 }));
  t.deepEqual(leader.round()[0]?.resources, resources({ cpus: 2 }));
});

const wire = toWire(parseResources('cpus:4'));
const declined = { filter: { frameworkId: 'f1', role: '*', agentId: 'a1', resources: wire, refuseMs: 5_000 } };
const agentBook = { agent: { agentId: 'a1', hostname: 'a1', active: true, total: wire } };
const frameworkBook = (active: boolean) => ({ framework: { frameworkId: 'f1', active, roles: ['*'] } });

type Items = Parameters<FakeLeader['feed']>[0];
const early: readonly (readonly [string, Items[], offered: boolean])[] = [
  ['its agent', [[frameworkBook(true), declined], [agentBook]], false],
  ['its framework', [[agentBook, declined], [frameworkBook(true)]], false],
  ['both, all at once', [[declined, frameworkBook(true), agentBook]], false],
  [
    'its agent, but is lifted',
    [
      [frameworkBook(true), declined],
      [{ filtersLifted: { frameworkId: 'f1' } }, agentBook],
    ],
    true,
  ],
  [
    'its agent, but whose framework goes',
    [[frameworkBook(true), declined], [frameworkBook(false)], [frameworkBook(true), agentBook]],
    true,
  ],
  [
    'its agent, but whose framework is removed',
    [[frameworkBook(true), declined], [{ frameworkRemoved: 'f1' }], [frameworkBook(true), agentBook]],
    true,
  ],
  ['its agent, but that is removed', [[frameworkBook(true), declined], [{ agentRemoved: 'a1' }], [agentBook]], true],
];
for (const [what, batches, offered] of early) {
  test(`a filter that comes before the books of ${what} ${offered ? 'hides nothing' : 'hides what was declined'}`, (t) => {
    const leader = new FakeLeader();
    for (const items of batches) leader.feed(items);
    t.is(leader.round().length > 0, offered);
    leader.at = 5_000;
    t.is(leader.round().length > 0, !offered);
  });
}

test('reviving lifts the filters of the named roles only', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1', ['ads', 'web']);
  const wire = leader.bookOf('a1').agent?.total ?? [];
  for (const role of ['ads', 'web']) {
    leader.feed([{ filter: { frameworkId: 'f1', role, agentId: 'a1', resources: wire, refuseMs: 1e6 } }]);
  }
  t.deepEqual(leader.round(), []);
  leader.feed([{ filtersLifted: { frameworkId: 'f1', roles: ['web'] } }]);
  t.deepEqual(given(leader.round()), ['a1 to f1 as web']);
});

test('a volume that was made anew is offered as it is now', (t) => {
  const leader = new FakeLeader();
  leader.addFramework('f1', ['ads']);
  for (const containerPath of ['old', 'new']) {
    const volume = { mode: 'read-write', containerPath } as const;
    const total = resourcesOf([
      { name: 'cpus', kind: 'scalar', amount: 1_000 },
      {
        ...{ name: 'disk', kind: 'scalar', amount: 1_000, reservations: [{ type: 'dynamic', role: 'ads' }] },
        disk: { persistence: { id: 'v' }, volume },
      },
    ]);
    leader.feed([{ agent: { agentId: 'a1', active: true, total: toWire(total) } }]);
  }
  t.is(leader.round()[0]?.resources[1]?.disk?.volume?.containerPath, 'new');
});

test('reserved resources go to their role alone, the rest to the lowest share', (t) => {
  const leader = cluster('cpus:4;cpus(ads):2');
  leader.addFramework('f1', ['ads']);
  leader.addFramework('f2', ['web']);
  const decisions = leader.round();
  const web = decisions.find(({ role }) => role === 'web');
  t.true(web === undefined || web.resources.every(({ reservations }) => reservations === undefined));
  t.true(
    decisions.some(({ role, resources: list }) => role === 'ads' && list.some(({ reservations }) => reservations)),
  );
});

test('gpus are kept for frameworks that say they use them', (t) => {
  const leader = cluster('cpus:4;gpus:1');
  leader.addFramework('f1');
  t.deepEqual(leader.round(), []);
  leader.addFramework('f2', ['*'], { capabilities: [{ type: mesos.v1.FrameworkInfo.Capability.Type.GPU_RESOURCES }] });
  t.deepEqual(given(leader.round()), ['a1 to f2 as *']);
});

test('slivers below 0.01 cpus and 32 MB are not offered, unless the framework wants them', (t) => {
  const leader = cluster('cpus:0.005;mem:16');
  leader.addFramework('f1');
  t.deepEqual(leader.round(), []);
  leader.addFramework('f2', ['*'], { offerFilters: { '*': { minAllocatableResources: { quantities: [] } } } });
  t.deepEqual(given(leader.round()), ['a1 to f2 as *']);
});

test('nothing is allocated between a gap and the end of the next snapshot', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  step(leader.state, 0, { kind: 'gap' });
  t.deepEqual(leader.round(), []);
  const framework = { framework: { frameworkId: 'f1', active: true, roles: ['*'] } };
  leader.feed([leader.bookOf('a1')], { snapshotBegins: true });
  t.deepEqual(leader.round(), []);
  leader.feed([framework], { snapshotEnds: true });
  t.deepEqual(given(leader.round()), ['a1 to f1 as *']);
});

test('a new appointment counts from 1 again and forgets what the last one left open', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  leader.round();
  leader.feed([], { appointment: 2 });
  t.like(leader.round(), [{ number: 1, agentId: 'a1' }]);
});

test('a removed agent takes what was decided on it with it', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  leader.round();
  leader.feed([{ agentRemoved: 'a1' }]);
  t.is(leader.state.open.size, 0);
  t.deepEqual(quantitiesAt(leader.state, leader.state.total), {});
});

test('a standby follows the books and decides nothing until it is appointed', (t) => {
  const leader = cluster('cpus:4');
  leader.feed([], { appointedAllocatorId: 'al2' });
  leader.addFramework('f1', ['*']);
  leader.feed([], { appointedAllocatorId: 'al2' });
  t.deepEqual(leader.round(), []);
  leader.feed([], { appointment: 2 });
  t.deepEqual(given(leader.round()), ['a1 to f1 as *']);
});

test('numbers count from 1 again after a snapshot, even of a leader that counts appointments as the last one did', (t) => {
  const leader = cluster('cpus:4');
  leader.addFramework('f1');
  t.is(leader.round().length, 1);
  const framework = { framework: { frameworkId: 'f1', active: true, roles: ['*'] } };
  leader.feed([leader.bookOf('a1'), framework], { snapshotBegins: true, snapshotEnds: true });
  t.like(leader.round(), [{ number: 1, agentId: 'a1' }]);
});

test('a role that nobody is in and nobody has configured leaves the books', (t) => {
  const leader = new FakeLeader();
  leader.addFramework('f1', ['ads', 'web']);
  t.deepEqual([...leader.state.roles.keys()].sort(), ['ads', 'web']);
  leader.feed([{ role: { role: 'web', weight: 2 } }]);
  leader.addAgent('a1', 'cpus:4;mem:1024');
  const [decision] = leader.round();
  leader.feed([{ frameworkRemoved: 'f1' }]);
  t.true(leader.state.roles.has(decision?.role ?? ''));
  leader.feed([], { appointment: 2 });
  t.deepEqual([...leader.state.roles.keys()], ['web']);
  leader.feed([{ role: { role: 'web', weight: 0 } }]);
  t.is(leader.state.roles.size, 0);
});

test('a round takes so many agents as make it short, and wants another one for the rest', (t) => {
  const leader = new FakeLeader();
  for (let i = 0; i < 1_500; i += 1) leader.addAgent(`a${i}`, 'cpus:1;mem:64');
  leader.addFramework('f1');
  const effects = step(leader.state, 0, { kind: 'round' });
  t.deepEqual(
    effects.map((effect) => (effect.kind === 'allocated' ? effect.decisions.length : effect.kind)),
    [1_000, 'round_wanted'],
  );
  t.is(leader.round().length, 500);
});
