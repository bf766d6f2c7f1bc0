import { mesos } from '@mesobus/protos';
import test from 'ava';
import { type Command, kill, ofKind, Reason, run, TaskState, updatesIn, World } from './world.ts';

const { PARTITION_AWARE, TASK_KILLING_STATE } = mesos.v1.FrameworkInfo.Capability.Type;

const drain = (number: number, options: { maxGracePeriodMs?: number; markGone?: boolean } = {}): Command => ({
  number,
  drainAgent: { maxGracePeriodMs: 0, markGone: false, ...options },
});
const reactivate = (number: number): Command => ({ number, reactivateAgent: {} });

/** State and reason of the last update in some effects. */
const endIn = (effects: Parameters<typeof updatesIn>[0]) => {
  const { state, reason } = updatesIn(effects).at(-1)?.status ?? {};
  return { state: TaskState[state ?? 0], reason };
};
const { REASON_AGENT_DRAINING } = Reason;

/** An agent on which one task runs. */
function running(...capabilities: mesos.v1.FrameworkInfo.Capability.Type[]): World {
  const world = new World().ready();
  world.taken(run(1, 't1', { capabilities, task: { killPolicy: { gracePeriod: { nanoseconds: 5_000_000_000n } } } }));
  world.started(world.containerId);
  return world;
}

for (const [granted, graceMs] of [
  [0, 5_000],
  [1_000, 1_000],
  [60_000, 5_000],
] as const) {
  test(`a task that asks for 5 s gets ${graceMs} ms where the drain grants ${granted || 'what it asks for'}`, (t) => {
    const effects = running().taken(drain(2, { maxGracePeriodMs: granted }));
    t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'term', graceMs });
  });
}

test('a drain has no effect before it is durable', (t) => {
  const world = running();
  t.deepEqual(ofKind(world.commands([drain(2)]), 'control'), []);
  t.is(ofKind(world.sync(), 'control').length, 1);
});

for (const [markGone, capabilities, state] of [
  [false, [], 'TASK_KILLED'],
  [true, [PARTITION_AWARE], 'TASK_GONE_BY_OPERATOR'],
  [true, [], 'TASK_LOST'],
] as const) {
  const whose = capabilities.length > 0 ? 'a partition-aware framework' : 'another framework';
  test(`a task of ${whose} that a drain ${markGone ? 'for good ' : ''}kills is ${state}`, (t) => {
    const world = running(...capabilities);
    world.taken(drain(2, { markGone }));
    t.deepEqual(endIn(world.exited(world.containerId, 15, true)), { state, reason: REASON_AGENT_DRAINING });
  });
}

test('a task that ends by itself while the agent drains ends as it says', (t) => {
  const world = running();
  world.taken(drain(2));
  t.is(endIn(world.exited(world.containerId, 0)).state, 'TASK_FINISHED');
});

test('TASK_KILLING says that it is for the drain', (t) => {
  t.deepEqual(endIn(running(TASK_KILLING_STATE).taken(drain(2))), {
    state: 'TASK_KILLING',
    reason: REASON_AGENT_DRAINING,
  });
});

test('a launch that comes while the agent drains is refused, and one that was not begun is not', (t) => {
  const world = running();
  const effects = world.taken(run(2, 't2'), drain(3), run(4, 't3'));
  t.deepEqual(ofKind(effects, 'start'), []);
  t.deepEqual(
    updatesIn(effects)
      .filter(({ status }) => status?.state === TaskState.TASK_KILLED)
      .map(({ status }) => [status?.taskId.value, status?.reason]),
    [
      ['t2', REASON_AGENT_DRAINING],
      ['t3', REASON_AGENT_DRAINING],
    ],
  );
});

test('a framework may kill what drains, and only shorten its time', (t) => {
  const world = running();
  world.taken(drain(2, { maxGracePeriodMs: 1_000 }));
  t.deepEqual(ofKind(world.taken(kill(3, 't1', 10)), 'control')[0]?.control, { kind: 'term', graceMs: 10 });
  t.deepEqual(ofKind(world.taken(kill(4, 't1', 9_000)), 'control')[0]?.control, { kind: 'term', graceMs: 10 });
});

for (const compacted of [false, true]) {
  test(`a drain goes on after a restart of the agent${compacted ? ', also from a compacted journal' : ''}`, (t) => {
    const world = running(PARTITION_AWARE);
    world.commands([drain(2, { markGone: true })]);
    world.disk.push(...world.volatile.splice(0));
    if (compacted) world.compact();
    const effects = [...world.restart(), ...world.registered(), ...world.sync()];
    t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'term', graceMs: 5_000 });
    t.deepEqual(endIn(world.taken(run(3, 't2'))).reason, REASON_AGENT_DRAINING);
    t.is(endIn(world.exited(world.containerId, 15, true)).state, 'TASK_GONE_BY_OPERATOR');
  });

  test(`a reactivation ends it${compacted ? ', also in a compacted journal' : ''}`, (t) => {
    const world = running();
    world.taken(drain(2), reactivate(3));
    if (compacted) world.compact();
    world.restart();
    world.registered();
    t.is(ofKind(world.taken(run(4, 't2')), 'start').length, 1);
  });
}

test('a drain may be changed by another one', (t) => {
  const world = running(PARTITION_AWARE);
  world.taken(drain(2));
  const effects = world.taken(drain(3, { maxGracePeriodMs: 100, markGone: true }));
  t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'term', graceMs: 100 });
  t.is(endIn(world.exited(world.containerId, 15, true)).state, 'TASK_GONE_BY_OPERATOR');
});

test('a drain without a number is a drain all the same, and survives too', (t) => {
  const world = running();
  t.is(ofKind(world.taken({ ...drain(0), number: 0 }), 'control').length, 1);
  world.ready();
  t.is(endIn(world.taken(run(2, 't2'))).reason, REASON_AGENT_DRAINING);
  world.taken({ ...reactivate(0), number: 0 });
  t.is(ofKind(world.taken(run(3, 't3')), 'start').length, 1);
});

test('the drain of an agent that was marked gone does not bind the new one in its place', (t) => {
  const world = running();
  world.taken(drain(2, { markGone: true }), { number: 3, shutdownAgent: {} });
  world.restart();
  world.registered({ agentId: 'm1-S1' });
  world.sync();
  t.is(ofKind([...world.commands([run(1, 't2')], { agentId: 'm1-S1' }), ...world.sync()], 'start').length, 1);
});
