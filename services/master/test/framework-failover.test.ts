// The lives of frameworks through failures of their schedulers, masters and agents.
import { mesos } from '@mesobus/protos';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  EventType,
  eventsIn,
  filtersOf,
  Harness,
  outcomeOf,
  type Sent,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const multiRole = { capabilities: [{ type: Capability.MULTI_ROLE }] };
const week = { failoverTimeout: 7 * 24 * 3600 };

const lifecycle = (h: Harness, frameworkId: string) => h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle;
const loseStream = (h: Harness, frameworkId: string): Sent[] =>
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });

test('an instance that was superseded is refused by the next leader, though it never learnt its generation', (t) => {
  const h = new Harness();
  const frameworkId = h.framework(week);
  h.subscribe(week, { frameworkId, instanceId: 'i2' }); // and its reply is lost
  h.subscribe(week, { frameworkId, instanceId: 'i3' });
  const next = Harness.after(h);
  t.is(outcomeOf(next.subscribe(week, { frameworkId, instanceId: 'i2' })), 'instance_superseded');
  t.is(outcomeOf(next.subscribe(week, { frameworkId, instanceId: 'i1' })), 'instance_superseded');
  t.is(outcomeOf(next.subscribe(week, { frameworkId, instanceId: 'i3', generation: 3 })), 'accepted');
  t.is(outcomeOf(next.subscribe(week, { frameworkId, instanceId: 'i4' })), 'accepted');
  t.is(outcomeOf(next.subscribe(week, { frameworkId, instanceId: 'i3', generation: 3 })), 'instance_superseded');
});

test('only so many superseded instances are named in the record', (t) => {
  const h = new Harness();
  const frameworkId = h.framework(week);
  for (let i = 2; i < 40; i += 1) h.subscribe(week, { frameworkId, instanceId: `i${i}` });
  const { supersededInstances = [] } = h.state.ledger.frameworks.get(frameworkId)?.record ?? {};
  t.is(supersededInstances.length, 16);
  t.is(supersededInstances.at(-1), 'i38');
});

test('a SUBSCRIBE without an id by an instance that was superseded makes no other framework, here or later', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.subscribe({}, { frameworkId, instanceId: 'i2' });
  for (const leader of [h, Harness.after(h)]) {
    t.is(outcomeOf(leader.subscribe({}, { callId: 'another', instanceId: 'i1' })), 'instance_superseded');
    t.is(leader.state.ledger.frameworks.size, 1);
  }
});

test('a blip removes no framework, whatever its failover timeout', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ failoverTimeout: 0 });
  loseStream(h, frameworkId);
  h.pass(14_000);
  t.is(outcomeOf(h.subscribe({}, { frameworkId })), 'accepted');
  h.pass(60_000);
  t.is(lifecycle(h, frameworkId), 0);
});

test('a master that was stopped for long does not hold that time against a scheduler', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ failoverTimeout: 20 });
  loseStream(h, frameworkId);
  h.pass(10_000);
  h.tick(3_600_000);
  h.pass(24_000);
  t.is(lifecycle(h, frameworkId), 0);
  h.pass(1_000);
  t.is(lifecycle(h, frameworkId), 1);
});

test('a master that is cut off now and then still ends a framework that stays away', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ failoverTimeout: 60 });
  loseStream(h, frameworkId);
  for (let i = 0; i < 8; i += 1) {
    h.pass(10_000);
    h.step({ kind: 'bus_connection', connected: false });
    h.pass(5_000);
    h.step({ kind: 'bus_connection', connected: true });
  }
  h.pass(14_000);
  t.is(lifecycle(h, frameworkId), 0);
  h.pass(1_000);
  t.is(lifecycle(h, frameworkId), 1);
});

test('a new leader gives a framework its whole time, and beats to it once it is back', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ failoverTimeout: 100 });
  loseStream(h, frameworkId);
  h.pass(100_000);
  const next = Harness.after(h);
  next.pass(114_000);
  t.is(lifecycle(next, frameworkId), 0);
  next.subscribe({ failoverTimeout: 100 }, { frameworkId, generation: 1 });
  const beats = eventsIn(next.pass(30_000)).filter(({ type }) => type === EventType.HEARTBEAT);
  t.is(beats.length, 2);
  t.is(lifecycle(next, frameworkId), 0);
});

test('a framework that its timeout ended hears why if it listens, and may not subscribe any more', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  loseStream(h, frameworkId);
  const sent = h.pass(16_000);
  t.regex(
    eventsIn(sent).find(({ error }) => error)?.error?.message ?? '',
    /^Framework has been removed: its scheduler/,
  );
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_KILLED);
  t.deepEqual(statusesIn(sent), []);
  for (const leader of [h, Harness.after(h)]) {
    t.is(outcomeOf(leader.subscribe({}, { frameworkId, instanceId: 'i2' })), 'framework_removed');
  }
});

test('a subscription by another process leaves the tasks alone and brings the framework back to offers', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', week);
  loseStream(h, frameworkId);
  h.pass(60_000, ['a1']);
  h.subscribe(week, { frameworkId, instanceId: 'i2' });
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_STAGING);
  t.not(h.offer(frameworkId, agentId, 'cpus:1'), '');
});

test('which roles are suppressed is what the last SUBSCRIBE says, also under the next leader', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ ...multiRole, roles: ['a', 'b'] });
  h.call({ frameworkId }, { type: CallType.SUPPRESS, suppress: { roles: ['a'] } });
  const next = Harness.after(h);
  const agentId = next.agent();
  next.subscribe({ ...multiRole, roles: ['a', 'b'] }, { frameworkId, generation: 1, suppressed: ['b'] });
  t.is(next.offer(frameworkId, agentId, 'cpus:1', 'b'), '');
  t.not(next.offer(frameworkId, agentId, 'cpus:1', 'a'), '');
  next.subscribe({ ...multiRole, roles: ['a', 'b'] }, { frameworkId, generation: 1 });
  t.deepEqual(next.state.ledger.frameworks.get(frameworkId)?.record.suppressedRoles, []);
});

test('the filters of a scheduler are gone when another one takes over, or it subscribes again', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, h.agent());
  h.call({ frameworkId }, { type: CallType.DECLINE, decline: { offerIds: [{ value: offerId }] } });
  for (const instanceId of ['i2', 'i2']) {
    h.feedOf();
    h.subscribe({}, { frameworkId, instanceId });
    t.like(filtersOf(h).at(-1), { filtersLifted: { frameworkId, roles: [] } });
  }
});

const droppings: [how: string, drop: (h: Harness, frameworkId: string, info: object) => Sent[]][] = [
  ['SUBSCRIBE', (h, frameworkId, info) => h.subscribe(info, { frameworkId })],
  [
    'UPDATE_FRAMEWORK',
    (h, frameworkId, info) => {
      const frameworkInfo = { user: 'root', name: 'test', id: { value: frameworkId }, ...info };
      return h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework: { frameworkInfo } });
    },
  ],
];
for (const [how, drop] of droppings) {
  test(`a role that a framework leaves by ${how} with tasks in it: they go on and stay charged to it`, (t) => {
    const h = new Harness();
    const agentId = h.agent();
    const frameworkId = h.framework({ ...multiRole, roles: ['a', 'b'] });
    h.accept(frameworkId, [h.offer(frameworkId, agentId, 'cpus:1;mem:64', 'a')], [task('t1', agentId)]);
    const offerId = h.offer(frameworkId, agentId, 'cpus:1', 'a');
    h.feedOf();
    t.is(outcomeOf(drop(h, frameworkId, { ...multiRole, roles: ['b'] })), 'accepted');
    t.false(h.state.offers.has(offerId));
    t.is(h.offer(frameworkId, agentId, 'cpus:1', 'a'), '');
    t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_STAGING);
    const items = h.feedOf().flatMap((batch) => batch.items);
    t.deepEqual(items.find(({ framework }) => framework)?.framework?.roles, ['b']);
    const holdings = items.findLast(({ agent }) => agent)?.agent?.holdings.map(({ role }) => role);
    t.deepEqual(holdings, ['a']);
  });
}

test('an end that was not acknowledged comes to the next scheduler under the next leader, and is then forgotten', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', week);
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED, { uuid: 'u' });
  const next = Harness.after(h);
  const tasks = [{ frameworkId, taskId: 't1', commandNumber: 1, updateNumber: 1, state: TaskState.TASK_FINISHED }];
  next.register('a1', { cursor: 1, tasks } as never);
  next.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED, { uuid: 'u' }); // it repeats what waits
  const sent = next.subscribe(week, { frameworkId, instanceId: 'i2' });
  t.deepEqual(
    statusesIn(sent).map(({ state }) => state),
    [TaskState.TASK_FINISHED],
  );
  const acknowledge = {
    agentId: { value: agentId },
    taskId: { value: 't1' },
    uuid: statusesIn(sent)[0]?.uuid as Uint8Array,
  };
  const who = { frameworkId, instanceId: 'i2', generation: 2 };
  const relayed = commandsIn(next.call(who, { type: CallType.ACKNOWLEDGE, acknowledge }));
  t.is(relayed[0]?.acknowledgeUpdate?.task?.taskId, 't1');
  t.deepEqual(statusesIn(next.subscribe(week, { frameworkId, instanceId: 'i3' })), []);
});

test('an end that was not acknowledged comes from the ledger where its agent is no more', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', week);
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED, { uuid: 'u' });
  h.request('a1', { agentId, unregister: {} });
  const next = Harness.after(h);
  const sent = next.subscribe(week, { frameworkId, generation: 1 });
  t.deepEqual(
    statusesIn(sent).map(({ taskId, state }) => [taskId.value, state]),
    [['t1', TaskState.TASK_FINISHED]],
  );
  next.acknowledge(frameworkId, 't1', 'u', agentId);
  t.deepEqual(statusesIn(next.subscribe(week, { frameworkId, generation: 1 })), []);
});

test('an acknowledgement that its agent did not get is given again when the agent repeats the update', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', week);
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_RUNNING, { uuid: 'u' });
  h.pass(40_000); // the agent is silent
  h.acknowledge(frameworkId, 't1', 'u');
  h.register('a1', { cursor: 1, tasks: [{ frameworkId, taskId: 't1', commandNumber: 1, state: 1 }] } as never);
  const sent = h.update('a1', frameworkId, 't1', 1, TaskState.TASK_RUNNING, { uuid: 'u' });
  t.is(commandsIn(sent).filter(({ acknowledgeUpdate }) => acknowledgeUpdate).length, 1);
});

test('an agent that comes back with tasks of a framework that was torn down is told to end them', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: true });
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  const next = Harness.after(h);
  const sent = next.register('a1', {
    cursor: 1,
    tasks: [{ frameworkId, taskId: 't1', commandNumber: 1, state: 1 }],
  } as never);
  const told = [
    ...(agentRepliesIn(sent)[0]?.registered?.unknownTasks ?? []).map(({ taskId }) => taskId),
    ...commandsIn(sent).map(({ shutdownFramework }) => shutdownFramework?.frameworkId),
  ];
  t.true(told.includes('t1') || told.includes(frameworkId));
});
