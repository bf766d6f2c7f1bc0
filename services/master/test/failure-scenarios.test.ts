// Failures that cross several of the master's parts: who comes back first, what a dead leader left half done.
import { mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import test from 'ava';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  launchOf,
  Reason,
  resources,
  type Sent,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const { TASK_RUNNING, TASK_STAGING, TASK_DROPPED, TASK_LOST, TASK_UNREACHABLE, TASK_KILLED, TASK_GONE_BY_OPERATOR } =
  TaskState;
const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
const week = { failoverTimeout: 7 * 24 * 3600 };
const partitionAware = { ...week, capabilities: [{ type: PARTITION_AWARE }] };
const [ADMITTED, UNREACHABLE] = [0, 1];

const lifecycleOf = (h: Harness, agentId: string) => h.state.ledger.agents.get(agentId)?.record.lifecycle;
const kill = { type: CallType.KILL, kill: { taskId: { value: 't1' } } };
const ask = { type: CallType.RECONCILE, reconcile: { tasks: [{ taskId: { value: 't1' } }] } };

/** A running task `t1` that its agent has confirmed, and what the agent reports of it. */
function running(h: Harness, info: Partial<mesos.v1.FrameworkInfo.$Properties> = partitionAware) {
  const { frameworkId, agentId } = h.launched('t1', info);
  h.answerCommands(agentId, 1);
  h.update('a1', frameworkId, 't1', 1, TASK_RUNNING);
  h.tick(1_001);
  const reported = { cursor: 1, tasks: [{ frameworkId, taskId: 't1', state: TASK_RUNNING, commandNumber: 1 }] };
  return { frameworkId, agentId, reported };
}

// ---- a leader dies between its record and what follows from it

test('an agent whose admission is in the log, but was never answered, is the same agent to the next leader', (t) => {
  const h = new Harness();
  h.autoCommit = false;
  h.register('a1'); // recorded, and the leader dies before it answers
  t.deepEqual(agentRepliesIn(h.sent), []);
  const next = Harness.after(h);
  const info = { hostname: 'a1', resources: resources('cpus:4;mem:4096') };
  const register = { agentName: 'a1', registrationKey: 'key of a1', info };
  const sent = next.request('a1', { agentId: '', register });
  t.is(agentRepliesIn(sent)[0]?.registered?.agentId, 'm1-S0');
  t.deepEqual([...next.state.ledger.agents.keys()], ['m1-S0']);
});

for (const [name, info, state] of [
  ['a partition-aware', partitionAware, TASK_UNREACHABLE],
  ['another', week, TASK_LOST],
] as const) {
  test(`a mark that no framework was told of: ${name} framework hears ${TaskState[state]} from the next leader`, (t) => {
    const h = new Harness();
    const { frameworkId } = running(h, info);
    h.pass(29_000);
    h.autoCommit = false;
    const before = h.sent.length;
    h.pass(2_000);
    t.deepEqual(statusesIn(h.sent.slice(before)), []);
    const next = Harness.after(h);
    next.subscribe(info, { frameworkId, generation: 1 });
    const [status] = statusesIn(next.call({ frameworkId }, ask));
    t.like(status, { state, reason: Reason.REASON_RECONCILIATION });
    t.truthy(status?.unreachableTime);
  });
}

// ---- who is back first after a failover

test('an agent that is back before its scheduler keeps its tasks, and is offered once the scheduler is there', (t) => {
  const h = new Harness();
  const { frameworkId, agentId, reported } = running(h);
  const next = Harness.after(h);
  next.register('a1', reported);
  t.is(next.task(frameworkId, 't1')?.state, TASK_RUNNING);
  t.is(next.offer(frameworkId, agentId, 'cpus:1'), '');
  next.subscribe(partitionAware, { frameworkId, generation: 1 });
  t.not(next.offer(frameworkId, agentId, 'cpus:1'), '');
});

test('whoever is back is offered at once, and nobody waits for the agents that are not', (t) => {
  const h = new Harness();
  const frameworkId = h.framework(week);
  const [here, away] = [h.agent('a1'), h.agent('a2')];
  const next = Harness.after(h);
  t.is(next.offer(frameworkId, here), '');
  next.subscribe(week, { frameworkId, generation: 1 });
  next.register('a1');
  t.is(next.offer(frameworkId, away), '');
  t.not(next.offer(frameworkId, here), '');
});

test('an agent that beats and never registers with the new leader is asked to each time, and unreachable in the end', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  const next = Harness.after(h);
  next.subscribe(partitionAware, { frameworkId, generation: 1 });
  const [asked] = next.heartbeat('a1');
  t.is(asked?.kind === 'commands' ? asked.message.agentId : undefined, '');
  next.pass(598_000, ['a1']);
  t.is(lifecycleOf(next, agentId), ADMITTED);
  t.is(statusesIn(next.pass(4_000, ['a1']))[0]?.state, TASK_UNREACHABLE);
  t.is(lifecycleOf(next, agentId), UNREACHABLE);
});

test('an agent that was not back since the takeover is declared gone: its tasks are told to have ended with it', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = running(h);
  const next = Harness.after(h);
  next.subscribe(partitionAware, { frameworkId, generation: 1 });
  t.deepEqual(
    statusesIn(next.operateOnAgent('markAgentGone', agentId)).map((s) => [s.taskId.value, s.state, s.reason]),
    [['t1', TASK_GONE_BY_OPERATOR, Reason.REASON_AGENT_REMOVED_BY_OPERATOR]],
  );
  t.is(statusesIn(next.call({ frameworkId }, ask))[0]?.state, TASK_GONE_BY_OPERATOR);
});

// ---- an agent that is heard and hears nothing, or comes from elsewhere

test('an agent that registers but hears nothing: its launches are not confirmed, and closed when it falls silent', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', partitionAware);
  h.register('a1', { cursor: 0 }); // it asks again, for it did not hear the answer
  const sent = h.pass(31_000);
  t.true(commandsIn(sent).filter(({ runTask }) => runTask).length > 1, 'the launch is repeated');
  t.is(statusesIn(sent)[0]?.state, TASK_UNREACHABLE);
  t.is(lifecycleOf(h, agentId), UNREACHABLE);
  t.deepEqual(
    commandsIn(h.register('a1', { cursor: 0 })).filter(({ runTask }) => runTask),
    [],
    'should it hear again, it gets no launch that was given up',
  );
  t.is(h.task(frameworkId, 't1')?.state, TASK_UNREACHABLE);
});

test('an agent that comes with another hostname and address is the same agent, and offered under them', (t) => {
  const h = new Harness();
  const { frameworkId, agentId, reported } = running(h);
  const info = { hostname: 'elsewhere', port: 6_060, resources: resources('cpus:4;mem:4096') };
  h.register('a1', { ...reported, info }, 'n2');
  t.deepEqual([...h.state.ledger.agents.keys()], [agentId]);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
  const before = h.sent.length;
  h.offer(frameworkId, agentId, 'cpus:1');
  const [offer] = eventsIn(h.sent.slice(before)).flatMap(({ offers }) => offers?.offers ?? []);
  t.is(offer?.hostname, 'elsewhere');
  t.is(offer?.url?.address.port, 6_060);
});

test('a framework that does not checkpoint keeps its tasks when their agent restarts', (t) => {
  const h = new Harness();
  const { frameworkId, reported } = running(h, { ...week, checkpoint: false });
  t.deepEqual(statusesIn(h.register('a1', reported, 'n2')), []);
  t.is(h.task(frameworkId, 't1')?.state, TASK_RUNNING);
});

// ---- ACCEPT of what is no more

const accepts: [what: string, offers: (h: Harness, frameworkId: string) => string[], why: RegExp][] = [
  [
    'offers for two roles',
    (h, id) => ['a', 'b'].map((role) => h.offer(id, 'm1-S0', 'cpus:1;mem:64', role)),
    /for two roles/,
  ],
  ['one offer twice', (h, id) => Array(2).fill(h.offer(id, 'm1-S0', 'cpus:1;mem:64', 'a')), /named twice/],
  ['an offer that has expired', (h, id) => [expired(h, h.offer(id, 'm1-S0', 'cpus:1;mem:64', 'a'))], /no longer valid/],
];
function expired(h: Harness, offerId: string): string {
  h.tick(5_000);
  return offerId;
}
for (const [what, offersOf, why] of accepts) {
  test(`an ACCEPT of ${what} launches nothing, fails what has an id, and its offers are free again`, (t) => {
    const h = new Harness();
    const agentId = h.agent();
    const { MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;
    const capabilities = [...partitionAware.capabilities, { type: MULTI_ROLE }];
    const frameworkId = h.framework({ ...week, capabilities, roles: ['a', 'b'] });
    const offerIds = offersOf(h, frameworkId).map((value) => ({ value }));
    const reserve = { type: 2, id: { value: 'op1' }, reserve: { resources: resources('cpus:1') } };
    const accept = { offerIds, operations: [launchOf([task('t1', agentId)]), reserve] };
    const sent = h.call({ frameworkId }, { type: CallType.ACCEPT, accept });
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [[TASK_DROPPED, Reason.REASON_INVALID_OFFERS]],
    );
    t.regex(statusesIn(sent)[0]?.message ?? '', why);
    const failed = eventsIn(sent).find(({ updateOperationStatus }) => updateOperationStatus)?.updateOperationStatus;
    t.is(failed?.status.operationId?.value, 'op1');
    t.is(failed?.status.state, mesos.v1.OperationState.OPERATION_ERROR);
    t.is(h.state.offers.size, 0);
    t.is(h.task(frameworkId, 't1'), undefined);
  });
}

/** How an agent gets lost that a framework is about to launch on. */
const losses: [how: string, lose: (h: Harness, agentId: string) => Sent[], reason: mesos.v1.TaskStatus.Reason][] = [
  ['is silent', (h) => h.pass(16_000), Reason.REASON_AGENT_DISCONNECTED],
  ['is unreachable', (h) => h.pass(31_000), Reason.REASON_AGENT_REMOVED],
  ['is declared gone', (h, agentId) => h.operateOnAgent('markAgentGone', agentId), Reason.REASON_AGENT_REMOVED],
  ['has left', (h, agentId) => h.request('a1', { agentId, unregister: {} }), Reason.REASON_AGENT_REMOVED],
];
for (const [how, lose, reason] of losses) {
  test(`an ACCEPT on an agent that ${how} meanwhile drops its tasks: the offer is rescinded first`, (t) => {
    const h = new Harness({ offerTimeoutMs: 0 });
    const agentId = h.agent();
    const frameworkId = h.framework(partitionAware);
    const offerId = h.offer(frameworkId, agentId);
    t.true(eventsIn(lose(h, agentId)).some(({ rescind }) => rescind?.offerId.value === offerId));
    const sent = h.accept(frameworkId, [offerId], [task('t1', agentId)]);
    t.deepEqual(
      statusesIn(sent).map((s) => [s.state, s.reason]),
      [[TASK_DROPPED, Reason.REASON_INVALID_OFFERS]],
    );
    t.is(h.task(frameworkId, 't1'), undefined);
  });

  test(`the rest of an ACCEPT that a leader left half done is dropped where its agent ${how} meanwhile`, (t) => {
    const h = new Harness();
    const agentId = h.agent('a1', 'cpus:1000;mem:100000');
    const frameworkId = h.framework(partitionAware);
    const offerId = h.offer(frameworkId, agentId, 'cpus:1000;mem:100000');
    const tasks = Array.from({ length: 201 }, (_, i) => task(`t${i}`, agentId, { ask: 'cpus:1' }));
    h.accept(frameworkId, [offerId], tasks, 'c1');
    const next = Harness.after(h, 'm2', (ledger) => {
      const cut = h.records.findIndex(({ taskLaunched }) => taskLaunched?.task?.taskId.value === 't200');
      for (const record of h.records.slice(0, cut)) applyRecord(ledger, record);
    });
    next.subscribe(partitionAware, { frameworkId, generation: 1 });
    next.register('a1', { total: 'cpus:1000;mem:100000', cursor: 0 } as never);
    lose(next, agentId);
    const dropped = statusesIn(next.accept(frameworkId, [offerId], tasks, 'c1'));
    t.deepEqual(
      dropped.map((s) => [s.taskId.value, s.state, s.reason]),
      [['t200', TASK_DROPPED, reason]],
    );
  });
}

// ---- KILL

test('a kill while the agent is silent is carried out when it is back, also under the next leader', (t) => {
  const h = new Harness();
  const { frameworkId, agentId, reported } = running(h);
  h.pass(16_000);
  t.deepEqual(commandsIn(h.call({ frameworkId }, kill)), []);
  const next = Harness.after(h);
  for (const sent of [h.heartbeat('a1'), next.register('a1', reported)]) {
    t.deepEqual(
      commandsIn(sent).map(({ number, killTask }) => [number, killTask?.task?.taskId]),
      [[2, 't1']],
    );
  }
  t.is(statusesIn(h.update('a1', frameworkId, 't1', 2, TASK_KILLED))[0]?.state, TASK_KILLED);
  t.truthy(agentId);
});

// ---- clocks

for (const [how, offMs] of [
  ['a day behind', -86_400_000],
  ['a day ahead', 86_400_000],
] as const) {
  test(`a new leader whose clock is ${how} ends no framework and gives up no agent`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId, reported } = running(h, { ...partitionAware, failoverTimeout: 60 });
    const second = h.agent('a2');
    h.now += offMs;
    const next = Harness.after(h);
    next.pass(30_000);
    next.subscribe({ ...partitionAware, failoverTimeout: 60 }, { frameworkId, generation: 1 });
    t.deepEqual(statusesIn(next.register('a1', reported)), []);
    next.pass(500_000, ['a1']);
    t.is(next.task(frameworkId, 't1')?.state, TASK_RUNNING);
    t.deepEqual([lifecycleOf(next, agentId), lifecycleOf(next, second)], [ADMITTED, ADMITTED]);
    const offerId = next.offer(frameworkId, agentId, 'cpus:1;mem:64');
    next.accept(frameworkId, [offerId], [task('t2', agentId)], 'c2');
    t.is(next.task(frameworkId, 't2')?.state, TASK_STAGING);
  });
}
