// What tasks hold and leave idle: estimated from measured use, told to the leader, and taken back when use rises.
import { mesobus, mesos } from '@mesobus/protos';
import {
  describeResources,
  fromWire,
  parseResources,
  type Resources,
  resources,
  toRevocable,
  toWire,
} from '@mesobus/sdk/resources';
import test from 'ava';
import type { ContainerUsage, Effect, Oversubscription } from '../src/core/index.ts';
import { agentId, type Command, kill, ofKind, Reason, run, TaskState, updatesIn, World } from './world.ts';

const { Type: executorType } = mesos.v1.ExecutorInfo;
const { PARTITION_AWARE, TASK_KILLING_STATE } = mesos.v1.FrameworkInfo.Capability.Type;
const oversubscription: Oversubscription = { intervalMs: 10_000, margin: 0.1, smoothingMs: 10_000 };
const info = { hostname: 'a', resources: toWire(parseResources('cpus:10;mem:10000')) };

/** What is used: cpus, and MB. */
type Use = readonly [cpus: number, mem: number];

/** An agent of 10 cpus and 10,000 MB whose tasks use what the test says. */
class Machine extends World {
  readonly uses = new Map<string, Use>();
  readonly containerOf = new Map<string, string>();
  readonly #cpuSeconds = new Map<string, number>();
  leaderAnswers = true;
  #commands = 0;

  constructor(settings: Partial<Oversubscription> = {}) {
    super();
    this.ready({ info, oversubscription: { ...oversubscription, ...settings } });
  }

  runs(taskId: string, held: Resources, use: Use, ...capabilities: mesos.v1.FrameworkInfo.Capability.Type[]): this {
    this.#commands += 1;
    this.taken(run(this.#commands, taskId, { capabilities, task: { resources: toWire(held) } }));
    this.started(this.containerId);
    this.containerOf.set(taskId, this.containerId);
    this.uses.set(taskId, use);
    return this;
  }

  holds(taskId: string, held: string, use: Use): this {
    return this.runs(taskId, parseResources(held), use);
  }

  borrows(taskId: string, held: { cpus?: number; mem?: number }, use: Use): this {
    return this.runs(taskId, toRevocable(resources(held)), use, PARTITION_AWARE);
  }

  /** Tasks of one executor of their framework, in one container, which goes by the name of the first. */
  delegates(taskIds: readonly string[], held: Resources, use: Use): this {
    const runNumber = this.#commands + 1;
    this.taken(...taskIds.map((taskId) => this.delegated(taskId, held, runNumber)));
    const { containerId } = this;
    if (!this.state.executors.get(containerId)?.connected) {
      this.started(containerId);
      this.input({ kind: 'executor_subscribed', containerId, subscribe: {} });
      this.sync();
    }
    this.containerOf.set(taskIds[0] ?? '', containerId);
    this.uses.set(taskIds[0] ?? '', use);
    return this;
  }

  delegated(taskId: string, held: Resources, runNumber: number): Command {
    this.#commands += 1;
    const capabilities = [PARTITION_AWARE];
    const executor = { executorId: { value: 'e' }, type: executorType.CUSTOM, command: { value: './executor' } };
    const { runTask } = run(this.#commands, taskId, { capabilities, task: { executor, resources: toWire(held) } });
    const { command: _, ...task } = runTask?.task ?? {};
    const framework = runTask?.framework ?? null;
    const info = task as mesos.v1.TaskInfo.$Properties;
    return { number: this.#commands, runTask: { framework, task: info, run: { number: runNumber, role: 'ads' } } };
  }

  /** An interval passes, and everything is measured. */
  measure(ms = 10_000): Effect[] {
    const ticked = this.tick(ms);
    const [measure] = ofKind(ticked, 'measure');
    const samples: ContainerUsage[] = [];
    for (const [taskId, [cpus, mem]] of this.uses) {
      const containerId = this.containerOf.get(taskId) ?? '';
      const cpuSeconds = (this.#cpuSeconds.get(taskId) ?? 0) + (cpus * ms) / 1_000;
      this.#cpuSeconds.set(taskId, cpuSeconds);
      if (!measure?.containerIds.includes(containerId)) continue;
      samples.push({ containerId, atMs: this.at, cpuSeconds, memoryBytes: mem * 2 ** 20 });
    }
    const effects = [...ticked, ...this.input({ kind: 'usage', samples }), ...this.sync()];
    if (this.leaderAnswers) while (this.sent.length > 0) this.answer(replyTo(this.sent[0]?.request ?? {}));
    return effects;
  }

  measures(times: number): Effect[] {
    return Array.from({ length: times }, () => this.measure()).flat();
  }

  /** Which tasks were told to end. */
  ended(effects: readonly Effect[]): string[] {
    const ids = ofKind(effects, 'control').map(({ containerId }) => containerId);
    return [...this.containerOf].filter(([, containerId]) => ids.includes(containerId)).map(([taskId]) => taskId);
  }
}

const replyTo = ({ taskUpdates }: mesobus.v1.AgentRequest.$Properties): mesobus.v1.AgentReply.$Properties =>
  taskUpdates ? { taskUpdatesTaken: {} } : { taken: {} };

/** The estimates in some effects, as they are told. */
const told = (effects: readonly Effect[]): string[] =>
  ofKind(effects, 'send').flatMap(({ request: { revocableEstimate } }) =>
    revocableEstimate ? [describeResources(fromWire(revocableEstimate.resources ?? []))] : [],
  );

// ---- the estimate

test('nothing is measured unless the operator wants it', (t) => {
  const world = new World().ready({ info });
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  t.deepEqual(ofKind([...world.tick(60_000), ...world.tick(60_000)], 'measure'), []);
});

test('what tasks hold and do not use is told as revocable, less the margin', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:6;mem:5000', [1, 2_000]);
  t.deepEqual(told(world.measure()), [], 'one sample says nothing of cpus');
  t.deepEqual(told(world.measure()), ['cpus{REV}:4;mem{REV}:2000']);
  t.deepEqual(told(world.measures(5)), [], 'and not again while it stays so');
});

test('what nobody holds is not lent: it is offered for good', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:1;mem:100', [0, 0]);
  t.deepEqual(told(world.measures(3)), []);
});

test('what is lent is not counted again, and does not count against the estimate', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:6', [1, 0]).borrows('r1', { cpus: 4 }, [3, 0]);
  t.deepEqual(told(world.measures(2)), ['cpus{REV}:4']);
});

test('a task that uses more than it holds lends nothing, and takes nothing from what others leave', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:4', [0, 0]).holds('t2', 'cpus:1', [3, 0]);
  t.deepEqual(told(world.measures(2)), ['cpus{REV}:3']);
});

test('a task is believed to be idle only by and by, and to be busy at once', (t) => {
  const world = new Machine().holds('t1', 'cpus:10', [0, 0]);
  world.measure();
  // Of 10 cpus that it holds it is believed to need 10/e, 10/e², …
  const estimates = told(world.measures(4)).map((text) => Number(/cpus\{REV\}:([\d.]+)/.exec(text)?.[1]));
  t.deepEqual(estimates, [5.321, 7.646, 8.502]); // the next, 8.816, is no news
  world.uses.set('t1', [9.5, 0]);
  t.deepEqual(told(world.measure()), [''], 'nothing at all');
});

test('an estimate that wobbles is not told again and again', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:10;mem:8000', [2, 1_000]);
  world.measures(2);
  for (const [cpus, mem] of [
    [2.2, 1_200],
    [1.7, 900],
    [2.4, 1_000],
    [1.8, 800],
  ] as const) {
    world.uses.set('t1', [cpus, mem]);
    t.deepEqual(told(world.measure()), []);
  }
  world.uses.set('t1', [3, 1_000]);
  t.deepEqual(told(world.measure()), ['cpus{REV}:6;mem{REV}:6000']);
});

test('what a task left idle is told to be gone as soon as the task has ended', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:6', [0, 0]).holds('t2', 'cpus:4', [0, 0]);
  world.measures(2);
  t.deepEqual(told(world.exited(world.containerOf.get('t1') ?? '', 0)), ['cpus{REV}:3']);
  t.deepEqual(told(world.exited(world.containerOf.get('t2') ?? '', 0)), ['']);
});

test('a container that could not be measured leaves nothing idle', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:6', [0, 0]);
  world.measures(2);
  world.uses.delete('t1');
  t.deepEqual(told(world.measure()), ['']);
});

// ---- telling it

/** One that has told its estimate to a leader that does not answer. */
function unanswered(): Machine {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:6', [0, 0]);
  world.measure();
  world.leaderAnswers = false;
  world.measure();
  world.sent = world.sent.filter(({ request }) => request.revocableEstimate);
  return world;
}

test('an estimate is told again until it is answered, and after each registration', (t) => {
  const world = unanswered();
  t.deepEqual(told(world.tick(6_000)), ['cpus{REV}:5']);
  const [first, second] = world.sent.map(({ request }) => request.revocableEstimate?.number);
  t.is(first, second);
  world.answer({ taken: {} });
  t.deepEqual(told(world.tick(20_000)), []);

  world.sent = [];
  world.epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: mesobus.v1.LeaderBeat.Phase.LEADING } });
  world.tick(1_000);
  world.sent = world.sent.filter(({ request }) => request.register);
  t.deepEqual(told(world.registered()), ['cpus{REV}:5']);
});

test('a leader that cannot use an estimate is not told it again', (t) => {
  const world = unanswered();
  const requestId = world.sent[0]?.requestId ?? 0;
  world.input({
    kind: 'request_failed',
    requestId,
    failure: { kind: 'refused', code: 'malformed_message', message: '' },
  });
  t.deepEqual(told(world.tick(20_000)), []);
});

// ---- taking back

test('when all use too much, the youngest revocable tasks are killed, as many as are needed', (t) => {
  const world = new Machine().holds('t1', 'cpus:10', [1, 0]);
  for (const id of ['r1', 'r2', 'r3']) world.borrows(id, { cpus: 2 }, [2, 0]);
  t.deepEqual(world.ended(world.measures(3)), []);
  world.uses.set('t1', [5.2, 0]); // 11.2 in all, of 9.5 that may be used
  t.deepEqual(world.ended(world.measures(10)), ['r3']);
  world.uses.set('t1', [9, 0]);
  t.deepEqual(world.ended(world.measures(10)), ['r1', 'r2']);
});

test('between half the margin and the margin nothing is lent and nothing taken back', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:10', [4, 0]).borrows('r1', { cpus: 5 }, [5.3, 0]);
  t.deepEqual(told(world.measures(2)), ['cpus{REV}:5']);
  t.deepEqual(world.ended(world.measures(5)), []);
});

test('what is memory is taken back by what was measured last', (t) => {
  const world = new Machine({ smoothingMs: 1_000_000 }).holds('t1', 'mem:9000', [0, 1_000]);
  world.borrows('r1', { mem: 5_000 }, [0, 5_000]);
  t.deepEqual(world.ended(world.measures(3)), []);
  world.uses.set('t1', [0, 6_000]);
  t.deepEqual(world.ended(world.measure()), ['r1']);
});

test('a task that holds only other things revocably is left alone', (t) => {
  const world = new Machine().holds('t1', 'cpus:10;mem:5000', [1, 0]).borrows('r1', { mem: 100 }, [0, 100]);
  world.measures(3);
  world.uses.set('t1', [20, 0]);
  t.deepEqual(world.ended(world.measures(5)), []);
});

test('a burst that is short against the smoothing time kills nobody', (t) => {
  const world = new Machine({ smoothingMs: 60_000 }).holds('t1', 'cpus:10', [1, 0]).borrows('r1', { cpus: 2 }, [2, 0]);
  world.measures(3);
  world.uses.set('t1', [10, 0]);
  t.deepEqual(world.ended(world.measures(2)), []);
  world.uses.set('t1', [1, 0]);
  t.deepEqual(world.ended(world.measures(20)), []);
});

/** One revocable task that must yield. */
function preempted(...capabilities: mesos.v1.FrameworkInfo.Capability.Type[]): Machine {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:10', [1, 0]);
  world.runs('r1', toRevocable(resources({ cpus: 2 })), [2, 0], ...capabilities);
  world.measures(2);
  world.uses.set('t1', [9.7, 0]);
  return world;
}

/** What was last said of a task. */
const last = (effects: readonly Effect[], taskId = 'r1') =>
  updatesIn(effects).findLast(({ status }) => status?.taskId.value === taskId)?.status;

test('a task that yields is gone, and its last update says what was measured', (t) => {
  const world = preempted(PARTITION_AWARE);
  const effects = world.measure();
  const [{ control } = { control: undefined }] = ofKind(effects, 'control');
  t.deepEqual(control, { kind: 'term', graceMs: 3_000 });
  const status = last(world.exited(world.containerOf.get('r1') ?? '', 15, true));
  t.is(status?.state, TaskState.TASK_GONE);
  t.is(status?.reason, Reason.REASON_CONTAINER_PREEMPTED);
  t.is(
    status?.message,
    'Revocable cpus are taken back: the tasks of the agent use 11.7 of its 10 cpus, 2 of that revocably; above 9.5 the ' +
      'youngest yield: Command terminated with signal SIGTERM',
  );
  t.is(status?.agentId?.value, agentId);
});

test('for a framework that knows no TASK_GONE it is lost; one that wants to know hears that it is being killed', (t) => {
  const world = preempted(TASK_KILLING_STATE);
  const killing = last(world.measure());
  t.is(killing?.state, TaskState.TASK_KILLING);
  t.is(killing?.reason, Reason.REASON_CONTAINER_PREEMPTED);
  t.is(last(world.exited(world.containerOf.get('r1') ?? '', 9, true))?.state, TaskState.TASK_LOST);
});

test('a task that ends by itself before the kill has its own end', (t) => {
  const world = preempted(PARTITION_AWARE);
  world.measure();
  t.is(last(world.exited(world.containerOf.get('r1') ?? '', 0))?.state, TaskState.TASK_FINISHED);
});

test('whoever yields is not killed twice, and what it used is not needed again', (t) => {
  const world = preempted(PARTITION_AWARE).borrows('r0', { cpus: 1 }, [0.01, 0]);
  world.uses.set('t1', [8, 0]); // 10.01 in all
  t.deepEqual(world.ended(world.measures(3)), ['r1', 'r0']);
  t.deepEqual(ofKind(world.measures(3), 'control').length, 0);
});

for (const [title, prepare] of [
  ['', () => {}],
  [' whose journal was compacted', (world: World) => void world.compact()],
] as const) {
  test(`an agent that restarts meanwhile${title} tells the same end`, (t) => {
    const world = preempted(PARTITION_AWARE);
    world.measure();
    prepare(world);
    const containerId = world.containerOf.get('r1') ?? '';
    const effects = world.restart({ info, oversubscription });
    t.true(
      ofKind(effects, 'control').some((effect) => effect.containerId === containerId),
      'the kill goes on',
    );
    world.registered();
    world.sync();
    const status = last(world.exited(containerId, 9, true));
    t.is(status?.state, TaskState.TASK_GONE);
    t.is(status?.reason, Reason.REASON_CONTAINER_PREEMPTED);
    t.regex(status?.message ?? '', /11\.7 of its 10 cpus/);
  });
}

test('a task that ended while the agent was away, told to yield, is gone too', (t) => {
  const world = preempted(PARTITION_AWARE);
  world.measure();
  const containerId = world.containerOf.get('r1') ?? '';
  world.containers.set(containerId, { running: false, stopped: true, end: undefined });
  const effects = [...world.restart({ info, oversubscription }), ...world.registered(), ...world.sync()];
  t.is(last(effects)?.reason, Reason.REASON_CONTAINER_PREEMPTED);
});

test('a kill that the leader sends to preempt tells so, and one that came first keeps its own reason', (t) => {
  const world = new Machine();
  world.runs('r1', toRevocable(resources({ cpus: 2 })), [2, 0], PARTITION_AWARE);
  world.runs('r2', toRevocable(resources({ cpus: 2 })), [2, 0], PARTITION_AWARE);
  const preempts = kill(3, 'r1');
  world.taken({ ...preempts, killTask: { ...preempts.killTask, preempted: 'a guarantee needs it' } }, kill(4, 'r2'));
  const again = kill(5, 'r2');
  world.taken({ ...again, killTask: { ...again.killTask, preempted: 'a guarantee needs it' } });
  const status = last(world.exited(world.containerOf.get('r1') ?? '', 9, true));
  t.is(status?.state, TaskState.TASK_GONE);
  t.is(status?.message, 'a guarantee needs it: Command terminated with signal SIGKILL');
  t.is(last(world.exited(world.containerOf.get('r2') ?? '', 9, true), 'r2')?.state, TaskState.TASK_KILLED);
});

// ---- executors of frameworks

test('what the tasks of an executor leave idle together is lent; more that it is given it is expected to need', (t) => {
  const world = new Machine({ smoothingMs: 1 }).delegates(['t1', 't2'], parseResources('cpus:3'), [1, 0]);
  t.deepEqual(told(world.measures(2)), ['cpus{REV}:4']);
  const slow = new Machine({ smoothingMs: 1_000_000 }).delegates(['t1'], parseResources('cpus:3'), [1, 0]);
  slow.measures(3);
  const before = [...slow.state.lending.containers.values()][0]?.expected.cpus ?? 0;
  slow.taken(slow.delegated('t2', parseResources('cpus:2'), 1));
  slow.measure();
  const after = [...slow.state.lending.containers.values()][0]?.expected.cpus ?? 0;
  t.true(after > before + 1_900);
});

test('an executor yields with all of its tasks, at once, whose ends say what was measured', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:10', [1, 0]);
  world.delegates(['e1', 'e2'], toRevocable(resources({ cpus: 1 })), [2, 0]);
  world.measures(2);
  world.uses.set('t1', [9.7, 0]);
  const effects = world.measure();
  t.deepEqual(world.ended(effects), ['e1']);
  t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'kill' });
  const ends = world.exited(world.containerOf.get('e1') ?? '', 9, true);
  for (const taskId of ['e1', 'e2']) {
    const status = last(ends, taskId);
    t.is(status?.state, TaskState.TASK_GONE);
    t.is(status?.reason, Reason.REASON_CONTAINER_PREEMPTED);
    t.regex(status?.message ?? '', /11\.7 of its 10 cpus, 2 of that revocably/);
  }
});

test('of tasks and executors the one with the youngest task yields first', (t) => {
  const world = new Machine({ smoothingMs: 1 }).holds('t1', 'cpus:10', [1, 0]);
  world.delegates(['e1'], toRevocable(resources({ cpus: 1 })), [1, 0]).borrows('r1', { cpus: 1 }, [1, 0]);
  world.measures(2);
  world.uses.set('t1', [8, 0]); // 10 in all, of 9.5
  t.deepEqual(world.ended(world.measure()), ['r1']);
});
