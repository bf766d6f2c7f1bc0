import { mesos } from '@mesobus/protos';
import test from 'ava';
import { runningContainers } from '../src/core/index.ts';
import { DiskMeter } from '../src/shell/disk-meter.ts';
import { Statistics } from '../src/shell/statistics.ts';
import { type Command, run, World } from './world.ts';

const { SCALAR } = mesos.v1.Value.Type;
const resources = Object.entries({ cpus: 0.5, mem: 64, disk: 10 }).map(([name, value]) => ({
  ...{ name, type: SCALAR, scalar: { value } },
}));

/** An agent on which some tasks run. */
function running(...commands: readonly Command[]): World {
  const world = new World().ready();
  world.taken(...commands);
  for (const containerId of world.containers.keys()) world.started(containerId);
  return world;
}

test('what runs is told with what it was given', (t) => {
  const limits = { mem: { value: 128 } };
  const world = running(run(1, 'plain', { task: { resources } }), run(2, 'limited', { task: { resources, limits } }));
  world.taken({ number: 3, pauseTask: { task: { frameworkId: 'F', taskId: 'limited' } } });
  const [plain, limited] = runningContainers(world.state);
  t.like(plain, { taskIds: ['plain'], frameworkId: 'F', executorId: 'plain', cpus: 0.5, paused: false });
  t.like(plain, { memoryLimitBytes: 64 * 2 ** 20, diskLimitBytes: 10 * 2 ** 20 });
  t.like(limited, { taskIds: ['limited'], memoryLimitBytes: 128 * 2 ** 20, paused: true });
});

test('what has not begun, or has ended, uses nothing', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  t.deepEqual(runningContainers(world.state), []);
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  t.deepEqual(runningContainers(world.state), []);
});

test('however many ask, nothing is measured more often than once a second', async (t) => {
  const { state } = running(run(1, 't1', { task: { resources } }));
  let now = 10_000;
  let measured = 0;
  const statistics = new Statistics({
    ...{ state, sandboxes: '/', now: () => now, disk: new DiskMeter(Number.POSITIVE_INFINITY, () => 0) },
    usage: async (containerIds) => {
      measured += 1;
      return containerIds.map((containerId) => ({ containerId, atMs: now, cpuSeconds: measured, memoryBytes: 5 }));
    },
  });
  const answers = await Promise.all([statistics.answer(), statistics.answer(), statistics.answer()]);
  t.is(measured, 1);
  t.like(answers[2]?.containers?.[0], { taskIds: ['t1'], cpuSeconds: 1, memoryBytes: 5, measuredAtMs: 10_000 });
  t.true((answers[0]?.machine?.cpus ?? 0) > 0);
  now = 10_999;
  await statistics.answer();
  t.is(measured, 1);
  now = 11_000;
  await statistics.answer();
  t.is(measured, 2);
});
