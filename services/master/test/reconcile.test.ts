import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { CallType, eventsIn, Harness, Reason, type Sent, statusesIn, TaskState } from './harness.ts';

const { TASK_RUNNING, TASK_FINISHED, TASK_LOST, TASK_UNREACHABLE, TASK_GONE, TASK_GONE_BY_OPERATOR, TASK_UNKNOWN } =
  TaskState;
const { OperationState } = mesos.v1;
const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
const infos = {
  'a partition-aware': { failoverTimeout: 1e6, capabilities: [{ type: PARTITION_AWARE }] },
  another: { failoverTimeout: 1e6 },
} as const;
type Info = Partial<mesos.v1.FrameworkInfo.$Properties>;

const ask = (h: Harness, frameworkId: string, tasks: [taskId: string, agentId?: string][]): Sent[] =>
  h.call(
    { frameworkId },
    {
      type: CallType.RECONCILE,
      reconcile: {
        tasks: tasks.map(([taskId, agentId]) => ({
          taskId: { value: taskId },
          ...(agentId !== undefined && { agentId: { value: agentId } }),
        })),
      },
    },
  );

function markGone(h: Harness, agentId: string): void {
  const sent = { callId: 'o1', call: { type: 32, markAgentGone: { agentId: { value: agentId } } } };
  const call = decode(mesobus.v1.OperatorCall, encode(mesobus.v1.OperatorCall, sent));
  h.step({ kind: 'operator_call', principal: 'ops', call, token: 'o' });
}

const takeOver = (h: Harness, frameworkId: string, info: Info): Harness => {
  const next = Harness.after(h);
  next.subscribe(info, { frameworkId, generation: 1 });
  return next;
};

/** Of an agent in some state, and without naming one: what is said of a task that nobody knows. */
const unknownTasks: [where: string, prepare: (h: Harness) => void, aware: mesos.v1.TaskState][] = [
  ['on a registered agent', () => {}, TASK_GONE],
  ['on an unreachable agent', (h) => h.pass(31_000), TASK_UNREACHABLE],
  ['on a gone agent', (h) => markGone(h, 'm1-S0'), TASK_GONE_BY_OPERATOR],
  [
    'on an agent that was forgotten',
    (h) => {
      h.pass(31_000);
      h.tick(900_000 * 1500);
    },
    TASK_UNKNOWN,
  ],
];
for (const [name, info] of Object.entries(infos)) {
  for (const [where, prepare, aware] of unknownTasks) {
    const expected = name === 'another' ? TASK_LOST : aware;
    test(`a task that nobody knows ${where} is ${TaskState[expected]} to ${name} framework`, (t) => {
      const h = new Harness();
      const frameworkId = h.framework(info as Info);
      h.agent();
      prepare(h);
      h.subscribe(info as Info, { frameworkId, generation: 1 });
      const [status, ...rest] = statusesIn(ask(h, frameworkId, [['who', 'm1-S0']]));
      t.like(status, { state: expected, reason: Reason.REASON_RECONCILIATION });
      t.is(status?.uuid.length, 0);
      t.is(status?.unreachableTime !== null, where.includes('unreachable'));
      t.deepEqual(rest, []);
    });
  }

  test(`a known task out of reach is said to be so to ${name} framework, when it is named`, (t) => {
    const h = new Harness();
    const { frameworkId } = h.launched('t1', info as Info);
    h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
    h.pass(31_000);
    const [status] = statusesIn(ask(h, frameworkId, [['t1']]));
    t.like(status, {
      state: name === 'another' ? TASK_LOST : TASK_UNREACHABLE,
      reason: Reason.REASON_RECONCILIATION,
    });
    t.truthy(status?.unreachableTime);
    t.deepEqual(statusesIn(ask(h, frameworkId, [])), [], 'whoever asks for all is not told of it, as in Mesos');
  });
}

test('whoever asks after a task is told what its checks have said last', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1');
  const said = { healthy: false, checkStatus: { type: 1, command: { exitCode: 3 } } };
  const ids = { taskId: { value: 't1' }, agentId: { value: agentId } };
  const status = { ...ids, ...said, state: TASK_RUNNING, uuid: new Uint8Array(16).fill(1) };
  const update = { frameworkId, status, number: 1, commandNumber: 1, latestState: TASK_RUNNING };
  h.request('a1', { agentId, taskUpdates: { updates: [update] } });
  const [answer] = statusesIn(ask(h, frameworkId, [['t1']]));
  t.is(answer?.healthy, false);
  t.is(answer?.checkStatus?.command?.exitCode, 3);
});

test('nothing is said of an unknown task while the agent that may have it is not back; of known ones it is', (t) => {
  const before = new Harness();
  const info = infos['a partition-aware'] as unknown as Info;
  const { frameworkId, agentId } = before.launched('t1', info);
  before.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  before.register('a2');
  const h = takeOver(before, frameworkId, info);
  t.deepEqual(statusesIn(ask(h, frameworkId, [['who', agentId], ['who']])), []);
  t.is(statusesIn(ask(h, frameworkId, [['t1', agentId]]))[0]?.state, TASK_RUNNING);
  const killed = h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 'who' } } });
  t.deepEqual(statusesIn(killed), []);

  h.register('a1', { cursor: 1, tasks: [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }] });
  t.is(statusesIn(ask(h, frameworkId, [['who', agentId]]))[0]?.state, TASK_GONE);
  t.deepEqual(statusesIn(ask(h, frameworkId, [['who']])), [], 'another agent may have it');
  h.pass(602_000, ['a1']);
  t.is(statusesIn(ask(h, frameworkId, [['who']]))[0]?.state, TASK_UNKNOWN);
  t.is(statusesIn(ask(h, frameworkId, [['who', 'm1-S1']]))[0]?.state, TASK_UNREACHABLE);
});

test('whoever asks for all hears of every task that is not over, also of ended ones that are not acknowledged', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', infos.another);
  h.update('a1', frameworkId, 't1', 1, TASK_FINISHED);
  t.is(statusesIn(ask(h, frameworkId, []))[0]?.state, TASK_FINISHED);
  h.acknowledge(frameworkId, 't1', '1');
  t.deepEqual(statusesIn(ask(h, frameworkId, [])), []);
});

test('what a task came to while its answer waited for the log is the last word: the answer does not come after it', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', infos.another);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.autoCommit = false;
  const from = h.sent.length;
  ask(h, frameworkId, [['t1'], ['who', agentId]]);
  ask(h, frameworkId, []);
  h.update('a1', frameworkId, 't1', 2, TASK_FINISHED);
  h.commit();
  t.deepEqual(
    statusesIn(h.sent.slice(from)).map(({ taskId, state }) => [taskId.value, state]),
    [
      ['t1', TASK_FINISHED],
      ['who', TASK_LOST],
    ],
  );
});

test('a task that is back before a KILL of it is answered is not said to be out of reach any more', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', infos['a partition-aware'] as unknown as Info);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.pass(31_000);
  h.subscribe(infos['a partition-aware'] as unknown as Info, { frameworkId, generation: 1 });
  h.autoCommit = false;
  const from = h.sent.length;
  h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  h.register('a1', { cursor: 1, tasks: [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }] });
  h.commit();
  t.deepEqual(
    statusesIn(h.sent.slice(from)).map(({ state }) => state),
    [TASK_RUNNING],
  );
});

test('operations are recovering on an agent that is not back, unreachable, gone or unknown on others', (t) => {
  const before = new Harness();
  const frameworkId = before.framework(infos.another);
  for (const name of ['a1', 'a2', 'a3', 'a4']) before.register(name);
  markGone(before, 'm1-S2');
  const h = takeOver(before, frameworkId, infos.another);
  h.register('a2');
  const statesOn = (ids: string[]) => {
    const operations = ids.map((value) => ({ operationId: { value: 'o' }, agentId: { value } }));
    const body = { type: CallType.RECONCILE_OPERATIONS, reconcileOperations: { operations } };
    return eventsIn(h.call({ frameworkId }, body)).map(({ updateOperationStatus: update }) => update?.status.state);
  };
  const { OPERATION_RECOVERING, OPERATION_UNKNOWN, OPERATION_GONE_BY_OPERATOR, OPERATION_UNREACHABLE } = OperationState;
  t.deepEqual(statesOn(['m1-S0', 'm1-S1', 'm1-S2', 'm1-S9']), [
    OPERATION_RECOVERING,
    OPERATION_UNKNOWN,
    OPERATION_GONE_BY_OPERATOR,
    OPERATION_UNKNOWN,
  ]);
  h.pass(602_000, ['a2']);
  t.deepEqual(statesOn(['m1-S0']), [OPERATION_UNREACHABLE]);
});
