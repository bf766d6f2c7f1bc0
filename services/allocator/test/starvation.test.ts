// Whoever wants what would fit is offered it within a stated time, whatever idle frameworks do.
import { mesobus } from '@mesobus/protos';
import { parseResources } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { defaultSettings } from '../src/core/index.ts';
import { createRandom } from '../src/core/random.ts';
import { World } from './oracle/world.ts';

const { RESCIND } = mesobus.v1.Allocation.Kind;
const { starvationBoundMs, allocationIntervalMs } = defaultSettings;
/** The leader of these tests hears of decisions, and the allocator of their outcomes, within this time. */
const turnMs = 100;

type Idle = 'silent' | 'suppressed' | 'declining' | 'wanting the impossible' | 'wanting and holding';

const wants = (cpus: number, role = 'ads') => ({
  role,
  shapes: [{ count: 1, quantities: { cpus: { value: cpus }, mem: { value: 10 } } }],
});

/** All agents, and frameworks that do nothing with what they are offered. */
function idleCluster(agents: number, idle: readonly Idle[]): World {
  const world = new World({}, false);
  for (const [i, kind] of idle.entries()) {
    const suppressed = kind === 'suppressed' ? { suppressedRoles: ['ads'] } : {};
    const wanted = kind === 'wanting and holding' ? [wants(4)] : kind === 'wanting the impossible' ? [wants(5)] : [];
    const demand = wanted.length > 0 ? { demands: wanted } : {};
    world.putFramework(`idle-${i}`, { roles: ['ads'], ...suppressed, ...demand });
  }
  world.addAgents(...Array.from({ length: agents }, () => 'cpus:4;mem:400'));
  return world;
}

/** Lets a turn pass: whoever declines does so at once, for ever. */
function turn(world: World, idle: readonly Idle[]): void {
  world.at += turnMs;
  world.round();
  world.judge(world.sent.length);
  for (const [id, { held }] of world.agents) {
    for (const [which, { frameworkId, offered }] of held.entries()) {
      if (offered.length === 0 || idle[Number(frameworkId.replace('idle-', ''))] !== 'declining') continue;
      world.answer(id, held.slice(0, which).filter((one) => one.offered.length > 0).length, '', 1e9);
    }
  }
}

/** @returns after how many ms the newcomer has been offered something */
function untilOffered(world: World, idle: readonly Idle[], atMostMs: number): number {
  const began = world.at;
  while (world.at - began <= atMostMs) {
    turn(world, idle);
    for (const { held } of world.agents.values()) {
      if (held.some(({ frameworkId, offered }) => frameworkId === 'newcomer' && offered.length > 0))
        return world.at - began;
    }
  }
  return Number.POSITIVE_INFINITY;
}

/** Two turns: the offers are taken back, and what is free is offered. */
const boundMs = starvationBoundMs + allocationIntervalMs + 3 * turnMs;

test('what 1,000 frameworks of all kinds leave lying is offered to one that wants it within the bound', (t) => {
  const kinds: readonly Idle[] = ['silent', 'suppressed', 'declining', 'wanting the impossible'];
  const idle = Array.from({ length: 1_000 }, (_, i) => kinds[i % 4] as Idle);
  const world = idleCluster(20, idle);
  for (let i = 0; i < 30; i += 1) turn(world, idle);
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(4)] });
  const waited = untilOffered(world, idle, 10 * boundMs);
  t.true(waited <= boundMs, `it waited for ${waited} ms`);
});

test('whoever wants what would fit is offered it within the bound, and one more for each that wants and holds', (t) => {
  const anyIdle = fc.array(
    fc.constantFrom<Idle>('silent', 'suppressed', 'declining', 'wanting the impossible', 'wanting and holding'),
    {
      minLength: 1,
      maxLength: 12,
    },
  );
  const law = fc.property(
    anyIdle,
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 0, max: 40 }),
    (idle, agents, turns) => {
      const world = idleCluster(agents, idle);
      for (let i = 0; i < turns; i += 1) turn(world, idle);
      world.putFramework('newcomer', { roles: ['ads'], demands: [wants(4)] });
      const holding = idle.filter((kind) => kind === 'wanting and holding').length;
      const most = boundMs + holding * (starvationBoundMs + allocationIntervalMs + 3 * turnMs);
      const waited = untilOffered(world, idle, 2 * most);
      return waited <= most;
    },
  );
  t.notThrows(() => fc.assert(law, { numRuns: 150 }));
});

function hoarded(...offered: string[]): World {
  const world = new World({}, false);
  world.putFramework('silent', { roles: ['ads'] });
  world.addAgents(...offered);
  world.offerAll();
  return world;
}

test('offers are taken back on the agent where the fewest are in the way, and no more than are needed', (t) => {
  const world = hoarded('cpus:1;mem:10', 'cpus:1;mem:10', 'cpus:2;mem:10');
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.at += starvationBoundMs;
  const decisions = world.round();
  t.deepEqual(
    decisions.map(({ kind, agentId, frameworkId }) => [kind, agentId, frameworkId]),
    [[RESCIND, 'a3', 'silent']],
  );
  t.regex(decisions[0]?.why ?? '', /^framework newcomer in role 'ads' has waited for 2\.0 s$/);
});

test('nothing is taken back before the bound, nor for what fits nowhere, nor a second time', (t) => {
  const world = hoarded('cpus:2;mem:10');
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.putFramework('greedy', { roles: ['ads'], demands: [wants(99)] });
  world.at += starvationBoundMs - 1;
  t.deepEqual(world.round(), []);
  world.at += 1;
  t.is(world.round().length, 1);
  world.at += 10 * allocationIntervalMs;
  t.deepEqual(world.round(), []);
  world.judge(1);
  t.like(world.offerAll(), [{ frameworkId: 'newcomer' }]);
});

test('a framework that has said what it wants keeps its offers for the bound', (t) => {
  const world = new World({}, false);
  world.putFramework('holding', { roles: ['ads'], demands: [wants(2)] });
  world.addAgents('cpus:2;mem:10');
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.at += starvationBoundMs - 100;
  world.offerAll();
  world.at += 100;
  t.deepEqual(world.round(), []);
  world.at += starvationBoundMs;
  t.like(world.round(), [{ kind: RESCIND, frameworkId: 'holding' }]);
});

test('offers are taken back for a guarantee that is short, but not those that another guarantee needs', (t) => {
  const world = new World({}, false);
  world.putFramework('other', { roles: ['other'] });
  world.putFramework('equal', { roles: ['equal'] });
  world.quota('equal', { cpus: 2 }, {});
  world.addAgents('cpus:2;mem:10', 'cpus:2;mem:10');
  world.offerAll();
  world.putFramework('late', { roles: ['late'] });
  world.quota('late', { cpus: 4 }, {});
  t.deepEqual(world.round(), []);
  world.at += starvationBoundMs;
  t.deepEqual(
    world.round().map(({ kind, frameworkId }) => [kind, frameworkId]),
    [[RESCIND, 'other']],
  );
  world.judge(1);
  const [offer] = world.offerAll();
  t.deepEqual([offer?.frameworkId, offer?.resources], ['late', parseResources('cpus:2;mem:10')]);
});

test('the allocator wakes by itself when somebody has waited for the bound', (t) => {
  const world = hoarded('cpus:2;mem:10');
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.round();
  t.true(world.wakeAtMs <= world.at + starvationBoundMs);
});

test('while offers are being taken back for somebody the allocator does not wake for it', (t) => {
  const world = hoarded('cpus:2;mem:10');
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.at += starvationBoundMs;
  t.is(world.round().length, 1);
  t.is(world.wakeAtMs, Number.POSITIVE_INFINITY);
});

test('of all who are overdue each is given something before anyone is given more', (t) => {
  const world = new World({}, false);
  const demands = [{ role: 'ads', shapes: [{ count: 9, quantities: { cpus: { value: 2 } } }] }];
  for (const id of ['f1', 'f2']) world.putFramework(id, { roles: ['ads'], demands });
  world.round();
  world.at += starvationBoundMs;
  world.addAgents('cpus:2', 'cpus:2');
  t.deepEqual(
    world
      .round()
      .map(({ frameworkId }) => frameworkId)
      .sort(),
    ['f1', 'f2'],
  );
});

test('what was taken back for somebody goes to it and not to another who is overdue as well', (t) => {
  const world = hoarded('cpus:2;mem:10', 'cpus:4;mem:10');
  world.putFramework('a', { roles: ['ads'], demands: [wants(2)] });
  world.putFramework('b', { roles: ['ads'], demands: [wants(4)] });
  world.at += starvationBoundMs;
  const taken = world.round();
  t.deepEqual(
    taken.map(({ agentId }) => agentId),
    ['a1', 'a2'],
  );
  // The larger one is free first.
  for (const decision of [...taken].reverse()) {
    world.sent = [decision];
    world.judge(1);
  }
  const offers = world.round().map(({ agentId, frameworkId }) => `${agentId} to ${frameworkId}`);
  t.deepEqual(offers.sort(), ['a1 to a', 'a2 to b']);
});

test('whoever wants what its guarantee does not lack is not passed over for what it lacks', (t) => {
  const world = new World({}, false);
  world.putFramework('newcomer', { roles: ['ads'], demands: [wants(2)] });
  world.addAgents('cpus:2;mem:10');
  world.offerAll();
  world.answer('a1', 0, 'cpus:2;mem:10', 0);
  world.putFramework('silent', { roles: ['other'] });
  world.addAgents('cpus:2;mem:10');
  world.offerAll();
  world.quota('ads', { gpus: 1 }, {});
  world.at += starvationBoundMs;
  t.like(world.round(), [{ kind: RESCIND, frameworkId: 'silent' }]);
  world.judge(1);
  t.like(world.round(), [{ agentId: 'a2', frameworkId: 'newcomer' }]);
});

/** Two frameworks of unequal weight that want any number of tasks. @returns how much of the cluster each has in the mean */
function saturated(everyMs: number): Record<string, number> {
  const world = new World({}, false);
  const demand = (role: string) => ({
    role,
    shapes: [{ count: 100, quantities: { cpus: { value: 1 }, mem: { value: 10 } } }],
  });
  world.putRole('heavy', { weight: 3 });
  for (const role of ['heavy', 'light']) world.putFramework(role, { roles: [role], demands: [demand(role)] });
  world.addAgents(...Array.from({ length: 12 }, () => 'cpus:1;mem:10'));
  const dice = createRandom(1);
  const sum: Record<string, number> = { heavy: 0, light: 0 };
  for (let turn = 0; turn < 300; turn += 1) {
    for (const { agentId } of world.offerAll()) world.answer(agentId, 0, 'cpus:1;mem:10', 0);
    const held = [...world.agents.values()].flatMap((agent) => agent.held).filter((one) => one.allocated.length > 0);
    if (turn >= 100) for (const { role } of held) sum[role] = (sum[role] ?? 0) + 1 / 200;
    world.at += everyMs;
    world.release(`a${dice.below(12) + 1}`, 0);
  }
  return sum;
}

for (const everyMs of [50, 1_000, 30_000]) {
  test(`where everything is in use, weights decide though all wait for longer than the bound: a task ends each ${everyMs} ms`, (t) => {
    const { heavy = 0, light = 0 } = saturated(everyMs);
    t.is(Math.round(heavy), 9);
    t.is(Math.round(light), 3);
  });
}

test('one with a smaller share that says it wants, and refuses whatever it is offered, does not keep others from it', (t) => {
  const world = new World({}, false);
  world.putFramework('newcomer', { roles: ['ads'] });
  world.addAgents('cpus:1;mem:10');
  world.offerAll();
  world.answer('a1', 0, 'cpus:1;mem:10', 0);
  world.putFramework('refusing', { roles: ['ads'], demands: [wants(4)] });
  world.addAgents('cpus:4;mem:400');
  world.putFramework('newcomer', { demands: [wants(4)] });
  for (let waited = 0; waited <= boundMs; waited += turnMs) {
    world.at += turnMs;
    const offers = world.offerAll();
    if (offers.some(({ frameworkId }) => frameworkId === 'newcomer')) return t.pass();
    if (offers.length > 0) world.answer('a2', 0, '', 0);
  }
  return t.fail('it was never offered');
});
