import { mesos } from '@mesobus/protos';
import { applyRecord, createLedger, ledgerHash } from '@mesobus/registry/core';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  Reason,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const { TASK_RUNNING, TASK_LOST, TASK_UNREACHABLE, TASK_STAGING, TASK_FINISHED, TASK_GONE, TASK_DROPPED } = TaskState;
const { ADMITTED, UNREACHABLE } = { ADMITTED: 0, UNREACHABLE: 1 };
const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const partitionAware = { failoverTimeout: 3600, capabilities: [{ type: Capability.PARTITION_AWARE }] };
const unaware = { failoverTimeout: 3600 };

const lifecycleOf = (h: Harness, agentId: string) => h.state.ledger.agents.get(agentId)?.record.lifecycle;
const successorOf = (h: Harness, commits = h.records.length): Harness =>
  Harness.after(h, 'm2', (ledger) => {
    for (const record of h.records.slice(0, commits)) applyRecord(ledger, record);
  });

/** A running task `t1` that the agent has confirmed. */
function running(h: Harness, info: Partial<mesos.v1.FrameworkInfo.$Properties> = partitionAware) {
  const { frameworkId, agentId } = h.launched('t1', info);
  h.answerCommands(agentId, 1);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.tick(1_001);
  const reported = { frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 };
  return { frameworkId, agentId, reported };
}

for (const [name, info, told] of [
  ['a partition-aware', partitionAware, TASK_UNREACHABLE],
  ['another', unaware, TASK_LOST],
] as const) {
  test(`an agent that is silent for 30 s is unreachable: ${name} framework is told ${TaskState[told]}`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = running(h, info);
    h.pass(28_000);
    t.is(lifecycleOf(h, agentId), ADMITTED);
    const sent = h.pass(2_000);
    t.is(lifecycleOf(h, agentId), UNREACHABLE);
    t.is(h.task(frameworkId, 't1')?.state, TASK_UNREACHABLE);
    const [status, ...rest] = statusesIn(sent);
    t.like(status, { state: told, reason: Reason.REASON_AGENT_REMOVED });
    t.is(status?.uuid.length, 0);
    t.truthy(status?.unreachableTime);
    t.deepEqual(rest, []);
    t.is(eventsIn(sent).find(({ failure }) => failure)?.failure?.agentId?.value, agentId);
    t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 0);
    t.is(h.offer(frameworkId, agentId, 'cpus:1'), '');
  });

  test(`an agent that comes back brings the running task of ${name} framework with it`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId, reported } = running(h, info);
    h.pass(31_000);
    const sent = h.register('a1', { cursor: 1, tasks: [reported] });
    t.is(lifecycleOf(h, agentId), ADMITTED);
    t.like(statusesIn(sent)[0], { state: TASK_RUNNING, reason: Reason.REASON_AGENT_REREGISTERED });
    t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
    t.deepEqual(agentRepliesIn(sent)[0]?.registered?.unknownTasks, []);
    t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 1);
    t.not(h.offer(frameworkId, agentId, 'cpus:1'), '');
  });
}

test('nothing is said of an unreachable agent before it is committed', (t) => {
  const h = new Harness();
  running(h);
  h.pass(28_000);
  h.autoCommit = false;
  const before = h.sent.length;
  h.pass(2_000);
  t.deepEqual(statusesIn(h.sent.slice(before)), []);
  h.commit();
  t.is(statusesIn(h.sent.slice(before)).length, 1);
});

test('the mark is one transaction, with the agent last', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework(partitionAware);
  const tasks = ['t1', 't2'].map((id) => task(id, agentId));
  h.accept(frameworkId, [h.offer(frameworkId, agentId)], tasks);
  const from = h.records.length;
  h.pass(31_000);
  t.deepEqual(
    h.records.slice(from).map((record) => Object.keys(record).find((key) => key !== 'unknown')),
    ['commandIssued', 'commandIssued', 'taskChanged', 'taskChanged', 'agent'],
  );
});

test('whatever part of a mark is committed, the next leader can go on from there', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', partitionAware);
  const from = h.records.length;
  h.pass(31_000);
  for (let commits = from; commits <= h.records.length; commits += 1) {
    const next = successorOf(h, commits);
    next.register('a1', { cursor: 1, tasks: [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }] });
    t.is(lifecycleOf(next, agentId), ADMITTED);
    const entry = next.task(frameworkId, 't1');
    t.true(entry?.state === TASK_RUNNING || entry?.state === TASK_STAGING);
    t.is(next.state.ledger.agents.get(agentId)?.holdings.size, 1);
  }
});

test('a launch that was not confirmed is closed: the agent gets a kill under its number, never the launch', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', partitionAware);
  t.is(statusesIn(h.pass(31_000))[0]?.state, TASK_UNREACHABLE);
  for (const master of [successorOf(h), h]) {
    const commands = commandsIn(master.register('a1', { cursor: 0 }));
    t.deepEqual(
      commands.map(({ number, runTask, killTask }) => [number, runTask, killTask?.task?.taskId]),
      [
        [1, undefined, 't1'],
        [2, undefined, 't1'],
      ],
    );
  }
  h.answerCommands(agentId, 2);
  t.is(statusesIn(h.update('a1', frameworkId, 't1', 1, TASK_DROPPED))[0]?.state, TASK_DROPPED);
  t.is(h.task(frameworkId, 't1')?.state, TASK_DROPPED);
});

for (const [name, info, told] of [
  ['a partition-aware', partitionAware, TASK_DROPPED],
  ['another', unaware, TASK_LOST],
] as const) {
  test(`nobody killed a launch that was closed: for ${name} framework the agent reports ${TaskState[told]}`, (t) => {
    const h = new Harness();
    h.launched('t1', info);
    h.pass(31_000);
    for (const master of [successorOf(h), h]) {
      const [kill] = commandsIn(master.register('a1', { cursor: 0 }));
      t.like(kill?.killTask?.unlaunched, { state: told, reason: Reason.REASON_AGENT_REMOVED });
    }
  });
}

test('a launch that its framework had killed before its agent was lost is reported as killed', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', partitionAware);
  h.call({ frameworkId }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  h.pass(31_000);
  const commands = commandsIn(h.register('a1', { cursor: 0 }));
  t.deepEqual(
    commands.map(({ killTask }) => killTask?.unlaunched),
    [undefined, undefined],
  );
});

test('an agent that has a closed launch after all is told to end it', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', partitionAware);
  h.pass(31_000);
  const tasks = [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }];
  const sent = h.register('a1', { cursor: 1, tasks });
  t.is(statusesIn(sent)[0]?.state, TASK_RUNNING);
  t.deepEqual(
    commandsIn(sent).map(({ number, killTask }) => [number, killTask?.task?.taskId]),
    [[2, 't1']],
  );
});

test("a closed launch that its agent brings up too late gets nothing back that is somebody else's by now", (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', partitionAware);
  h.pass(31_000);
  h.register('a1', { cursor: 0 });
  h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task('t2', agentId, { ask: 'cpus:4;mem:64' })]);
  const tasks = [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }];
  const sent = h.register('a1', { cursor: 1, tasks });
  t.is(agentRepliesIn(sent)[0]?.registered?.unknownTasks?.[0]?.taskId, 't1');
  t.is(h.task(frameworkId, 't1')?.state, TASK_UNREACHABLE);
});

test('a task that has said something is not closed, whatever the log knows of the cursor', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', partitionAware);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  const next = successorOf(h);
  next.pass(601_000);
  t.is(next.task(frameworkId, 't1')?.state, TASK_UNREACHABLE);
  t.false(next.task(frameworkId, 't1')?.killIssued);
});

test('a task that ended while its agent was out of reach stays unreachable until its update comes', (t) => {
  const h = new Harness();
  const { frameworkId, reported } = running(h);
  h.pass(31_000);
  const sent = h.register('a1', { cursor: 1, tasks: [{ ...reported, state: TASK_FINISHED }] });
  t.deepEqual(statusesIn(sent), []);
  t.is(h.task(frameworkId, 't1')?.state, TASK_UNREACHABLE);
  t.is(statusesIn(h.update('a1', frameworkId, 't1', 2, TASK_FINISHED))[0]?.state, TASK_FINISHED);
  t.is(h.task(frameworkId, 't1')?.state, TASK_FINISHED);
});

test('a task that the agent does not bring back is gone', (t) => {
  const h = new Harness();
  const { frameworkId } = running(h);
  h.pass(31_000);
  t.like(statusesIn(h.register('a1', { cursor: 1, bootId: 'another' }))[0], {
    state: TASK_GONE,
    reason: Reason.REASON_RECONCILIATION,
  });
  t.is(h.task(frameworkId, 't1')?.state, TASK_GONE);
});

test('an update from an agent that is out of reach is answered with register', (t) => {
  const h = new Harness();
  const { frameworkId } = running(h);
  h.pass(31_000);
  t.truthy(agentRepliesIn(h.update('a1', frameworkId, 't1', 2, TASK_FINISHED))[0]?.reregisterNeeded);
  const [asked] = h.heartbeat('a1');
  t.is(asked?.kind === 'commands' ? asked.message.agentId : undefined, '');
});

test('an update acknowledged before the agent was lost is acknowledged again when it is repeated', (t) => {
  const h = new Harness();
  const { frameworkId, reported } = running(h);
  h.acknowledge(frameworkId, 't1', '1');
  h.pass(31_000);
  h.register('a1', { cursor: 1, tasks: [reported] });
  const sent = h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  t.deepEqual(statusesIn(sent), []);
  t.is(commandsIn(sent).filter(({ acknowledgeUpdate }) => acknowledgeUpdate).length, 1);
});

test('a framework that is removed meanwhile has its task ended when the agent is back', (t) => {
  const h = new Harness();
  const { frameworkId, reported } = running(h);
  h.pass(31_000);
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  const sent = h.register('a1', { cursor: 1, tasks: [reported] });
  t.is(agentRepliesIn(sent)[0]?.registered?.unknownTasks?.length, 1);
  t.is(commandsIn(sent).at(-1)?.shutdownFramework?.frameworkId, frameworkId);
});

test('a kill of a task out of reach is answered with that, and carried out when the agent is back', (t) => {
  const h = new Harness();
  const { frameworkId, reported } = running(h);
  h.pass(31_000);
  const kill = { type: CallType.KILL, kill: { taskId: { value: 't1' } } };
  t.like(statusesIn(h.call({ frameworkId }, kill))[0], {
    state: TASK_UNREACHABLE,
    reason: Reason.REASON_RECONCILIATION,
  });
  const commands = commandsIn(h.register('a1', { cursor: 1, tasks: [reported] }));
  t.is(commands[0]?.killTask?.task?.taskId, 't1');
});

// ---- whose silence counts

test('a master that hears nobody doubts itself, and counts silence only from when it hears again', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  for (let second = 0; second < 300; second += 1) h.tick(1_000);
  t.is(lifecycleOf(h, agentId), ADMITTED);
  h.pass(29_000);
  t.is(lifecycleOf(h, agentId), ADMITTED);
  h.pass(3_000);
  t.is(lifecycleOf(h, agentId), UNREACHABLE);
});

test('a master that hears its allocator alone loses sight of all agents, and they come back with their tasks', (t) => {
  const h = new Harness();
  const { frameworkId, agentId, reported } = running(h);
  const second = h.agent('a2');
  h.pass(32_000);
  t.deepEqual([lifecycleOf(h, agentId), lifecycleOf(h, second)], [UNREACHABLE, UNREACHABLE]);
  h.register('a1', { cursor: 1, tasks: [reported] });
  t.is(lifecycleOf(h, agentId), ADMITTED);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
});

test('a master that was stopped for long marks nobody when it goes on', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.pass(5_000, ['a1']);
  h.tick(600_000);
  h.heartbeat('a1');
  h.pass(10_000, ['a1']);
  t.is(lifecycleOf(h, agentId), ADMITTED);
  t.is(h.state.unreachable.scheduled, 0);
});

test('the mark waits while the master is cut off', (t) => {
  const h = new Harness({ agentRemovalIntervalMs: 60_000 });
  h.agent('a1');
  h.tick(100);
  const second = h.agent('a2');
  h.pass(31_000);
  h.step({ kind: 'bus_connection', connected: false });
  h.pass(120_000);
  t.is(lifecycleOf(h, second), ADMITTED);
});

// ---- the rate limit

test('marks trickle at the limit, and an agent that is heard in time is not marked', (t) => {
  const h = new Harness({ agentRemovalIntervalMs: 600_000 });
  const ids = ['a1', 'a2', 'a3'].map((name) => {
    h.tick(100);
    return h.agent(name);
  });
  h.pass(60_000);
  t.deepEqual(
    ids.map((id) => lifecycleOf(h, id)),
    [UNREACHABLE, ADMITTED, ADMITTED],
  );
  h.heartbeat('a2');
  h.pass(600_000, ['a2']);
  t.deepEqual(
    ids.map((id) => lifecycleOf(h, id)),
    [UNREACHABLE, ADMITTED, UNREACHABLE],
  );
  const { scheduled, completed, canceled } = h.state.unreachable;
  t.deepEqual([scheduled, completed, canceled], [3, 2, 1]);
  h.pass(630_000);
  t.is(lifecycleOf(h, ids[1] as string), UNREACHABLE, 'silent once more, it is marked after all');
});

// ---- after a takeover

test('an agent that does not register with a new leader in 10 minutes is unreachable, its tasks with it', (t) => {
  const before = new Harness();
  const { frameworkId, agentId } = running(before);
  const h = successorOf(before);
  h.subscribe(partitionAware, { frameworkId, generation: 1 });
  h.pass(598_000);
  t.is(lifecycleOf(h, agentId), ADMITTED);
  const sent = h.pass(4_000);
  t.is(statusesIn(sent)[0]?.state, TASK_UNREACHABLE);
  t.is(eventsIn(sent).find(({ failure }) => failure)?.failure?.agentId?.value, agentId);
  t.is(lifecycleOf(h, agentId), UNREACHABLE);
});

test('an agent that registers with the new leader in time stays, with nothing said of its tasks', (t) => {
  const before = new Harness();
  const { agentId, reported } = running(before);
  const h = successorOf(before);
  t.deepEqual(statusesIn(h.register('a1', { cursor: 1, tasks: [reported] })), []);
  const records = h.records.length;
  h.pass(620_000, ['a1']);
  t.is(lifecycleOf(h, agentId), ADMITTED);
  t.is(h.records.length, records);
});

test('with more agents missing than the limit allows the new leader ends instead of marking them', (t) => {
  const before = new Harness({ recoveryAgentRemovalLimit: 0.5 });
  const ids = ['a1', 'a2', 'a3', 'a4'].map((name) => before.agent(name));
  const lost = successorOf(before);
  lost.register('a1');
  const gaveUp = lost.pass(602_000, ['a1']).find(({ kind }) => kind === 'give_up');
  t.regex(gaveUp?.kind === 'give_up' ? gaveUp.why : '', /3 of 4 agents/);
  t.deepEqual(new Set(ids.map((id) => lifecycleOf(lost, id))), new Set([ADMITTED]));

  const kept = successorOf(before);
  for (const name of ['a1', 'a2']) kept.register(name);
  kept.pass(602_000, ['a1', 'a2']);
  t.deepEqual(
    ids.map((id) => lifecycleOf(kept, id)),
    [ADMITTED, ADMITTED, UNREACHABLE, UNREACHABLE],
  );
});

test('an agent that was unreachable before the takeover may come back to the new leader', (t) => {
  const before = new Harness();
  const { frameworkId, agentId, reported } = running(before);
  before.pass(31_000);
  const h = successorOf(before);
  h.register('a1', { cursor: 1, tasks: [reported] });
  t.is(lifecycleOf(h, agentId), ADMITTED);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
});

// ---- forgetting

test('an agent that is unreachable for two weeks is forgotten, with the tasks that were lost sight of', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  h.pass(31_000);
  h.subscribe(partitionAware, { frameworkId, generation: 1 });
  h.tick(14 * 24 * 3_600_000 - 60_000);
  h.subscribe(partitionAware, { frameworkId, generation: 1 });
  t.true(h.state.ledger.agents.has(agentId));
  h.tick(1_000_000);
  t.false(h.state.ledger.agents.has(agentId));
  t.is(h.task(frameworkId, 't1'), undefined);
  const replayed = createLedger();
  for (const record of h.records) applyRecord(replayed, record);
  t.deepEqual(ledgerHash(replayed), ledgerHash(h.state.ledger));
});

test('of more unreachable agents than may be remembered the oldest are forgotten', (t) => {
  const h = new Harness({ registryMaxAgentCount: 1 });
  const first = h.agent('a1');
  h.pass(31_000);
  const second = h.agent('a2');
  h.pass(31_000);
  h.tick(900_000);
  t.deepEqual([h.state.ledger.agents.has(first), h.state.ledger.agents.has(second)], [false, true]);
});

test('an agent that was forgotten joins as a new one, and its tasks are ended', (t) => {
  const h = new Harness({ registryMaxAgentCount: 0 });
  const { reported } = running(h);
  h.pass(31_000);
  h.tick(900_000);
  const request = { agentName: 'a1', registrationKey: 'key of a1', info: { hostname: 'a1' }, tasks: [reported] };
  const sent = h.request('a1', { agentId: 'm1-S0', register: { ...request, cursor: 1 } });
  t.is(agentRepliesIn(sent)[0]?.registered?.agentId, 'm1-S1');
  t.is(agentRepliesIn(sent)[0]?.registered?.unknownTasks?.length, 1);
});
