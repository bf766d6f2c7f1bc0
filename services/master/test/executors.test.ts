import { mesobus, mesos } from '@mesobus/protos';
import { formatResources, quantitiesOf, type Resources, sum } from '@mesobus/sdk/resources';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  outcomeOf,
  Reason,
  resources,
  type Sent,
  statusesIn,
  TaskState,
  task,
  whyRefused,
} from './harness.ts';

const { DEFAULT, CUSTOM } = mesos.v1.ExecutorInfo.Type;
const { LAUNCH, LAUNCH_GROUP } = mesos.v1.Offer.Operation.Type;
type Executor = mesos.v1.ExecutorInfo.$Properties;
type Task = mesos.v1.TaskInfo.$Properties;

const custom = (more: Partial<Executor> = {}): Executor => ({
  type: CUSTOM,
  executorId: { value: 'e' },
  command: { value: './executor' },
  resources: resources('cpus:0.5;mem:32'),
  ...more,
});

const builtIn = (more: Partial<Executor> = {}): Executor => ({ ...custom({ type: DEFAULT }), command: null, ...more });

const delegated = (taskId: string, agentId: string, executor: Executor = custom()): Task => ({
  ...task(taskId, agentId),
  command: null,
  executor,
});

const launch = (...taskInfos: Task[]): mesos.v1.Offer.Operation.$Properties => ({
  type: LAUNCH,
  launch: { taskInfos },
});
const group = (executor: Executor, ...tasks: Task[]): mesos.v1.Offer.Operation.$Properties => ({
  type: LAUNCH_GROUP,
  launchGroup: { executor, taskGroup: { tasks } },
});

class Cluster extends Harness {
  readonly agentId = this.agent();
  readonly frameworkId = this.framework({ capabilities: [{ type: 5 }] });

  /** Accepts all that is free. */
  use(...operations: mesos.v1.Offer.Operation.$Properties[]): Sent[] {
    const { cpus: held = 0 } = quantitiesOf(this.heldResources);
    const cpus = 4 - held / 1_000;
    const offerId = this.offer(this.frameworkId, this.agentId, `cpus:${cpus};mem:1024`);
    const accept = { offerIds: [{ value: offerId }], operations };
    return this.call({ frameworkId: this.frameworkId }, { type: CallType.ACCEPT, accept });
  }

  get agentEntry() {
    return this.state.ledger.agents.get(this.agentId);
  }

  get held(): string {
    return formatResources(this.heldResources);
  }

  get heldResources(): Resources {
    return sum([...(this.agentEntry?.holdings.values() ?? [])].map(({ resources }) => resources));
  }

  get runs(): number[] {
    return [...(this.agentEntry?.executors.values() ?? [])].map(({ runNumber }) => runNumber);
  }

  exit(exit: Partial<mesobus.v1.ExecutorExit.$Properties> = {}): Sent[] {
    const base = { frameworkId: this.frameworkId, executorId: 'e', runNumber: 1, status: 256 };
    return this.request('a1', { agentId: this.agentId, executorExits: { exits: [{ ...base, ...exit }] } });
  }

  end(taskId: string, number = 1): Sent[] {
    return this.update('a1', this.frameworkId, taskId, number, TaskState.TASK_FINISHED);
  }
}

test('an executor is accounted for once, from its first task until the agent says that it has ended', (t) => {
  const h = new Cluster();
  const sent = h.use(launch(delegated('t1', h.agentId), delegated('t2', h.agentId)));
  t.is(outcomeOf(sent), 'accepted');
  t.is(h.held, 'cpus:2.5;mem:160');
  const [first, second] = commandsIn(sent);
  t.like(first, { number: 1, runTask: { run: { number: 1, role: '*' } } });
  t.like(second, { number: 2, runTask: { run: { number: 1, role: '*' } } });
  t.is(first?.runTask?.task?.executor?.frameworkId?.value, h.frameworkId);
  h.use(launch(delegated('t3', h.agentId)));
  t.is(h.held, 'cpus:3.5;mem:224');
  for (const id of ['t1', 't2', 't3']) h.end(id);
  t.is(h.held, 'cpus:0.5;mem:32');
  const exit = h.exit();
  t.is(h.held, '');
  t.like(eventsIn(exit)[0]?.failure, { agentId: { value: h.agentId }, executorId: { value: 'e' }, status: 256 });
  t.is(agentRepliesIn(exit)[0]?.executorExitsTaken?.lastCommand, 3);
  const again = h.exit();
  t.deepEqual(eventsIn(again), []);
  t.truthy(agentRepliesIn(again)[0]?.executorExitsTaken);
});

test('offers name the executors of their framework on the agent', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  const before = h.sent.length;
  h.offer(h.frameworkId, h.agentId, 'cpus:1');
  const [offer] = eventsIn(h.sent.slice(before)).flatMap(({ offers }) => offers?.offers ?? []);
  t.deepEqual(
    offer?.executorIds.map(({ value }) => value),
    ['e'],
  );
});

test('an id that runs again is another run: the late end of the one before changes nothing', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.exit();
  h.end('t1');
  h.use(launch(delegated('t2', h.agentId)));
  t.deepEqual(h.runs, [2]);
  t.deepEqual(eventsIn(h.exit()), []);
  t.deepEqual(h.runs, [2]);
});

test('an end as of a command is void if a later launch names the run', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId), delegated('t2', h.agentId)));
  h.end('t1');
  h.exit({ asOf: 1, unstarted: true });
  t.deepEqual(h.runs, [1]);
  h.end('t2');
  t.deepEqual(eventsIn(h.exit({ asOf: 2, unstarted: true })), []);
  t.deepEqual(h.runs, []);
});

const wrong: Record<string, [RegExp, (agentId: string) => mesos.v1.Offer.Operation.$Properties[]]> = {
  'another command than the executor that runs': [
    /another than that of the launch/,
    (a) => [launch(delegated('t1', a)), launch(delegated('bad', a, custom({ command: { value: 'x' } })))],
  ],
  'an executor without a command': [/no command/, (a) => [launch(delegated('bad', a, custom({ command: null })))]],
  'an executor of another framework': [
    /names framework 'other'/,
    (a) => [launch(delegated('bad', a, custom({ frameworkId: { value: 'other' } })))],
  ],
  'an executor with a bad id': [
    /slash/,
    (a) => [launch(delegated('bad', a, custom({ executorId: { value: 'a/b' } })))],
  ],
  'a negative grace': [
    /shutdown_grace_period/,
    (a) => [launch(delegated('bad', a, custom({ shutdownGracePeriod: { nanoseconds: -1n } })))],
  ],
  'the default executor': [/LAUNCH_GROUP/, (a) => [launch(delegated('bad', a, builtIn()))]],
  'more than the offer with the executor': [
    /more than is left/,
    (a) => [launch(delegated('bad', a, custom({ resources: resources('cpus:3.5') })))],
  ],
};
for (const [what, [why, operations]] of Object.entries(wrong)) {
  test(`a task with ${what} gets TASK_ERROR and holds nothing`, (t) => {
    const h = new Cluster();
    const status = statusesIn(h.use(...operations(h.agentId))).find(({ taskId }) => taskId.value === 'bad');
    t.is(status?.state, TaskState.TASK_ERROR);
    t.is(status?.reason, Reason.REASON_TASK_INVALID);
    t.regex(status?.message ?? '', why);
    t.is(h.task(h.frameworkId, 'bad'), undefined);
  });
}

test('an executor without resources is as good as any', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId, custom({ resources: [] }))));
  t.is(h.held, 'cpus:1;mem:64');
  t.deepEqual(h.runs, [1]);
});

// ---- groups

test('a group is one command and one transaction: its tasks, and the executor once', (t) => {
  const h = new Cluster();
  const before = h.transactions.length;
  const sent = h.use(group(builtIn(), task('t1', h.agentId), task('t2', h.agentId)));
  t.is(h.transactions.length - before, 1);
  const [command, ...rest] = commandsIn(sent);
  t.deepEqual(rest, []);
  t.like(command, { number: 1, runTaskGroup: { executor: { executorId: { value: 'e' } }, run: { number: 1 } } });
  t.deepEqual(
    command?.runTaskGroup?.group?.tasks?.map(({ taskId }) => taskId.value),
    ['t1', 't2'],
  );
  t.is(h.held, 'cpus:2.5;mem:160');
  h.use(group(builtIn(), task('t3', h.agentId)));
  t.is(h.held, 'cpus:3.5;mem:224');
});

const wrongGroups: Record<string, [RegExp, (agentId: string) => mesos.v1.Offer.Operation.$Properties]> = {
  'one invalid task': [/Task 'a\/b'.*slash/, (a) => group(builtIn(), task('a/b', a), task('t2', a))],
  'one id twice': [/in use/, (a) => group(builtIn(), task('t2', a), task('t2', a))],
  'a task without a command': [
    /no command/,
    (a) => group(builtIn(), { ...task('t1', a), command: null }, task('t2', a)),
  ],
  'no type of its executor': [/'type'/, (a) => group(builtIn({ type: 0 }), task('t2', a))],
  'a command of the default executor': [/must not/, (a) => group({ ...custom(), type: DEFAULT }, task('t2', a))],
  'a Docker container': [/MESOS only/, (a) => group(builtIn(), task('t2', a, { container: { type: 1 } }))],
  'more than the offer': [
    /more than is left/,
    (a) => group(builtIn(), task('t1', a, { ask: 'cpus:3' }), task('t2', a)),
  ],
  'limits in shared cgroups': [
    /share_cgroups/,
    (a) => group(builtIn(), task('t2', a, { limits: { cpus: { value: 2 } } })),
  ],
};
for (const [what, [why, operation]] of Object.entries(wrongGroups)) {
  test(`a group with ${what} is not launched at all`, (t) => {
    const h = new Cluster();
    const statuses = statusesIn(h.use(operation(h.agentId)));
    t.is(statuses.at(-1)?.taskId.value, 't2');
    for (const { state, reason, message } of statuses) {
      t.deepEqual([state, reason], [TaskState.TASK_ERROR, Reason.REASON_TASK_GROUP_INVALID]);
      t.regex(message, why);
    }
    t.is(h.held, '');
    t.deepEqual(h.runs, []);
  });
}

test('an ACCEPT that is repeated after a failover launches no group twice', (t) => {
  const h = new Cluster();
  const operations = [group(builtIn(), task('t1', h.agentId), task('t2', h.agentId))];
  const accept = { offerIds: [{ value: h.offer(h.frameworkId, h.agentId) }], operations };
  h.call({ frameworkId: h.frameworkId }, { type: CallType.ACCEPT, accept }, 'c1');
  const next = Harness.after(h);
  next.subscribe({}, { frameworkId: h.frameworkId, instanceId: 'i2', callId: 'again' });
  const who = { frameworkId: h.frameworkId, instanceId: 'i2', generation: 2 };
  const sent = next.call(who, { type: CallType.ACCEPT, accept }, 'c1');
  t.is(outcomeOf(sent), 'accepted');
  t.deepEqual(statusesIn(sent), []);
});

// ---- before the agent has the launch

test('a task of an executor that is killed before its agent has it is sent as ended, for the executor’s sake', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.call({ frameworkId: h.frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  const [again] = commandsIn(h.pass(2_000, ['a1']));
  t.is(again?.number, 1);
  t.is(again?.runTask?.run?.number, 1);
  t.truthy(again?.runTask?.unlaunched);
});

test('a group of which one task is killed before its agent has it is sent as ended', (t) => {
  const h = new Cluster();
  h.use(group(builtIn(), task('t1', h.agentId), task('t2', h.agentId)));
  h.call({ frameworkId: h.frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't2' } } });
  const [again] = commandsIn(h.pass(2_000, ['a1']));
  t.is(again?.number, 1);
  t.is(again?.runTaskGroup?.group?.tasks?.length, 2);
  t.truthy(again?.runTaskGroup?.unlaunched);
});

// ---- agents that come and go

const report = (h: Cluster, more: Partial<mesobus.v1.AgentExecutor.$Properties> = {}) => {
  const { record } = [...(h.agentEntry?.executors.values() ?? [])][0] ?? {};
  return { frameworkId: h.frameworkId, info: record?.info ?? null, run: { number: 1, role: '*' }, ...more };
};

const reportTask = (h: Cluster, taskId: string, commandNumber: number): mesobus.v1.AgentTask.$Properties => ({
  frameworkId: h.frameworkId,
  taskId,
  state: TaskState.TASK_RUNNING,
  commandNumber,
});

test('an executor that its agent does not report any more has ended; one whose launch it lacks has not', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.register('a1', { cursor: 0 }, 'n2');
  t.deepEqual(h.runs, [1]);
  h.register('a1', { cursor: 1, executors: [report(h, { ended: true })] }, 'n3');
  t.deepEqual(h.runs, [1]); // its end is said next
  h.register('a1', { cursor: 1 }, 'n4');
  t.deepEqual(h.runs, []);
  t.is(h.held, '');
});

test('executors of an unreachable agent hold nothing, and do again when it is back with them', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.answerCommands(h.agentId, 1);
  h.update('a1', h.frameworkId, 't1', 1, TaskState.TASK_RUNNING);
  const executor = report(h);
  h.pass(31_000);
  h.tick(31_000);
  t.is(h.agentEntry?.record.lifecycle, mesobus.v1.AgentRecord.Lifecycle.UNREACHABLE);
  t.is(h.held, '');
  t.deepEqual(h.runs, []);
  const sent = h.register('a1', { cursor: 1, executors: [executor], tasks: [reportTask(h, 't1', 1)] });
  t.deepEqual(agentRepliesIn(sent)[0]?.registered?.unknownExecutors, []);
  t.deepEqual(h.runs, [1]);
  t.is(h.held, 'cpus:1.5;mem:96');
});

test('a framework that is removed leaves no executor: not in the books, and not on its agents', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.answerCommands(h.agentId, 1);
  h.end('t1');
  const executor = report(h);
  const sent = h.call({ frameworkId: h.frameworkId }, { type: CallType.TEARDOWN });
  t.is(commandsIn(sent)[0]?.shutdownFramework?.frameworkId, h.frameworkId);
  t.deepEqual(h.runs, []);
  t.is(h.held, '');
  const back = h.register('a1', { cursor: 1, executors: [executor] }, 'n2');
  t.deepEqual(agentRepliesIn(back)[0]?.registered?.unknownExecutors, [1]);
});

test('an agent that is gone takes its executors along', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.operateOnAgent('markAgentGone', h.agentId);
  t.deepEqual(h.runs, []);
  t.is(h.held, '');
});

test('another leader knows the executors, and goes on with them', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)));
  h.end('t1');
  const next = Harness.after(h);
  const entry = next.state.ledger.agents.get(h.agentId);
  t.is(
    formatResources(sum([...(entry?.holdings.values() ?? [])].map(({ resources }) => resources))),
    'cpus:0.5;mem:32',
  );
});

test('a task of an executor is for that executor to pause; one of a group has a container of its own', (t) => {
  const h = new Cluster();
  h.use(launch(delegated('t1', h.agentId)), group(builtIn({ executorId: { value: 'g' } }), task('t2', h.agentId)));
  const pause = (taskId: string): Sent[] =>
    h.operatorCall({ callId: '', pauseTask: { task: { frameworkId: h.frameworkId, taskId } } });
  t.regex(whyRefused(pause('t1')), /an executor of its framework runs it/);
  t.is(whyRefused(pause('t2')), 'accepted');
});
