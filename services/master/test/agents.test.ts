import { mesos } from '@mesobus/protos';
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
} from './harness.ts';

const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const partitionAware = { capabilities: [{ type: Capability.PARTITION_AWARE }] };
const { TASK_RUNNING, TASK_LOST, TASK_GONE } = TaskState;

test('an agent is admitted once its record is committed, and offered from then on', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.autoCommit = false;
  t.deepEqual(agentRepliesIn(h.register('a1')), []);
  t.is(h.offer(frameworkId, 'm1-S0'), '');
  h.commit();
  t.is(agentRepliesIn(h.sent).at(-1)?.registered?.agentId, 'm1-S0');
  t.not(h.offer(frameworkId, 'm1-S0'), '');
});

test('a registration that is repeated makes one agent', (t) => {
  const h = new Harness();
  h.autoCommit = false;
  h.register('a1');
  h.register('a1');
  h.commit();
  t.deepEqual([...h.state.ledger.agents.keys()], ['m1-S0']);
  t.deepEqual(
    agentRepliesIn(h.sent).map(({ registered }) => registered?.agentId),
    ['m1-S0', 'm1-S0'],
  );
});

for (const [name, info, state] of [
  ['partition-aware', partitionAware, TASK_GONE],
  ['other', {}, TASK_LOST],
] as const) {
  test(`another key under a name retires the old agent: tasks of ${name} frameworks are ${TaskState[state]}`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = h.launched('t1', info);
    const sent = h.register('a1', { registrationKey: 'another' });
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [[state, Reason.REASON_AGENT_REMOVED]],
    );
    t.is(eventsIn(sent).find(({ failure }) => failure)?.failure?.agentId?.value, agentId);
    t.deepEqual([...h.state.ledger.agents.keys()], ['m1-S1']);
    t.is(h.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
  });

  test(`a task at the cursor that its agent does not report has ended: ${TaskState[state]} for ${name} frameworks`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = h.launched('t1', info);
    const sent = h.register('a1', { cursor: 1 });
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [[state, Reason.REASON_RECONCILIATION]],
    );
    t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 0);
    t.truthy(frameworkId);
  });
}

test('an agent that registers is told the last command that there is for it', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  const [reply] = agentRepliesIn(h.register('a1', {}, 'n2'));
  t.is(reply?.registered?.lastCommand, 2);
});

test('a launch above the cursor is not judged absent but sent again, in order', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.accept(
    frameworkId,
    [h.offer(frameworkId, agentId)],
    ['t1', 't2', 't3'].map((id) => task(id, agentId)),
  );
  const next = Harness.after(h);
  const running = { frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 };
  const sent = next.register('a1', { cursor: 1, tasks: [running] });
  t.deepEqual(statusesIn(sent), []);
  t.deepEqual(
    commandsIn(sent).map(({ number, runTask }) => [number, runTask?.task?.taskId.value]),
    [
      [2, 't2'],
      [3, 't3'],
    ],
  );
  t.deepEqual(agentRepliesIn(sent)[0]?.registered?.unknownTasks, []);
});

test('tasks that nobody wants are named in the answer', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const tasks = [
    { frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 },
    { frameworkId, taskId: 'stranger', state: TASK_RUNNING, commandNumber: 7 },
    { frameworkId: 'nobody', taskId: 't1', state: TASK_RUNNING, commandNumber: 8 },
  ];
  const [reply] = agentRepliesIn(h.register('a1', { cursor: 1, tasks }));
  t.deepEqual(reply?.registered?.unknownTasks, [
    { frameworkId, taskId: 'stranger', commandNumber: 7 },
    { frameworkId: 'nobody', taskId: 't1', commandNumber: 8 },
  ]);
});

test('commands are sent again after 1 s, doubling, until the cursor moves', (t) => {
  const h = new Harness();
  const { agentId } = h.launched();
  const seen: number[] = [];
  for (let ms = 0; ms < 8_000; ms += 100) if (commandsIn(h.tick(100)).length > 0) seen.push(ms + 100);
  t.deepEqual(seen, [1_000, 3_000, 7_000]);
  h.answerCommands(agentId, 1);
  for (let ms = 0; ms < 20_000; ms += 100) t.deepEqual(commandsIn(h.tick(100)), []);
});

test('the log hears of a cursor after a second, once', (t) => {
  const h = new Harness();
  const { agentId } = h.launched();
  h.tick(1);
  h.answerCommands(agentId, 1);
  h.tick(1_000);
  h.tick(1_000);
  t.is(h.state.ledger.agents.get(agentId)?.cursor, 1);
  t.is(h.records.filter(({ commandsApplied }) => commandsApplied).length, 1);
});

test('later commands are sent without waiting for the answer to earlier ones', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const offers = [h.offer(frameworkId, agentId, 'cpus:1;mem:64'), h.offer(frameworkId, agentId, 'cpus:1;mem:64')];
  h.accept(frameworkId, [offers[0] as string], [task('t1', agentId)]);
  const sent = h.accept(frameworkId, [offers[1] as string], [task('t2', agentId)]);
  t.deepEqual(
    commandsIn(sent).map(({ number }) => number),
    [2],
  );
});

test('an agent that is silent for 15 s is disconnected: its offers are rescinded, none are made, its tasks stay', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const { frameworkId, agentId } = h.launched();
  const offerId = h.offer(frameworkId, agentId, 'cpus:1');
  h.pass(14_000);
  t.true(h.state.offers.has(offerId));
  h.pass(1_000);
  t.false(h.state.offers.has(offerId));
  t.is(h.offer(frameworkId, agentId, 'cpus:1'), '');
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_STAGING);
  h.heartbeat('a1');
  t.not(h.offer(frameworkId, agentId, 'cpus:1'), '');
});

test('an agent that beats stays connected, and hears of the master when idle', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  let heard = 0;
  for (let second = 0; second < 100; second += 5) {
    h.tick(5_000);
    heard += h.heartbeat('a1').filter(({ kind }) => kind === 'commands').length;
  }
  t.true(h.state.agents.get(agentId)?.connected);
  t.is(heard, 5);
});

test('silence does not count while the master itself is cut off', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.step({ kind: 'bus_connection', connected: false });
  h.tick(60_000);
  t.true(h.state.agents.get(agentId)?.connected);
  h.step({ kind: 'bus_connection', connected: true });
  h.pass(14_000);
  t.true(h.state.agents.get(agentId)?.connected);
  h.pass(1_000);
  t.false(h.state.agents.get(agentId)?.connected);
});

test('requests and heartbeats of an agent that has not registered with this leader are answered with register', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  const next = Harness.after(h);
  t.truthy(agentRepliesIn(next.update('a1', frameworkId, 't1', 1, TASK_RUNNING))[0]?.reregisterNeeded);
  const [asked] = next.heartbeat('a1');
  t.is(asked?.kind === 'commands' ? asked.message.agentId : undefined, '');
  t.truthy(agentId);
});

test('a process of the agent that another has replaced is not listened to again', (t) => {
  const h = new Harness();
  h.agent();
  h.register('a1', {}, 'n2');
  t.is(outcomeOf(h.register('a1', {}, 'n1')), 'incarnation_superseded');
  t.deepEqual(h.heartbeat('a1', { incarnation: 'n1' }), []);
});

test('a process of the agent that another has replaced is not listened to by the next leader either', (t) => {
  const h = new Harness();
  h.agent();
  h.register('a1', {}, 'n2');
  for (const isBack of [false, true]) {
    const next = Harness.after(h);
    if (isBack) next.register('a1', {}, 'n2');
    t.is(outcomeOf(next.register('a1', {}, 'n1')), 'incarnation_superseded');
    t.deepEqual(next.heartbeat('a1', { incarnation: 'n1' }), []);
  }
});

test('of the processes that an agent had only the last few are remembered', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  for (let at = 2; at < 20; at += 1) h.register('a1', {}, `n${at}`);
  const { supersededIncarnations } = h.state.ledger.agents.get(agentId)?.record ?? {};
  t.deepEqual(supersededIncarnations, ['n15', 'n16', 'n17', 'n18']);
});

test('an agent that unregisters is gone with its tasks, and its name is free', (t) => {
  const h = new Harness();
  const { agentId } = h.launched();
  const sent = h.request('a1', { agentId, unregister: {} });
  t.deepEqual(
    statusesIn(sent).map(({ state }) => state),
    [TASK_LOST],
  );
  t.truthy(agentRepliesIn(sent)[0]?.taken);
  t.is(h.state.ledger.agents.size, 0);
  t.is(h.agent(), 'm1-S1');
});

const registrations: [what: string, change: object, incarnation?: string][] = [
  ['under another name', { agentName: 'other' }],
  ['without a key', { registrationKey: '' }],
  ['without an incarnation', {}, ''],
  ['with a key that no record can hold', { registrationKey: 'k'.repeat(600_000) }],
  ['with malformed resources', { info: { hostname: 'a1', resources: [{ name: 'cpus', type: 0 }] } }],
  ['with malformed reservations', { checkpointedResources: [{ name: 'cpus', type: 0 }] }],
];
for (const [what, change, incarnation] of registrations) {
  test(`a registration ${what} is refused`, (t) => {
    const h = new Harness();
    t.is(outcomeOf(h.register('a1', change, incarnation)), 'call_invalid');
    t.is(h.records.length, 0);
  });
}

test('an agent that has obeyed commands which the log lost gets new ones above them', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.register('a1', { cursor: 41 });
  const frameworkId = h.framework();
  const sent = h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task('t1', agentId)]);
  t.deepEqual(
    commandsIn(sent).map(({ number }) => number),
    [42],
  );
});

test('an agent that has lost a part of its disk gets the numbers that it lacks, and nothing under them', (t) => {
  const h = new Harness();
  const { agentId, frameworkId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED);
  h.answerCommands(agentId, 1);
  h.tick(1_001);
  const commands = commandsIn(h.register('a1', { cursor: 0 }, 'n2'));
  t.deepEqual(
    commands.map(({ number, runTask, shutdownFramework }) => [number, runTask, shutdownFramework?.frameworkId]),
    [[1, undefined, '']],
  );
});

test('with the numbers that it had lost an agent registers once more, and a task that it does not know any more is gone', (t) => {
  const h = new Harness();
  const { agentId, frameworkId } = h.launched('t1', partitionAware);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.answerCommands(agentId, 1);
  h.tick(1_001);
  t.deepEqual(statusesIn(h.register('a1', { cursor: 0 }, 'n2')), [], 'it may have been a delayed one');
  const caughtUp = h.step({ kind: 'commands_answered', agentId, incarnation: 'n2', cursor: 1 });
  t.like(caughtUp, [{ kind: 'commands', message: { agentId: '', incarnation: 'n2' } }]);
  const again = h.register('a1', { cursor: 1 }, 'n2');
  t.deepEqual(
    statusesIn(again).map(({ state }) => state),
    [TASK_GONE],
  );
});

test('a registration that was delayed does not end tasks that were launched after it', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.answerCommands(agentId, 1);
  h.tick(1_001);
  t.deepEqual(statusesIn(h.register('a1', { cursor: 0 })), []);
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_STAGING);
});

test('a leader that freezes rescinds every offer', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.offer(frameworkId, agentId, 'cpus:1');
  h.offer(frameworkId, agentId, 'cpus:1');
  t.is(eventsIn(h.step({ kind: 'frozen' })).filter(({ rescind }) => rescind).length, 2);
  t.is(h.state.offers.size, 0);
});

test('two registrations under way at once are one agent, which takes part once', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.autoCommit = false;
  h.register('a1', {}, 'n1');
  h.register('a1', {}, 'n2');
  h.commit();
  h.autoCommit = true;
  t.deepEqual([...h.state.ledger.agents.keys()], ['m1-S0']);
  t.is(h.state.agents.get('m1-S0')?.incarnation, 'n2');
  t.true(h.state.agents.get('m1-S0')?.connected);
  t.deepEqual(h.heartbeat('a1', { incarnation: 'n1' }), [], 'the older process is not listened to');
  t.not(h.offer(frameworkId, 'm1-S0'), '');
});

test('an agent that has lost its key under its name: the old id is retired with all of its tasks in one entry', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', partitionAware);
  h.answerCommands(agentId, 1);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.pass(31_000);
  const from = h.transactions.length;
  const sent = h.register('a1', { registrationKey: 'another' });
  t.is(h.transactions.length, from + 1);
  t.deepEqual(
    statusesIn(sent).map((s) => [s.state, s.reason]),
    [[TASK_GONE, Reason.REASON_AGENT_REMOVED]],
  );
  t.deepEqual([...h.state.ledger.agents.keys()], ['m1-S1']);
});

test('a terminal update of a task that has ended by decision is forwarded and acknowledged, and changes nothing', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', partitionAware);
  h.register('a1', { cursor: 1 });
  t.is(h.task(frameworkId, 't1')?.state, TASK_GONE);
  const [status] = statusesIn(h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED));
  t.is(status?.state, TaskState.TASK_FINISHED);
  t.is(h.task(frameworkId, 't1')?.state, TASK_GONE);
  const commands = commandsIn(h.acknowledge(frameworkId, 't1', '1'));
  t.is(commands.filter(({ acknowledgeUpdate }) => acknowledgeUpdate).length, 1);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
});

test('an agent that returns with more resources is offered with them, and its offers of before are void', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const agentId = h.agent('a1', 'cpus:4;mem:4096');
  const offerId = h.offer(frameworkId, agentId);
  const sent = h.register('a1', { total: 'cpus:8;mem:4096' } as never, 'n2');
  t.is(eventsIn(sent).find(({ rescind }) => rescind)?.rescind?.offerId.value, offerId);
  t.not(h.offer(frameworkId, agentId, 'cpus:8;mem:4096'), '');
});

test('an agent that says nothing new when it registers again makes no record', (t) => {
  const h = new Harness();
  h.agent();
  const records = h.records.length;
  h.tick(5_000);
  h.register('a1');
  t.is(h.records.length, records);
  const reservations = [{ type: mesos.v1.Resource.ReservationInfo.Type.DYNAMIC, role: 'ads' }];
  h.register('a1', { checkpointedResources: [{ name: 'cpus', type: 0, scalar: { value: 1 }, reservations }] });
  t.is(h.records.length, records + 1);
});
