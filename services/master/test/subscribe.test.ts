import { mesos } from '@mesobus/protos';
import test from 'ava';
import {
  CallType,
  EventType,
  eventsIn,
  filtersOf,
  Harness,
  outcomeOf,
  type Sent,
  statusesIn,
  TaskState,
} from './harness.ts';

const Capability = mesos.v1.FrameworkInfo.Capability.Type;
const multiRole = { capabilities: [{ type: Capability.MULTI_ROLE }] };
const typesIn = (sent: readonly Sent[]): string[] => eventsIn(sent).map(({ type }) => EventType[type] as string);
const subscribed = (sent: readonly Sent[]): [string, number] | undefined => {
  const accepted = sent.find((effect) => effect.kind === 'accept_call');
  return accepted && [accepted.frameworkId ?? '', accepted.generation ?? 0];
};

test('a first SUBSCRIBE makes a framework, whose stream opens before its first event', (t) => {
  const h = new Harness();
  const sent = h.subscribe();
  t.deepEqual(subscribed(sent), ['m1-0000', 1]);
  t.deepEqual(
    sent.filter(({ kind }) => kind !== 'log').map(({ kind }) => kind),
    ['accept_call', 'open_stream', 'events'],
  );
  t.deepEqual(typesIn(sent), ['SUBSCRIBED', 'HEARTBEAT']);
  t.is(eventsIn(sent)[0]?.subscribed?.heartbeatIntervalSeconds, 15);
});

test('nothing is answered before the framework is committed, and no offer reaches it', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.autoCommit = false;
  t.is(outcomeOf(h.subscribe()), 'no answer');
  t.is(h.offer('m1-0000', agentId), '');
});

test('the same SUBSCRIBE again makes no second framework', (t) => {
  const h = new Harness();
  h.subscribe({}, { callId: 's1' });
  t.deepEqual(subscribed(h.subscribe({}, { callId: 's1' })), ['m1-0000', 1]);
  t.deepEqual(subscribed(h.subscribe({}, { callId: 's2' })), ['m1-0000', 1]);
  t.deepEqual(subscribed(h.subscribe({}, { callId: 's3', instanceId: 'i2' })), ['m1-0001', 1]);
});

test('the same SUBSCRIBE finds its framework under the next leader too', (t) => {
  const h = new Harness();
  h.subscribe({}, { callId: 's1' });
  const next = Harness.after(h);
  t.deepEqual(subscribed(next.subscribe({}, { callId: 's1' })), ['m1-0000', 1]);
  t.deepEqual(subscribed(next.subscribe({}, { callId: 's9', instanceId: 'i9' })), ['m2-0001', 1]);
});

test('a first SUBSCRIBE that is repeated after another instance took its framework over is refused', (t) => {
  const h = new Harness();
  const [frameworkId = ''] = subscribed(h.subscribe({}, { callId: 's1' })) ?? [];
  h.subscribe({}, { frameworkId, instanceId: 'i2' });
  t.is(outcomeOf(h.subscribe({}, { callId: 's1' })), 'instance_superseded');
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.instanceId, 'i2');
});

test('another instance with the id takes over: the old one hears why and is refused for good', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, h.agent());
  const sent = h.subscribe({}, { frameworkId, instanceId: 'i2' });
  t.deepEqual(subscribed(sent), [frameworkId, 2]);
  const error = sent.find((effect) => effect.kind === 'events');
  t.is(error?.kind === 'events' ? error.to.instanceId : '', 'i1');
  t.deepEqual(typesIn(sent), ['ERROR', 'SUBSCRIBED', 'HEARTBEAT']);
  t.is(eventsIn(sent)[0]?.error?.message, 'Framework failed over');
  t.false(h.state.offers.has(offerId));
  const revive = { type: CallType.REVIVE };
  t.is(outcomeOf(h.call({ frameworkId, instanceId: 'i1', generation: 1 }, revive)), 'instance_superseded');
  t.is(outcomeOf(h.call({ frameworkId, instanceId: 'i2', generation: 2 }, revive)), 'accepted');
  t.is(outcomeOf(h.subscribe({}, { frameworkId, instanceId: 'i1' })), 'instance_superseded');
});

test('a scheduler that was superseded under the leader before does not take its framework back', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.subscribe({}, { frameworkId, instanceId: 'i2' });
  const next = Harness.after(h);
  const late = { frameworkId, instanceId: 'i1', generation: 1 };
  t.is(outcomeOf(next.subscribe({}, late)), 'instance_superseded');
  t.deepEqual(subscribed(next.subscribe({}, { frameworkId, instanceId: 'i2', generation: 2 })), [frameworkId, 2]);
});

const wrongInfos: [
  what: string,
  why: RegExp,
  info: Partial<mesos.v1.FrameworkInfo.$Properties>,
  suppressed?: string[],
][] = [
  ['no name', /'name' is empty/, { name: '' }],
  ['no user', /'user' is empty/, { user: '' }],
  ['roles without MULTI_ROLE', /needs the MULTI_ROLE/, { roles: ['a'] }],
  ['role with MULTI_ROLE', /must not be set/, { ...multiRole, role: 'a' }],
  ['a role twice', /twice/, { ...multiRole, roles: ['a', 'a'] }],
  ['a malformed role', /role 'a\/\/b'/, { ...multiRole, roles: ['a//b'] }],
  ['a role that starts with -', /'-'/, { ...multiRole, roles: ['-a'] }],
  ['a suppressed role that it has not', /suppressed role 'b'/, { ...multiRole, roles: ['a'] }, ['b']],
  ['suppressed roles without end', /of at most 131072/, { ...multiRole, roles: ['a'] }, Array(50_000).fill('a')],
  ['a negative failover timeout', /failover_timeout/, { failoverTimeout: -1 }],
  ['filters for a role that it has not', /offer filters/, { ...multiRole, roles: ['a'], offerFilters: { b: {} } }],
  ['another principal', /principal/, { principal: 'somebody' }],
];
for (const [what, why, info, suppressed] of wrongInfos) {
  test(`a SUBSCRIBE with ${what} is refused and makes nothing`, (t) => {
    const h = new Harness();
    const [refused] = h.subscribe(info, suppressed === undefined ? {} : { suppressed });
    t.is(refused?.kind === 'refuse_call' ? refused.code : '', 'call_invalid');
    t.regex(refused?.kind === 'refuse_call' ? (refused.why ?? '') : '', why);
    t.is(h.records.length, 0);
  });
}

test('a call with an id, a trace context or an executor that no record could hold is refused', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const agentId = h.agent();
  const long = 'x'.repeat(600_000);
  const before = h.records.length;
  const revive = { type: CallType.REVIVE };
  t.is(outcomeOf(h.subscribe({}, { callId: long })), 'call_invalid');
  t.is(outcomeOf(h.subscribe({}, { instanceId: long })), 'call_invalid');
  t.is(outcomeOf(h.call({ frameworkId, traceparent: long }, revive)), 'call_invalid');
  const shutdown = { agentId: { value: agentId }, executorId: { value: long } };
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.SHUTDOWN, shutdown })), 'call_invalid');
  t.is(h.records.length, before);
});

test('only the principal that subscribed a framework may act for it', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  t.is(outcomeOf(h.call({ frameworkId, principal: 'p2' }, { type: CallType.REVIVE })), 'framework_not_yours');
  t.is(outcomeOf(h.subscribe({}, { frameworkId, principal: 'p2', instanceId: 'i3' })), 'framework_not_yours');
});

test('a call of nobody, without its part or of an unknown type is refused', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  t.is(outcomeOf(h.call({ frameworkId: 'nobody' }, { type: CallType.REVIVE })), 'framework_unknown');
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.ACCEPT })), 'call_invalid');
  t.is(outcomeOf(h.call({ frameworkId }, { type: 99 as never })), 'call_invalid');
});

test('a torn-down framework is over: tasks killed without updates, its agents told, its id used up', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  const sent = h.call({ frameworkId }, { type: CallType.TEARDOWN }, 'c1');
  t.is(outcomeOf(sent), 'accepted');
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.TEARDOWN }, 'c1')), 'accepted');
  t.deepEqual(statusesIn(sent), []);
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_KILLED);
  t.is(h.state.ledger.agents.get(agentId)?.holdings.size, 0);
  const commands = sent.flatMap((effect) => (effect.kind === 'commands' ? (effect.message.commands ?? []) : []));
  t.deepEqual(
    commands.map(({ number, shutdownFramework }) => [number, shutdownFramework?.frameworkId]),
    [[2, frameworkId]],
  );
  t.is(outcomeOf(h.subscribe({}, { frameworkId, instanceId: 'i5' })), 'framework_removed');
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.REVIVE })), 'framework_unknown');
});

test('a framework whose stream is gone loses its offers at once, and itself after grace and failover timeout', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ failoverTimeout: 10 });
  const offerId = h.offer(frameworkId, h.agent());
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });
  t.false(h.state.offers.has(offerId));
  h.pass(24_000);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 0);
  h.pass(1_000);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 1);
});

test('a scheduler that subscribes again gets no offer before that is committed, whatever its old stream shows', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.agent();
  h.autoCommit = false;
  h.subscribe({}, { frameworkId });
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: true });
  t.false(h.state.frameworks.get(frameworkId)?.connected);
  h.commit();
  t.true(h.state.frameworks.get(frameworkId)?.connected);
});

test('what is told while nobody seems to follow goes out all the same: a follower who was there after all misses nothing', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched('t1', { failoverTimeout: 3_600 });
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_RUNNING);
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });
  const ended = h.request('a1', { agentId: 'm1-S0', unregister: {} });
  t.deepEqual(
    statusesIn(ended).map(({ state }) => state),
    [TaskState.TASK_LOST],
  );
});

test('a framework whose stream is followed again in time stays', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });
  h.pass(10_000);
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: true });
  h.pass(100_000);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 0);
});

test('time in which the master itself was cut off does not count against a framework', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive: false });
  h.pass(10_000);
  h.step({ kind: 'bus_connection', connected: false });
  h.pass(60_000);
  h.step({ kind: 'bus_connection', connected: true });
  h.pass(14_000);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 0);
  h.pass(1_000);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 1);
});

test('a new leader removes a framework that does not come back', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const next = Harness.after(h);
  next.pass(15_000);
  t.is(next.state.ledger.frameworks.get(frameworkId)?.record.lifecycle, 1);
});

test('a connected scheduler gets a heartbeat every 15 s', (t) => {
  const h = new Harness();
  h.framework();
  t.deepEqual(typesIn(h.tick(14_000)), []);
  t.deepEqual(typesIn(h.tick(1_000)), ['HEARTBEAT']);
  t.deepEqual(typesIn(h.tick(15_000)), ['HEARTBEAT']);
});

test('SUPPRESS ends offers of a role and REVIVE brings them back and lifts the filters', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework({ ...multiRole, roles: ['a', 'b'] });
  h.call({ frameworkId }, { type: CallType.SUPPRESS, suppress: { roles: ['a'] } });
  t.is(h.offer(frameworkId, agentId, 'cpus:1', 'a'), '');
  t.not(h.offer(frameworkId, agentId, 'cpus:1', 'b'), '');
  h.call({ frameworkId }, { type: CallType.REVIVE, revive: { roles: ['a'] } });
  t.deepEqual(filtersOf(h).at(-1)?.filtersLifted?.roles, ['a']);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.suppressedRoles.length, 0);
});

test('a REVIVE that names a role of somebody else is void as a whole', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({ ...multiRole, roles: ['a'] });
  h.call({ frameworkId }, { type: CallType.SUPPRESS });
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.REVIVE, revive: { roles: ['a', 'x'] } })), 'accepted');
  t.deepEqual(h.state.ledger.frameworks.get(frameworkId)?.record.suppressedRoles, ['a']);
});

test('UPDATE_FRAMEWORK takes a role away: its offers are rescinded, others stay', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework({ ...multiRole, roles: ['a', 'b'] });
  const [ofA, ofB] = [h.offer(frameworkId, agentId, 'cpus:1', 'a'), h.offer(frameworkId, agentId, 'cpus:1', 'b')];
  const frameworkInfo = { user: 'root', name: 'new', id: { value: frameworkId }, ...multiRole, roles: ['b'] };
  const sent = h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework: { frameworkInfo } });
  t.is(outcomeOf(sent), 'accepted');
  t.deepEqual(typesIn(sent), ['RESCIND']);
  t.deepEqual([...h.state.offers.keys()], [ofB]);
  t.not(ofA, ofB);
  t.is(h.state.ledger.frameworks.get(frameworkId)?.record.info?.name, 'new');
});

test('UPDATE_FRAMEWORK may not change the user', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const frameworkInfo = { user: 'other', name: 'test', id: { value: frameworkId } };
  t.is(
    outcomeOf(h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework: { frameworkInfo } })),
    'call_invalid',
  );
});

type OfferConstraints = mesos.v1.scheduler.OfferConstraints.$Properties;
const racks = (regex: string, role = '*'): OfferConstraints => {
  const constraint = { selector: { attributeName: 'rack' }, predicate: { textMatches: { regex } } };
  return { roleConstraints: { [role]: { groups: [{ attributeConstraints: [constraint] }] } } };
};

const wrongConstraints: readonly (readonly [what: string, constraints: OfferConstraints, why: RegExp])[] = [
  ['for a role that it has not', racks('r1', 'ads'), /role_constraints\['ads'\]: the framework does not have/],
  ['without groups', { roleConstraints: { '*': {} } }, /role_constraints\['\*'\]\.groups: it is empty/],
  [
    'with an invalid regex',
    racks('r['),
    /attribute_constraints\[0\]\.predicate\.text_matches\.regex: missing closing \]/,
  ],
  ['with a regex that is too complex', racks('r{200}'), /its program has 202 instructions, of at most 100/],
];
for (const [what, offerConstraints, why] of wrongConstraints) {
  test(`offer constraints ${what} are refused, at SUBSCRIBE and at UPDATE_FRAMEWORK, and change nothing`, (t) => {
    const h = new Harness();
    const [refused] = h.subscribe({}, { offerConstraints });
    t.is(refused?.kind === 'refuse_call' ? refused.code : '', 'call_invalid');
    t.regex(refused?.kind === 'refuse_call' ? (refused.why ?? '') : '', why);
    t.is(h.records.length, 0);

    const frameworkId = h.framework({}, { offerConstraints: racks('r[0-9]+') });
    const before = h.state.ledger.frameworks.get(frameworkId)?.record.offerConstraints;
    const frameworkInfo = { user: 'root', name: 'test', id: { value: frameworkId } };
    const updateFramework = { frameworkInfo, offerConstraints };
    const [again] = h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework });
    t.regex(again?.kind === 'refuse_call' ? (again.why ?? '') : '', why);
    t.deepEqual(h.state.ledger.frameworks.get(frameworkId)?.record.offerConstraints, before);
  });
}

test('offer constraints are recorded, and UPDATE_FRAMEWORK replaces them', (t) => {
  const h = new Harness();
  const frameworkId = h.framework({}, { offerConstraints: racks('r1') });
  const regexes = (): (string | undefined)[] =>
    Object.values(h.state.ledger.frameworks.get(frameworkId)?.record.offerConstraints?.roleConstraints ?? {}).map(
      ({ groups }) => groups[0]?.attributeConstraints[0]?.predicate.textMatches?.regex,
    );
  t.deepEqual(regexes(), ['r1']);
  const frameworkInfo = { user: 'root', name: 'test', id: { value: frameworkId } };
  const updateFramework = { frameworkInfo, offerConstraints: racks('r2') };
  t.is(outcomeOf(h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework })), 'accepted');
  t.deepEqual(regexes(), ['r2']);
});

test('how large a regex may be is as configured', (t) => {
  const h = new Harness({ constraintBounds: { maxMem: 10, maxProgramSize: 5 } });
  t.is(outcomeOf(h.subscribe({}, { offerConstraints: racks('abcd') })), 'call_invalid');
  t.is(outcomeOf(h.subscribe({}, { offerConstraints: racks('[abcdefghi]') })), 'call_invalid');
  t.is(outcomeOf(h.subscribe({}, { offerConstraints: racks('abc') })), 'accepted');
});

test('an offer that is not answered expires and is rescinded', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const offerId = h.offer(frameworkId, h.agent());
  const sent = h.tick(5_000);
  t.is(eventsIn(sent).find(({ rescind }) => rescind)?.rescind?.offerId.value, offerId);
  t.is(h.state.offers.size, 0);
});

test('an update that was not acknowledged is told again to whoever subscribes next', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_RUNNING);
  const sent = h.subscribe({}, { frameworkId, instanceId: 'i2' });
  t.deepEqual(
    statusesIn(sent).map(({ state }) => state),
    [TaskState.TASK_RUNNING],
  );
});
