import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import {
  describeResources,
  formatResources,
  fromWire,
  parseResources,
  toRevocable,
  toWire,
  unallocate,
} from '@mesobus/sdk/resources';
import test from 'ava';
import { CallType, commandsIn, eventsIn, Harness, Reason, resources, type Sent, TaskState, task } from './harness.ts';

const { MULTI_ROLE, PARTITION_AWARE, REVOCABLE_RESOURCES } = mesos.v1.FrameworkInfo.Capability.Type;
const { RECLAIM } = mesobus.v1.Allocation.Kind;

const noticeMs = 5_000;
const preemptible = { labels: { labels: [{ key: 'mesobus.preemptible', value: 'true' }] } };

/** The notice is over, and what follows from that has been done. */
const passNotice = (h: Harness): Sent[] => h.pass(noticeMs + 2_000, ['a1', 'a2']);

interface Setting {
  readonly h: Harness;
  readonly agentId: string;
  /** Has tasks. */
  readonly victim: string;
  /** Wants something. */
  readonly claimant: string;
}

const framework = (h: Harness, instanceId: string, ...roles: string[]): string =>
  h.framework({ roles, capabilities: [{ type: MULTI_ROLE }, { type: PARTITION_AWARE }] }, { instanceId });

function quota(h: Harness, role: string, cpus: number): void {
  const updateQuota = { force: true, quotaConfigs: [{ role, guarantees: { cpus: { value: cpus } } }] };
  h.operatorCall({ callId: `q ${role} ${cpus}`, call: { type: mesos.v1.master.Call.Type.UPDATE_QUOTA, updateQuota } });
}

let demands = 0;
/** The claimant says how many tasks of one cpu it wants. */
function want(h: Harness, frameworkId: string, count: number): void {
  const shapes = count === 0 ? [] : [{ count, quantities: { cpus: { value: 1 } } }];
  const demand = { frameworkId, number: ++demands, roles: [{ role: 'web', shapes }] };
  const call = { callId: `demand-${demands}`, instanceId: 'i2', generation: 1, demand };
  const message = decode(mesobus.v1.SchedulerCall, encode(mesobus.v1.SchedulerCall, call));
  h.step({ kind: 'scheduler_call', principal: 'p1', call: message, token: 'demand' });
}

/** An agent of 4 cpus, all of them held by four tasks in the role `batch`, `t1` being the oldest. */
function setUp(more: Parameters<typeof task>[2] = preemptible, config: { reclaimAfterMs?: number } = {}): Setting {
  const h = new Harness({ reclaimAfterMs: 60_000, reclaimNoticeMs: noticeMs, ...config });
  const agentId = h.agent();
  const victim = framework(h, 'i1', 'batch');
  const claimant = framework(h, 'i2', 'web');
  for (const id of ['t1', 't2', 't3', 't4']) {
    h.now += 1_000;
    h.accept(victim, [h.offer(victim, agentId, 'cpus:1;mem:64', 'batch')], [task(id, agentId, more)]);
  }
  want(h, claimant, 1);
  h.feedOf();
  return { h, agentId, victim, claimant };
}

type Proposal = mesobus.v1.Allocation.$Properties;
const proposal = ({ agentId, victim, claimant }: Setting, what = 'cpus:1'): Proposal => ({
  kind: RECLAIM,
  agentId,
  frameworkId: claimant,
  role: 'web',
  why: 'it waits',
  victims: [{ frameworkId: victim, role: 'batch', resources: resources(what) }],
});

function propose(setting: Setting, ...proposals: Proposal[]): Sent[] {
  const { h } = setting;
  h.hello();
  return h.allocate(proposals.length > 0 ? proposals : [proposal(setting)], { masterId: h.state.config.masterId });
}

const askedIn = (sent: readonly Sent[]): mesos.v1.InverseOffer[] =>
  eventsIn(sent).flatMap(({ inverseOffers }) => inverseOffers?.inverseOffers ?? []);
const withdrawnIn = (sent: readonly Sent[]): string[] =>
  eventsIn(sent).flatMap(({ rescindInverseOffer }) => rescindInverseOffer?.inverseOfferId.value ?? []);
/** Tasks whose kill is in the log, in order. */
const killed = ({ records }: Harness): string[] =>
  records.flatMap(({ commandIssued }) => commandIssued?.command?.killTask?.task?.taskId ?? []);
const why = (sent: readonly Sent[]): string[] =>
  sent.flatMap((effect) => (effect.kind === 'log' ? String(effect.fields['because'] ?? effect.fields['why']) : []));

/** The agent as allocators hear of it now. */
function bookOf(h: Harness): mesobus.v1.AgentBook.$Properties | undefined {
  const items = h.feedOf().flatMap((batch) => batch.items);
  return items.flatMap(({ agent }) => agent ?? []).at(-1);
}

// ---- what allocators are told

test('allocators hear after what time tasks are asked back, and of which: revocable ones first, then the youngest', (t) => {
  const { h, agentId, victim } = setUp();
  h.accept(victim, [], []);
  const [first] = h.appoint('al2');
  t.is(first?.items[0]?.cluster?.reclaimAfterMs, 60_000);
  h.update('a1', victim, 't1', 1, TaskState.TASK_FINISHED);
  const [holding] = bookOf(h)?.holdings ?? [];
  t.deepEqual(
    holding?.reclaimable?.map(({ launchedAtMs }) => launchedAtMs),
    [1_004_000, 1_003_000, 1_002_000],
  );
  t.is(h.state.ledger.agents.get(agentId)?.tasks.size, 4);
});

test('a task that is not labelled, or labelled otherwise, is not named, and none is where tasks are not asked back', (t) => {
  const other = { labels: { labels: [{ key: 'mesobus.preemptible', value: 'false' }] } };
  for (const setting of [setUp({}), setUp(other), setUp(preemptible, { reclaimAfterMs: 0 })]) {
    const { h, victim } = setting;
    h.update('a1', victim, 't1', 1, TaskState.TASK_FINISHED);
    t.deepEqual(
      bookOf(h)?.holdings?.map(({ reclaimable }) => reclaimable ?? []),
      [[]],
    );
    t.deepEqual(askedIn(propose(setting)), []);
  }
});

const reclaimableIn = (book: mesobus.v1.AgentBook.$Properties | undefined): string[] =>
  (book?.holdings ?? []).flatMap(({ reclaimable }) =>
    (reclaimable ?? []).map((one) => describeResources(fromWire(one.resources ?? []))),
  );

test('the tasks of a group are not named: they end together', (t) => {
  const { h, agentId, victim } = setUp();
  h.update('a1', victim, 't1', 1, TaskState.TASK_FINISHED);
  h.update('a1', victim, 't2', 1, TaskState.TASK_FINISHED);
  t.is(reclaimableIn(bookOf(h)).length, 2);
  const executor = { type: mesos.v1.ExecutorInfo.Type.DEFAULT, executorId: { value: 'e' } };
  const tasks = [task('g1', agentId, { ...preemptible, ask: 'cpus:0.5;mem:32' })];
  const launchGroup = { executor, taskGroup: { tasks } };
  const operations = [{ type: mesos.v1.Offer.Operation.Type.LAUNCH_GROUP, launchGroup }];
  const offerIds = [{ value: h.offer(victim, agentId, 'cpus:2;mem:128', 'batch') }];
  h.call({ frameworkId: victim }, { type: CallType.ACCEPT, accept: { offerIds, operations } });
  t.is(h.task(victim, 'g1')?.launched.groupId === '', false);
  t.is(reclaimableIn(bookOf(h)).length, 2);
});

test('revocable tasks are named first and without a label, unless their agent lends less than they hold', (t) => {
  const { h, agentId } = setUp();
  const capabilities = [MULTI_ROLE, PARTITION_AWARE, REVOCABLE_RESOURCES].map((type) => ({ type }));
  const cheap = h.framework({ roles: ['cheap'], capabilities });
  const lent = (cpus: number) => toWire(toRevocable(parseResources(`cpus:${cpus}`)));
  const estimate = (cpus: number, number: number) =>
    h.request('a1', { agentId, incarnation: 'n1', revocableEstimate: { resources: lent(cpus), number } });
  estimate(2, 1);
  const json = JSON.stringify([{ name: 'cpus', type: 'SCALAR', scalar: { value: 1 }, revocable: {} }]);
  const info = { ...task('r1', agentId), resources: lent(1) };
  h.accept(cheap, [h.offer(cheap, agentId, json, 'cheap')], [info]);
  t.true(reclaimableIn(bookOf(h)).includes('cpus{REV}:1'));
  estimate(0.5, 2);
  const named = reclaimableIn(bookOf(h));
  t.is(named.length, 4);
  t.false(named.includes('cpus{REV}:1'), 'nobody would have what it gives back');
});

// ---- asked, then killed

test('the youngest task is asked back with the time of its kill, and killed then for that reason', (t) => {
  const setting = setUp();
  const { h, agentId, victim } = setting;
  const [asked, ...more] = askedIn(propose(setting));
  t.deepEqual(more, []);
  t.deepEqual([asked?.frameworkId.value, asked?.agentId?.value], [victim, agentId]);
  t.is(asked?.unavailability.start.nanoseconds, BigInt(h.now + noticeMs) * 1_000_000n);
  t.is(formatResources(unallocate(fromWire(asked?.resources ?? []))), 'cpus:1;mem:64');
  t.deepEqual(
    asked?.resources.map(({ allocationInfo }) => allocationInfo?.role),
    ['batch', 'batch'],
  );

  const reclaiming = bookOf(h)?.reclaiming;
  t.is(reclaiming?.frameworkId, setting.claimant);
  t.deepEqual(
    reclaiming?.victims?.map((one) => one.frameworkId),
    [victim],
  );
  h.pass(noticeMs - 1_000, ['a1']);
  t.deepEqual(killed(h), []);
  const sent = h.pass(2_000, ['a1']);
  const [kill] = commandsIn(sent).filter(({ killTask }) => killTask);
  t.is(kill?.killTask?.task?.taskId, 't4');
  t.regex(kill?.killTask?.preempted ?? '', /^Its resources were asked back: it waits$/);
  t.is(kill?.killTask?.killPolicy, undefined, 'with its own grace');
  t.deepEqual(withdrawnIn(sent), [asked?.id.value], 'there is nothing to answer any more');
  h.pass(10_000, ['a1']);
  t.deepEqual(killed(h), ['t4'], 'once');

  h.update('a1', victim, 't4', 1, TaskState.TASK_GONE);
  const book = bookOf(h);
  t.is(book?.reclaiming?.frameworkId, setting.claimant, 'what is free is still for the claimant');
  t.deepEqual(book?.reclaiming?.victims, []);
  h.offer(setting.claimant, agentId, 'cpus:1', 'web');
  t.falsy(bookOf(h)?.reclaiming);
});

test('what was freed and is not taken is for everybody after a while', (t) => {
  const setting = setUp();
  const { h, victim } = setting;
  propose(setting);
  h.update('a1', victim, 't4', 1, TaskState.TASK_FINISHED);
  h.feedOf();
  h.pass(9_000, ['a1']);
  t.falsy(bookOf(h)?.reclaiming, 'nothing new is said');
  t.is(h.state.reclaims.byAgent.size, 1);
  h.pass(3_000, ['a1']);
  t.is(h.state.reclaims.byAgent.size, 0);
  t.falsy(bookOf(h)?.reclaiming);
});

test('tasks that do not end although they are killed keep nothing for ever', (t) => {
  const setting = setUp();
  propose(setting);
  passNotice(setting.h);
  setting.h.pass(290_000, ['a1']);
  t.is(setting.h.state.reclaims.byAgent.size, 1);
  t.true(why(setting.h.pass(20_000, ['a1'])).includes('the tasks do not end'));
  t.is(setting.h.state.reclaims.byAgent.size, 0);
});

test('a task that its agent has never had is not started, and gone for that reason', (t) => {
  const setting = setUp();
  const { h } = setting;
  propose(setting);
  h.pass(noticeMs + 2_000, ['a1']);
  h.register('a1', {}, 'n2');
  const run = commandsIn(h.sent)
    .filter(({ killTask }) => killTask?.task?.taskId === 't4')
    .find(({ number }) => number === 4)?.killTask;
  t.deepEqual(
    [run?.unlaunched?.state, run?.unlaunched?.reason],
    [TaskState.TASK_GONE, Reason.REASON_CONTAINER_PREEMPTED],
  );
});

test('whether a framework agrees or not, what still runs is killed; what it ended itself is not', (t) => {
  for (const type of [CallType.ACCEPT_INVERSE_OFFERS, CallType.DECLINE_INVERSE_OFFERS]) {
    const setting = setUp();
    const { h, victim } = setting;
    const [asked] = askedIn(propose(setting, proposal(setting, 'cpus:2')));
    const part = { inverseOfferIds: [{ value: asked?.id.value ?? '' }] };
    h.call({ frameworkId: victim }, { type, acceptInverseOffers: part, declineInverseOffers: part });
    h.update('a1', victim, 't4', 1, TaskState.TASK_FINISHED);
    const sent = passNotice(h);
    t.deepEqual(killed(h), ['t3']);
    t.deepEqual(withdrawnIn(sent), [], 'it was answered');
  }
});

test('a claimant that wants nothing any more, suppresses, leaves or is served elsewhere lets the tasks run', (t) => {
  const ways: readonly ((setting: Setting) => void)[] = [
    ({ h, claimant }) => want(h, claimant, 0),
    ({ h, claimant }) => void h.call({ frameworkId: claimant, instanceId: 'i2' }, { type: CallType.SUPPRESS }),
    ({ h, claimant }) => void h.call({ frameworkId: claimant, instanceId: 'i2' }, { type: CallType.TEARDOWN }),
    ({ h, claimant }) => void h.offer(claimant, h.agent('a2'), 'cpus:1', 'web'),
  ];
  for (const satisfy of ways) {
    const setting = setUp();
    const { h } = setting;
    const [asked] = askedIn(propose(setting));
    satisfy(setting);
    const sent = passNotice(h);
    t.deepEqual(killed(h), []);
    t.deepEqual(withdrawnIn(sent), [asked?.id.value ?? '']);
    t.true(why(sent).includes('whoever it was for lacks it no more'));
    t.falsy(bookOf(h)?.reclaiming);
  }
});

test('a framework without demand claims what is guaranteed to its role, and no more', (t) => {
  const setting = setUp();
  const { h, claimant, agentId } = setting;
  h.call({ frameworkId: claimant, instanceId: 'i2' }, { type: CallType.TEARDOWN });
  const silent = { ...setting, claimant: framework(h, 'i3', 'web') };
  t.deepEqual(askedIn(propose(silent)), [], 'nothing is guaranteed to it');
  quota(h, 'web', 1);
  t.is(askedIn(propose(silent)).length, 1);
  quota(h, 'web', 0);
  passNotice(h);
  t.deepEqual(killed(h), []);
  t.is(h.state.reclaims.byAgent.get(agentId), undefined);
});

test('an agent that goes away, and the framework that lost a task to it, leave nothing behind', (t) => {
  const setting = setUp();
  const { h, agentId } = setting;
  propose(setting);
  h.operateOnAgent('deactivateAgent', agentId);
  h.pass(1_000, ['a1']);
  t.is(h.state.reclaims.byAgent.size, 0);

  const other = setUp();
  propose(other);
  other.h.call({ frameworkId: other.victim }, { type: CallType.TEARDOWN });
  passNotice(other.h);
  t.deepEqual(killed(other.h), []);
});

test('whoever subscribes anew is asked anew', (t) => {
  const setting = setUp();
  const { h, victim } = setting;
  propose(setting);
  h.subscribe({ roles: ['batch'], capabilities: [{ type: MULTI_ROLE }] }, { frameworkId: victim, instanceId: 'i9' });
  t.is(askedIn(h.pass(1_000, ['a1'])).length, 1);
});

// ---- what is guaranteed

test('no task is taken below the guarantee of its role, or of one above it that is not above the claimant', (t) => {
  const setting = setUp();
  const { h } = setting;
  quota(h, 'batch', 3);
  t.is(askedIn(propose(setting, proposal(setting, 'cpus:2'))).length, 0);
  t.is(askedIn(propose(setting)).length, 1);
});

test('a guarantee that is made while tasks are asked back keeps them', (t) => {
  const setting = setUp();
  const { h } = setting;
  propose(setting);
  quota(h, 'batch', 4);
  const sent = passNotice(h);
  t.deepEqual(killed(h), []);
  t.true(why(sent).includes('guarantees need the tasks'));
});

test('what is asked back elsewhere counts as gone for guarantees', (t) => {
  const setting = setUp();
  const { h, victim } = setting;
  const a2 = h.agent('a2', 'cpus:1;mem:64');
  h.accept(victim, [h.offer(victim, a2, 'cpus:1;mem:64', 'batch')], [task('t5', a2, preemptible)]);
  quota(h, 'batch', 4);
  const third = framework(h, 'i3', 'ads');
  quota(h, 'ads', 1);
  t.is(askedIn(propose(setting)).length, 1, 'of 5 cpus');
  const again = { ...proposal(setting), agentId: a2, frameworkId: third, role: 'ads' };
  t.is(askedIn(propose(setting, again)).length, 0, 'of 4 that are left');
  want(h, setting.claimant, 0);
  h.pass(1_000, ['a1', 'a2']);
  t.is(askedIn(propose(setting, again)).length, 1);
});

// ---- proposals that come twice, late or wrong

test('of proposals for the same agent or claimant the first counts', (t) => {
  const setting = setUp();
  const { h, victim } = setting;
  const a2 = h.agent('a2', 'cpus:1;mem:64');
  h.accept(victim, [h.offer(victim, a2, 'cpus:1;mem:64', 'batch')], [task('t5', a2, preemptible)]);
  const third = framework(h, 'i3', 'ads');
  quota(h, 'ads', 1);
  const sent = propose(
    setting,
    proposal(setting),
    proposal(setting),
    { ...proposal(setting), agentId: a2 },
    { ...proposal(setting), frameworkId: third, role: 'ads' },
  );
  t.is(askedIn(sent).length, 1);
  passNotice(h);
  t.deepEqual(killed(h), ['t4']);
});

const wrong: readonly (readonly [title: string, change: (setting: Setting) => Proposal, why: RegExp])[] = [
  ['of an agent that is not there', (s) => ({ ...proposal(s), agentId: 'nobody' }), /agent is not active/],
  ['for a framework that is not there', (s) => ({ ...proposal(s), frameworkId: 'nobody' }), /wants nothing/],
  ['for a role that it does not have', (s) => ({ ...proposal(s), role: 'batch' }), /wants nothing/],
  ['of nothing', (s) => ({ ...proposal(s), victims: [] }), /names nothing/],
  ['of an empty amount', (s) => proposal(s, ''), /empty or malformed/],
  ['of more than the tasks hold', (s) => proposal(s, 'cpus:5'), /do not hold so much/],
  ['of something else', (s) => proposal(s, 'gpus:1'), /do not hold so much/],
  [
    'of another role',
    (s) => ({ ...proposal(s), victims: [{ frameworkId: s.victim, role: 'other', resources: resources('cpus:1') }] }),
    /do not hold so much/,
  ],
  [
    'of its own tasks',
    (s) => ({ ...proposal(s), victims: [{ frameworkId: s.claimant, role: 'web', resources: resources('cpus:1') }] }),
    /of the framework itself/,
  ],
  [
    'of malformed amounts',
    (s) => ({
      ...proposal(s),
      victims: [{ frameworkId: s.victim, role: 'batch', resources: [{ name: '', type: 0 }] }],
    }),
    /empty or malformed/,
  ],
];
for (const [title, change, because] of wrong) {
  test(`a proposal ${title} is dropped whole`, (t) => {
    const setting = setUp();
    const sent = propose(setting, change(setting));
    t.deepEqual(askedIn(sent), []);
    t.regex(why(sent).join(), because);
    passNotice(setting.h);
    t.deepEqual(killed(setting.h), []);
  });
}

test('a task that has ended meanwhile, or that somebody kills, is not counted on', (t) => {
  const setting = setUp();
  const { h, victim } = setting;
  h.update('a1', victim, 't4', 1, TaskState.TASK_FINISHED);
  h.call({ frameworkId: victim }, { type: CallType.KILL, kill: { taskId: { value: 't3' } } });
  t.deepEqual(askedIn(propose(setting, proposal(setting, 'cpus:3'))), []);
  t.is(askedIn(propose(setting, proposal(setting, 'cpus:2'))).length, 1);
});

test('no task is taken that is not needed', (t) => {
  const setting = setUp();
  const { h, victim, agentId } = setting;
  h.update('a1', victim, 't2', 1, TaskState.TASK_FINISHED);
  h.update('a1', victim, 't3', 1, TaskState.TASK_FINISHED);
  h.update('a1', victim, 't4', 1, TaskState.TASK_FINISHED);
  const small = ['s1', 's2'].map((id) => task(id, agentId, { ...preemptible, ask: 'cpus:0.1;mem:32' }));
  h.accept(victim, [h.offer(victim, agentId, 'cpus:1;mem:64', 'batch')], small);
  propose(setting);
  passNotice(h);
  t.deepEqual(killed(h), ['t1']);
});

// ---- the next leader

test('the next leader asks nobody, and goes on with the kills that are in the log', (t) => {
  const asked = setUp();
  propose(asked);
  const second = Harness.after(asked.h, 'm2');
  second.register('a1');
  second.pass(60_000, ['a1']);
  t.deepEqual(killed(second), []);

  const taken = setUp();
  propose(taken);
  passNotice(taken.h);
  t.deepEqual(killed(taken.h), ['t4']);
  const third = Harness.after(taken.h, 'm2');
  third.register('a1');
  const [kill] = commandsIn(third.sent).filter(({ number }) => number === 5);
  t.is(kill?.killTask?.task?.taskId, 't4');
  t.regex(kill?.killTask?.preempted ?? '', /asked back/);
});
