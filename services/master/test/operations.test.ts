import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import {
  findVolume,
  formatResources,
  fromWire,
  parseResources,
  quantitiesOf,
  type Resources,
  reservedFor,
  sum,
  toWire,
  volumeOf,
} from '@mesobus/sdk/resources';
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
  type Sent,
  statusesIn,
  TaskState,
  task,
  uuidOf,
} from './harness.ts';

const { OperationState } = mesos.v1;
const { Type } = mesos.v1.Offer.Operation;
const { MULTI_ROLE, SHARED_RESOURCES, RESERVATION_REFINEMENT } = mesos.v1.FrameworkInfo.Capability.Type;
const { AGENT_OPERATION_FEEDBACK } = mesos.v1.AgentInfo.Capability.Type;

type Operation = mesos.v1.Offer.Operation.$Properties;

const total = 'cpus:4;mem:4096;disk:1000';
const capabilities = [{ type: AGENT_OPERATION_FEEDBACK }];
const all = [MULTI_ROLE, SHARED_RESOURCES, RESERVATION_REFINEMENT].map((type) => ({ type }));
const ads = { roles: ['ads'], capabilities: all };

const reserved = (text: string, role = 'ads'): Resources => reservedFor(parseResources(text), role);
const volume = (id: string, mb: number, more: { shared?: boolean; role?: string } = {}): Resources =>
  volumeOf(reserved(`disk:${mb}`, more.role), { id, containerPath: 'data', shared: more.shared ?? false });

const withId = (id: string): Pick<Operation, 'id'> => (id === '' ? {} : { id: { value: id } });
const reserve = (resources: Resources, id = ''): Operation => ({
  type: Type.RESERVE,
  reserve: { resources: toWire(resources) },
  ...withId(id),
});
const create = (volumes: Resources, id = ''): Operation => ({
  type: Type.CREATE,
  create: { volumes: toWire(volumes) },
  ...withId(id),
});
const destroy = (volumes: Resources, id = ''): Operation => ({
  type: Type.DESTROY,
  destroy: { volumes: toWire(volumes) },
  ...withId(id),
});

/** A framework in role `ads`, an agent, and what they do with operations. */
class Cluster extends Harness {
  agentId = '';
  frameworkId = '';

  static with(): Cluster {
    const h = new Cluster();
    h.register('a1', { total, capabilities } as never);
    h.agentId = h.state.ledger.agentsByName.get('a1')?.id ?? '';
    h.frameworkId = h.framework(ads);
    return h;
  }

  get entry() {
    return this.state.ledger.agents.get(this.agentId);
  }

  get has(): string {
    return formatResources(this.entry?.total ?? parseResources(''));
  }

  get free(): string {
    return this.entry === undefined ? '' : formatResources(availableOf(this.state, this.entry));
  }

  /** Allocates what is free of the agent, however it is reserved, and gives the offer. */
  offerOf(what: Resources, frameworkId = this.frameworkId): string {
    if (this.state.allocators.feeds.get('al1') === undefined) this.appoint();
    this.hello();
    const before = new Set(this.state.offers.keys());
    const allocation = { agentId: this.agentId, frameworkId, role: 'ads', resources: toWire(what) };
    this.allocate([allocation], { masterId: this.state.config.masterId });
    return [...this.state.offers.keys()].find((id) => !before.has(id)) ?? '';
  }

  offerAll(): string {
    return this.offerOf(this.entry === undefined ? parseResources('') : availableOf(this.state, this.entry));
  }

  accepting(operations: Operation[], offerId = this.offerAll(), callId?: string): Sent[] {
    const accept = { offerIds: [{ value: offerId }], operations };
    return this.call({ frameworkId: this.frameworkId }, { type: CallType.ACCEPT, accept }, callId);
  }

  operate(call: Partial<mesos.v1.master.Call.$Properties>, callId = 'o1'): Sent[] {
    const message = { callId, call: { type: 0, ...call } };
    const decoded = decode(mesobus.v1.OperatorCall, encode(mesobus.v1.OperatorCall, message));
    return this.step({ kind: 'operator_call', principal: 'ops', call: decoded, token: 'operator' });
  }

  /** The agent says what came of its operations, in order; it has what it says. */
  says(
    numbers: readonly number[],
    state = OperationState.OPERATION_FINISHED,
    { cursor = Math.max(...numbers), has }: { cursor?: number; has?: mesos.v1.Resource.$Properties[] } = {},
  ): Sent[] {
    const updates = numbers.map((number) => {
      const record = this.entry?.operations.get(number);
      const operationUuid = record?.operationUuid ?? new Uint8Array(16);
      const status = { state, uuid: { value: uuidOf('u') }, message: `of ${number}` };
      return { frameworkId: this.frameworkId, status, operationUuid, latestStatus: status };
    });
    const operationUpdates = {
      updates,
      cursor,
      checkpointedResources: has ?? this.entry?.record.checkpointedResources ?? [],
    };
    return this.request('a1', { agentId: this.agentId, operationUpdates });
  }
}

const wordsIn = (sent: readonly Sent[]): string[] =>
  eventsIn(sent).flatMap(({ updateOperationStatus: update }) =>
    update ? [`${update.status.operationId?.value} ${OperationState[update.status.state]}`] : [],
  );

const wordIn = (sent: readonly Sent[]): mesos.v1.OperationStatus | undefined =>
  eventsIn(sent).find(({ updateOperationStatus }) => updateOperationStatus)?.updateOperationStatus?.status;

const whyIn = (sent: readonly Sent[]): string =>
  sent.map((effect) => (effect.kind === 'refuse' ? `${effect.code} ${effect.subject}: ${effect.why}` : '')).join('');

const acknowledge = (h: Cluster, id: string, letter = 'u'): Sent[] => {
  const acknowledgeOperationStatus = {
    operationId: { value: id },
    uuid: uuidOf(letter),
    agentId: { value: h.agentId },
  };
  return h.call(
    { frameworkId: h.frameworkId },
    { type: CallType.ACKNOWLEDGE_OPERATION_STATUS, acknowledgeOperationStatus },
  );
};

// ---- by offer

test('a reservation holds at once, its agent hears of it when it is committed, and nothing is filtered of it', (t) => {
  const h = Cluster.with();
  const offerId = h.offerAll();
  h.autoCommit = false;
  const { length } = h.transactions;
  const sent = h.accepting([reserve(reserved('cpus:2'), 'o1')], offerId);
  t.is(h.transactions.length, length + 1, 'in one entry');
  t.is(
    h.has,
    formatResources(fromWire([...toWire(parseResources('cpus:2;mem:4096;disk:1000')), ...toWire(reserved('cpus:2'))])),
  );
  t.deepEqual(commandsIn(sent), []);
  h.commit();
  const [command] = commandsIn(h.sent);
  t.is(command?.number, 1);
  t.is(command?.applyOperation?.operation?.id?.value, 'o1');
  t.false(formatResources(fromWire(filtersOf(h).at(-1)?.filter?.resources ?? [])).includes('ads'));
});

test('each operation of an ACCEPT sees what those before have made, and all of it is one entry', (t) => {
  const h = Cluster.with();
  const offerId = h.offerAll();
  const { length } = h.transactions;
  const launch = launchOf([task('t1', h.agentId, { resources: toWire(volume('v', 100)) })]);
  const sent = h.accepting([reserve(reserved('disk:300')), create(volume('v', 100)), launch], offerId);
  t.is(h.transactions.length, length + 1);
  t.is(h.task(h.frameworkId, 't1')?.commandNumber, 3);
  t.deepEqual(
    commandsIn(sent).map(({ number }) => number),
    [1, 2, 3],
  );
  t.deepEqual(quantitiesOf(h.entry?.total ?? parseResources('')), { cpus: 4_000, mem: 4_096_000, disk: 1_000_000 });
  t.is(findVolume(h.entry?.total ?? parseResources(''), 'ads', 'v').length, 1);
  t.false(h.free.includes('"v"'), 'the task has the volume');
});

const refusals: readonly [what: string, operation: Operation, why: RegExp][] = [
  [
    'RESERVE of what is not offered',
    reserve(reserved('cpus:9'), 'o1'),
    /it takes 'cpus:9', and there is 'cpus:4' that is offered/,
  ],
  ['RESERVE for another role', reserve(reserved('cpus:1', 'web'), 'o1'), /its role 'web' is neither 'ads'/],
  ['CREATE of disk that is not reserved', create(volume('v', 10), 'o1'), /it takes .*disk.*; name what is there/],
  ['an operation without resources', reserve(parseResources(''), 'o1'), /it names no resources/],
  ['an operation id with a slash', reserve(reserved('cpus:1'), 'a/b'), /contains a slash/],
  ['an operation of an unknown kind', { type: Type.CREATE_DISK, id: { value: 'o1' } }, /CREATE_DISK is not supported/],
  [
    'an operation with malformed resources',
    {
      ...reserve(parseResources(''), 'o1'),
      reserve: { resources: [{ name: 'cpus', type: 0, scalar: { value: -1 } }] },
    },
    /resource 1 \('cpus'\).*negative/,
  ],
  [
    'an operation of too many bytes',
    reserve(reservedFor(parseResources('cpus:1'), 'ads', { labels: [{ key: 'k', value: 'x'.repeat(40_000) }] }), 'o1'),
    /bytes: at most 32768 are taken/,
  ],
];

for (const [what, operation, why] of refusals) {
  test(`${what} is OPERATION_ERROR, and what follows goes on`, (t) => {
    const h = Cluster.with();
    const sent = h.accepting([operation, launchOf([task('t1', h.agentId)])]);
    t.is(wordIn(sent)?.state, OperationState.OPERATION_ERROR);
    t.regex(wordIn(sent)?.message ?? '', why);
    t.is(wordIn(sent)?.uuid, null);
    t.truthy(h.task(h.frameworkId, 't1'));
    t.is(h.entry?.operations.size, 0);
  });
}

test('an operation id that is in use, and what its framework or agent cannot do, is OPERATION_ERROR', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  t.regex(wordIn(h.accepting([reserve(reserved('cpus:1'), 'o1')]))?.message ?? '', /id 'o1' is in use/);
  h.frameworkId = h.framework(
    { roles: ['ads'], capabilities: [{ type: MULTI_ROLE }] },
    { instanceId: 'i2', principal: 'p1' },
  );
  const call = (operations: Operation[]): Sent[] => {
    const accept = { offerIds: [{ value: h.offerAll() }], operations };
    return h.call({ frameworkId: h.frameworkId, instanceId: 'i2' }, { type: CallType.ACCEPT, accept });
  };
  const refined = reservedFor(reserved('cpus:1'), 'ads/x');
  t.regex(wordIn(call([reserve(refined, 'o2')]))?.message ?? '', /capability RESERVATION_REFINEMENT/);
  const shared = [reserve(reserved('disk:10')), create(volume('s', 10, { shared: true }), 'o3')];
  t.regex(wordIn(call(shared))?.message ?? '', /capability SHARED_RESOURCES/);
  h.register('a1', { total, capabilities: [] } as never);
  t.regex(wordIn(call([reserve(reserved('cpus:1'), 'o4')]))?.message ?? '', /a version without operations/);
});

test('an agent is not given more reservations than it can register with', (t) => {
  const h = Cluster.with();
  const labelled = (key: string): Resources =>
    reservedFor(parseResources('cpus:0.1'), 'ads', { labels: [{ key, value: 'x'.repeat(20_000) }] });
  const words = ['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7'].map((key) =>
    wordIn(h.accepting([reserve(labelled(key), key)])),
  );
  t.deepEqual(words.slice(0, 6), Array(6).fill(undefined));
  t.regex(words[6]?.message ?? '', /of at most 131072; undo reservations/);
  const reserveResources = { ...on(h), resources: toWire(labelled('k8')) };
  t.regex(whyIn(h.operate({ reserveResources })), /^call_invalid .* undo reservations/);
  const checkpointedResources = h.entry?.record.checkpointedResources ?? [];
  const again = h.register('a1', { total, capabilities, cursor: 6, checkpointedResources } as never, 'n2');
  t.is(outcomeOf(again), 'no answer');
  const unreserve = { type: Type.UNRESERVE, unreserve: { resources: toWire(labelled('k1')) } };
  t.is(wordIn(h.accepting([{ ...unreserve, id: { value: 'u1' } }])), undefined);
});

test('nothing is reserved for a role below beyond its limit, by one operation or by several', (t) => {
  const h = Cluster.with();
  const limits = { cpus: { value: 1 } };
  h.operatorCall({ callId: 'q', call: { type: 0, updateQuota: { quotaConfigs: [{ role: 'ads/web', limits }] } } });
  const more = (cpus: number, id: string) => reserve(reserved(`cpus:${cpus}`, 'ads/web'), id);
  t.deepEqual(wordsIn(h.accepting([more(0.6, 'o1'), more(0.6, 'o2')])), ['o2 OPERATION_ERROR']);
  t.regex(wordIn(h.accepting([more(0.6, 'o3')]))?.message ?? '', /for role 'ads\/web' than its limit allows/);
  t.deepEqual(wordsIn(h.accepting([more(0.4, 'o4'), reserve(reserved('cpus:2'))])), []);
});

test('a framework that acknowledges nothing may have only so many operations', (t) => {
  const h = Cluster.with();
  const operations = Array.from({ length: 1_001 }, (_, i) => reserve(reserved('mem:1'), `o${i}`));
  const sent = h.accepting(operations);
  t.deepEqual(wordsIn(sent), ['o1000 OPERATION_ERROR']);
  t.regex(wordIn(sent)?.message ?? '', /1000 operations of the framework are not acknowledged/);
  t.is(h.entry?.operations.size, 1_000);
});

test('an ACCEPT with operations that is repeated changes nothing more', (t) => {
  const h = Cluster.with();
  const offerId = h.offerAll();
  h.accepting([reserve(reserved('cpus:1'), 'o1')], offerId, 'c1');
  const { length } = h.records;
  t.is(outcomeOf(h.accepting([reserve(reserved('cpus:1'), 'o1')], offerId, 'c1')), 'accepted');
  t.is(h.records.length, length);
});

test('an ACCEPT that the leader before began is finished by the next, and nothing is converted twice', (t) => {
  const h = Cluster.with();
  h.register('a1', { total: 'cpus:1000;mem:4096;disk:1000', capabilities } as never);
  const tasks = Array.from({ length: 250 }, (_, i) => task(`t${i}`, h.agentId, { ask: 'cpus:1' }));
  const operations = [reserve(reserved('disk:300')), launchOf(tasks), create(volume('v', 100), 'o2')];
  const offerId = h.offerAll();
  h.accepting(operations, offerId, 'c1');
  const next = Harness.after(h, 'm2', (ledger) => {
    const cut = h.records.findIndex(({ taskLaunched }) => taskLaunched?.task?.taskId.value === 't199');
    for (const record of h.records.slice(0, cut)) applyRecord(ledger, record);
  });
  const { checkpointedResources } = next.state.ledger.agents.get(h.agentId)?.record ?? {};
  t.is(checkpointedResources?.length, 1);
  next.register('a1', { total: 'cpus:1000;mem:4096;disk:1000', capabilities, cursor: 0 } as never);
  next.subscribe(ads, { frameworkId: h.frameworkId });
  const accept = { offerIds: [{ value: offerId }], operations };
  next.call({ frameworkId: h.frameworkId }, { type: CallType.ACCEPT, accept }, 'c1');
  const entry = next.state.ledger.agents.get(h.agentId);
  t.is(next.state.ledger.frameworks.get(h.frameworkId)?.tasks.size, 250);
  t.is(entry?.operations.size, 2);
  t.is(findVolume(entry?.total ?? parseResources(''), 'ads', 'v').length, 1);
  t.is(quantitiesOf(entry?.total ?? parseResources(''))['disk'], 1_000_000);
});

test('DESTROY of a volume that a task uses is OPERATION_ERROR; when it has ended it is destroyed', (t) => {
  const h = Cluster.with();
  const launch = launchOf([task('t1', h.agentId, { resources: toWire(volume('v', 100, { shared: true })) })]);
  h.accepting([reserve(reserved('disk:100')), create(volume('v', 100, { shared: true })), launch]);
  const sent = h.accepting([destroy(volume('v', 100, { shared: true }), 'o1')]);
  t.regex(wordIn(sent)?.message ?? '', /^Cannot DESTROY .*: a task uses volume 'v'; wait for the end of the task/);
  h.update('a1', h.frameworkId, 't1', 1, TaskState.TASK_FINISHED);
  t.deepEqual(wordsIn(h.accepting([destroy(volume('v', 100, { shared: true }), 'o2')])), []);
  t.is(findVolume(h.entry?.total ?? parseResources(''), 'ads', 'v').length, 0);
});

test('a shared volume is offered and used many times at once, and every offer of it ends when it is destroyed', (t) => {
  const h = Cluster.with();
  const shared = volume('v', 100, { shared: true });
  h.accepting([reserve(reserved('disk:100')), create(shared)]);
  const other = h.framework(ads, { instanceId: 'i9', principal: 'p9' });
  const [first, second] = [h.offerOf(shared), h.offerOf(shared, other)];
  t.not(first, '');
  t.not(second, '');
  const tasks = ['t1', 't2'].map((id) => task(id, h.agentId, { resources: toWire(shared) }));
  h.accepting([launchOf(tasks)], first);
  t.truthy(h.task(h.frameworkId, 't2'));
  t.true(h.free.includes('"v"'));
  for (const id of ['t1', 't2']) h.update('a1', h.frameworkId, id, 1, TaskState.TASK_FINISHED);
  const sent = h.accepting([destroy(shared)], h.offerOf(shared));
  t.deepEqual(
    eventsIn(sent).flatMap(({ rescind }) => (rescind ? [rescind.offerId.value] : [])),
    [second],
  );
});

test('an offer of one of the shared volumes that are destroyed together ends, though it lacks the other', (t) => {
  const h = Cluster.with();
  const [one, two] = [volume('v', 100, { shared: true }), volume('w', 50, { shared: true })];
  h.accepting([reserve(reserved('disk:150')), create(one), create(two)]);
  const other = h.offerOf(one, h.framework(ads, { instanceId: 'i9', principal: 'p9' }));
  h.accepting([destroy(sum([one, two]))], h.offerOf(sum([one, two])));
  t.is(findVolume(h.entry?.total ?? parseResources(''), 'ads', 'v').length, 0);
  t.false(h.state.offers.has(other));
});

// ---- what came of it

test('what came of an operation with an id is forwarded until it is acknowledged; then the agent hears so', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:2'), 'o1')]);
  const said = h.says([1]);
  t.deepEqual(wordsIn(said), ['o1 OPERATION_FINISHED']);
  t.deepEqual(wordIn(said)?.uuid?.value, uuidOf('u'));
  t.deepEqual(wordsIn(h.says([1])), ['o1 OPERATION_FINISHED'], 'again, as the agent repeats it');
  t.is(outcomeOf(acknowledge(h, 'o1', 'x')), 'accepted', 'which fits nothing');
  t.is(h.entry?.operations.size, 1);
  const sent = acknowledge(h, 'o1');
  t.truthy(commandsIn(sent)[0]?.acknowledgeOperationUpdate);
  t.is(h.entry?.operations.size, 0);
  t.deepEqual(wordsIn(h.says([1])), []);
});

test('the agent of an operation that nobody waits for is told to forget it', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:2'), 'o1')]);
  const operationUuid = h.entry?.operations.get(1)?.operationUuid ?? new Uint8Array();
  h.says([1]);
  acknowledge(h, 'o1');
  const status = { state: OperationState.OPERATION_FINISHED, uuid: { value: uuidOf('u') } };
  const updates = [{ frameworkId: h.frameworkId, status, operationUuid }];
  const { checkpointedResources } = h.entry?.record ?? {};
  const operationUpdates = { updates, cursor: 1, checkpointedResources: [...(checkpointedResources ?? [])] };
  const sent = h.request('a1', { agentId: h.agentId, operationUpdates });
  t.deepEqual(commandsIn(sent)[0]?.acknowledgeOperationUpdate?.operationUuid, operationUuid);
});

test('an operation without an id is over when the agent has done it', (t) => {
  const h = Cluster.with();
  const before = h.has;
  h.accepting([reserve(reserved('cpus:2'))]);
  t.is(h.entry?.operations.size, 1);
  h.says([1]);
  t.is(h.entry?.operations.size, 0);
  t.not(h.has, before);
});

test('an operation that the agent could not do is undone, with what was made of it; the framework is told', (t) => {
  const h = Cluster.with();
  const launch = launchOf([task('t1', h.agentId, { resources: toWire(volume('v', 100)) })]);
  h.accepting([reserve(reserved('disk:300'), 'o1'), create(volume('v', 100), 'o2'), launch]);
  const has = toWire(reserved('disk:300'));
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 2, has });
  const { length } = h.transactions;
  const sent = h.says([2], OperationState.OPERATION_FAILED, { cursor: 2, has });
  t.deepEqual(wordsIn(sent), ['o2 OPERATION_FAILED']);
  t.is(h.transactions.length, length + 1);
  t.is(findVolume(h.entry?.total ?? parseResources(''), 'ads', 'v').length, 0);
  t.is(h.free, '', 'the launch that used it has yet to be refused');
  h.update('a1', h.frameworkId, 't1', 1, TaskState.TASK_LOST);
  t.true(h.free.includes('ads'));
});

test('what an agent says of its resources does not undo what it has yet to be told', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'))]);
  h.accepting([reserve(reserved('mem:64'))]);
  const both = h.has;
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 1, has: toWire(reserved('cpus:1')) });
  t.is(h.has, both);
});

test('an older word of an agent about its resources is not believed after a newer one', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  h.accepting([reserve(reserved('mem:64'))]);
  h.says([2], OperationState.OPERATION_FINISHED, { cursor: 2 });
  const both = h.has;
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 1, has: toWire(reserved('cpus:1')) });
  t.is(h.has, both);
});

test('a new leader, or a scheduler that subscribes again, tells what is not acknowledged', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:2'), 'o1')]);
  h.says([1]);
  const next = Harness.after(h);
  const sent = next.subscribe(ads, { frameworkId: h.frameworkId });
  t.deepEqual(wordsIn(sent), ['o1 OPERATION_FINISHED']);
});

test('operations are reconciled: all, or those that are named, also while their agent is out of reach', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1'), reserve(reserved('cpus:1'), 'o2')]);
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 1 });
  const ask = (ids: string[]): string[] => {
    const operations = ids.map((value) => ({ operationId: { value }, agentId: { value: h.agentId } }));
    const reconcileOperations = { operations };
    const body = { type: CallType.RECONCILE_OPERATIONS, reconcileOperations };
    return wordsIn(h.call({ frameworkId: h.frameworkId }, body)).sort();
  };
  t.deepEqual(ask([]), ['o1 OPERATION_FINISHED', 'o2 OPERATION_PENDING']);
  t.deepEqual(ask(['o2', 'o9']), ['o2 OPERATION_PENDING', 'o9 OPERATION_UNKNOWN']);
  const away = h.pass(90_000);
  t.deepEqual(wordsIn(away), ['o2 OPERATION_UNREACHABLE']);
  t.deepEqual(ask([]), ['o1 OPERATION_FINISHED', 'o2 OPERATION_UNREACHABLE']);
  const latestStatus = { state: OperationState.OPERATION_FINISHED };
  const known = [1, 2].flatMap((number) => h.entry?.operations.get(number)?.operation ?? []);
  const operations = known.map((operation) => ({ ...operation, latestStatus }));
  const checkpointedResources = [...(h.entry?.record.checkpointedResources ?? [])];
  h.register('a1', { total, capabilities, cursor: 2, operations, checkpointedResources } as never);
  t.deepEqual(wordsIn(h.says([2])), ['o2 OPERATION_FINISHED'], 'it is back');
  t.deepEqual(ask([]), ['o1 OPERATION_FINISHED', 'o2 OPERATION_FINISHED']);
});

test('an operation that the agent had, and has lost, is dropped, and what it has is what it says', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  const sent = h.register('a1', { total, capabilities, cursor: 1, checkpointedResources: [] } as never, 'n2');
  t.deepEqual(wordsIn(sent), ['o1 OPERATION_DROPPED']);
  t.is(h.entry?.operations.size, 0);
  t.is(h.has, formatResources(parseResources(total)));
});

test('the operations of an agent that is gone are told to be, and forgotten', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  const sent = h.operateOnAgent('markAgentGone', h.agentId);
  t.deepEqual(wordsIn(sent), ['o1 OPERATION_GONE_BY_OPERATOR']);
  t.is(h.entry?.operations.size, 0);
});

test('a framework that is removed leaves its reservations and volumes, and nobody waits for its acknowledgements', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('disk:100'), 'o1'), create(volume('v', 100), 'o2')]);
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 1 });
  const sent = h.call({ frameworkId: h.frameworkId }, { type: CallType.TEARDOWN });
  t.truthy(commandsIn(sent).find((command) => command.acknowledgeOperationUpdate));
  t.deepEqual([...(h.entry?.operations.keys() ?? [])], [2]);
  h.says([2]);
  t.is(h.entry?.operations.size, 0);
  t.is(findVolume(h.entry?.total ?? parseResources(''), 'ads', 'v').length, 1);
});

test('an agent is drained only when its operations are acknowledged', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  h.register('a1', { total, capabilities: [...capabilities, { type: 7 }] } as never);
  h.operateOnAgent('drainAgent', h.agentId);
  h.says([1], OperationState.OPERATION_FINISHED, { cursor: 2 });
  h.tick(1_000);
  t.false(h.entry?.record.drained);
  acknowledge(h, 'o1');
  h.tick(1_000);
  t.true(h.entry?.record.drained);
});

// ---- an agent that comes back

test('an agent that registers has what it says, and what is on its way to it', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1')), reserve(reserved('mem:64'))]);
  const both = h.has;
  const { length } = h.records;
  h.register('a1', { total, capabilities, cursor: 1, checkpointedResources: toWire(reserved('cpus:1')) } as never);
  t.is(h.has, both);
  t.false(
    h.records.slice(length).some(({ agent }) => agent),
    'nothing of it is new',
  );
  h.register('a1', { total, capabilities, cursor: 2, checkpointedResources: [] } as never, 'n2');
  t.is(h.has, formatResources(parseResources(total)), 'it knows best what it has');
});

test('a registration that was delayed does not undo what its process has done since', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'))]);
  h.says([1]);
  const both = h.has;
  const late = { total, capabilities, cursor: 0, checkpointedResources: [] };
  t.is(outcomeOf(h.register('a1', late as never)), 'call_invalid');
  t.is(h.has, both);
});

test('an agent that has lost what it had confirmed gets its operations again', (t) => {
  const h = Cluster.with();
  h.accepting([reserve(reserved('cpus:1'), 'o1')]);
  const both = h.has;
  h.says([1]);
  h.answerCommands(h.agentId, 1);
  h.tick(2_000);
  t.is(h.entry?.cursor, 1);
  const sent = h.register('a1', { total, capabilities, cursor: 0, checkpointedResources: [] } as never, 'n2');
  t.is(commandsIn(sent)[0]?.applyOperation?.operation?.id?.value, 'o1');
  t.is(h.has, both);
});

test('the reservations of an agent that registers for the first time are its own', (t) => {
  const h = new Cluster();
  const checkpointedResources = toWire(reserved('cpus:1'));
  h.register('a1', { total, capabilities, checkpointedResources } as never);
  h.agentId = h.state.ledger.agentsByName.get('a1')?.id ?? '';
  t.true(h.has.includes('ads'));
});

// ---- by operators

const on = (h: Cluster) => ({ agentId: { value: h.agentId } });

test('an operator reserves what is offered: as few offers as needed are taken back', (t) => {
  const h = Cluster.with();
  const [small, large, other] = [
    h.offerOf(parseResources('cpus:1')),
    h.offerOf(parseResources('cpus:2')),
    h.offerOf(parseResources('mem:64')),
  ];
  const sent = h.operate({ reserveResources: { ...on(h), resources: toWire(reserved('cpus:3')) } });
  t.true(sent.some(({ kind }) => kind === 'accept_operator'));
  t.deepEqual([...h.state.offers.keys()], [small, other]);
  t.deepEqual(
    eventsIn(sent).flatMap(({ rescind }) => (rescind ? [rescind.offerId.value] : [])),
    [large],
  );
  t.true(h.has.includes('ads'));
  t.truthy(commandsIn(sent)[0]?.applyOperation);
});

test('an operator’s call that is repeated reserves once', (t) => {
  const h = Cluster.with();
  const call = { reserveResources: { ...on(h), resources: toWire(reserved('cpus:1')) } };
  h.operate(call, 'o1');
  const { has } = h;
  t.true(h.operate(call, 'o1').some(({ kind }) => kind === 'accept_operator'));
  t.is(h.has, has);
  h.operate(call, 'o2');
  t.not(h.has, has);
});

test('an operator makes, resizes, moves and destroys a volume, and takes the reservation off', (t) => {
  const h = Cluster.with();
  const first = (resources: Resources) => toWire(resources)[0] as ReturnType<typeof toWire>[0];
  const calls: Partial<mesos.v1.master.Call.$Properties>[] = [
    { reserveResources: { ...on(h), resources: toWire(reserved('disk:300')) } },
    { createVolumes: { ...on(h), volumes: toWire(volume('v', 100)) } },
    { growVolume: { ...on(h), volume: first(volume('v', 100)), addition: first(reserved('disk:50')) } },
    { shrinkVolume: { ...on(h), volume: first(volume('v', 150)), subtract: { value: 30 } } },
    {
      reserveResources: {
        ...on(h),
        source: toWire(volume('v', 120)),
        resources: toWire(volume('v', 120, { role: 'web' })),
      },
    },
    { destroyVolumes: { ...on(h), volumes: toWire(volume('v', 120, { role: 'web' })) } },
    { unreserveResources: { ...on(h), resources: toWire(reserved('disk:120', 'web')) } },
    { unreserveResources: { ...on(h), resources: toWire(reserved('disk:180')) } },
  ];
  for (const [index, call] of calls.entries()) t.is(whyIn(h.operate(call, `call ${index}`)), '');
  t.is(h.has, formatResources(parseResources(total)));
  t.is(h.entry?.lastCommand, calls.length);
});

test('an operator is told what is wrong, of what, and what to do', (t) => {
  const h = Cluster.with();
  const launch = launchOf([task('t1', h.agentId, { resources: toWire(volume('v', 100)) })]);
  h.accepting([reserve(reserved('disk:100')), create(volume('v', 100)), launch]);
  h.accept(h.frameworkId, [h.offerOf(parseResources('cpus:4;mem:64'))], [task('t2', h.agentId, { ask: 'cpus:3' })]);
  const why = (call: Partial<mesos.v1.master.Call.$Properties>, callId: string): string =>
    whyIn(h.operate(call, callId));
  const resources = toWire(reserved('cpus:9'));
  t.regex(
    why({ reserveResources: { ...on(h), resources } }, '1'),
    /^call_invalid .*: it takes 'cpus:9', and there is 'cpus:4'/,
  );
  t.regex(
    why({ reserveResources: { ...on(h), resources: toWire(reserved('cpus:2')) } }, '2'),
    /^resources_in_use m1-S0: it takes 'cpus:2', and there is 'cpus:1' that is free/,
  );
  t.regex(
    why({ destroyVolumes: { ...on(h), volumes: toWire(volume('v', 100)) } }, '3'),
    /^resources_in_use .* a task uses volume 'v'/,
  );
  t.regex(
    why({ reserveResources: { agentId: { value: 'a9' }, resources } }, '4'),
    /^agent_unknown a9: no agent has this id/,
  );
  t.regex(why({ createVolumes: { ...on(h), volumes: toWire(volume('v', 100)) } }, '5'), /role 'ads' has a volume 'v'/);
  const named = toWire(reservedFor(parseResources('cpus:1'), 'ads', { principal: 'p1' }));
  t.regex(
    why({ reserveResources: { ...on(h), resources: named } }, '6'),
    /principal of the reservation is 'p1', but 'ops' acts/,
  );
  h.pass(90_000);
  t.regex(why({ reserveResources: { ...on(h), resources: toWire(reserved('cpus:1')) } }, '7'), /is out of reach/);
});

test('two operators that want the same resources: one gets them, the other is told', (t) => {
  const h = Cluster.with();
  const ask = (role: string, callId: string): string =>
    whyIn(h.operate({ reserveResources: { ...on(h), resources: toWire(reserved('cpus:3', role)) } }, callId));
  t.is(ask('ads', '1'), '');
  t.regex(ask('web', '2'), /^call_invalid .*it takes 'cpus:3', and there is/);
});

test('an operation that came of nothing is OPERATION_ERROR when its offer is no more', (t) => {
  const h = Cluster.with();
  const sent = h.accepting([reserve(reserved('cpus:1'), 'o1')], 'm1-O99');
  t.deepEqual(wordsIn(sent), ['o1 OPERATION_ERROR']);
  t.deepEqual(statusesIn(sent), []);
});
