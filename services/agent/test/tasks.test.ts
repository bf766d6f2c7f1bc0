import { mesos } from '@mesobus/protos';
import { formatResources, fromWire, parseResources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import {
  kill,
  ofKind,
  overMemory,
  Reason,
  type RunOptions,
  run,
  Source,
  statesIn,
  TaskState,
  updatesIn,
  World,
} from './world.ts';

const killing = mesos.v1.FrameworkInfo.Capability.Type.TASK_KILLING_STATE;
const grace = (ms: number) => ({ killPolicy: { gracePeriod: { nanoseconds: BigInt(ms) * 1_000_000n } } });

/** A world in which task t1 runs. */
function running(options: RunOptions = {}): World {
  const world = new World().ready();
  world.taken(run(1, 't1', options));
  world.started(world.containerId);
  return world;
}

test('a task is starting when it is taken and running when its supervisor says so', (t) => {
  const world = new World().ready();
  t.deepEqual(statesIn(world.taken(run(1, 't1'))), ['TASK_STARTING 1']);
  t.deepEqual(statesIn(world.started(world.containerId)), ['TASK_RUNNING 2']);
});

test('an update carries the ids, the time, the container and the pid of its supervisor', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const [update] = updatesIn(world.started(world.containerId));
  const { status } = update ?? {};
  t.like(status, {
    taskId: { value: 't1' },
    agentId: { value: 'm1-S0' },
    executorId: { value: 't1' },
    timestamp: 1_000,
    source: Source.SOURCE_EXECUTOR,
  });
  t.deepEqual(status?.containerStatus, { containerId: { value: world.containerId }, executorPid: 9 });
  t.is(status?.uuid?.length, 16);
});

const ends = [
  ['exit 0', 0, 'TASK_FINISHED', 'Command exited with status 0', undefined],
  ['exit 3', 3 << 8, 'TASK_FAILED', 'Command exited with status 3', Reason.REASON_COMMAND_EXECUTOR_FAILED],
  ['exit 137', 137 << 8, 'TASK_FAILED', 'Command exited with status 137', Reason.REASON_COMMAND_EXECUTOR_FAILED],
  ['SIGKILL', 9, 'TASK_FAILED', 'Command terminated with signal SIGKILL', Reason.REASON_COMMAND_EXECUTOR_FAILED],
  [
    'SIGSEGV with a core',
    139,
    'TASK_FAILED',
    'Command terminated with signal SIGSEGV',
    Reason.REASON_COMMAND_EXECUTOR_FAILED,
  ],
] as const;
for (const [what, status, state, message, reason] of ends) {
  test(`a command that ends by ${what} gives ${state}: ${message}`, (t) => {
    const world = running();
    const [update] = updatesIn(world.exited(world.containerId, status));
    t.is(TaskState[update?.status?.state ?? 0], state);
    t.is(update?.status?.message, message);
    t.is(update?.status?.reason, reason);
  });
}

test('an end that is said twice is one update', (t) => {
  const world = running();
  t.is(statesIn(world.exited(world.containerId, 0)).length, 1);
  t.is(statesIn(world.exited(world.containerId, 0)).length, 0);
});

test('a command that never ran fails the launch', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const event = { kind: 'failed', containerId: world.containerId, message: 'no such file' } as const;
  world.input({ kind: 'container_events', events: [event] });
  const [update] = updatesIn(world.sync());
  t.like(update?.status, { state: TaskState.TASK_FAILED, reason: Reason.REASON_CONTAINER_LAUNCH_FAILED });
  t.regex(update?.status?.message ?? '', /no such file/);
});

test('a task that took too much memory fails for that reason, also when its end is found after a restart', (t) => {
  const world = running({ task: { resources: toWire(parseResources('cpus:1;mem:64')) } });
  const [update] = updatesIn(world.exited(world.containerId, 9, false, overMemory));
  t.like(update?.status, { state: TaskState.TASK_FAILED, ...overMemory });
  t.is(formatResources(fromWire(update?.status?.limitation?.resources ?? [])), 'mem:64');

  const away = running();
  const end = {
    kind: 'exited',
    containerId: away.containerId,
    status: 9,
    stopped: false,
    exitedAtMs: away.at,
  } as const;
  away.containers.set(away.containerId, { running: false, stopped: false, end: { ...end, limitation: overMemory } });
  away.restart();
  const found = [...away.registered(), ...away.sync()];
  t.like(updatesIn(found).at(-1)?.status, { state: TaskState.TASK_FAILED, ...overMemory });
});

test('the death of a supervisor fails its task as terminated', (t) => {
  const world = running();
  world.input({ kind: 'container_events', events: [{ kind: 'lost', containerId: world.containerId }] });
  const [update] = updatesIn(world.sync());
  t.like(update?.status, { state: TaskState.TASK_FAILED, reason: Reason.REASON_EXECUTOR_TERMINATED });
});

const graces = [
  ['the kill says', grace(100), 50, { kind: 'term', graceMs: 50 }],
  ['the task says, where the kill does not', grace(100), undefined, { kind: 'term', graceMs: 100 }],
  ['three seconds, where nobody says', {}, undefined, { kind: 'term', graceMs: 3_000 }],
  ['none at all, which is SIGKILL', {}, 0, { kind: 'kill' }],
] as const;
for (const [what, task, asked, control] of graces) {
  test(`the grace of a kill is what ${what}`, (t) => {
    const world = running({ task });
    t.deepEqual(ofKind(world.taken(kill(2, 't1', asked)), 'control')[0]?.control, control);
  });
}

test('a second kill may shorten the grace, never lengthen it', (t) => {
  const world = running();
  world.taken(kill(2, 't1', 1_000));
  t.deepEqual(ofKind(world.taken(kill(3, 't1', 10)), 'control')[0]?.control, { kind: 'term', graceMs: 10 });
  t.deepEqual(ofKind(world.taken(kill(4, 't1', 9_000)), 'control')[0]?.control, { kind: 'term', graceMs: 10 });
});

test('a killed task is TASK_KILLED, and TASK_KILLING before it only for frameworks that know it', (t) => {
  const plain = running();
  t.deepEqual(statesIn(plain.taken(kill(2, 't1'))), []);
  t.deepEqual(statesIn(plain.exited(plain.containerId, 15, true)), ['TASK_KILLED 3']);
  const aware = running({ capabilities: [killing] });
  t.deepEqual(statesIn(aware.taken(kill(2, 't1'))), ['TASK_KILLING 3']);
  t.deepEqual(statesIn(aware.taken(kill(3, 't1'))), []);
  t.deepEqual(statesIn(aware.exited(aware.containerId, 15, true)), ['TASK_KILLED 4']);
});

test('a task that ended before the kill reached it keeps its own end', (t) => {
  const world = running();
  world.taken(kill(2, 't1'));
  t.deepEqual(statesIn(world.exited(world.containerId, 0, false)), ['TASK_FINISHED 3']);
});

test('a kill of a task that is only starting is said at once and again once it has, and it is never running', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  t.is(ofKind(world.taken(kill(2, 't1')), 'control').length, 1);
  const effects = world.started(world.containerId);
  t.is(ofKind(effects, 'control').length, 1);
  t.deepEqual(statesIn(effects), []);
});

test('a task that runs longer than its max_completion_time is killed at once and fails for that reason', (t) => {
  const world = running({ task: { maxCompletionTime: { nanoseconds: 2_000_000_000n } } });
  t.deepEqual(ofKind(world.tick(1_900), 'control'), []);
  t.deepEqual(ofKind(world.tick(200), 'control')[0]?.control, { kind: 'kill' });
  t.deepEqual(ofKind(world.tick(200), 'control'), []);
  const [update] = updatesIn(world.exited(world.containerId, 9, true));
  t.like(update?.status, { state: TaskState.TASK_FAILED, reason: Reason.REASON_MAX_COMPLETION_TIME_REACHED });
});
