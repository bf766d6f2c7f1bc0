import { mesos } from '@mesobus/protos';
import { DisconnectedError } from '@mesobus/sdk/errors';
import {
  AgentRefusedError,
  connectExecutor,
  type Executor,
  type ExecutorCallbacks,
  type ExecutorOptions,
} from '@mesobus/sdk/executor';
import test, { type ExecutionContext } from 'ava';
import { FakeAgent, taskInfo } from './fake-agent.ts';

const { TaskState } = mesos.v1;
const { Type } = mesos.v1.executor.Event;
const CallType = mesos.v1.executor.Call.Type;

/** An executor that notes what it hears, and its agent. */
async function setUp(
  t: ExecutionContext,
  more: Partial<ExecutorCallbacks> & { readonly env?: Record<string, string>; readonly socket?: boolean } = {},
  options: ExecutorOptions = {},
): Promise<{ agent: FakeAgent; executor: Executor; heard: string[] }> {
  const { env = {}, socket = false, ...callbacks } = more;
  const agent = await FakeAgent.start(t, { socket });
  const heard: string[] = [];
  const note = (line: string): void => {
    heard.push(line);
    agent.wake();
  };
  const executor = connectExecutor(
    {
      registered: ({ agentId, hostname, data }) => note(`registered ${agentId} ${hostname} ${Buffer.from(data)}`),
      reregistered: ({ agentId }) => note(`reregistered ${agentId}`),
      disconnected: () => note('disconnected'),
      launchTask: ({ id, name, data }) => note(`launch ${id} '${name}' '${Buffer.from(data)}'`),
      killTask: (taskId, graceMs) => note(`kill ${taskId} ${graceMs}`),
      frameworkMessage: (data) => note(`message ${Buffer.from(data)}`),
      shutdown: () => note('shutdown'),
      error: (error) => note(`error ${error.message}`),
      ...callbacks,
    },
    { env: agent.env(env), ...options },
  );
  t.teardown(async () => {
    await agent.stop();
    void executor.stop();
  });
  return { agent, executor, heard };
}

const stateOf = ({ taskId, state }: mesos.v1.TaskStatus): string => `${taskId.value} ${TaskState[state]}`;

test('an executor subscribes with its token, and hears of tasks, kills and messages in order', async (t) => {
  const { agent, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.launch('t1');
  agent.send({
    type: Type.KILL,
    kill: { taskId: { value: 't1' }, killPolicy: { gracePeriod: { nanoseconds: 1_500_000_000n } } },
  });
  agent.send({ type: Type.KILL, kill: { taskId: { value: 't2' } } });
  agent.send({ type: Type.MESSAGE, message: { data: Buffer.from('hi') } });
  await agent.until(() => heard.length === 5);
  t.deepEqual(heard, [
    'registered S0 host-1 of the framework',
    "launch t1 'task t1' 'data of t1'",
    'kill t1 1500',
    'kill t2 undefined',
    'message hi',
  ]);
  t.deepEqual([...agent.tokens], ['Bearer secret']);
});

test('updates arrive in order, as Mesos wants them, and are settled when the agent has written them down', async (t) => {
  const { agent, executor, heard } = await setUp(t, {}, { now: () => 1_500 });
  await agent.until(() => heard.length === 1);
  agent.acknowledges = false;
  const written = [
    executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_STARTING' }),
    executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_RUNNING', message: 'up', healthy: true }),
  ];
  void executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_FAILED', reason: 'REASON_IO_SWITCHBOARD_EXITED' });
  await agent.until(() => agent.statuses.length === 3);
  t.deepEqual(agent.statuses.map(stateOf), ['t1 TASK_STARTING', 't1 TASK_RUNNING', 't1 TASK_FAILED']);
  const [first, second, third] = agent.statuses as [mesos.v1.TaskStatus, mesos.v1.TaskStatus, mesos.v1.TaskStatus];
  t.like(second, { message: 'up', healthy: true, timestamp: 1.5, source: mesos.v1.TaskStatus.Source.SOURCE_EXECUTOR });
  t.like(second, { executorId: { value: 'e' }, agentId: { value: 'S0' } });
  t.is(third.reason, mesos.v1.TaskStatus.Reason.REASON_IO_SWITCHBOARD_EXITED);
  t.is(new Set(agent.statuses.map(({ uuid }) => Buffer.from(uuid).toString('hex'))).size, 3);
  agent.acknowledge(first);
  agent.acknowledge(second);
  await t.notThrowsAsync(Promise.all(written));
});

test('after a restart of the agent what it has not written down is said again, and the tasks that it may not know', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  agent.acknowledges = false;
  await agent.until(() => heard.length === 1);
  agent.launch('known', 'unknown');
  await agent.until(() => heard.length === 3);
  const running = executor.sendStatusUpdate({ taskId: 'known', state: 'TASK_RUNNING' });
  await agent.until(() => agent.statuses.length === 1);
  agent.acknowledge(agent.statuses[0] as mesos.v1.TaskStatus);
  await running;
  void executor.sendStatusUpdate({ taskId: 'known', state: 'TASK_FINISHED' });
  await agent.until(() => agent.statuses.length === 2);
  await agent.stop();
  await agent.until(() => heard.includes('disconnected'));
  const meanwhile = executor.sendStatusUpdate({ taskId: 'unknown', state: 'TASK_RUNNING' });
  await agent.start();
  await agent.until(() => heard.includes('reregistered S0'));
  const [, again] = agent.subscriptions;
  t.deepEqual(
    again?.unacknowledgedTasks.map(({ taskId }) => taskId.value),
    ['unknown'],
  );
  t.deepEqual(
    again?.unacknowledgedUpdates.map(({ status }) => stateOf(status)),
    ['known TASK_FINISHED', 'unknown TASK_RUNNING'],
  );
  for (const { status } of again?.unacknowledgedUpdates ?? []) agent.acknowledge(status);
  await meanwhile;
  t.is(agent.statuses.length, 2, 'what went with the subscription is not sent besides');
});

test('a launch that is told again starts nothing twice, and an id may be used again after its end', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.launch('t1', 't1', 't2');
  await agent.until(() => heard.length === 3);
  t.deepEqual(heard.slice(1), ["launch t1 'task t1' 'data of t1'", "launch t2 'task t2' 'data of t2'"]);
  await executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_FINISHED' });
  agent.launch('t1');
  await agent.until(() => heard.length === 4);
  t.is(heard[3], "launch t1 'task t1' 'data of t1'");
});

test('tasks that are launched together come together, or one by one', async (t) => {
  const group = { type: Type.LAUNCH_GROUP, launchGroup: { taskGroup: { tasks: [taskInfo('a'), taskInfo('b')] } } };
  const single = await setUp(t);
  await single.agent.until(() => single.heard.length === 1);
  single.agent.send(group);
  await single.agent.until(() => single.heard.length === 3);
  const groups: string[][] = [];
  const together = await setUp(t, {
    launchGroup: (tasks) => {
      groups.push(tasks.map(({ id }) => id));
      together.agent.wake();
    },
  });
  await together.agent.until(() => together.heard.length === 1);
  together.agent.send(group);
  await together.agent.until(() => groups.length === 1);
  t.deepEqual(groups, [['a', 'b']]);
});

test('a task whose launch throws has failed, and says why', async (t) => {
  const { agent, heard } = await setUp(t, {
    launchTask: async ({ id }) => {
      throw new Error(`no ${id}`);
    },
  });
  await agent.until(() => heard.length === 1);
  agent.launch('t1');
  await agent.until(() => agent.statuses.length === 1);
  t.like(agent.statuses[0], { state: TaskState.TASK_FAILED, message: 'no t1' });
  t.is(heard.at(-1), 'error no t1');
});

test('an update that the agent refuses is given up and told; the next ones go on', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  agent.judge = ({ update }) => (update?.status.message === 'bad' ? { status: 413, text: 'too large' } : undefined);
  await agent.until(() => heard.length === 1);
  const refused = executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_RUNNING', message: 'bad' });
  const error = await t.throwsAsync(refused, { instanceOf: AgentRefusedError, message: /413: too large/ });
  t.is(error?.status, 413);
  await executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_FINISHED' });
  t.true(heard.some((line) => line.startsWith('error')));
  t.is(agent.subscriptions.length, 1);
});

test('an executor that its agent takes for not subscribed subscribes again, and loses no update', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.judge = ({ update }) => (update ? { status: 403, text: 'not subscribed' } : undefined);
  await executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_RUNNING' });
  t.deepEqual(
    agent.subscriptions.map(({ unacknowledgedUpdates }) => unacknowledgedUpdates.length),
    [0, 1],
  );
});

test('a message is taken by the agent, or whoever sent it hears that it was not', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  await executor.sendFrameworkMessage('one');
  await executor.sendFrameworkMessage(Buffer.from('two'));
  t.deepEqual(agent.messages, ['one', 'two']);
  await agent.stop();
  await agent.until(() => heard.includes('disconnected'));
  await t.throwsAsync(executor.sendFrameworkMessage('three'), { instanceOf: DisconnectedError });
  await agent.start();
  await agent.until(() => heard.includes('reregistered S0'));
  await executor.sendFrameworkMessage('four');
  t.deepEqual(agent.messages, ['one', 'two', 'four']);
});

test('a heartbeat is answered', async (t) => {
  const { agent, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.send({ type: Type.HEARTBEAT });
  await agent.until(() => agent.calls.at(-1)?.type === CallType.HEARTBEAT);
  t.is(agent.calls.filter(({ type }) => type === CallType.HEARTBEAT).length, 1);
});

test('a shutdown waits for the callback and for the updates that it sends', async (t) => {
  const { agent, executor, heard } = await setUp(t, {
    shutdown: async () => {
      await Promise.resolve();
      void executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_KILLED' });
    },
  });
  agent.acknowledges = false;
  await agent.until(() => heard.length === 1);
  agent.launch('t1');
  agent.send({ type: Type.SHUTDOWN });
  await agent.until(() => agent.statuses.length === 1);
  let hasEnded = false;
  void executor.ended.then(() => {
    hasEnded = true;
  });
  await executor.sendFrameworkMessage('still here');
  t.false(hasEnded);
  agent.acknowledge(agent.statuses[0] as mesos.v1.TaskStatus);
  t.is((await executor.ended).kind, 'shutdown');
  await t.throwsAsync(executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_RUNNING' }), {
    instanceOf: DisconnectedError,
  });
});

test('a shutdown that lasts longer than its grace ends all the same', async (t) => {
  const { agent, executor, heard } = await setUp(t, {
    env: { MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '50ms' },
    shutdown: () => new Promise<void>(() => {}),
  });
  await agent.until(() => heard.length === 1);
  agent.send({ type: Type.SHUTDOWN });
  t.is((await executor.ended).kind, 'shutdown');
});

test('an executor that stops itself leaves when the agent has all updates', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  const finished = executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_FINISHED' });
  t.is((await executor.stop()).kind, 'stopped');
  await t.notThrowsAsync(finished);
  t.false(heard.includes('shutdown'));
});

test('without an agent for longer than the recovery timeout the executor shuts down', async (t) => {
  const { agent, executor, heard } = await setUp(t, { env: { MESOS_RECOVERY_TIMEOUT: '300ms' } });
  await agent.until(() => heard.length === 1);
  const lost = executor.sendStatusUpdate({ taskId: 't1', state: 'TASK_RUNNING' });
  await lost;
  await agent.stop();
  t.is((await executor.ended).kind, 'lost');
  t.deepEqual(heard.slice(1), ['disconnected', 'shutdown']);
});

test('an executor that is not to outlive its agent shuts down with it', async (t) => {
  const { agent, executor, heard } = await setUp(t, { env: { MESOS_CHECKPOINT: '0' } });
  await agent.until(() => heard.length === 1);
  await agent.stop();
  t.is((await executor.ended).kind, 'lost');
  t.is(agent.subscriptions.length, 1);
});

test('an agent that starts is asked again, one that does not know the executor is not', async (t) => {
  let attempts = 0;
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.judge = ({ subscribe }) => {
    if (subscribe === null) return undefined;
    attempts += 1;
    return attempts < 3 ? { status: 503, text: 'starting' } : { status: 403, text: 'not known' };
  };
  agent.endStream();
  const { kind, message } = await executor.ended;
  t.is(kind, 'refused');
  t.regex(message, /403: not known/);
  t.is(attempts, 3);
  t.deepEqual(heard.slice(-2), ['error The agent refused a call with 403: not known', 'shutdown']);
});

test('an ERROR of the agent ends the executor', async (t) => {
  const { agent, executor, heard } = await setUp(t);
  await agent.until(() => heard.length === 1);
  agent.send({ type: Type.ERROR, error: { message: 'over' } });
  t.deepEqual(await executor.ended, { kind: 'refused', message: 'over' });
});

test('the domain socket is used where there is one', async (t) => {
  const agent = await FakeAgent.start(t, { socket: true });
  const env = agent.env({ MESOS_DOMAIN_SOCKET: agent.socketPath, MESOS_AGENT_ENDPOINT: '127.0.0.1:1' });
  const executor = connectExecutor({ launchTask: () => {}, killTask: () => {} }, { env });
  await agent.until(() => agent.subscriptions.length === 1);
  await executor.stop();
  const nowhere = agent.env({ MESOS_DOMAIN_SOCKET: `${agent.socketPath}.not` });
  const other = await setUp(t, { env: { MESOS_DOMAIN_SOCKET: nowhere['MESOS_DOMAIN_SOCKET'] as string } });
  await other.agent.until(() => other.heard.length === 1);
  t.deepEqual(other.heard, ['registered S0 host-1 of the framework'], 'by the port');
});

test('outside of an agent it is said what is missing', (t) => {
  const callbacks = { launchTask: () => {}, killTask: () => {} };
  t.throws(() => connectExecutor(callbacks, { env: {} }), { instanceOf: TypeError, message: /MESOS_FRAMEWORK_ID/ });
  const env = { MESOS_FRAMEWORK_ID: 'F', MESOS_EXECUTOR_ID: 'e', MESOS_AGENT_ENDPOINT: 'localhost:1' };
  t.throws(() => connectExecutor(callbacks, { env: { ...env, MESOS_SUBSCRIPTION_BACKOFF_MAX: 'soon' } }), {
    message: /MESOS_SUBSCRIPTION_BACKOFF_MAX: 'soon'/,
  });
});
