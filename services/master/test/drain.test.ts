import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  outcomeOf,
  Reason,
  type Sent,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const { TASK_RUNNING, TASK_LOST, TASK_KILLED, TASK_GONE_BY_OPERATOR } = TaskState;
const { GONE, UNREACHABLE } = mesobus.v1.AgentRecord.Lifecycle;
const Call = mesos.v1.master.Call;
const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_DRAINING }];
const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
const partitionAware = { failoverTimeout: 3600, capabilities: [{ type: PARTITION_AWARE }] };

type Body = Omit<mesos.v1.master.Call.$Properties, 'type'>;

function operate(h: Harness, call: Body): Sent[] {
  const sent = { callId: 'o1', call: { type: Call.Type.UNKNOWN, ...call } };
  const message = decode(mesobus.v1.OperatorCall, encode(mesobus.v1.OperatorCall, sent));
  return h.step({ kind: 'operator_call', principal: 'ops', call: message, token: 'o' });
}

const drain = (h: Harness, value: string, more: { markGone?: boolean; seconds?: bigint } = {}): Sent[] => {
  const { markGone = false, seconds } = more;
  const maxGracePeriod = seconds === undefined ? null : { seconds };
  return operate(h, { drainAgent: { agentId: { value }, markGone, maxGracePeriod } });
};
const deactivate = (h: Harness, value: string): Sent[] => operate(h, { deactivateAgent: { agentId: { value } } });
const reactivate = (h: Harness, value: string): Sent[] => operate(h, { reactivateAgent: { agentId: { value } } });
const markGone = (h: Harness, value: string): Sent[] => operate(h, { markAgentGone: { agentId: { value } } });

const isAccepted = (sent: readonly Sent[]): boolean => sent.some(({ kind }) => kind === 'accept_operator');
const recordOf = (h: Harness, agentId: string) => h.state.ledger.agents.get(agentId)?.record;

/** An agent that can drain, with a running task `t1`. */
function running(h: Harness, info: Partial<mesos.v1.FrameworkInfo.$Properties> = partitionAware) {
  h.register('a1', { capabilities });
  const { frameworkId, agentId } = h.launched('t1', info);
  h.register('a1', { capabilities, tasks: [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }] });
  h.answerCommands(agentId, 1);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.acknowledge(frameworkId, 't1', '1');
  return { frameworkId, agentId };
}

const calls = { drain, deactivate, reactivate, markGone };
for (const [name, call] of Object.entries(calls)) {
  test(`${name} of an agent that is not there is refused`, (t) => {
    const h = new Harness();
    t.is(outcomeOf(call(h, 'm1-S9')), 'agent_unknown');
    t.is(h.records.length, 0);
  });

  test(`${name} asked for twice changes nothing the second time`, (t) => {
    const h = new Harness();
    const { agentId } = running(h);
    t.true(isAccepted(call(h, agentId)));
    const records = h.records.length;
    const again = call(h, agentId);
    t.true(isAccepted(again));
    t.is(h.records.length, records);
    t.deepEqual(commandsIn(again), []);
  });
}

for (const name of ['deactivate', 'drain'] as const) {
  test(`${name}: open offers are rescinded and none are made, by the next leader neither`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = running(h);
    const offerId = h.offer(frameworkId, agentId, 'cpus:1');
    t.is(eventsIn(calls[name](h, agentId))[0]?.rescind?.offerId.value, offerId);
    t.is(h.offer(frameworkId, agentId, 'cpus:1'), '');
    const late = statusesIn(h.accept(frameworkId, [offerId], [task('t2', agentId)]));
    t.is(late[0]?.reason, Reason.REASON_INVALID_OFFERS);

    const next = Harness.after(h);
    next.subscribe(partitionAware, { frameworkId, generation: 1 });
    next.register('a1', { capabilities, cursor: 0 });
    t.is(next.offer(frameworkId, agentId, 'cpus:1'), '');
  });
}

test('a deactivated agent keeps its tasks, and is offered again when it is reactivated', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  t.deepEqual(commandsIn(deactivate(h, agentId)), []);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
  t.deepEqual(commandsIn(reactivate(h, agentId)), []);
  t.not(h.offer(frameworkId, agentId, 'cpus:1'), '');
});

test('what an operator decided about an agent outlives its restart', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  drain(h, agentId, { seconds: 7n, markGone: true });
  const before = recordOf(h, agentId);
  const tasks = [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }];
  h.register('a1', { capabilities, tasks, cursor: 2 }, 'n2');
  t.like(recordOf(h, agentId), { deactivated: true, drained: false, drainStartedAtMs: before?.drainStartedAtMs });
  t.like(recordOf(h, agentId)?.drain, { maxGracePeriodMs: 7_000, markGone: true });
});

test('a drain is a command under a number, sent again until the agent has it, by the next leader too', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  const [command] = commandsIn(drain(h, agentId, { seconds: 7n }));
  t.like(command, { number: 2 });
  t.like(command?.drainAgent, { maxGracePeriodMs: 7_000, markGone: false });
  const next = Harness.after(h);
  const tasks = [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }];
  const sent = next.register('a1', { capabilities, tasks, cursor: 1 });
  t.is(commandsIn(sent)[0]?.drainAgent?.maxGracePeriodMs, 7_000);
});

test('an agent is drained once all its tasks have ended and every end is acknowledged', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  drain(h, agentId);
  h.tick(1_000);
  t.false(recordOf(h, agentId)?.drained);
  h.update('a1', frameworkId, 't1', 2, TASK_KILLED);
  h.tick(1_000);
  t.false(recordOf(h, agentId)?.drained, 'not acknowledged yet');
  h.acknowledge(frameworkId, 't1', '2');
  h.tick(1_000);
  t.true(recordOf(h, agentId)?.drained);
  t.true(recordOf(h, agentId)?.deactivated);
});

test('an agent without tasks is drained at once', (t) => {
  const h = new Harness();
  h.register('a1', { capabilities });
  drain(h, 'm1-S0');
  t.true(recordOf(h, 'm1-S0')?.drained);
});

test('a drain with an offline scheduler ends when its framework is removed', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });
  drain(h, agentId);
  h.update('a1', frameworkId, 't1', 2, TASK_KILLED);
  h.pass(60_000, ['a1']);
  t.false(recordOf(h, agentId)?.drained);
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  h.tick(1_000);
  t.true(recordOf(h, agentId)?.drained);
});

test('the next leader goes on with a drain', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  drain(h, agentId, { markGone: true });
  h.update('a1', frameworkId, 't1', 2, TASK_GONE_BY_OPERATOR);
  h.acknowledge(frameworkId, 't1', '2');
  const next = Harness.after(h);
  next.tick(1_000);
  t.is(recordOf(next, agentId)?.lifecycle, GONE);
});

test('an agent that is drained and marked gone is shut down at the end and never comes back', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  drain(h, agentId, { markGone: true });
  h.answerCommands(agentId, 2);
  t.is(statusesIn(h.update('a1', frameworkId, 't1', 2, TASK_GONE_BY_OPERATOR))[0]?.state, TASK_GONE_BY_OPERATOR);
  h.acknowledge(frameworkId, 't1', '2');
  const sent = h.tick(1_000);
  t.truthy(commandsIn(sent)[0]?.shutdownAgent);
  t.deepEqual(statusesIn(sent), []);
  t.like(recordOf(h, agentId), { lifecycle: GONE, drained: true });
  t.true(isAccepted(drain(h, agentId, { markGone: true })), 'the call again, whose answer was lost, has come true');
});

test('an agent out of reach is drained when it comes back', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  h.pass(32_000);
  t.deepEqual(commandsIn(drain(h, agentId)), []);
  h.tick(1_000);
  t.false(recordOf(h, agentId)?.drained, 'its task may come back');
  const tasks = [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }];
  t.truthy(commandsIn(h.register('a1', { capabilities, tasks, cursor: 1 }))[0]?.drainAgent);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
});

for (const markGone of [false, true]) {
  test(`an agent out of reach without tasks is ${markGone ? 'gone' : 'drained'} at once`, (t) => {
    const h = new Harness();
    h.register('a1', { capabilities });
    h.pass(32_000);
    drain(h, 'm1-S0', { markGone });
    h.tick(1_000);
    t.true(recordOf(h, 'm1-S0')?.drained);
    t.is(recordOf(h, 'm1-S0')?.lifecycle, markGone ? GONE : UNREACHABLE);
  });
}

test('a drain may be told to be quicker, or to end with the agent gone', (t) => {
  const h = new Harness();
  const { agentId } = running(h);
  drain(h, agentId, { seconds: 60n });
  const [command] = commandsIn(drain(h, agentId, { seconds: 0n, markGone: true }));
  t.like(command?.drainAgent, { maxGracePeriodMs: 1, markGone: true });
});

test('reactivation ends a drain: its agent is told, offered again, and not marked gone', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  drain(h, agentId, { markGone: true });
  t.truthy(commandsIn(reactivate(h, agentId))[0]?.reactivateAgent);
  h.update('a1', frameworkId, 't1', 2, TASK_KILLED);
  h.acknowledge(frameworkId, 't1', '2');
  h.tick(1_000);
  t.like(recordOf(h, agentId), { deactivated: false, drain: null, drained: false, lifecycle: 0 });
  t.not(h.offer(frameworkId, agentId, 'cpus:4'), '');
});

test('an agent that does not know how to drain is not asked to', (t) => {
  const h = new Harness();
  t.is(outcomeOf(drain(h, h.agent())), 'call_invalid');
});

test('the rest of an accept is dropped where its agent takes no more tasks meanwhile', (t) => {
  const h = new Harness({ maxCompletedTasksPerFramework: 5_000 });
  h.register('a1', { capabilities, total: 'cpus:4;mem:40960' } as never);
  const agentId = 'm1-S0';
  const frameworkId = h.framework(partitionAware);
  const tasks = Array.from({ length: 201 }, (_, i) => task(`t${i}`, agentId, { ask: 'cpus:0.001;mem:1' }));
  const offerId = h.offer(frameworkId, agentId, 'cpus:4;mem:40960');
  h.accept(frameworkId, [offerId], tasks, 'big');
  const half = h.records.findIndex(({ callRecorded }) => callRecorded?.complete === true) - 1;
  const next = Harness.after(h, 'm2', (ledger) => {
    for (const record of h.records.slice(0, half)) applyRecord(ledger, record);
  });
  next.subscribe(partitionAware, { frameworkId, generation: 1 });
  next.register('a1', { capabilities, cursor: 0 });
  deactivate(next, agentId);
  const dropped = statusesIn(next.accept(frameworkId, [offerId], tasks, 'big'));
  t.is(dropped.length, 1);
  t.is(dropped[0]?.reason, Reason.REASON_AGENT_DRAINING);
});

// ---- gone

for (const [name, info, state, reason] of [
  ['a partition-aware', partitionAware, TASK_GONE_BY_OPERATOR, Reason.REASON_AGENT_REMOVED_BY_OPERATOR],
  ['another', { failoverTimeout: 3600 }, TASK_LOST, Reason.REASON_AGENT_REMOVED],
] as const) {
  test(`an agent is marked gone while it is up: ${name} framework is told ${TaskState[state]}`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = running(h, info);
    const offerId = h.offer(frameworkId, agentId, 'cpus:1');
    const sent = markGone(h, agentId);
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [[state, reason]],
    );
    t.true(eventsIn(sent).some(({ rescind }) => rescind?.offerId.value === offerId));
    t.true(eventsIn(sent).some(({ failure }) => failure?.agentId?.value === agentId));
    t.truthy(commandsIn(sent)[0]?.shutdownAgent);
    t.is(recordOf(h, agentId)?.lifecycle, GONE);
    t.is(h.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
  });

  test(`an unreachable agent is marked gone: ${name} framework is told ${TaskState[state]}`, (t) => {
    const h = new Harness();
    const { agentId } = running(h, info);
    h.pass(32_000);
    t.deepEqual(
      statusesIn(markGone(h, agentId)).map((s) => [s.state, s.reason]),
      [[state, reason]],
    );
  });
}

test('a task that is known to have ended ahead of its update is told so when its agent is gone', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  const { TASK_STARTING, TASK_FINISHED } = TaskState;
  h.update('a1', frameworkId, 't1', 2, TASK_STARTING, { latestState: TASK_FINISHED });
  t.is(h.task(frameworkId, 't1')?.state, TASK_FINISHED);
  t.deepEqual(
    statusesIn(markGone(h, agentId)).map((s) => [s.state, s.uuid.length]),
    [[TASK_FINISHED, 0]],
  );
  t.is(h.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
});

test('an end that waits for its acknowledgement is told once more when its agent is gone', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  const { TASK_FINISHED } = TaskState;
  h.update('a1', frameworkId, 't1', 2, TASK_RUNNING);
  h.update('a1', frameworkId, 't1', 3, TASK_FINISHED);
  h.acknowledge(frameworkId, 't1', '3'); // ahead of its turn: it counts for nothing
  t.is(h.task(frameworkId, 't1')?.acknowledgedNumber, 1);
  t.deepEqual(
    statusesIn(markGone(h, agentId)).map((s) => s.state),
    [TASK_FINISHED],
  );
  h.acknowledge(frameworkId, 't1', '3');
  t.is(h.state.ledger.frameworks.get(frameworkId)?.completed.size, 1);
});

test('a gone agent is refused whatever it says, by the next leader too; one with a new key is another', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  markGone(h, agentId);
  const info = { hostname: 'a1' };
  const register = { agentName: 'a1', registrationKey: 'key of a1', info, capabilities };
  const next = Harness.after(h);
  for (const master of [h, next]) {
    t.is(outcomeOf(master.request('a1', { agentId, register })), 'agent_gone');
    t.is(outcomeOf(master.request('a1', { agentId: '', register })), 'agent_gone');
    t.truthy(agentRepliesIn(master.update('a1', frameworkId, 't1', 2, TASK_KILLED))[0]?.reregisterNeeded);
    t.is(outcomeOf(drain(master, agentId)), 'call_invalid');
  }
  const wiped = { ...register, registrationKey: 'another' };
  t.is(agentRepliesIn(h.request('a1', { agentId: '', register: wiped }))[0]?.registered?.agentId, 'm1-S1');
});

test('an agent that was not back since the takeover may be marked gone', (t) => {
  const before = new Harness();
  const { agentId } = running(before);
  const h = Harness.after(before);
  t.true(isAccepted(markGone(h, agentId)));
  t.is(recordOf(h, agentId)?.lifecycle, GONE);
  h.pass(610_000);
  t.is(h.state.unreachable.scheduled, 0);
});

test('a gone agent is forgotten after two weeks', (t) => {
  const h = new Harness();
  const { agentId } = running(h);
  markGone(h, agentId);
  h.tick(14 * 24 * 3_600_000);
  t.true(h.state.ledger.agents.has(agentId));
  h.tick(900_000);
  t.false(h.state.ledger.agents.has(agentId));
});
