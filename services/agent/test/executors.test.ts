import { mesos } from '@mesobus/protos';
import { formatResources, noResources, parseResources, toWire } from '@mesobus/sdk/resources';
import test, { type ExecutionContext } from 'ava';
import type { Effect } from '../src/core/index.ts';
import {
  acknowledge,
  type Command,
  kill,
  ofKind,
  overMemory,
  Reason,
  run,
  statesIn,
  TaskState,
  updatesIn,
  World,
} from './world.ts';

const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
const { Type } = mesos.v1.executor.Event;
const CallType = mesos.v1.executor.Call.Type;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;

const wire = (text: string) => toWire(parseResources(text));

const executorInfo = (executorId = 'e'): mesos.v1.ExecutorInfo.$Properties => ({
  type: mesos.v1.ExecutorInfo.Type.CUSTOM,
  executorId: { value: executorId },
  command: { value: './executor' },
  resources: wire('cpus:0.1;mem:32'),
});

/** A command that launches a task with an executor. @param runNumber - of the launch that its executor came with */
function delegate(number: number, taskId: string, runNumber = number, executorId = 'e'): Command {
  const task = { executor: executorInfo(executorId), resources: wire('cpus:1;mem:64') };
  const { command: _, ...rest } = run(number, taskId, { task, capabilities: [PARTITION_AWARE] }).runTask?.task ?? {};
  const framework = run(number, taskId, { capabilities: [PARTITION_AWARE] }).runTask?.framework ?? null;
  const info = rest as mesos.v1.TaskInfo.$Properties;
  return { number, runTask: { framework, task: info, run: { number: runNumber, role: 'ads' } } };
}

const call = (more: Partial<mesos.v1.executor.Call.$Properties>): mesos.v1.executor.Call.$Properties => ({
  executorId: { value: 'e' },
  frameworkId: { value: 'F' },
  ...more,
});

const statusOf = (taskId: string, state: mesos.v1.TaskState, id: number): mesos.v1.TaskStatus.$Properties => ({
  taskId: { value: taskId },
  state,
  source: SOURCE_EXECUTOR,
  uuid: new Uint8Array(16).fill(id),
});

const update = (taskId: string, state: mesos.v1.TaskState, id: number) =>
  call({ type: CallType.UPDATE, update: { status: statusOf(taskId, state, id) } });

/** An agent, and the container of the executor that was started last. */
class ExecutorWorld extends World {
  containerOfExecutor = '';

  override carryOut(effect: Effect): void {
    super.carryOut(effect);
    if (effect.kind === 'start' && effect.executor !== undefined) this.containerOfExecutor = effect.containerId;
  }

  subscribe(more: mesos.v1.executor.Call.Subscribe.$Properties = {}): Effect[] {
    const { containerOfExecutor: containerId } = this;
    return [...this.input({ kind: 'executor_subscribed', containerId, subscribe: more }), ...this.sync()];
  }

  says(what: mesos.v1.executor.Call.$Properties): Effect[] {
    return this.input({ kind: 'executor_call', containerId: this.containerOfExecutor, call: what });
  }

  taskInfo(taskId: string): mesos.v1.TaskInfo.$Properties {
    const launch = [...this.state.launches.values()].find((launch) => launch.taskId === taskId);
    return launch?.task ?? { name: taskId, taskId: { value: taskId }, agentId: { value: 'm1-S0' } };
  }

  /** All the way to the disk. */
  said(what: mesos.v1.executor.Call.$Properties): Effect[] {
    return [...this.says(what), ...this.sync()];
  }

  /** One task whose executor runs and is subscribed. */
  withTask(): this {
    this.taken(delegate(1, 't1'));
    this.started(this.containerOfExecutor);
    this.subscribe();
    return this;
  }
}

const world = (): ExecutorWorld => new ExecutorWorld().ready();

/** `LAUNCH t1` for every event in some effects. */
const eventsIn = (effects: readonly Effect[]): string[] =>
  ofKind(effects, 'executor_event').map(({ event }) => {
    const { launch, launchGroup, kill, acknowledged } = event;
    const tasks = launchGroup?.taskGroup.tasks?.map(({ taskId }) => taskId.value).join();
    const of = launch?.task.taskId.value ?? tasks ?? kill?.taskId.value ?? acknowledged?.taskId.value;
    return `${Type[event.type ?? 0]}${of === undefined ? '' : ` ${of}`}`;
  });

const exitsIn = (effects: readonly Effect[]) =>
  ofKind(effects, 'send').flatMap(({ request }) => request.executorExits?.exits ?? []);

/** Answers every request, the oldest first. */
function answerAll(one: World, lastCommand: number): Effect[] {
  const effects: Effect[] = [];
  while (one.sent.length > 0) {
    const { request } = one.sent[0] as (typeof one.sent)[number];
    if (request.register) effects.push(...one.registered({ lastCommand }));
    else if (request.executorExits) effects.push(...one.answer({ executorExitsTaken: { lastCommand } }));
    else effects.push(...one.answer({ taskUpdatesTaken: {} }));
  }
  return [...effects, ...one.sync()];
}

function acknowledgeAll(one: World): void {
  for (const launch of [...one.state.launches.values()]) {
    for (const { status } of [...launch.pending]) one.commands([acknowledge(launch.taskId, status.uuid)]);
  }
  one.sync();
}

function endsClean(t: ExecutionContext, one: World): void {
  answerAll(one, 99);
  acknowledgeAll(one);
  one.state.cursor = 99; // as if a later command were taken
  one.taken({ number: 100, shutdownFramework: { frameworkId: 'other' } });
  t.is(one.state.launches.size, 0);
  t.is(one.state.executors.size, 0);
  t.is(one.state.byExecutor.size, 0);
  t.is(one.containers.size, 0);
}

test('the first task starts the executor, and is told to it once it has subscribed; it states nothing by itself', (t) => {
  const one = world();
  const effects = one.taken(delegate(1, 't1'));
  const [start] = ofKind(effects, 'start');
  t.like(start, {
    executorId: 'e',
    taskId: '',
    executor: { shutdownGraceMs: 5_000 },
    command: { value: './executor' },
  });
  t.is(formatResources(start?.resources ?? noResources), 'cpus:1.1;mem:96');
  t.deepEqual(statesIn(effects), []);
  t.deepEqual(eventsIn(one.started(one.containerOfExecutor)), []);
  const subscribed = one.subscribe();
  t.deepEqual(eventsIn(subscribed), ['SUBSCRIBED', 'LAUNCH t1']);
  t.like(ofKind(subscribed, 'executor_event')[0]?.event.subscribed, {
    executorInfo: { executorId: { value: 'e' }, frameworkId: { value: 'F' } },
    agentInfo: { id: { value: 'm1-S0' } },
    containerId: { value: one.containerOfExecutor },
  });
});

test('tasks share an executor: it starts once, its container grows with them, and shrinks when they end', (t) => {
  const one = world();
  t.is(ofKind(one.taken(delegate(1, 't1'), delegate(2, 't2', 1)), 'start').length, 1);
  one.started(one.containerOfExecutor);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'LAUNCH t1', 'LAUNCH t2']);
  const third = one.taken(delegate(3, 't3', 1));
  t.deepEqual(eventsIn(third), ['LAUNCH t3']);
  t.is(formatResources(ofKind(third, 'resize')[0]?.resources ?? noResources), 'cpus:3.1;mem:224');
  const ended = one.says(update('t2', TaskState.TASK_FINISHED, 1));
  t.is(formatResources(ofKind(ended, 'resize')[0]?.resources ?? noResources), 'cpus:2.1;mem:160');
});

test('an update is acknowledged once it is on the disk, sent with its own uuid, and taken once', (t) => {
  const one = world().withTask();
  const before = one.says(update('t1', TaskState.TASK_RUNNING, 7));
  t.deepEqual(eventsIn(before), []);
  const after = one.sync();
  t.deepEqual(eventsIn(after), ['ACKNOWLEDGED t1']);
  t.deepEqual(statesIn(after), ['TASK_RUNNING 1']);
  t.like(updatesIn(after)[0]?.status, {
    uuid: new Uint8Array(16).fill(7),
    executorId: { value: 'e' },
    containerStatus: { containerId: { value: one.containerOfExecutor } },
  });
  const again = one.said(update('t1', TaskState.TASK_RUNNING, 7));
  t.deepEqual(eventsIn(again), ['ACKNOWLEDGED t1']);
  t.deepEqual(statesIn(again), []);
});

test('an update says what its executor says, and nothing that it does not say', (t) => {
  const one = world().withTask();
  const { Update } = mesos.v1.executor.Call;
  const said = (more: Partial<mesos.v1.TaskStatus.$Properties>, id: number): mesos.v1.TaskStatus.$Properties => {
    const bytes = Update.encode({ status: { ...statusOf('t1', TaskState.TASK_RUNNING, id), ...more } }).finish();
    const effects = one.said(call({ type: CallType.UPDATE, update: Update.decode(bytes) }));
    return updatesIn(effects)[0]?.status ?? { taskId: { value: '' }, state: 0 };
  };
  const bare = said({}, 1);
  for (const key of ['reason', 'message', 'healthy', 'data', 'checkStatus']) t.false(key in bare, key);
  const full = said({ healthy: false, message: 'm', data: Uint8Array.of(9), timestamp: 5.5 }, 2);
  t.like(full, { healthy: false, message: 'm', data: Uint8Array.of(9), timestamp: 5.5 });
});

test('an update of a task that is not there, or not any more, is acknowledged and goes no further', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_FINISHED, 1));
  const late = one.said(update('t1', TaskState.TASK_RUNNING, 2));
  t.deepEqual([eventsIn(late), statesIn(late)], [['ACKNOWLEDGED t1'], []]);
  const unknown = one.said(update('other', TaskState.TASK_RUNNING, 3));
  t.deepEqual([eventsIn(unknown), statesIn(unknown)], [['ACKNOWLEDGED other'], []]);
});

const invalid: [string, Partial<mesos.v1.TaskStatus.$Properties>][] = [
  ['a uuid', { uuid: new Uint8Array(15) }],
  ['its own executor', { executorId: { value: 'another' } }],
  ['the source', { source: mesos.v1.TaskStatus.Source.SOURCE_AGENT }],
  ['a state of its own', { state: TaskState.TASK_STAGING }],
  ['no state of the leader', { state: TaskState.TASK_UNREACHABLE }],
];
for (const [what, wrong] of invalid) {
  test(`an update without ${what} is refused`, (t) => {
    const one = world().withTask();
    const status = { ...statusOf('t1', TaskState.TASK_RUNNING, 1), ...wrong };
    const effects = one.says(call({ type: CallType.UPDATE, update: { status } }));
    t.like(ofKind(effects, 'executor_refused'), [{ refusal: { kind: 'invalid' } }]);
    t.deepEqual(ofKind(effects, 'append'), []);
  });
}

test('who is not subscribed, not known or another is refused', (t) => {
  const one = world().withTask();
  const containerId = one.containerOfExecutor;
  const stranger = one.says({ ...update('t1', TaskState.TASK_RUNNING, 1), executorId: { value: 'x' } });
  t.like(ofKind(stranger, 'executor_refused')[0]?.refusal, { kind: 'invalid' });
  one.input({ kind: 'executor_disconnected', containerId });
  const away = one.says(update('t1', TaskState.TASK_RUNNING, 1));
  t.like(ofKind(away, 'executor_refused')[0]?.refusal, { kind: 'not_subscribed' });
  const unknown = one.input({ kind: 'executor_subscribed', containerId: 'none', subscribe: {} });
  t.like(ofKind(unknown, 'executor_refused')[0]?.refusal, { kind: 'unknown' });
});

test('a kill before the executor has the task ends the task at once; an executor left without any is shut down', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'));
  const effects = one.taken(kill(2, 't1'));
  t.deepEqual(statesIn(effects), ['TASK_KILLED 1']);
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_TASK_KILLED_DURING_LAUNCH);
  one.started(one.containerOfExecutor);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'SHUTDOWN']);
  t.deepEqual(ofKind(one.tick(4_999), 'control'), []);
  t.like(ofKind(one.tick(1), 'control'), [{ control: { kind: 'kill' } }]);
  one.exited(one.containerOfExecutor, 9, true);
  endsClean(t, one);
});

test('an executor whose only task is killed before it is started is never started, and the leader hears so', (t) => {
  const one = world();
  const effects = [...one.commands([delegate(1, 't1'), kill(2, 't1')]), ...one.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  t.like(exitsIn(effects), [{ executorId: 'e', runNumber: 1, unstarted: true, asOf: 2 }]);
  endsClean(t, one);
});

test('a run that was never started begins with a later launch', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'), kill(2, 't1'));
  const effects = one.taken(delegate(3, 't2', 1));
  t.is(ofKind(effects, 'start').length, 1);
  one.started(one.containerOfExecutor);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'LAUNCH t2']);
  one.exited(one.containerOfExecutor, 0);
  endsClean(t, one);
});

test('a launch that was ended before the agent had it starts neither task nor executor', (t) => {
  const one = world();
  const ended = delegate(1, 't1');
  if (ended.runTask) {
    const unlaunched = { state: TaskState.TASK_DROPPED, reason: Reason.REASON_AGENT_REMOVED, message: 'away' };
    ended.runTask = { ...ended.runTask, unlaunched };
  }
  const effects = one.taken(ended);
  t.deepEqual(statesIn(effects), ['TASK_DROPPED 1']);
  t.deepEqual(ofKind(effects, 'start'), []);
  t.like(exitsIn(effects), [{ runNumber: 1, unstarted: true }]);
  endsClean(t, one);
});

test('KILL goes to the executor, with its grace if that is another than the task’s own, and again when it comes back', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_RUNNING, 1));
  const effects = one.taken(kill(2, 't1'));
  t.deepEqual(eventsIn(effects), ['KILL t1']);
  t.is(ofKind(effects, 'executor_event')[0]?.event.kill?.killPolicy ?? undefined, undefined);
  const quicker = ofKind(one.taken(kill(3, 't1', 500)), 'executor_event')[0]?.event.kill;
  t.is(quicker?.killPolicy?.gracePeriod?.nanoseconds, 500_000_000n);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'KILL t1']);
  const killed = one.said(update('t1', TaskState.TASK_KILLED, 2));
  t.deepEqual(statesIn(killed), ['TASK_KILLED 2']);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED']);
});

test('what an executor was told while its stream broke is told again, unless it knows it', (t) => {
  const one = world().withTask();
  one.taken(delegate(2, 't2', 1));
  t.deepEqual(eventsIn(one.subscribe({ unacknowledgedTasks: [one.taskInfo('t1')] })), ['SUBSCRIBED', 'LAUNCH t2']);
  one.input({ kind: 'executor_disconnected', containerId: one.containerOfExecutor });
  t.deepEqual(eventsIn(one.taken(delegate(3, 't3', 1))), []);
  const known = { unacknowledgedTasks: [one.taskInfo('t2')] };
  t.deepEqual(eventsIn(one.subscribe(known)), ['SUBSCRIBED', 'LAUNCH t3']);
});

test('an executor that does not subscribe within a minute is killed, and its tasks fail for that reason', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'));
  one.started(one.containerOfExecutor);
  t.deepEqual(ofKind(one.tick(59_999), 'control'), []);
  t.like(ofKind(one.tick(1), 'control'), [{ control: { kind: 'kill' } }]);
  const effects = one.exited(one.containerOfExecutor, 9, true);
  t.deepEqual(statesIn(effects), ['TASK_FAILED 1']);
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_EXECUTOR_REGISTRATION_TIMEOUT);
  t.like(exitsIn(effects), [{ executorId: 'e', runNumber: 1, status: 9 }]);
  endsClean(t, one);
});

test('an executor that ends takes its tasks with it, and the leader hears of it until it has it', (t) => {
  const one = world().withTask();
  one.taken(delegate(2, 't2', 1));
  one.said(update('t1', TaskState.TASK_RUNNING, 1));
  const effects = one.exited(one.containerOfExecutor, 256);
  t.deepEqual(statesIn(effects), ['TASK_FAILED 2', 'TASK_FAILED 1']);
  for (const { status } of updatesIn(effects)) t.is(status?.reason, Reason.REASON_EXECUTOR_TERMINATED);
  t.like(exitsIn(effects), [{ runNumber: 1, status: 256 }]);
  t.is(exitsIn(one.tick(1_000)).length, 1);
  t.deepEqual(exitsIn(one.tick(1_000)), []);
  answerAll(one, 2);
  t.deepEqual(exitsIn(one.tick(60_000)), []);
  endsClean(t, one);
});

test('an executor that took too much memory takes its tasks with it, and each says so', (t) => {
  const one = world().withTask();
  one.taken(delegate(2, 't2', 1));
  const effects = one.exited(one.containerOfExecutor, 9, false, overMemory);
  t.deepEqual(statesIn(effects), ['TASK_FAILED 1', 'TASK_FAILED 1']);
  for (const { status } of updatesIn(effects)) t.like(status, overMemory);
  endsClean(t, one);
});

test('an executor that takes more disk than it was given is killed, and its tasks fail for that', (t) => {
  const one = world();
  const launch = delegate(1, 't1');
  if (launch.runTask?.task) launch.runTask.task = { ...launch.runTask.task, resources: wire('disk:10') };
  one.taken(launch);
  one.started(one.containerOfExecutor);
  one.subscribe();
  const takes = (bytes: number): Effect[] => {
    const samples = [{ containerId: one.containerOfExecutor, bytes }];
    return [...one.input({ kind: 'disk_usage', samples }), ...one.sync(), ...one.tick(0)];
  };
  t.deepEqual(ofKind(takes(10 * 2 ** 20), 'control'), []);
  t.is(ofKind(takes(12 * 2 ** 20), 'control').length, 1);
  const [update] = updatesIn(one.exited(one.containerOfExecutor, 9, true));
  t.like(update?.status, {
    state: TaskState.TASK_FAILED,
    reason: Reason.REASON_CONTAINER_LIMITATION_DISK,
    message: 'Disk usage (12MB) exceeds quota (10MB)',
  });
  endsClean(t, one);
});

test('a task for an executor that has ended is dropped, and one with the next run starts it again', (t) => {
  const one = world().withTask();
  one.exited(one.containerOfExecutor, 0);
  const late = one.taken(delegate(2, 't2', 1));
  t.deepEqual(statesIn(late), ['TASK_DROPPED 1']);
  t.is(updatesIn(late)[0]?.status?.reason, Reason.REASON_EXECUTOR_TERMINATED);
  const before = one.containerOfExecutor;
  t.is(ofKind(one.taken(delegate(3, 't3')), 'start').length, 1);
  t.not(one.containerOfExecutor, before);
  one.exited(one.containerOfExecutor, 0);
  endsClean(t, one);
});

test('an executor that cannot start fails its tasks', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'));
  const containerId = one.containerOfExecutor;
  const end = { kind: 'failed', containerId, message: 'no such file' } as const;
  one.containers.set(containerId, { running: false, stopped: false, end });
  const effects = [...one.input({ kind: 'container_events', events: [end] }), ...one.sync()];
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_CONTAINER_LAUNCH_FAILED);
  t.like(exitsIn(effects), [{ runNumber: 1, status: -1 }]);
  endsClean(t, one);
});

test('SHUTDOWN: the executor has its grace, its tasks say their ends themselves, and it stays when they ended', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_FINISHED, 1));
  t.is(one.state.executors.size, 1);
  one.taken(delegate(2, 't2', 1));
  const effects = one.taken({ number: 3, shutdownExecutor: { frameworkId: 'F', executorId: 'e' } });
  t.deepEqual(eventsIn(effects), ['SHUTDOWN']);
  t.deepEqual(statesIn(one.taken(delegate(4, 't4', 1))), ['TASK_DROPPED 1']);
  one.said(update('t2', TaskState.TASK_KILLED, 2));
  t.deepEqual(ofKind(one.tick(4_999), 'control'), []);
  t.is(ofKind(one.tick(1), 'control').length, 1);
  t.is(ofKind(one.tick(5_000), 'control').length, 1);
  t.deepEqual(statesIn(one.exited(one.containerOfExecutor, 9, true)), []);
  endsClean(t, one);
});

test('a framework that is removed takes its executors along', (t) => {
  const one = world().withTask();
  t.deepEqual(eventsIn(one.taken({ number: 2, shutdownFramework: { frameworkId: 'F' } })), ['SHUTDOWN']);
  t.deepEqual(statesIn(one.exited(one.containerOfExecutor, 0)), ['TASK_FAILED 1']);
  endsClean(t, one);
});

test('messages pass both ways, and are lost where nobody hears', (t) => {
  const one = world().withTask();
  const message: Command = { frameworkMessage: { frameworkId: 'F', executorId: 'e', data: Uint8Array.of(1, 2) } };
  const down = ofKind(one.commands([message]), 'executor_event')[0]?.event;
  t.deepEqual(down, { type: Type.MESSAGE, message: { data: Uint8Array.of(1, 2) } });
  const up = one.says(call({ type: CallType.MESSAGE, message: { data: Uint8Array.of(3) } }));
  t.like(ofKind(up, 'send')[0]?.request.executorMessages, {
    messages: [{ frameworkId: 'F', executorId: 'e', data: Uint8Array.of(3) }],
  });
  one.input({ kind: 'executor_disconnected', containerId: one.containerOfExecutor });
  t.deepEqual(ofKind(one.commands([message]), 'executor_event'), []);
});

test('an agent that drains has the executor kill its tasks', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_RUNNING, 1));
  const effects = one.taken({ number: 2, drainAgent: { maxGracePeriodMs: 1_000, markGone: false } });
  t.is(ofKind(effects, 'executor_event')[0]?.event.kill?.killPolicy?.gracePeriod?.nanoseconds, 1_000_000_000n);
  const killed = one.said(update('t1', TaskState.TASK_KILLED, 2));
  t.is(updatesIn(killed)[0]?.status?.reason, Reason.REASON_AGENT_DRAINING);
});

test('an agent that shuts down waits for its executors', (t) => {
  const one = world().withTask();
  const effects = [...one.input({ kind: 'shutdown_asked', why: 'test' }), ...one.sync()];
  t.deepEqual(eventsIn(effects), ['SHUTDOWN']);
  one.tick(5_000);
  const ended = one.exited(one.containerOfExecutor, 9, true);
  t.deepEqual(statesIn(ended), ['TASK_KILLED 1']);
});

// ---- the agent starts again

test('an executor outlives the agent: it says which tasks it knows, and gets the others', (t) => {
  const one = world().withTask();
  one.taken(delegate(2, 't2', 1));
  one.restart();
  const effects = one.subscribe({ unacknowledgedTasks: [one.taskInfo('t1')] });
  t.deepEqual(eventsIn(effects), ['SUBSCRIBED', 'LAUNCH t2']);
  t.deepEqual(ofKind(one.tick(60_000), 'control'), []);
});

test('an update that the agent had not written down comes again with the subscription; one that it had, once', (t) => {
  const one = world().withTask();
  one.says(update('t1', TaskState.TASK_RUNNING, 1));
  one.restart(); // it was not on the disk
  one.registered();
  const again = { unacknowledgedUpdates: [{ status: statusOf('t1', TaskState.TASK_RUNNING, 1) }] };
  const first = one.subscribe(again);
  t.deepEqual(statesIn(first), ['TASK_RUNNING 1']);
  t.deepEqual(eventsIn(first), ['SUBSCRIBED', 'ACKNOWLEDGED t1']);
  one.restart();
  one.registered();
  one.sync();
  const second = one.subscribe(again);
  t.deepEqual(statesIn(second), []);
  t.deepEqual(eventsIn(second), ['SUBSCRIBED', 'ACKNOWLEDGED t1']);
});

test('an end that is said again does not end another task of that id, of which the executor has not heard', (t) => {
  const one = world().withTask();
  one.says(update('t1', TaskState.TASK_FINISHED, 1));
  one.sync();
  one.input({ kind: 'executor_disconnected', containerId: one.containerOfExecutor }); // with the acknowledgement
  one.taken(delegate(2, 't1', 1));
  const again = { unacknowledgedUpdates: [{ status: statusOf('t1', TaskState.TASK_FINISHED, 1) }] };
  const effects = one.subscribe(again);
  t.deepEqual(statesIn(effects), []);
  t.deepEqual(eventsIn(effects).sort(), ['ACKNOWLEDGED t1', 'LAUNCH t1', 'SUBSCRIBED']);
});

test('an end that is said again does not end another task of that id that was told into a broken stream', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_FINISHED, 1));
  answerAll(one, 1);
  acknowledgeAll(one);
  t.is(one.state.launches.size, 0);
  t.deepEqual(eventsIn(one.taken(delegate(2, 't1', 1))), ['LAUNCH t1']);
  one.input({ kind: 'executor_disconnected', containerId: one.containerOfExecutor }); // it has read nothing of both
  const again = { unacknowledgedUpdates: [{ status: statusOf('t1', TaskState.TASK_FINISHED, 1) }] };
  const effects = one.subscribe(again);
  t.deepEqual(statesIn(effects), []);
  t.deepEqual(eventsIn(effects).sort(), ['ACKNOWLEDGED t1', 'LAUNCH t1', 'SUBSCRIBED']);
});

test('an executor that does not come back within 2 s after a restart of the agent is killed, its tasks are gone', (t) => {
  const one = world().withTask();
  one.restart();
  t.deepEqual(ofKind(one.tick(1_999), 'control'), []);
  t.is(ofKind(one.tick(1), 'control').length, 1);
  one.registered();
  const effects = one.exited(one.containerOfExecutor, 9, true);
  t.deepEqual(statesIn(effects), ['TASK_GONE 1']);
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_EXECUTOR_REREGISTRATION_TIMEOUT);
});

test('an executor that had not subscribed before the restart has its minute again', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'));
  one.started(one.containerOfExecutor);
  one.restart();
  t.deepEqual(ofKind(one.tick(59_000), 'control'), []);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'LAUNCH t1']);
});

test('an executor that ended while the agent was down has ended, with its tasks', (t) => {
  const one = world().withTask();
  one.containers.set(one.containerOfExecutor, {
    running: false,
    stopped: false,
    end: { kind: 'exited', containerId: one.containerOfExecutor, status: 0, stopped: false, exitedAtMs: 0 },
  });
  one.restart();
  const effects = [...one.registered(), ...one.sync()];
  t.deepEqual(statesIn(effects), ['TASK_FAILED 1']);
  t.is(exitsIn(effects).length, 1);
  endsClean(t, one);
});

test('after a reboot the tasks of an executor are gone, and it has ended', (t) => {
  const one = world().withTask();
  one.bootId = 'boot-2';
  one.restart();
  const effects = [...one.registered(), ...one.sync()];
  t.deepEqual(statesIn(effects), ['TASK_GONE 1']);
  t.is(exitsIn(effects).length, 1);
});

test('a shutdown that was asked for before a restart goes on after it', (t) => {
  const one = world().withTask();
  one.taken({ number: 2, shutdownExecutor: { frameworkId: 'F', executorId: 'e' } });
  one.restart();
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'SHUTDOWN']);
  t.is(ofKind(one.tick(5_000), 'control').length, 1);
});

test('an executor that was never begun before a restart starts once the leader still wants its task', (t) => {
  const one = world();
  one.taken(delegate(1, 't1'));
  one.containers.clear();
  one.startedTasks.length = 0;
  t.deepEqual(ofKind(one.restart(), 'start'), []);
  const effects = [...one.registered({ lastCommand: 2 }), ...one.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  t.is(ofKind(one.taken(delegate(2, 't2', 1)), 'start').length, 1);
  one.started(one.containerOfExecutor);
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED', 'LAUNCH t1', 'LAUNCH t2']);
});

test('the leader is told of executors, and names those that it does not want', (t) => {
  const one = world().withTask();
  one.restart();
  const [request] = one.sent;
  t.like(request?.request.register?.executors, [{ frameworkId: 'F', run: { number: 1, role: 'ads' }, ended: false }]);
  one.subscribe();
  t.deepEqual(eventsIn(one.registered({ unknownExecutors: [1] })), ['SHUTDOWN']);
});

test('a journal that was compacted knows of executors all that the records knew', (t) => {
  const one = world().withTask();
  one.said(update('t1', TaskState.TASK_RUNNING, 1));
  one.compact();
  one.restart();
  one.registered();
  t.deepEqual(eventsIn(one.subscribe()), ['SUBSCRIBED']);
  const again = one.said(update('t1', TaskState.TASK_RUNNING, 1));
  t.deepEqual(statesIn(again), []);
  one.exited(one.containerOfExecutor, 0);
  one.compact();
  one.restart();
  const effects = [...one.registered(), ...one.sync()];
  t.is(exitsIn(effects).length, 1);
  endsClean(t, one);
});
