import { encode, mesobus, mesos } from '@mesobus/protos';
import { applyRecord, isCompleted } from '@mesobus/registry/core';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  outcomeOf,
  Reason,
  statusesIn,
  TaskState,
  task,
  uuidOf,
} from './harness.ts';

const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const partitionAware = { capabilities: [{ type: Capability.PARTITION_AWARE }] };
const { TASK_STARTING, TASK_RUNNING, TASK_FINISHED, TASK_STAGING, TASK_LOST, TASK_KILLED } = TaskState;

test('an update is forwarded before it is committed, and its acknowledgement relayed only after', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.autoCommit = false;
  const sent = h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  t.deepEqual(
    statusesIn(sent).map(({ state }) => state),
    [TASK_RUNNING],
  );
  t.deepEqual(commandsIn(h.acknowledge(frameworkId, 't1', '1')), []);
  const before = h.sent.length;
  h.commit();
  const [ack] = commandsIn(h.sent.slice(before));
  t.is(ack?.number, 0);
  t.deepEqual(ack?.acknowledgeUpdate?.uuid, uuidOf('1'));
});

const huge = 'x'.repeat(600_000);
for (const [what, more, taken] of [
  ['a huge message', { message: huge }, true],
  ['a huge executor id', { executorId: { value: huge } }, true],
  ['a huge uuid', { uuid: new Uint8Array(600_000).fill(1) }, false],
] as const) {
  test(`an update with ${what} is ${taken ? 'recorded' : 'dropped'}: no record is larger than the log takes`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = h.launched();
    const status = { taskId: { value: 't1' }, state: TASK_RUNNING, uuid: uuidOf('1'), ...more };
    const update = { frameworkId, status, number: 1, commandNumber: 1, latestState: TASK_RUNNING };
    h.request('a1', { agentId, taskUpdates: { updates: [update] } });
    t.is(h.task(frameworkId, 't1')?.state, taken ? TASK_RUNNING : TASK_STAGING);
    const largest = Math.max(...h.records.map((record) => encode(mesobus.v1.Record, record).length));
    t.true(largest < 100_000, `${largest} bytes`);
  });
}

test('a gap in the updates is told to the agent, and nothing is forwarded', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const sent = h.update('a1', frameworkId, 't1', 2, TASK_RUNNING);
  t.deepEqual(statusesIn(sent), []);
  t.deepEqual(
    agentRepliesIn(sent)[0]?.taskUpdatesTaken?.gaps?.map(({ expectedNumber }) => expectedNumber),
    [1],
  );
});

test('an update that is repeated is forwarded again until it is acknowledged, and then acknowledged by the master', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  t.is(statusesIn(h.update('a1', frameworkId, 't1', 1, TASK_RUNNING)).length, 1);
  h.acknowledge(frameworkId, 't1', '1');
  const sent = h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  t.deepEqual(statusesIn(sent), []);
  t.deepEqual(commandsIn(sent)[0]?.acknowledgeUpdate?.uuid, uuidOf('1'));
});

test('acknowledgements with a wrong uuid, or ahead of an earlier update, change nothing', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TASK_STARTING);
  h.update('a1', frameworkId, 't1', 2, TASK_RUNNING);
  for (const uuid of ['9', '2']) {
    const sent = h.acknowledge(frameworkId, 't1', uuid);
    t.is(outcomeOf(sent), 'accepted');
    t.deepEqual(commandsIn(sent), []);
  }
  t.is(commandsIn(h.acknowledge(frameworkId, 't1', '1')).length, 1);
  t.is(commandsIn(h.acknowledge(frameworkId, 't1', '2')).length, 1);
});

test('a terminal update frees the resources in the same step, and its task stays until it is acknowledged', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.feedOf();
  h.update('a1', frameworkId, 't1', 1, TASK_FINISHED);
  t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 0);
  t.true(h.state.allocators.feeds.get('al1')?.agents.has(agentId));
  const entry = h.task(frameworkId, 't1');
  t.false(entry !== undefined && isCompleted(entry));
  h.acknowledge(frameworkId, 't1', '1');
  t.true(entry !== undefined && isCompleted(entry));
});

test('resources are freed by the latest state that the agent tells ahead of its updates', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING, { latestState: TASK_FINISHED });
  t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 0);
  h.acknowledge(frameworkId, 't1', '1');
  const entry = h.task(frameworkId, 't1');
  t.false(entry !== undefined && isCompleted(entry));
  h.update('a1', frameworkId, 't1', 2, TASK_FINISHED);
  h.acknowledge(frameworkId, 't1', '2');
  t.true(entry !== undefined && isCompleted(entry));
});

test('a new leader that has forwarded nothing takes the acknowledgement of the latest update', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TASK_FINISHED);
  const next = Harness.after(h);
  next.register('a1', { cursor: 1, tasks: [{ frameworkId, taskId: 't1', state: TASK_FINISHED, commandNumber: 1 }] });
  const sent = next.acknowledge(frameworkId, 't1', '1');
  t.is(commandsIn(sent).length, 1);
  t.is(next.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
  t.truthy(agentId);
});

test('only so many completed tasks of a framework are kept: the oldest goes', (t) => {
  const h = new Harness({ maxCompletedTasksPerFramework: 1 });
  const agentId = h.agent();
  const frameworkId = h.framework();
  for (const id of ['t1', 't2']) {
    h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task(id, agentId)]);
    h.update('a1', frameworkId, id, 1, TASK_FINISHED);
    h.acknowledge(frameworkId, id, '1');
  }
  t.is(h.task(frameworkId, 't1'), undefined);
  t.truthy(h.task(frameworkId, 't2'));
});

test('the id of a completed task may be used again; an update of the earlier launch is acknowledged by the master', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TASK_FINISHED);
  h.acknowledge(frameworkId, 't1', '1');
  h.accept(frameworkId, [h.offer(frameworkId, agentId, 'cpus:1;mem:64')], [task('t1', agentId)]);
  t.is(h.task(frameworkId, 't1')?.commandNumber, 2);
  const sent = h.update('a1', frameworkId, 't1', 1, TASK_FINISHED, { commandNumber: 1 });
  t.deepEqual(statusesIn(sent), []);
  t.is(commandsIn(sent)[0]?.acknowledgeUpdate?.task?.taskId, 't1');
  t.is(h.task(frameworkId, 't1')?.state, TASK_STAGING);
});

test('an update of a removed framework is acknowledged by the master', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  t.is(commandsIn(h.update('a1', frameworkId, 't1', 1, TASK_KILLED))[0]?.acknowledgeUpdate?.task?.taskId, 't1');
});

test('a kill is a command, committed before it is sent; the same kill again is none', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const kill = { type: CallType.KILL, kill: { taskId: { value: 't1' } } };
  h.autoCommit = false;
  t.deepEqual(commandsIn(h.call({ frameworkId }, kill)), []);
  h.commit();
  h.autoCommit = true;
  t.deepEqual(
    commandsIn(h.sent)
      .map(({ number, killTask }) => [number, killTask?.task?.taskId])
      .at(-1),
    [2, 't1'],
  );
  t.deepEqual(commandsIn(h.call({ frameworkId }, kill)), []);
});

test('a kill with a shorter grace is a new command, one with a longer is not', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const kill = (seconds: number) =>
    h.call(
      { frameworkId },
      {
        type: CallType.KILL,
        kill: {
          taskId: { value: 't1' },
          killPolicy: { gracePeriod: { nanoseconds: BigInt(seconds) * 1_000_000_000n } },
        },
      },
    );
  t.is(commandsIn(kill(10)).length, 1);
  t.is(commandsIn(kill(20)).length, 0);
  t.is(commandsIn(kill(1)).length, 1);
});

test('a launch whose kill is committed is never sent: the kill goes under its number', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  const next = Harness.after(h);
  const sent = next.register('a1');
  const commands = commandsIn(sent);
  t.deepEqual(
    commands.map(({ number, runTask, killTask }) => [number, runTask, killTask?.task?.taskId]),
    [
      [1, undefined, 't1'],
      [2, undefined, 't1'],
    ],
  );
});

const ends = [
  [
    'a quicker kill',
    { type: CallType.KILL, kill: { taskId: { value: 't1' }, killPolicy: { gracePeriod: { nanoseconds: 0n } } } },
  ],
  ['the end of its framework', { type: CallType.TEARDOWN }],
] as const;
for (const [what, call] of ends) {
  test(`${what} that is not committed yet does not bring back a launch whose kill is`, (t) => {
    const h = new Harness();
    const { frameworkId } = h.launched();
    h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
    h.autoCommit = false;
    h.call({ frameworkId }, call);
    const [first] = commandsIn(h.tick(1_000)).filter(({ number }) => number === 1);
    t.is(first?.runTask, undefined);
    t.is(first?.killTask?.task?.taskId, 't1');
  });
}

const agentOfNobody = 'm0-S9';
const questions: [what: string, info: object, agent: string, state: mesos.v1.TaskState][] = [
  ['a partition-aware framework about a task of a known agent', partitionAware, 'm1-S0', TaskState.TASK_GONE],
  ['another framework about a task of a known agent', {}, 'm1-S0', TASK_LOST],
  [
    'a partition-aware framework about a task of an unknown agent',
    partitionAware,
    agentOfNobody,
    TaskState.TASK_UNKNOWN,
  ],
  ['another framework about a task of an unknown agent', {}, agentOfNobody, TASK_LOST],
  ['a partition-aware framework about a task without its agent', partitionAware, '', TaskState.TASK_UNKNOWN],
];
for (const [what, info, agent, state] of questions) {
  test(`an answer to ${what} is ${TaskState[state]}`, (t) => {
    const h = new Harness();
    h.agent();
    const frameworkId = h.framework(info);
    const named = { taskId: { value: 'x' }, ...(agent && { agentId: { value: agent } }) };
    const asked = h.call({ frameworkId }, { type: CallType.RECONCILE, reconcile: { tasks: [named] } });
    const killed = h.call({ frameworkId }, { type: CallType.KILL, kill: named });
    for (const sent of [asked, killed]) {
      const [status] = statusesIn(sent);
      t.is(status?.state, state);
      t.is(status?.reason, Reason.REASON_RECONCILIATION);
      t.is(status?.uuid.length, 0);
    }
  });
}

test('a known task is answered with its latest state, and an empty list asks for all that are not over', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const tasks = ['t1', 't2', 't3'].map((id) => task(id, agentId));
  h.accept(frameworkId, [h.offer(frameworkId, agentId)], tasks);
  h.update('a1', frameworkId, 't2', 1, TASK_RUNNING);
  h.update('a1', frameworkId, 't3', 1, TASK_FINISHED);
  h.acknowledge(frameworkId, 't3', '1');
  const all = statusesIn(h.call({ frameworkId }, { type: CallType.RECONCILE, reconcile: {} }));
  t.deepEqual(
    all.map(({ taskId, state }) => [taskId.value, state]),
    [
      ['t1', TASK_STAGING],
      ['t2', TASK_RUNNING],
    ],
  );
  const one = { type: CallType.RECONCILE, reconcile: { tasks: [{ taskId: { value: 't3' } }] } };
  t.deepEqual(
    statusesIn(h.call({ frameworkId }, one)).map(({ state }) => state),
    [TASK_FINISHED],
  );
});

test('operations are unknown to reconciliation', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const reconcileOperations = { operations: [{ operationId: { value: 'o1' } }] };
  const [event] = eventsIn(h.call({ frameworkId }, { type: CallType.RECONCILE_OPERATIONS, reconcileOperations }));
  t.is(event?.updateOperationStatus?.status.state, mesos.v1.OperationState.OPERATION_UNKNOWN);
});

test('a message is carried to its agent, and an executor shutdown once per call id', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  const about = { agentId: { value: agentId }, executorId: { value: 't1' } };
  const message = { type: CallType.MESSAGE, message: { ...about, data: new Uint8Array([1]) } };
  t.is(commandsIn(h.call({ frameworkId }, message))[0]?.frameworkMessage?.executorId, 't1');
  const shutdown = { type: CallType.SHUTDOWN, shutdown: about };
  t.is(commandsIn(h.call({ frameworkId }, shutdown, 'c1'))[0]?.number, 2);
  t.deepEqual(commandsIn(h.call({ frameworkId }, shutdown, 'c1')), []);
});

for (const type of [CallType.ACCEPT_INVERSE_OFFERS, CallType.DECLINE_INVERSE_OFFERS, CallType.REQUEST]) {
  test(`${CallType[type]} is accepted and changes nothing`, (t) => {
    const h = new Harness();
    const frameworkId = h.framework();
    const parts = { acceptInverseOffers: {}, declineInverseOffers: {}, request: {} };
    const { length } = h.records;
    t.is(outcomeOf(h.call({ frameworkId }, { type, ...parts })), 'accepted');
    t.is(h.records.length, length);
  });
}

test('the rest of an accept that the leader before began is launched by the next when the call is repeated', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1', 'cpus:1000;mem:100000');
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, agentId, 'cpus:1000;mem:100000');
  const tasks = Array.from({ length: 250 }, (_, i) => task(`t${i}`, agentId, { ask: 'cpus:1' }));
  h.accept(frameworkId, [offerId], tasks, 'c1');
  const next = Harness.after(h, 'm2', (ledger) => {
    const first = h.records.findIndex(({ taskLaunched }) => taskLaunched?.task?.taskId.value === 't200');
    for (const record of h.records.slice(0, first)) applyRecord(ledger, record);
  });
  next.register('a1', { total: 'cpus:1000;mem:100000', cursor: 0 } as never);
  next.subscribe({}, { frameworkId });
  t.is(next.state.ledger.frameworks.get(frameworkId)?.tasks.size, 200);
  const sent = next.accept(frameworkId, [offerId], tasks, 'c1');
  t.is(next.state.ledger.frameworks.get(frameworkId)?.tasks.size, 250);
  t.is(commandsIn(sent).length, 50);
  t.deepEqual(statusesIn(sent), []);
  t.true(next.state.ledger.calls.get('c1')?.record.complete);
});

test('a framework that never acknowledges keeps only so many ended tasks; the agent of the others is acknowledged', (t) => {
  const h = new Harness({ maxUnacknowledgedTasksPerFramework: 1 });
  const agentId = h.agent();
  const frameworkId = h.framework();
  const tasks = ['t1', 't2'].map((id) => task(id, agentId));
  h.accept(frameworkId, [h.offer(frameworkId, agentId)], tasks);
  for (const id of ['t1', 't2']) h.update('a1', frameworkId, id, 1, TASK_FINISHED);
  t.is(h.task(frameworkId, 't1'), undefined);
  t.truthy(h.task(frameworkId, 't2'));
  const again = h.update('a1', frameworkId, 't1', 1, TASK_FINISHED, { commandNumber: 1 });
  t.is(commandsIn(again)[0]?.acknowledgeUpdate?.task?.taskId, 't1');
});
