import { mesos } from '@mesobus/protos';
import test from 'ava';
import { type Effect, snapshot } from '../src/core/index.ts';
import { type Command, kill, ofKind, Reason, run, statesIn, TaskState, updatesIn, World } from './world.ts';

const task = { frameworkId: 'F', taskId: 't1' };
const pause = (number: number): Command => ({ number, pauseTask: { task } });
const resume = (number: number): Command => ({ number, resumeTask: { task } });
const controlsIn = (effects: readonly Effect[]): string[] =>
  ofKind(effects, 'control').map(({ control }) => control.kind);

/** What the updates say of pauses. */
const pausesIn = (effects: readonly Effect[]): (string | undefined)[] =>
  updatesIn(effects).map(
    ({ status }) => status?.labels?.labels?.find(({ key }) => key === 'mesobus.paused')?.value ?? undefined,
  );

/** An agent whose only task runs, and nobody has acknowledged anything. */
function running(): World {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.tick(0);
  world.answer({ taskUpdatesTaken: {} });
  return world;
}

test('a task that is paused stands still once that is on the disk, and says so; resumed it goes on and says so', (t) => {
  const world = running();
  t.deepEqual(controlsIn(world.commands([pause(2)])), []);
  const paused = world.sync();
  t.deepEqual(controlsIn(paused), ['pause']);
  t.deepEqual(statesIn(paused), ['TASK_RUNNING 3']);
  t.deepEqual(pausesIn(paused), ['true']);
  t.is(updatesIn(paused)[0]?.status?.message, 'The task is paused');
  world.answer({ taskUpdatesTaken: {} });
  const resumed = world.taken(resume(3));
  t.deepEqual(controlsIn(resumed), ['resume']);
  t.deepEqual(pausesIn(resumed), [undefined]);
});

test('pausing twice, and resuming what runs, is no news', (t) => {
  const world = running();
  t.deepEqual(controlsIn(world.taken(resume(2))), []);
  world.taken(pause(3));
  world.answer({ taskUpdatesTaken: {} });
  const again = world.taken(pause(4));
  t.deepEqual([controlsIn(again), statesIn(again)], [[], []]);
  t.is(world.state.cursor, 4);
});

test('a task that is paused before it runs stands still as soon as it does', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'), pause(2));
  t.deepEqual(controlsIn(world.effects), []);
  const effects = world.started(world.containerId);
  t.deepEqual(controlsIn(effects), ['pause']);
  t.is(world.state.launches.get(`1\0F\0t1`)?.pending.at(-1)?.status.labels?.labels?.[0]?.key, 'mesobus.paused');
});

test('a paused task is still paused after its agent was killed, also when its journal was compacted', (t) => {
  for (const compacted of [false, true]) {
    const world = running();
    world.taken(pause(2));
    if (compacted) world.compact();
    const found = world.found().map((container) => ({ ...container, paused: true }));
    world.found = () => found;
    const effects = world.restart();
    t.deepEqual(controlsIn(effects), [], 'its supervisor knows');
    world.registered();
    t.deepEqual(controlsIn(world.taken(resume(3))), ['resume']);
  }
});

test('a pause that is on the disk, and of which the supervisor has not heard, is made good by the next process', (t) => {
  const world = running();
  world.commands([pause(2)]);
  world.disk.push(...world.volatile);
  world.volatile = [];
  const effects = world.restart();
  t.deepEqual(controlsIn(effects), ['pause']);
  t.true(world.state.launches.get(`1\0F\0t1`)?.paused);
});

test('a paused task is killed like any other, and a pause that comes later changes nothing', (t) => {
  const world = running();
  world.taken(pause(2));
  t.deepEqual(controlsIn(world.taken(kill(3, 't1', 1_000))), ['term']);
  t.deepEqual(controlsIn(world.taken(resume(4), pause(5))), []);
  world.exited(world.containerId, 15, true);
  t.is(world.state.launches.get(`1\0F\0t1`)?.state, TaskState.TASK_KILLED);
});

test('a task that has ended, or is not there, is not paused', (t) => {
  const world = running();
  world.exited(world.containerId, 0);
  t.deepEqual(controlsIn(world.taken(pause(2))), []);
  const other = new World().ready();
  t.deepEqual(controlsIn(other.taken(pause(1))), []);
  t.is(other.state.cursor, 1);
});

// ---- disk

const disk = (megabytes: number) => ({
  name: 'disk',
  type: mesos.v1.Value.Type.SCALAR,
  scalar: { value: megabytes },
});

function withDisk(megabytes: number | undefined): World {
  const world = new World().ready();
  world.taken(run(1, 't1', { task: { resources: megabytes === undefined ? [] : [disk(megabytes)] } }));
  world.started(world.containerId);
  return world;
}

const usage = (world: World, megabytes: number): Effect[] => [
  ...world.input({ kind: 'disk_usage', samples: [{ containerId: world.containerId, bytes: megabytes * 2 ** 20 }] }),
  ...world.sync(),
];

test('a task that takes more disk than it was given fails for that, and still does after the agent was killed', (t) => {
  const world = withDisk(10);
  t.deepEqual(controlsIn(usage(world, 10)), []);
  t.deepEqual(controlsIn(usage(world, 12)), ['kill']);
  t.deepEqual(controlsIn(usage(world, 13)), [], 'once is enough');
  world.compact();
  world.restart();
  world.exited(world.containerId, 9, true);
  const { status } = world.state.launches.get(`1\0F\0t1`)?.pending.at(-1) ?? {};
  t.is(status?.state, TaskState.TASK_FAILED);
  t.is(status?.reason, Reason.REASON_CONTAINER_LIMITATION_DISK);
  t.is(status?.message, 'Disk usage (12MB) exceeds quota (10MB)');
  t.like(status?.limitation?.resources?.[0], { name: 'disk', scalar: { value: 10 } });
});

test('a task that was given no disk is held to none', (t) => {
  t.deepEqual(controlsIn(usage(withDisk(undefined), 1_000)), []);
});

test('a snapshot says which tasks are paused', (t) => {
  const world = running();
  world.taken(pause(2));
  t.true(snapshot(world.state).snapshot?.tasks?.[0]?.paused);
});
