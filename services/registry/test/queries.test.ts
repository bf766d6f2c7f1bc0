import { mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { answerQuery, applyRecord, createLedger, type Ledger } from '../src/core/index.ts';
import { agentRecord, change, executorOf, frameworkRecord, launch, type Properties, wire } from './records.ts';

const { TASK_FINISHED } = mesos.v1.TaskState;
const facts = { registryId: 'r', epoch: 3, masterId: 'm', logIndex: 9, ledgerHash: () => Uint8Array.of(1) };

function ledgerOf(...records: Properties[]): Ledger {
  const ledger = createLedger();
  const base = [frameworkRecord('f2'), frameworkRecord('f1'), agentRecord('a2'), agentRecord('a1')];
  for (const record of [...base, ...records]) applyRecord(ledger, record);
  return ledger;
}

function ask(ledger: Ledger, query: mesobus.v1.RegistryQuery.$Properties): mesobus.v1.RegistryAnswer {
  // As it arrives: decoded, with all defaults.
  const bytes = mesobus.v1.RegistryQuery.encode(query).finish();
  const result = answerQuery(ledger, facts, mesobus.v1.RegistryQuery.decode(bytes));
  if ('refused' in result) throw new Error(result.refused);
  return mesobus.v1.RegistryAnswer.decode(mesobus.v1.RegistryAnswer.encode(result.answer).finish());
}

const cpus = (resources: readonly mesos.v1.Resource[] | undefined): number | undefined =>
  resources?.find(({ name }) => name === 'cpus')?.scalar?.value;
const two = [launch('t1', 1), launch('t2', 2)];

test('agents come in order of id with what is allocated on them', (t) => {
  const { agents, logIndex } = ask(ledgerOf(...two), { getAgents: {} });
  t.deepEqual(
    agents?.agents.map(({ agent }) => agent?.agentId),
    ['a1', 'a2'],
  );
  t.is(cpus(agents?.agents[0]?.allocated), 2);
  t.is(agents?.agents[0]?.tasks, 2);
  t.is(logIndex, 9);
});

test('the executors of an agent are told with what they hold, and not with how they are started', (t) => {
  const info = { executorId: { value: 'e1' }, data: Uint8Array.of(1), resources: wire('cpus:0.5') };
  const { agents } = ask(ledgerOf(executorOf(3, { info })), { getAgents: { agentId: 'a1' } });
  const [executor, ...rest] = agents?.agents[0]?.executors ?? [];
  t.deepEqual(rest, []);
  t.like(executor, { frameworkId: 'f1', run: { number: 3, role: 'ads' }, info: { executorId: { value: 'e1' } } });
  t.is(cpus(executor?.info?.resources), 0.5);
  t.is(executor?.info?.data.length, 0);
});

test('one agent can be asked for, and one that is not there is no error', (t) => {
  t.is(ask(ledgerOf(), { getAgents: { agentId: 'a2' } }).agents?.agents.length, 1);
  t.is(ask(ledgerOf(), { getAgents: { agentId: 'nobody' } }).agents?.agents.length, 0);
});

test('an ended task counts neither as allocated nor as a task', (t) => {
  const { frameworks } = ask(ledgerOf(...two, change(TASK_FINISHED)), { getFrameworks: { frameworkId: 'f1' } });
  t.is(cpus(frameworks?.frameworks[0]?.allocated), 1);
  t.is(frameworks?.frameworks[0]?.tasks, 1);
});

test('removed frameworks are told only to who asks for them', (t) => {
  const ledger = ledgerOf(frameworkRecord('f1', { lifecycle: mesobus.v1.FrameworkRecord.Lifecycle.REMOVED }));
  t.is(ask(ledger, { getFrameworks: {} }).frameworks?.frameworks.length, 1);
  t.is(ask(ledger, { getFrameworks: { includeRemoved: true } }).frameworks?.frameworks.length, 2);
});

test('a role is told with its weight, its frameworks and what it holds', (t) => {
  const { roles } = ask(ledgerOf(...two, { role: { role: 'ads', weight: 2 } }), { getRoles: {} });
  t.like(roles?.roles[0], { role: { role: 'ads', weight: 2 }, frameworkIds: ['f1', 'f2'] });
  t.is(cpus(roles?.roles[0]?.allocated), 2);
});

test('the status counts what the ledger holds', (t) => {
  t.like(ask(ledgerOf(...two), { getStatus: {} }).status, {
    epoch: 3,
    masterId: 'm',
    agents: 2,
    frameworks: 2,
    tasks: 2,
  });
});

test('pages of tasks hold every task once, in order, and the last one says that it is the last', (t) => {
  const ofF1 = Array.from({ length: 7 }, (_, i) => launch(`t/${6 - i}`, i + 1));
  const ofF2 = Array.from({ length: 5 }, (_, i) => launch(`u${i}`, i + 8, { frameworkId: 'f2' }));
  const ledger = ledgerOf(...ofF1, ...ofF2);
  const found: string[] = [];
  let pageToken = '';
  do {
    const { tasks } = ask(ledger, { getTasks: { limit: 3, pageToken } });
    t.true((tasks?.tasks.length ?? 0) > 0);
    found.push(...(tasks?.tasks ?? []).map(({ launched }) => launched?.task?.taskId?.value ?? ''));
    pageToken = tasks?.nextPageToken ?? '';
  } while (pageToken !== '');
  t.deepEqual(found, ['t/0', 't/1', 't/2', 't/3', 't/4', 't/5', 't/6', 'u0', 'u1', 'u2', 'u3', 'u4']);
});

const filters: [mesobus.v1.GetTasks.$Properties, string[]][] = [
  [{}, ['t2', 't3', 't4']],
  [{ includeEnded: true }, ['t1', 't2', 't3', 't4']],
  [{ frameworkId: 'f2' }, ['t4']],
  [{ agentId: 'a2' }, ['t3']],
  [{ agentId: 'a1', frameworkId: 'f1', includeEnded: true }, ['t1', 't2']],
  [{ taskId: 't2' }, ['t2']],
  [{ taskId: 't2', agentId: 'a2' }, []],
  [{ frameworkId: 'nobody' }, []],
];
for (const [query, wanted] of filters) {
  test(`tasks by ${JSON.stringify(query)} are ${wanted.join(', ') || 'none'}`, (t) => {
    const more = [launch('t3', 1, { agentId: 'a2' }), launch('t4', 3, { frameworkId: 'f2' }), change(TASK_FINISHED)];
    const { tasks } = ask(ledgerOf(...two, ...more), { getTasks: query });
    t.deepEqual(
      tasks?.tasks.map(({ launched }) => launched?.task?.taskId?.value),
      wanted,
    );
  });
}

const nonsense: [string, mesobus.v1.RegistryQuery.$Properties][] = [
  ['that asks for nothing', {}],
  ['with a foreign page token', { getTasks: { pageToken: 'x' } }],
  ['with a damaged page token', { getTasks: { pageToken: '%/%' } }],
];
for (const [what, query] of nonsense) {
  test(`a query ${what} is refused`, (t) => {
    t.throws(() => ask(ledgerOf(), query));
  });
}

test('operations that are not over are told, of one agent or of all', (t) => {
  const info = { type: mesos.v1.Offer.Operation.Type.RESERVE, id: { value: 'o1' } };
  const operation = { info, latestStatus: { state: 1 }, uuid: { value: Uint8Array.of(1) } };
  const of = (agentId: string): Properties => ({
    operation: { agentId, commandNumber: 1, operation, consumed: [{ name: 'x', type: 0 }] },
  });
  const ledger = ledgerOf(of('a1'), of('a2'));
  t.is(ask(ledger, { getOperations: {} }).operations?.operations.length, 2);
  const [one] = ask(ledger, { getOperations: { agentId: 'a2' } }).operations?.operations ?? [];
  t.is(one?.agentId, 'a2');
  t.is(one?.operation?.info.id?.value, 'o1');
  t.deepEqual(one?.consumed, []);
});
