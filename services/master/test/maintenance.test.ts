import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import test from 'ava';
import { answerQuery } from '../src/core/index.ts';
import {
  agentRepliesIn,
  CallType,
  commandsIn,
  eventsIn,
  Harness,
  outcomeOf,
  Reason,
  rescinded,
  type Sent,
  statusesIn,
  TaskState,
  task,
  whyRefused,
} from './harness.ts';

const { Type } = mesos.v1.master.Call;
const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const { ACCEPT, DECLINE, UNKNOWN } = mesos.v1.allocator.InverseOfferStatus.Status;

type Call = mesos.v1.master.Call.$Properties;

const second = 1_000_000_000n;
const machines = (...names: string[]): mesos.v1.MachineID.$Properties[] => names.map((hostname) => ({ hostname }));
const window = (start: bigint, ...names: string[]): mesos.v1.maintenance.Window.$Properties => ({
  machineIds: machines(...names),
  unavailability: { start: { nanoseconds: start * second }, duration: { nanoseconds: 60n * second } },
});

let calls = 0;
const operate = (h: Harness, call: Call, callId = `o${++calls}`): Sent[] => h.operatorCall({ callId, call });
const schedule = (h: Harness, windows: mesos.v1.maintenance.Window.$Properties[], callId?: string): Sent[] =>
  operate(h, { type: Type.UPDATE_MAINTENANCE_SCHEDULE, updateMaintenanceSchedule: { schedule: { windows } } }, callId);
const start = (h: Harness, names: string[], callId?: string): Sent[] =>
  operate(h, { type: Type.START_MAINTENANCE, startMaintenance: { machines: machines(...names) } }, callId);
const stop = (h: Harness, names: string[], callId?: string): Sent[] =>
  operate(h, { type: Type.STOP_MAINTENANCE, stopMaintenance: { machines: machines(...names) } }, callId);

const inverseOffers = (sent: readonly Sent[]): mesos.v1.InverseOffer[] =>
  eventsIn(sent).flatMap((event) => event.inverseOffers?.inverseOffers ?? []);
const withdrawn = (sent: readonly Sent[]): string[] =>
  eventsIn(sent).flatMap(({ rescindInverseOffer }) =>
    rescindInverseOffer ? [rescindInverseOffer.inverseOfferId.value] : [],
  );

function stateOf(h: Harness): mesobus.v1.MaintenanceState {
  const answer = answerQuery(h.state, 'ops', new mesobus.v1.MasterQuery({ getMaintenance: {} }), 1, h.now);
  const bytes = encode(mesobus.v1.MaintenanceState, answer?.maintenance ?? {});
  return decode(mesobus.v1.MaintenanceState, bytes);
}

const statusesOf = (h: Harness): mesos.v1.allocator.InverseOfferStatus[] =>
  (stateOf(h).status?.drainingMachines ?? []).flatMap(({ statuses }) => statuses);

const answer = (
  h: Harness,
  frameworkId: string,
  how: 'accept' | 'decline',
  ids: string[],
  refuseSeconds?: number,
): Sent[] => {
  const part = {
    inverseOfferIds: ids.map((value) => ({ value })),
    ...(refuseSeconds !== undefined && { filters: { refuseSeconds } }),
  };
  return how === 'accept'
    ? h.call({ frameworkId }, { type: CallType.ACCEPT_INVERSE_OFFERS, acceptInverseOffers: part })
    : h.call({ frameworkId }, { type: CallType.DECLINE_INVERSE_OFFERS, declineInverseOffers: part });
};

// ---- the schedule

const refused: [title: string, act: (h: Harness) => Sent[], why: RegExp][] = [
  ['a window without machines', (h) => schedule(h, [window(9n)]), /window 1: no machine is named/],
  ['a machine without a name', (h) => schedule(h, [{ ...window(9n), machineIds: [{}] }]), /neither hostname nor ip/],
  ['a machine in two windows', (h) => schedule(h, [window(9n, 'a1'), window(99n, 'A1')]), /'A1' is named twice/],
  [
    'a negative duration',
    (h) =>
      schedule(h, [
        { machineIds: machines('a1'), unavailability: { start: { nanoseconds: 1n }, duration: { nanoseconds: -1n } } },
      ]),
    /duration is negative/,
  ],
  ['an address that is none', (h) => schedule(h, [{ ...window(9n), machineIds: [{ ip: 'here' }] }]), /'here' is no IP/],
  [
    'more than fits in an entry of the log',
    (h) => schedule(h, [window(9n, ...Array.from({ length: 5_000 }, (_, i) => `machine-with-a-long-name-${i}`))]),
    /bytes, of at most/,
  ],
  ['maintenance of a machine that is not planned', (h) => start(h, ['a1']), /'a1' is not in the maintenance schedule/],
  ['the end of maintenance that has not begun', (h) => stop(h, ['a1']), /'a1' is not down/],
  ['maintenance of nothing', (h) => start(h, []), /no machine is named/],
];
for (const [title, act, why] of refused) {
  test(`${title} is refused, and nothing is changed`, (t) => {
    const h = new Harness();
    h.agent('a1');
    const before = h.records.length;
    t.regex(whyRefused(act(h)), why);
    t.is(h.records.length, before);
  });
}

test('the schedule stands in the log, for the next leader too, and is replaced as a whole', (t) => {
  const h = new Harness();
  t.is(whyRefused(schedule(h, [window(9n, 'a1', 'a2'), window(99n, 'a3')])), 'accepted');
  schedule(h, [window(99n, 'a3')]);
  for (const master of [h, Harness.after(h)]) {
    const { schedule: now, status } = stateOf(master);
    t.deepEqual(
      now?.windows.map(({ machineIds }) => machineIds.map(({ hostname }) => hostname)),
      [['a3']],
    );
    t.deepEqual(
      status?.drainingMachines.map(({ id }) => id.hostname),
      ['a3'],
    );
  }
});

test('offers say when their machine will be away; those made before are taken back, those of others stay', (t) => {
  const h = new Harness();
  const [a1, a2] = [h.agent('a1'), h.agent('a2')];
  const f = h.framework();
  h.offer(f, a1, 'cpus:1');
  h.offer(f, a2, 'cpus:1');
  h.feedOf();
  t.deepEqual(rescinded(schedule(h, [window(9n, 'A1')])), ['m1-O1']);
  const books = h.feedOf().flatMap(({ items }) => items.flatMap(({ agent }) => agent ?? []));
  t.is(books.find(({ agentId }) => agentId === a1)?.unavailability?.start.nanoseconds, 9n * second);
  h.offer(f, a1, 'cpus:1');
  const [offer] = eventsIn(h.sent)
    .flatMap(({ offers }) => offers?.offers ?? [])
    .slice(-1);
  t.is(offer?.unavailability?.duration?.nanoseconds, 60n * second);
  t.deepEqual(rescinded(schedule(h, [window(9n, 'a1')])), [], 'nothing has changed');
  t.deepEqual(rescinded(schedule(h, [])), [offer?.id.value ?? '']);
});

test('an agent that comes later is on its machine, and one that says another hostname is not', (t) => {
  const h = new Harness();
  schedule(h, [window(9n, 'a1')]);
  const a1 = h.agent('a1');
  t.true(h.state.machines.agents.has(a1));
  h.register('a1', { info: { hostname: 'elsewhere', resources: [] } });
  t.false(h.state.machines.agents.has(a1));
});

test('an agent whose machine is in the schedule is not drained besides', (t) => {
  const h = new Harness();
  const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_DRAINING }];
  h.register('a1', { capabilities });
  schedule(h, [window(9n, 'a1')]);
  const sent = h.operateOnAgent('drainAgent', 'm1-S0');
  t.regex(whyRefused(sent), /in the maintenance schedule/);
});

// ---- inverse offers

test('each framework with something on the machine is asked once to leave it, and again when its answer is old', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const { frameworkId: f, agentId } = h.launched();
  const g = h.framework({}, { instanceId: 'i2' });
  h.framework({}, { instanceId: 'i3' });
  h.offer(g, agentId, 'cpus:1');
  const asked = inverseOffers(schedule(h, [window(9n, 'a1')]));
  // The offer of the second framework was taken back by the change.
  t.deepEqual(
    asked.map(({ frameworkId }) => frameworkId.value),
    [f],
  );
  t.is(asked[0]?.unavailability.start.nanoseconds, 9n * second);
  t.deepEqual(asked[0]?.resources, []);
  h.offer(g, agentId, 'cpus:1');
  const [second_] = inverseOffers(h.pass(3_000, ['a1']));
  t.is(second_?.frameworkId.value, g);
  t.deepEqual(
    statusesOf(h).map(({ status }) => status),
    [UNKNOWN, UNKNOWN],
  );

  answer(h, f, 'accept', [asked[0]?.id.value ?? ''], 5);
  answer(h, f, 'decline', [second_?.id.value ?? ''], 0); // not its own
  t.deepEqual(
    statusesOf(h).map(({ status }) => status),
    [ACCEPT, UNKNOWN],
  );
  t.is(statusesOf(h)[0]?.timestamp.nanoseconds, BigInt(h.now) * 1_000_000n);
  t.deepEqual(inverseOffers(h.pass(4_000, ['a1'])), []);
  const [again] = inverseOffers(h.pass(2_000, ['a1']));
  t.is(again?.frameworkId.value, f);
  t.deepEqual(
    statusesOf(h).map(({ status }) => status),
    [ACCEPT, UNKNOWN],
    'its last answer is still shown',
  );
  answer(h, f, 'decline', [asked[0]?.id.value ?? '']); // answered long ago
  t.is(statusesOf(h)[0]?.status, ACCEPT);
  answer(h, f, 'decline', [again?.id.value ?? ''], 3_600);
  t.is(statusesOf(h)[0]?.status, DECLINE);
  t.deepEqual(inverseOffers(h.pass(10_000, ['a1'])), []);
  h.call({ frameworkId: f }, { type: CallType.REVIVE });
  t.is(inverseOffers(h.pass(1_000, ['a1'])).length, 1);
});

test('another time for the machine takes inverse offers back and forgets what was answered', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const [first] = inverseOffers(schedule(h, [window(9n, 'a1')]));
  const moved = schedule(h, [window(10n, 'a1')]);
  t.deepEqual(withdrawn(moved), [first?.id.value ?? '']);
  const [next] = inverseOffers(moved);
  answer(h, frameworkId, 'decline', [next?.id.value ?? ''], 3_600);
  const [third] = inverseOffers(schedule(h, [window(11n, 'a1')]));
  t.is(statusesOf(h)[0]?.status, UNKNOWN);
  t.deepEqual(withdrawn(schedule(h, [])), [third?.id.value ?? '']);
  t.deepEqual(inverseOffers(h.pass(3_000, ['a1'])), []);
});

test('a scheduler that subscribes again is asked again: it knows nothing of the inverse offer of before', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const [before] = inverseOffers(schedule(h, [window(9n, 'a1')]));
  h.subscribe({}, { frameworkId, instanceId: 'i1', generation: 1 });
  const sent = h.pass(1_000, ['a1']);
  t.deepEqual(withdrawn(sent), []);
  const [now] = inverseOffers(sent);
  t.not(now?.id.value, before?.id.value);
  answer(h, frameworkId, 'accept', [before?.id.value ?? '']);
  t.is(statusesOf(h)[0]?.status, UNKNOWN);
});

test('the inverse offers of an agent that is out of contact are taken back, and made again when it is back', (t) => {
  const h = new Harness();
  h.launched();
  const [before] = inverseOffers(schedule(h, [window(9n, 'a1')]));
  t.deepEqual(withdrawn(h.pass(16_000)), [before?.id.value ?? '']);
  h.heartbeat('a1');
  h.register('a1', { tasks: [], cursor: 0 });
  t.is(inverseOffers(h.pass(1_000, ['a1'])).length, 1);
});

test('the next leader asks again: what was answered is soft', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  schedule(h, [window(9n, 'a1')]);
  const next = Harness.after(h);
  next.subscribe({}, { frameworkId, instanceId: 'i1', generation: 1 });
  next.register('a1', {
    cursor: 1,
    tasks: [{ frameworkId, taskId: 't1', commandNumber: 1, state: TaskState.TASK_RUNNING }],
  });
  const [asked] = inverseOffers(next.pass(1_000, ['a1']));
  t.is(asked?.id.value, 'm2-O1');
});

// ---- down and up

for (const [who, capabilities, state] of [
  ['a partition-aware framework', [{ type: Capability.PARTITION_AWARE }], TaskState.TASK_GONE],
  ['another framework', [], TaskState.TASK_LOST],
] as const) {
  test(`maintenance that starts ends the agents of the machine: ${who} is told ${TaskState[state]}`, (t) => {
    const h = new Harness();
    const { frameworkId, agentId } = h.launched('t1', { capabilities: [...capabilities] });
    schedule(h, [window(9n, 'a1')]);
    const sent = start(h, ['a1']);
    t.is(whyRefused(sent), 'accepted');
    const [status] = statusesIn(sent);
    t.like(status, { state, reason: Reason.REASON_AGENT_REMOVED });
    t.true(commandsIn(sent).some(({ shutdownAgent }) => /down for maintenance/.test(shutdownAgent?.message ?? '')));
    t.true(eventsIn(sent).some(({ failure }) => failure?.agentId?.value === agentId));
    t.false(h.state.ledger.agents.has(agentId));
    t.is(h.task(frameworkId, 't1')?.state, state);
    t.deepEqual(
      stateOf(h).status?.downMachines.map(({ hostname }) => hostname),
      ['a1'],
    );
    t.deepEqual(stateOf(h).status?.drainingMachines, []);
  });
}

test('an agent of a machine that is down is sent away whenever it registers, until the machine is up', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1');
  schedule(h, [window(9n, 'a1', 'a2')]);
  start(h, ['A1']);
  for (const master of [h, Harness.after(h)]) {
    t.is(outcomeOf(master.register('a1')), 'machine_down');
    t.is(master.state.ledger.agentsByName.size, 0);
  }
  t.is(whyRefused(stop(h, ['a1'])), 'accepted');
  t.deepEqual(
    stateOf(h).schedule?.windows.map(({ machineIds }) => machineIds.map(({ hostname }) => hostname)),
    [['a2']],
  );
  const [reply] = agentRepliesIn(h.register('a1'));
  t.truthy(reply?.registered?.agentId);
  t.not(reply?.registered?.agentId, agentId);
  t.true(h.state.agents.get(reply?.registered?.agentId ?? '')?.connected);
});

test('a machine that is down stays in the schedule until its maintenance is stopped', (t) => {
  const h = new Harness();
  schedule(h, [window(9n, 'a1', 'a2')]);
  start(h, ['a1']);
  t.regex(whyRefused(schedule(h, [window(9n, 'a2')])), /'a1' is down and cannot leave the schedule; stop/);
  t.regex(whyRefused(start(h, ['a1'])), /'a1' is down already/);
  t.is(whyRefused(schedule(h, [window(99n, 'a1')])), 'accepted');
  t.deepEqual(
    stateOf(h).status?.downMachines.map(({ hostname }) => hostname),
    ['a1'],
  );
  stop(h, ['a1']);
  t.deepEqual(stateOf(h).schedule?.windows, []);
});

test('a machine that is down stands in the log once, as the schedule names it, however a call does', (t) => {
  const h = new Harness();
  schedule(h, [window(9n, 'a1', 'a2')]);
  const named = Array.from({ length: 100 }, () => ({ hostname: 'A1', ip: '10.0.0.1' }));
  t.is(whyRefused(operate(h, { type: Type.START_MAINTENANCE, startMaintenance: { machines: named } })), 'accepted');
  const down = h.records
    .findLast(({ maintenance }) => maintenance)
    ?.maintenance?.machines.map(({ id }) => [id.hostname, id.ip]);
  t.deepEqual(down, [['a1', '']]);
});

test('one machine that is wrong makes the whole call void', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1');
  schedule(h, [window(9n, 'a1')]);
  t.regex(whyRefused(start(h, ['a1', 'a2'])), /'a2' is not in/);
  t.true(h.state.ledger.agents.has(agentId));
});

test('a call that is repeated gets the same answer and does nothing more, from the next leader too', (t) => {
  const h = new Harness();
  schedule(h, [window(9n, 'a1')]);
  start(h, ['a1'], 'start');
  t.is(whyRefused(start(h, ['a1'], 'start')), 'accepted');
  const next = Harness.after(h);
  t.is(whyRefused(start(next, ['a1'], 'start')), 'accepted');
  t.is(whyRefused(stop(next, ['a1'], 'stop')), 'accepted');
  t.is(whyRefused(stop(next, ['a1'], 'stop')), 'accepted');
  t.is(whyRefused(start(next, ['a1'], 'start')), 'accepted', 'late');
  t.deepEqual(stateOf(next).status?.downMachines, []);
});

test('a leader that dies when the machine is down in the log and its agents are not removed is followed up', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  schedule(h, [window(9n, 'a1')]);
  const before = h.records.length;
  start(h, ['a1']);
  const [first] = h.transactions.filter((count) => count > before);
  const next = Harness.after(h, 'm2', (ledger) => {
    for (const record of h.records.slice(0, first)) applyRecord(ledger, record);
  });
  t.true(next.state.ledger.agents.has(agentId));
  const sent = next.tick();
  t.false(next.state.ledger.agents.has(agentId));
  t.is(next.task(frameworkId, 't1')?.state, TaskState.TASK_LOST);
  t.truthy(sent);
});

test('an agent that is out of reach when its machine goes down is removed with its tasks', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched('t1', { capabilities: [{ type: Capability.PARTITION_AWARE }] });
  h.pass(31_000);
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_UNREACHABLE);
  schedule(h, [window(9n, 'a1')]);
  start(h, ['a1']);
  t.false(h.state.ledger.agents.has(agentId));
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_GONE);
});

test('no task is launched by an ACCEPT that comes when the machine is down', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1');
  const f = h.framework();
  schedule(h, [window(9n, 'a1')]);
  const offerId = h.offer(f, agentId);
  start(h, ['a1']);
  const [status] = statusesIn(h.accept(f, [offerId], [task('t1', agentId)]));
  t.is(status?.reason, Reason.REASON_INVALID_OFFERS);
});
