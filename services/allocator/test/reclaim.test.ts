import { mesobus } from '@mesobus/protos';
import { formatResources } from '@mesobus/sdk/resources';
import test from 'ava';
import { type Decision, explain } from '../src/core/index.ts';
import { World } from './oracle/world.ts';

const { RECLAIM } = mesobus.v1.Allocation.Kind;
const Reason = mesobus.v1.Withheld.Reason;
const afterMs = 10_000;

/** Nobody else is helped by time alone. */
const newWorld = (): World => new World({ starvationBoundMs: Number.POSITIVE_INFINITY });

function want(world: World, id: string, role: string, cpus: number, count = 1): void {
  const shapes = count === 0 ? [] : [{ quantities: { cpus: { value: cpus } }, count }];
  world.putFramework(id, { roles: [role], demands: [{ role, shapes }] });
}

/** Whoever is offered something launches tasks of one size, which may be asked back. */
function fill(world: World, id: string, role: string, cpus: number, count = 100): void {
  want(world, id, role, cpus, count);
  pass(world, 1_000);
  for (const agentId of world.agents.keys()) world.startTasks(agentId, 0, count, `cpus:${cpus}`);
  want(world, id, role, cpus, 0);
}

/** A second is a round. @returns what was asked back, in words */
function pass(world: World, ms: number): string[] {
  const found: Decision[] = [];
  for (let left = ms; left > 0; left -= 1_000) {
    world.at += 1_000;
    found.push(...world.round().filter(({ kind }) => kind === RECLAIM));
    world.judge(world.sent.length);
  }
  return found.map(({ agentId, frameworkId, victims }) => {
    const taken = victims.map((one) => `${formatResources(one.resources)} of ${one.frameworkId}`);
    return `${agentId} for ${frameworkId}: ${taken.join(', ')}`;
  });
}

/** Two roles of equal weight; `batch` has filled the agents with tasks of one cpu. */
function filled(...agents: string[]): World {
  const world = newWorld();
  world.addAgents(...agents);
  world.reclaimAfter(afterMs);
  fill(world, 'f1', 'batch', 1);
  return world;
}

function said(world: World, frameworkId: string): mesobus.v1.Withheld.$Properties | null | undefined {
  const steps = explain(world.state, () => world.at, new mesobus.v1.ExplainFramework({ frameworkId }));
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value.roles?.[0]?.reclaim;
  }
}

test('a guarantee that is not met for the time has the fewest and youngest tasks asked back, once', (t) => {
  const world = filled('cpus:4;mem:4096', 'cpus:4;mem:4096');
  world.quota('web', { cpus: 2 }, {});
  want(world, 'f2', 'web', 2);
  t.deepEqual(pass(world, afterMs), []);
  t.deepEqual(pass(world, 1_000), ['a1 for f2: cpus:2 of f1']);
  t.deepEqual(pass(world, 5_000), [], 'it is under way');
  world.endReclaim('a1');
  t.deepEqual(pass(world, 1_000), []);
  t.deepEqual(
    world.agent('a1').held.map(({ frameworkId, offered }) => `${frameworkId} ${formatResources(offered)}`),
    ['f1 ', 'f2 cpus:2'],
    'what is free then is offered to it',
  );
});

test('where tasks are not asked back, none are', (t) => {
  const world = filled('cpus:4;mem:4096');
  world.reclaimAfter(0);
  world.quota('web', { cpus: 2 }, {});
  want(world, 'f2', 'web', 2);
  t.deepEqual(pass(world, 3 * afterMs), []);
  t.is(said(world, 'f2')?.reason, Reason.RECLAIM_OFF);
});

test('a task that is large enough is taken and not many small ones with it', (t) => {
  const world = newWorld();
  world.addAgents('cpus:4;mem:4096');
  world.reclaimAfter(afterMs);
  fill(world, 'f1', 'batch', 3, 1);
  fill(world, 'f1', 'batch', 0.1);
  world.quota('web', { cpus: 3 }, {});
  want(world, 'f2', 'web', 3);
  t.deepEqual(pass(world, afterMs + 1_000), ['a1 for f2: cpus:3 of f1']);
});

test('tasks of several frameworks are taken together where none has enough', (t) => {
  const world = newWorld();
  world.addAgents('cpus:4;mem:4096');
  world.reclaimAfter(afterMs);
  fill(world, 'f1', 'batch', 2, 1);
  fill(world, 'f3', 'ads', 2, 1);
  world.quota('web', { cpus: 4 }, {});
  want(world, 'f2', 'web', 4);
  t.deepEqual(pass(world, afterMs + 1_000), ['a1 for f2: cpus:2 of f3, cpus:2 of f1']);
});

test('a fair share is taken as far as the margin, and not from whoever is as poor', (t) => {
  const world = filled('cpus:8;mem:4096');
  want(world, 'f2', 'web', 1, 8);
  let taken = 0;
  for (let i = 0; i < 20; i += 1) {
    taken += pass(world, afterMs + 1_000).length;
    world.endReclaim('a1');
    pass(world, 1_000);
    const started = world.startTasks('a1', 0, 1, 'cpus:1');
    world.endReclaim('a1');
    want(world, 'f2', 'web', 1, 8 - taken * started);
  }
  t.is(taken, 3, 'with 4 each the loser would be no richer');
});

test('a fair share is not taken where it is not wanted by name, nor within a role', (t) => {
  const world = filled('cpus:4;mem:4096');
  world.putFramework('f2', { roles: ['web'] });
  t.deepEqual(pass(world, 3 * afterMs), [], 'it has said nothing');
  want(world, 'f3', 'batch', 1);
  t.deepEqual(pass(world, 3 * afterMs), [], 'it is of the same role');
});

test('what a role is guaranteed, and a role above it, is not taken for another', (t) => {
  for (const guaranteed of ['batch/night', 'batch']) {
    const world = newWorld();
    world.addAgents('cpus:4;mem:4096');
    world.reclaimAfter(afterMs);
    fill(world, 'f1', 'batch/night', 1);
    world.quota(guaranteed, { cpus: 3 }, {});
    world.quota('web', { cpus: 1 }, {});
    want(world, 'f2', 'web', 2);
    t.deepEqual(pass(world, 2 * afterMs), [], 'two cpus are too much');
    want(world, 'f2', 'web', 1);
    t.deepEqual(pass(world, 2 * afterMs), ['a1 for f2: cpus:1 of f1']);
  }
});

test('a guarantee takes from a sibling what is of the role above both', (t) => {
  const world = newWorld();
  world.addAgents('cpus:4;mem:4096');
  world.reclaimAfter(afterMs);
  fill(world, 'f1', 'eng/night', 1);
  world.quota('eng', { cpus: 4 }, {});
  world.quota('eng/web', { cpus: 1 }, {});
  want(world, 'f2', 'eng/web', 1);
  t.deepEqual(pass(world, 2 * afterMs), ['a1 for f2: cpus:1 of f1']);
});

test('nothing is asked back while something is free, was declined, or lies in an offer', (t) => {
  const ways: readonly ((world: World) => void)[] = [
    (world) => world.release('a2', 0),
    (world) => {
      world.release('a2', 0);
      pass(world, 1_000);
      world.answer('a2', 0, '', 3_600_000);
    },
    (world) => {
      world.quota('web', {}, {});
      world.release('a2', 0);
      world.putFramework('f9', { roles: ['batch'], demands: [] });
      want(world, 'f2', 'web', 1, 0);
      pass(world, 1_000);
    },
  ];
  for (const help of ways) {
    const world = filled('cpus:4;mem:4096', 'cpus:4;mem:4096');
    world.quota('web', { cpus: 1 }, {});
    want(world, 'f2', 'web', 1);
    help(world);
    want(world, 'f2', 'web', 1);
    t.deepEqual(pass(world, 2 * afterMs), []);
  }
});

test('what is free on an agent where tasks are asked back is for nobody else', (t) => {
  const world = filled('cpus:4;mem:4096');
  world.quota('web', { cpus: 2 }, {});
  want(world, 'f2', 'web', 2);
  pass(world, afterMs + 1_000);
  want(world, 'f1', 'batch', 1, 9);
  world.endReclaim('a1');
  const steps = explain(world.state, () => world.at, new mesobus.v1.ExplainFramework({ frameworkId: 'f1' }));
  const { value } = steps.next();
  const [reason] = (value as mesobus.v1.Explanation.$Properties).roles?.[0]?.agents ?? [];
  t.is(reason?.reason?.reason, Reason.RECLAIMED_FOR_OTHERS);
  t.deepEqual(reason?.reason?.roles, ['web']);
});

test('a search among too many agents goes on where it stopped', (t) => {
  const world = new World({ starvationBoundMs: Number.POSITIVE_INFINITY }, false);
  world.addAgents(...Array.from({ length: 1_200 }, (_, i) => `cpus:${i === 1_150 ? 2 : 1};mem:4096`));
  world.reclaimAfter(afterMs);
  want(world, 'f1', 'batch', 1, 2_000);
  pass(world, 3_000);
  for (const agentId of world.agents.keys()) world.startTasks(agentId, 0, 2, 'cpus:1');
  want(world, 'f1', 'batch', 1, 0);
  world.quota('web', { cpus: 2 }, {});
  want(world, 'f2', 'web', 2);
  pass(world, afterMs - 1_000);
  t.deepEqual(pass(world, 2_000), [], 'it is on no agent that was looked at first');
  t.deepEqual(pass(world, 1_000), ['a1151 for f2: cpus:2 of f1']);
});

test('whoever waits for tasks that are asked back is told so, and whoever waits in vain', (t) => {
  const world = filled('cpus:4;mem:4096');
  world.quota('web', { cpus: 6 }, {});
  want(world, 'f2', 'web', 2);
  pass(world, 4_000);
  t.like(said(world, 'f2'), { reason: Reason.RECLAIM_WAITS, endsInMs: afterMs - 3_000 });
  pass(world, afterMs);
  t.is(said(world, 'f2')?.reason, Reason.RECLAIM_UNDER_WAY);
  t.deepEqual(said(world, 'f2')?.roles, ['batch']);
  world.agent('a1').reclaim = undefined;
  world.feed([world.agentItem('a1')]);
  world.quota('batch', { cpus: 4 }, {});
  pass(world, 1_000);
  t.is(said(world, 'f2')?.reason, Reason.NOTHING_TO_RECLAIM);
  t.is(said(world, 'f1'), undefined, 'it lacks nothing');
});
