import { mesos } from '@mesobus/protos';
import { formatResources } from '@mesobus/sdk/resources';
import test from 'ava';
import { availableOf } from '../src/core/index.ts';
import {
  CallType,
  commandsIn,
  eventsIn,
  filtersOf,
  Harness,
  launchOf,
  outcomeOf,
  Reason,
  resources,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const partitionAware = { capabilities: [{ type: Capability.PARTITION_AWARE }] };

test('an accepted launch is committed before its agent hears of it', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, agentId);
  h.autoCommit = false;
  const before = h.accept(frameworkId, [offerId], [task('t1', agentId)]);
  t.deepEqual(commandsIn(before), []);
  t.is(outcomeOf(before), 'no answer');
  t.is(h.task(frameworkId, 't1')?.commandNumber, 1);
  h.commit();
  const [run] = commandsIn(h.sent);
  t.is(run?.number, 1);
  t.is(run?.runTask?.task?.taskId.value, 't1');
  t.is(run?.runTask?.framework?.id?.value, frameworkId);
  t.is(outcomeOf(h.sent.slice(-3)), 'accepted');
});

test('what an accept leaves of its offer is available again, and filtered', (t) => {
  const h = new Harness();
  const { agentId } = h.launched();
  const agent = h.state.ledger.agents.get(agentId);
  t.is(agent && formatResources(availableOf(h.state, agent)), 'cpus:3;mem:4032');
  const filter = filtersOf(h).find((item) => item.filter)?.filter;
  t.is(filter?.refuseMs, 5_000);
});

test('an offer holds executor-free resources with the allocation role in each of them', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.offer(frameworkId, agentId, 'cpus:1');
  const [offer] = eventsIn(h.sent).flatMap(({ offers }) => offers?.offers ?? []);
  t.is(offer?.id.value, 'm1-O1');
  t.is(offer?.allocationInfo?.role, '*');
  t.deepEqual(
    offer?.resources.map(({ allocationInfo }) => allocationInfo?.role),
    ['*'],
  );
  t.is(offer?.hostname, 'a1');
});

type Wrong = [why: RegExp, change: (agentId: string) => mesos.v1.TaskInfo.$Properties];
const long = 'x'.repeat(256);
const negative = { nanoseconds: -1n };
const wrongTasks: Record<string, Wrong> = {
  'an empty id': [/task id is empty/, (a) => task('', a)],
  'an id of 256 characters': [/longer than 255/, (a) => task(long, a)],
  'an id with a slash': [/slash/, (a) => task('a/b', a)],
  'an id with a control character': [/control characters/, (a) => task('a\u0007', a)],
  'the id ..': [/'\.\.' is not allowed/, (a) => task('..', a)],
  'another agent': [/names agent 'elsewhere'/, () => task('t', 'elsewhere')],
  'neither command nor executor': [/neither/, (a) => ({ ...task('t', a), command: null })],
  'command and executor': [/both/, (a) => task('t', a, { executor: { executorId: { value: 'e' } } })],
  'no resources': [/no resources/, (a) => ({ ...task('t', a), resources: [] })],
  'negative resources': [
    /invalid resources/,
    (a) => ({ ...task('t', a), resources: [{ name: 'cpus', type: 0, scalar: { value: -1 } }] }),
  ],
  'revocable and other cpus': [
    /mixes/,
    (a) => ({
      ...task('t', a),
      resources: [...resources('cpus:1'), { ...resources('cpus:1')[0], revocable: {} } as never],
    }),
  ],
  'resources of another role': [
    /role 'other'/,
    (a) => ({
      ...task('t', a),
      resources: [{ ...resources('cpus:1')[0], allocationInfo: { role: 'other' } } as never],
    }),
  ],
  'more than the offer': [/more than is left/, (a) => task('t', a, { ask: 'cpus:5' })],
  'a negative kill grace': [/grace_period/, (a) => task('t', a, { killPolicy: { gracePeriod: negative } })],
  'a negative completion time': [/max_completion_time/, (a) => task('t', a, { maxCompletionTime: negative })],
  'a check without a type': [/type of the check/, (a) => task('t', a, { check: {} })],
  'a check without its part': [/'tcp' is missing/, (a) => task('t', a, { check: { type: 3 } })],
  'a health check with a negative delay': [
    /delay_seconds/,
    (a) => task('t', a, { healthCheck: { type: 3, tcp: { port: 1 }, delaySeconds: -1 } }),
  ],
  'a limit of disk': [/only 'cpus' and 'mem'/, (a) => task('t', a, { limits: { disk: { value: 1 } } })],
  'a limit below the request': [/below/, (a) => task('t', a, { limits: { cpus: { value: 0.5 } } })],
  'a limit of what it does not ask for': [
    /none of it/,
    (a) => task('t', a, { ask: 'cpus:1', limits: { mem: { value: 1 } } }),
  ],
  'cgroups of its own': [
    /share_cgroups/,
    (a) => task('t', a, { container: { type: 2, linuxInfo: { shareCgroups: false } } }),
  ],
  'more than 240 KB': [/at most/, (a) => task('t', a, { data: new Uint8Array(250_000) })],
};
for (const [what, [why, change]] of Object.entries(wrongTasks)) {
  test(`a task with ${what} gets TASK_ERROR and the next one is launched`, (t) => {
    const h = new Harness();
    const agentId = h.agent();
    const frameworkId = h.framework();
    const sent = h.accept(frameworkId, [h.offer(frameworkId, agentId)], [change(agentId), task('good', agentId)]);
    t.is(outcomeOf(sent), 'accepted');
    const [status] = statusesIn(sent);
    t.is(status?.state, TaskState.TASK_ERROR);
    t.is(status?.reason, Reason.REASON_TASK_INVALID);
    t.is(status?.source, mesos.v1.TaskStatus.Source.SOURCE_MASTER);
    t.is(status?.uuid.length, 0);
    t.regex(status?.message ?? '', why);
    t.truthy(h.task(frameworkId, 'good'));
  });
}

test('a task id in use gets TASK_ERROR, also when both are in one call', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const sent = h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task('t1', agentId), task('t1', agentId)]);
  t.deepEqual(
    statusesIn(sent).map(({ state }) => state),
    [TaskState.TASK_ERROR],
  );
  const again = h.accept(frameworkId, [h.offer(frameworkId, agentId, 'cpus:1;mem:64')], [task('t1', agentId)]);
  t.regex(statusesIn(again)[0]?.message ?? '', /in use/);
});

test('an infinite limit is taken', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const limits = { mem: { value: Number.POSITIVE_INFINITY } };
  const sent = h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task('t1', agentId, { limits })]);
  t.deepEqual(statusesIn(sent), []);
});

for (const [name, info, state] of [
  ['a partition-aware framework', partitionAware, TaskState.TASK_DROPPED],
  ['any other framework', {}, TaskState.TASK_LOST],
] as const) {
  test(`${name} that accepts an unknown offer gets ${TaskState[state]} and its other offer is free again`, (t) => {
    const h = new Harness();
    const agentId = h.agent();
    const frameworkId = h.framework(info);
    const offerId = h.offer(frameworkId, agentId);
    const sent = h.accept(frameworkId, [offerId, 'm1-O99'], [task('t1', agentId), task('t2', agentId)]);
    t.is(outcomeOf(sent), 'accepted');
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [
        [state, Reason.REASON_INVALID_OFFERS],
        [state, Reason.REASON_INVALID_OFFERS],
      ],
    );
    t.is(h.state.offers.size, 0);
    t.is(filtersOf(h).length, 0);
  });
}

test('offers of two agents cannot be accepted together', (t) => {
  const h = new Harness();
  const [a1, a2] = [h.agent('a1'), h.agent('a2')];
  const frameworkId = h.framework();
  const offers = [h.offer(frameworkId, a1), h.offer(frameworkId, a2)];
  t.regex(statusesIn(h.accept(frameworkId, offers, [task('t1', a1)]))[0]?.message ?? '', /two agents/);
});

test('two offers of one agent are used together', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const offers = [h.offer(frameworkId, agentId, 'cpus:2;mem:100'), h.offer(frameworkId, agentId, 'cpus:2;mem:100')];
  t.deepEqual(statusesIn(h.accept(frameworkId, offers, [task('t1', agentId, { ask: 'cpus:3;mem:150' })])), []);
});

test('an accept that is repeated is answered and changes nothing', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, agentId);
  h.accept(frameworkId, [offerId], [task('t1', agentId)], 'c1');
  const { length } = h.records;
  const again = h.accept(frameworkId, [offerId], [task('t1', agentId)], 'c1');
  t.is(outcomeOf(again), 'accepted');
  t.is(h.records.length, length);
  t.deepEqual(statusesIn(again), []);
  t.deepEqual(commandsIn(again), []);
});

test('thousands of tasks of one accept are committed in pieces, the call complete with the last', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1', 'cpus:1000;mem:100000');
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, agentId, 'cpus:1000;mem:100000');
  h.autoCommit = false;
  const { length } = h.records;
  const tasks = Array.from({ length: 450 }, (_, i) => task(`t${i}`, agentId, { ask: 'cpus:1' }));
  h.accept(frameworkId, [offerId], tasks);
  const made = h.records.slice(length);
  const calls = made.flatMap((record, at) => (record.callRecorded ? [[at, record.callRecorded.complete]] : []));
  t.deepEqual(calls, [
    [200, false],
    [401, false],
    [452, true],
  ]);
  const numbers = made.flatMap(({ taskLaunched }) => (taskLaunched ? [taskLaunched.commandNumber] : []));
  t.deepEqual(
    numbers,
    Array.from({ length: 450 }, (_, i) => i + 1),
  );
  h.commit();
  t.deepEqual(
    commandsIn(h.sent).map(({ number }) => number),
    numbers,
  );
});

test('an ACCEPT that is repeated after it was forgotten does not call dropped what it launched', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, agentId);
  h.accept(frameworkId, [offerId], [task('t1', agentId)], 'c1');
  h.now += 20 * 60_000;
  h.accept(frameworkId, [h.offer(frameworkId, agentId, 'cpus:1;mem:64')], [task('t2', agentId)], 'c2');
  t.false(h.state.ledger.calls.has('c1'));
  const repeated = h.accept(frameworkId, [offerId], [task('t1', agentId), task('t3', agentId)], 'c1');
  t.deepEqual(
    statusesIn(repeated).map(({ taskId }) => taskId.value),
    ['t3'],
  );
});

test('a reservation with an id is answered with OPERATION_ERROR', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const operation = { type: 2, id: { value: 'op1' }, reserve: { resources: resources('cpus:1') } };
  const accept = {
    offerIds: [{ value: h.offer(frameworkId, agentId) }],
    operations: [operation, launchOf([task('t1', agentId)])],
  };
  const events = eventsIn(h.call({ frameworkId }, { type: CallType.ACCEPT, accept }));
  const status = events.find(({ updateOperationStatus }) => updateOperationStatus)?.updateOperationStatus?.status;
  t.is(status?.operationId?.value, 'op1');
  t.is(status?.state, mesos.v1.OperationState.OPERATION_ERROR);
  t.truthy(h.task(frameworkId, 't1'));
});

for (const [given, expected] of [
  [undefined, 5_000],
  [-3, 5_000],
  [10, 10_000],
  [1e12, 365 * 24 * 3600 * 1000],
] as const) {
  test(`a decline with refuse_seconds ${given} filters for ${expected} ms`, (t) => {
    const h = new Harness();
    const frameworkId = h.framework();
    const offerId = h.offer(frameworkId, h.agent());
    const filters = given === undefined ? {} : { filters: { refuseSeconds: given } };
    const decline = { offerIds: [{ value: offerId }], ...filters };
    h.call({ frameworkId }, { type: CallType.DECLINE, decline });
    t.is(h.state.offers.size, 0);
    t.is(filtersOf(h).at(-1)?.filter?.refuseMs, expected);
  });
}

test('a decline with refuse_seconds 0 sets no filter', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const decline = { offerIds: [{ value: h.offer(frameworkId, h.agent()) }], filters: { refuseSeconds: 0 } };
  h.call({ frameworkId }, { type: CallType.DECLINE, decline });
  t.deepEqual(filtersOf(h), []);
});

test('a leader tells nobody that a launch is dropped: it takes an ACCEPT only of a framework that it can tell', (t) => {
  const before = new Harness();
  const agentId = before.agent();
  const frameworkId = before.framework();
  const offerId = before.offer(frameworkId, agentId);
  const next = Harness.after(before);
  t.is(outcomeOf(next.accept(frameworkId, [offerId], [task('t1', agentId)])), 'not_subscribed');
  t.is(outcomeOf(next.call({ frameworkId }, { type: CallType.RECONCILE, reconcile: {} })), 'not_subscribed');
  next.subscribe({}, { frameworkId });
  const sent = next.accept(frameworkId, [offerId], [task('t1', agentId)]);
  t.is(outcomeOf(sent), 'accepted');
  t.like(statusesIn(sent)[0], { state: TaskState.TASK_LOST, reason: Reason.REASON_INVALID_OFFERS });
});
