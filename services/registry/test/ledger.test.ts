import { mesobus, mesos } from '@mesobus/protos';
import {
  formatResources,
  parseResources,
  quantitiesOf,
  reservedTo,
  toQuantities,
  unreserved,
} from '@mesobus/sdk/resources';
import test from 'ava';
import {
  type AgentEntry,
  applyRecord,
  canMove,
  createLedger,
  executorKeyOf,
  holdingKey,
  holdsResources,
  isTerminal,
  type Ledger,
  type TaskEntry,
} from '../src/core/index.ts';
import { agentRecord, change, executorOf, frameworkRecord, launch, type Properties, wire } from './records.ts';

const { TaskState } = mesos.v1;
const { TASK_FINISHED, TASK_KILLED, TASK_RUNNING, TASK_STAGING, TASK_UNREACHABLE } = TaskState;

function ledgerOf(...records: Properties[]): Ledger {
  const ledger = createLedger();
  for (const record of [frameworkRecord(), agentRecord(), ...records]) applyRecord(ledger, record);
  return ledger;
}

const agentIn = (ledger: Ledger, id = 'a1'): AgentEntry => ledger.agents.get(id) as AgentEntry;
const taskIn = (ledger: Ledger, id = 't1'): TaskEntry | undefined => ledger.frameworks.get('f1')?.tasks.get(id);
const held = (ledger: Ledger): string =>
  formatResources(agentIn(ledger).holdings.get(holdingKey('f1', 'ads'))?.resources ?? parseResources(''));
const status = (state: mesos.v1.TaskState): mesos.v1.TaskStatus.$Properties => ({ taskId: { value: 't1' }, state });
const kill = (number: number, taskId = 't1'): Properties => ({
  commandIssued: { agentId: 'a1', command: { number, killTask: { task: { frameworkId: 'f1', taskId } } } },
});
const applied = (cursor: number): Properties => ({ commandsApplied: { agentId: 'a1', cursor } });
const removed = (taskId = 't1', commandNumber = 1): Properties => ({
  taskRemoved: { task: { frameworkId: 'f1', taskId }, commandNumber },
});

// ---- states

const terminal = ['FINISHED', 'FAILED', 'KILLED', 'ERROR', 'LOST', 'DROPPED', 'GONE', 'GONE_BY_OPERATOR'] as const;
for (const name of terminal) {
  test(`TASK_${name} is terminal, holds nothing and leads nowhere`, (t) => {
    const state = TaskState[`TASK_${name}`];
    t.true(isTerminal(state));
    t.false(holdsResources(state));
    t.true(canMove(TASK_RUNNING, state));
    t.true(Object.values(TaskState).every((to) => typeof to !== 'number' || !canMove(state, to)));
  });
}

test('an unreachable task is not terminal, holds nothing and may come back', (t) => {
  t.false(isTerminal(TASK_UNREACHABLE));
  t.false(holdsResources(TASK_UNREACHABLE));
  t.true(canMove(TASK_UNREACHABLE, TASK_RUNNING));
});

const moves = [
  ['STAGING', 'RUNNING', true],
  ['STAGING', 'UNREACHABLE', true],
  ['RUNNING', 'STARTING', false],
  ['RUNNING', 'STAGING', false],
  ['KILLING', 'RUNNING', false],
  ['KILLING', 'FINISHED', true],
  ['STAGING', 'UNKNOWN', false],
  ['UNREACHABLE', 'STAGING', true],
] as const;
for (const [from, to, legal] of moves) {
  test(`a task ${legal ? 'may' : 'may not'} move from ${from} to ${to}`, (t) => {
    t.is(canMove(TaskState[`TASK_${from}`], TaskState[`TASK_${to}`]), legal);
  });
}

// ---- tasks

test('a launch is staging, holds its resources and raises the last command of its agent', (t) => {
  const ledger = ledgerOf(launch('t1', 1), launch('t2', 2));
  t.like(taskIn(ledger), { state: TASK_STAGING, commandNumber: 1, killIssued: false, role: 'ads' });
  t.is(held(ledger), 'cpus:2;mem:20');
  t.is(agentIn(ledger).lastCommand, 2);
  t.deepEqual([...agentIn(ledger).launches.keys()], [1, 2]);
});

test('what a task held is free once it ends or is unreachable, and held again when it comes back', (t) => {
  const ledger = ledgerOf(launch('t1', 1), launch('t2', 2));
  applyRecord(ledger, change(TASK_FINISHED));
  t.is(held(ledger), 'cpus:1;mem:10');
  applyRecord(ledger, change(TASK_UNREACHABLE, { taskId: 't2', commandNumber: 2 }));
  t.is(agentIn(ledger).holdings.size, 0);
  applyRecord(ledger, change(TASK_RUNNING, { taskId: 't2', commandNumber: 2 }));
  t.is(held(ledger), 'cpus:1;mem:10');
});

test('tasks of the same size share one list of resources, tasks of different roles do not', (t) => {
  const other = launch('t3', 3, {
    resources: wire('cpus:1;mem:10').map((r) => ({ ...r, allocationInfo: { role: 'x' } })),
  });
  const ledger = ledgerOf(launch('t1', 1), launch('t2', 2), other);
  t.is(taskIn(ledger, 't1')?.resources, taskIn(ledger, 't2')?.resources);
  t.is(taskIn(ledger, 't3')?.resources[0]?.allocationRole, 'x');
});

test('ports that two tasks hold by mistake stay held until the second one ends', (t) => {
  const text = 'ports:[10-20]';
  const ledger = ledgerOf(launch('t1', 1, { text }), launch('t2', 2, { text }), change(TASK_FINISHED));
  t.is(held(ledger), text);
});

const voidChanges: [string, Properties][] = [
  ['of another launch', change(TASK_RUNNING, { commandNumber: 7 })],
  ['of a task that does not exist', change(TASK_RUNNING, { taskId: 'nobody' })],
  ['to a state that no task has', change(TaskState.TASK_UNKNOWN)],
];
for (const [what, record] of voidChanges) {
  test(`a change ${what} is void`, (t) => {
    const ledger = ledgerOf(launch(), record);
    t.is(taskIn(ledger)?.state, TASK_STAGING);
    t.is(taskIn(ledger)?.changedAtMs, 5);
  });
}

test('an ended task does not run again', (t) => {
  const ledger = ledgerOf(launch(), change(TASK_KILLED), change(TASK_RUNNING, { updateNumber: 9 }));
  t.like(taskIn(ledger), { state: TASK_KILLED, updateNumber: 0 });
});

test('the numbers of updates only grow, and an older status does not replace a newer one', (t) => {
  const newer = { updateNumber: 3, acknowledgedNumber: 2, status: { ...status(TASK_RUNNING), message: 'newer' } };
  const older = { updateNumber: 1, acknowledgedNumber: 1, status: { ...status(TASK_RUNNING), message: 'older' } };
  const ledger = ledgerOf(launch(), change(TASK_RUNNING, newer), change(TASK_RUNNING, older));
  t.like(taskIn(ledger), { updateNumber: 3, acknowledgedNumber: 2, status: { message: 'newer' } });
});

const completion: [string, boolean, mesobus.v1.TaskChanged.$Properties][] = [
  ['terminal and acknowledged', true, { updateNumber: 2, acknowledgedNumber: 2, status: status(TASK_FINISHED) }],
  ['terminal and not acknowledged', false, { updateNumber: 2, acknowledgedNumber: 1, status: status(TASK_FINISHED) }],
  ['terminal ahead of its update', false, { updateNumber: 2, acknowledgedNumber: 2, status: status(TASK_RUNNING) }],
  ['ended by the master alone', true, {}],
];
for (const [what, complete, more] of completion) {
  test(`a task that is ${what} is ${complete ? '' : 'not '}completed`, (t) => {
    const ledger = ledgerOf(launch(), change(TASK_FINISHED, more));
    t.is(ledger.frameworks.get('f1')?.completed.size, complete ? 1 : 0);
  });
}

test('an ended task is replaced by another launch of its id, a live one is not', (t) => {
  const ledger = ledgerOf(launch('t1', 1), launch('t1', 2));
  t.is(taskIn(ledger)?.commandNumber, 1);
  applyRecord(ledger, change(TASK_FINISHED));
  applyRecord(ledger, launch('t1', 2));
  t.like(taskIn(ledger), { commandNumber: 2, state: TASK_STAGING });
  t.is(held(ledger), 'cpus:1;mem:10');
  t.deepEqual([...(ledger.frameworks.get('f1')?.completed ?? [])], []);
});

test('the tasks of a group share a command number, others do not', (t) => {
  const groupId = 'g';
  const ledger = ledgerOf(launch('t1', 1, { groupId }), launch('t2', 1, { groupId }), launch('t3', 1));
  t.deepEqual([...(ledger.frameworks.get('f1')?.tasks.keys() ?? [])], ['t1', 't2']);
  t.deepEqual(
    agentIn(ledger)
      .launches.get(1)
      ?.group?.map(({ taskId }) => taskId),
    ['t1', 't2'],
  );
});

test('a task that leaves the ledger stays in the launches until the agent has the command', (t) => {
  const ledger = ledgerOf(launch(), change(TASK_FINISHED), removed());
  t.is(taskIn(ledger), undefined);
  t.is(agentIn(ledger).tasks.size, 0);
  t.is(agentIn(ledger).launches.get(1)?.state, TASK_FINISHED);
  applyRecord(ledger, applied(1));
  t.is(agentIn(ledger).launches.size, 0);
});

test('a launch that is applied again after its task has gone brings nothing back', (t) => {
  const ledger = ledgerOf(launch(), change(TASK_FINISHED), removed(), launch());
  t.is(taskIn(ledger), undefined);
  applyRecord(ledger, applied(1));
  applyRecord(ledger, launch());
  t.is(taskIn(ledger), undefined);
});

const voidLaunches: [string, Properties][] = [
  ['for an unknown framework', launch('t1', 1, { frameworkId: 'nobody' })],
  ['on an unknown agent', launch('t1', 1, { agentId: 'nowhere' })],
  ['without a command number', launch('t1', 0)],
  ['with malformed resources', launch('t1', 1, { resources: [{ name: 'cpus', type: 0, scalar: { value: -1 } }] })],
];
for (const [what, record] of voidLaunches) {
  test(`a launch ${what} is void`, (t) => {
    const ledger = ledgerOf(record);
    t.is(ledger.frameworks.get('f1')?.tasks.size, 0);
    t.is(agentIn(ledger).lastCommand, 0);
  });
}

// ---- commands

test('a kill marks the launch before it and no later one', (t) => {
  const ledger = ledgerOf(launch('t1', 1), kill(2));
  t.true(taskIn(ledger)?.killIssued);
  for (const record of [change(TASK_KILLED), launch('t1', 3), kill(2)]) applyRecord(ledger, record);
  t.like(taskIn(ledger), { commandNumber: 3, killIssued: false });
});

test('a cursor drops the commands up to it and never goes back', (t) => {
  const ledger = ledgerOf(launch('t1', 1), kill(2), launch('t2', 3), applied(2), applied(1));
  t.like(agentIn(ledger), { cursor: 2, lastCommand: 3 });
  t.deepEqual([...agentIn(ledger).commands.keys()], []);
  t.deepEqual([...agentIn(ledger).launches.keys()], [3]);
  t.true(taskIn(ledger)?.killIssued);
});

test('an agent whose cursor is beyond what the log knows gets higher numbers', (t) => {
  t.is(agentIn(ledgerOf(applied(9))).lastCommand, 9);
});

// ---- agents

test('an agent has what it checkpointed made in its resources', (t) => {
  const { DYNAMIC } = mesos.v1.Resource.ReservationInfo.Type;
  const reservations = [{ type: DYNAMIC, role: 'ads' }];
  const checkpointedResources = wire('cpus:3').map((cpus) => ({ ...cpus, reservations }));
  const { total } = agentIn(ledgerOf(agentRecord('a1', { checkpointedResources })));
  t.deepEqual(quantitiesOf(reservedTo(total, 'ads')), toQuantities({ cpus: 3 }));
  t.deepEqual(quantitiesOf(unreserved(total)), toQuantities({ cpus: 5, mem: 1000 }));
});

test('what an agent checkpointed of resources that it has no more is left out', (t) => {
  const reservations = [{ type: mesos.v1.Resource.ReservationInfo.Type.DYNAMIC, role: 'ads' }];
  const checkpointedResources = wire('cpus:9').map((cpus) => ({ ...cpus, reservations }));
  const { total } = agentIn(ledgerOf(agentRecord('a1', { checkpointedResources })));
  t.deepEqual(quantitiesOf(total), toQuantities({ cpus: 8, mem: 1000 }));
});

test('another agent of the same name retires the old one, whose tasks stay in the ledger', (t) => {
  const ledger = ledgerOf(launch(), agentRecord('a2', { agentName: 'name-a1' }));
  t.is(ledger.agents.get('a1'), undefined);
  t.is(ledger.agentsByName.get('name-a1')?.id, 'a2');
  t.is(taskIn(ledger)?.state, TASK_STAGING);
  applyRecord(ledger, change(TaskState.TASK_GONE));
  t.is(ledger.frameworks.get('f1')?.completed.size, 1);
});

test('the id of a removed agent does not come back while its tasks are in the ledger', (t) => {
  const ledger = ledgerOf(launch(), { agentRemoved: { agentId: 'a1' } }, agentRecord());
  t.is(ledger.agents.size, 0);
});

test('a gone agent keeps its id and frees its name', (t) => {
  const ledger = ledgerOf(agentRecord('a1', { lifecycle: mesobus.v1.AgentRecord.Lifecycle.GONE }));
  t.is(ledger.agents.size, 1);
  t.is(ledger.agentsByName.size, 0);
});

// ---- frameworks, calls, the rest

test('a removed framework keeps little, and its id stays used up', (t) => {
  const lifecycle = mesobus.v1.FrameworkRecord.Lifecycle.REMOVED;
  const ledger = ledgerOf(
    frameworkRecord('f1', { lifecycle, removedAtMs: 7, suppressedRoles: ['ads'] }),
    frameworkRecord(),
  );
  const record = ledger.frameworks.get('f1')?.record;
  t.like(record, { lifecycle, removedAtMs: 7, principal: 'p', info: { name: 'n' } });
  t.deepEqual(record?.suppressedRoles, []);
});

const call = (callId: string, minutes: number, complete = true): Properties => ({
  callRecorded: { callId, complete, recordedAtMs: minutes * 60_000 },
});

test('a call is remembered for ten minutes of the time of the records', (t) => {
  const ledger = ledgerOf(call('c1', 1), call('c2', 11));
  t.deepEqual([...ledger.calls.keys()], ['c1', 'c2']);
  applyRecord(ledger, call('c3', 12));
  t.deepEqual([...ledger.calls.keys()], ['c2', 'c3']);
  applyRecord(ledger, call('c1', 1));
  t.false(ledger.calls.has('c1'));
});

test('a call becomes complete and never incomplete again', (t) => {
  const ledger = ledgerOf(call('c1', 1, false), call('c1', 1), call('c1', 1, false));
  t.true(ledger.calls.get('c1')?.record.complete);
});

test('within an incarnation the counters of ids only grow, a new one sets them', (t) => {
  const cluster = (clusterIncarnation: number, nextAgentNumber: number): Properties => ({
    cluster: { clusterIncarnation, nextAgentNumber, name: 'main' },
  });
  const ledger = ledgerOf(cluster(1, 5), cluster(1, 3));
  t.like(ledger.cluster, { incarnation: 1, nextAgentNumber: 5, name: 'main' });
  applyRecord(ledger, cluster(2, 4));
  t.is(ledger.cluster.nextAgentNumber, 4);
  applyRecord(ledger, cluster(1, 9));
  t.is(ledger.cluster.nextAgentNumber, 4);
});

test('a role without weight and quota is forgotten', (t) => {
  const ledger = ledgerOf({ role: { role: 'ads', weight: 2 } });
  t.is(ledger.roles.get('ads')?.weight, 2);
  applyRecord(ledger, { role: { role: 'ads' } });
  t.is(ledger.roles.size, 0);
});

test('a removed framework that is forgotten leaves with its tasks; one that stands cannot be forgotten', (t) => {
  const frameworkForgotten = { frameworkId: 'f1' };
  const ledger = ledgerOf(launch(), change(TASK_FINISHED), { frameworkForgotten });
  t.true(ledger.frameworks.has('f1'));
  applyRecord(ledger, frameworkRecord('f1', { lifecycle: mesobus.v1.FrameworkRecord.Lifecycle.REMOVED }));
  applyRecord(ledger, { frameworkForgotten });
  t.false(ledger.frameworks.has('f1'));
  t.is(ledger.agents.get('a1')?.tasks.size, 0);
});

const operationOn = (agentId: string, more: mesobus.v1.OperationRecord.$Properties = {}) => ({
  operation: {
    agentId,
    frameworkId: 'f1',
    commandNumber: 3,
    operation: {
      info: { type: 2, id: { value: 'o1' } },
      latestStatus: { state: 1 },
      uuid: { value: Uint8Array.of(1) },
    },
    ...more,
  },
});

test('an operation stands on its agent, and under its id, until it is removed', (t) => {
  const ledger = ledgerOf(agentRecord('a1'), frameworkRecord('f1'), operationOn('a1'));
  t.deepEqual([...agentIn(ledger).operations.keys()], [3]);
  t.deepEqual([...(ledger.frameworks.get('f1')?.operations.keys() ?? [])], ['o1']);
  applyRecord(ledger, operationOn('a1', { commandNumber: 4 }));
  t.is(ledger.frameworks.get('f1')?.operations.get('o1')?.commandNumber, 3, 'its id stands for the other');
  applyRecord(ledger, operationOn('a1', { removed: true }));
  t.is(agentIn(ledger).operations.size, 0);
  t.is(ledger.frameworks.get('f1')?.operations.size, 0);
});

test('the operations of an agent that is removed leave with it, and that of no agent is void', (t) => {
  const ledger = ledgerOf(agentRecord('a1'), frameworkRecord('f1'), operationOn('a1'), operationOn('a9'));
  t.is(ledger.frameworks.get('f1')?.operations.size, 1);
  applyRecord(ledger, { agentRemoved: { agentId: 'a1' } });
  t.is(ledger.frameworks.get('f1')?.operations.size, 0);
});

test('what an agent has checkpointed can change without the rest of its record', (t) => {
  const reservations = [{ type: mesos.v1.Resource.ReservationInfo.Type.DYNAMIC, role: 'ads' }];
  const checkpointedResources = wire('cpus:3').map((cpus) => ({ ...cpus, reservations }));
  const ledger = ledgerOf(agentRecord('a1'), { agentResources: { agentId: 'a1', checkpointedResources } });
  const before = agentIn(ledgerOf(agentRecord('a1', { checkpointedResources })));
  t.deepEqual(agentIn(ledger).total, before.total);
  t.is(agentIn(ledger).record.agentName, before.record.agentName);
  applyRecord(ledger, { agentResources: { agentId: 'a1' } });
  t.deepEqual(agentIn(ledger).total, agentIn(ledgerOf(agentRecord('a1'))).total);
});

// ---- executors

test('an executor holds its resources beside its tasks, and without them, until it has ended', (t) => {
  const ledger = ledgerOf(executorOf(1), launch());
  t.is(held(ledger), 'cpus:1.5;mem:42');
  applyRecord(ledger, change(TASK_FINISHED));
  t.is(held(ledger), 'cpus:0.5;mem:32');
  applyRecord(ledger, executorOf(1, { ended: true }));
  t.is(held(ledger), '');
  t.is(agentIn(ledger).executors.size, 0);
});

test('an executor id that runs again is another run, and the end of the run before changes nothing', (t) => {
  const ledger = ledgerOf(executorOf(1), executorOf(4, { text: 'cpus:2' }), executorOf(1, { ended: true }));
  t.is(held(ledger), 'cpus:2');
  t.is(agentIn(ledger).executors.get(executorKeyOf('f1', 'e1'))?.runNumber, 4);
  applyRecord(ledger, executorOf(1));
  t.is(held(ledger), 'cpus:2');
});

test('executors leave with their agent', (t) => {
  const ledger = ledgerOf(executorOf(1), { agentRemoved: { agentId: 'a1' } });
  t.is(ledger.agents.get('a1'), undefined);
  applyRecord(ledger, executorOf(1));
  t.is(ledger.agents.get('a1'), undefined);
});
