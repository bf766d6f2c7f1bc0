import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import { CallType, Harness, outcomeOf, type Sent } from './harness.ts';

const { SchedulerCall } = mesobus.v1;

type Shape = Readonly<Record<string, number>>;
type Demand = mesobus.v1.Demand.$Properties;

const wanted = (count: number, shape: Shape): mesobus.v1.WantedShape.$Properties => ({
  count,
  quantities: Object.fromEntries(Object.entries(shape).map(([name, value]) => [name, { value }])),
});

const of = (role: string, ...shapes: mesobus.v1.WantedShape.$Properties[]): Demand => ({ roles: [{ role, shapes }] });

let calls = 0;
function send(h: Harness, call: mesobus.v1.SchedulerCall.$Properties, principal = 'p1'): Sent[] {
  const about = { callId: `demand-${++calls}`, instanceId: 'i1', generation: 1, ...call };
  const message = decode(SchedulerCall, encode(SchedulerCall, about));
  return h.step({ kind: 'scheduler_call', principal, call: message, token: about.callId });
}

const say = (h: Harness, frameworkId: string, number: number, demand: Demand): Sent[] =>
  send(h, { demand: { frameworkId, number, ...demand } });

function subscribe(h: Harness, more: mesobus.v1.SchedulerCall.$Properties, id = ''): Sent[] {
  const capabilities = [{ type: 6 }];
  const frameworkInfo = {
    user: 'root',
    name: 'f',
    roles: ['ads', 'eng'],
    capabilities,
    ...(id && { id: { value: id } }),
  };
  const call = { type: CallType.SUBSCRIBE, subscribe: { frameworkInfo }, ...(id && { frameworkId: { value: id } }) };
  return send(h, { generation: 0, call, ...more });
}

function setUp() {
  const h = new Harness();
  const sent = subscribe(h, {});
  const accepted = sent.find(({ kind }) => kind === 'accept_call');
  const frameworkId = accepted?.kind === 'accept_call' ? (accepted.frameworkId ?? '') : '';
  h.appoint();
  return { h, frameworkId };
}

/** As allocators hear it: by role, `count × shape`; undefined if nothing new is said of the framework. */
function told(h: Harness): Record<string, string[]> | undefined {
  const books = h.feedOf().flatMap(({ items }) => items.flatMap(({ framework }) => (framework ? [framework] : [])));
  const demands = books.at(-1)?.demands?.map(({ role, shapes }) => [
    role,
    (shapes ?? []).map(({ quantities, count }) => {
      const amounts = Object.entries(quantities ?? {}).map(([name, amount]) => `${name}:${amount.value}`);
      return `${count} × ${amounts.join(';')}`;
    }),
  ]);
  return demands === undefined ? undefined : Object.fromEntries(demands);
}

test('what a framework says that it wants is what allocators hear, and replaces what it said before', (t) => {
  const { h, frameworkId } = setUp();
  t.is(
    outcomeOf(say(h, frameworkId, 1, of('ads', wanted(3, { cpus: 1, mem: 64 }), wanted(1, { ports: 2 })))),
    'accepted',
  );
  t.deepEqual(told(h), { ads: ['3 × cpus:1;mem:64', '1 × ports:2'] });
  say(h, frameworkId, 2, {
    roles: [
      { role: 'ads', shapes: [] },
      { role: 'eng', shapes: [wanted(1, { cpus: 2 })] },
    ],
  });
  t.deepEqual(told(h), { ads: [], eng: ['1 × cpus:2'] });
});

test('of a framework that says nothing, nothing is known', (t) => {
  const { h } = setUp();
  h.framework({}, { instanceId: 'i2' });
  t.deepEqual(told(h), {});
});

test('what comes late, behind a newer word, is not heard; repeated it changes nothing', (t) => {
  const { h, frameworkId } = setUp();
  say(h, frameworkId, 5, of('ads', wanted(5, { cpus: 1 })));
  t.is(outcomeOf(say(h, frameworkId, 4, of('ads', wanted(4, { cpus: 1 })))), 'accepted');
  t.deepEqual(told(h), { ads: ['5 × cpus:1'] });
  say(h, frameworkId, 5, of('ads', wanted(5, { cpus: 1 })));
  t.deepEqual(told(h), { ads: ['5 × cpus:1'] });
});

test('a demand that comes with SUBSCRIBE is known before the first offer', (t) => {
  const h = new Harness();
  h.appoint();
  t.is(outcomeOf(subscribe(h, { demand: { number: 7, ...of('eng', wanted(2, { cpus: 1 })) } })), 'accepted');
  t.deepEqual(told(h), { eng: ['2 × cpus:1'] });
});

test('a demand is forgotten with its subscription, and outlives a moment without a connection', (t) => {
  const { h, frameworkId } = setUp();
  say(h, frameworkId, 9, of('ads', wanted(1, { cpus: 1 })));
  for (const alive of [false, true]) h.step({ kind: 'stream_probed', frameworkId, instanceId: 'i1', alive });
  t.deepEqual(told(h), { ads: ['1 × cpus:1'] });
  subscribe(h, {}, frameworkId);
  t.deepEqual(told(h), {});
  say(h, frameworkId, 1, of('ads', wanted(2, { cpus: 1 })));
  t.deepEqual(told(h), { ads: ['2 × cpus:1'] }, 'numbers count from anew');
});

test('a role that a framework gives up is no part of its demand any more', (t) => {
  const { h, frameworkId } = setUp();
  say(h, frameworkId, 1, {
    roles: [
      { role: 'ads', shapes: [] },
      { role: 'eng', shapes: [] },
    ],
  });
  const frameworkInfo = {
    user: 'root',
    name: 'f',
    roles: ['eng'],
    capabilities: [{ type: 6 }],
    id: { value: frameworkId },
  };
  h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework: { frameworkInfo } });
  t.deepEqual(told(h), { eng: [] });
});

const many = (length: number) => Array.from({ length }, (_, i) => wanted(1, { cpus: i + 1 }));
const bad: readonly (readonly [title: string, demand: Demand, why: RegExp])[] = [
  ['a role of another', of('other', wanted(1, { cpus: 1 })), /'other' is not among the framework's: subscribe with it/],
  ['a role twice', { roles: [{ role: 'ads' }, { role: 'ads' }] }, /'ads' is named twice: put all/],
  ['too many sizes', of('ads', ...many(65)), /names 65 sizes, of at most 64: leave some/],
  ['an empty size', of('ads', wanted(1, {})), /a size is empty: say how much/],
  ['a negative amount', of('ads', wanted(1, { cpus: -1 })), /takes -1 of 'cpus': give a number above 0/],
  ['nothing of a resource', of('ads', wanted(1, { mem: 0 })), /takes 0 of 'mem'/],
  ['what is no number', of('ads', wanted(1, { mem: Number.NaN })), /takes NaN of 'mem'/],
  ['more than there can be', of('ads', wanted(1, { mem: 1e300 })), /takes 1e\+300 of 'mem'/],
  ['no tasks', of('ads', wanted(0, { cpus: 1 })), /0 tasks of a size are wanted: give 1 to/],
  ['an absurd count', of('ads', wanted(4_000_000_000, { cpus: 1 })), /4000000000 tasks of a size/],
  ['a resource without a name', of('ads', wanted(1, { '': 1 })), /the name of a resource is empty/],
  [
    'too many resources',
    of('ads', wanted(1, Object.fromEntries(many(33).map((_, i) => [`r${i}`, 1])))),
    /names 33 resources/,
  ],
  [
    'more than the books take',
    { roles: [{ role: 'x'.repeat(65_600), shapes: [] }] },
    /it takes 656\d\d bytes, of at most 65536: ask for fewer/,
  ],
];
for (const [title, demand, why] of bad) {
  test(`a demand for ${title} is refused, and the one before stands`, (t) => {
    const { h, frameworkId } = setUp();
    say(h, frameworkId, 1, of('ads', wanted(1, { cpus: 1 })));
    const [refused] = say(h, frameworkId, 2, demand);
    t.like(refused, { kind: 'refuse_call', code: 'call_invalid', subject: 'demand' });
    t.regex(refused?.kind === 'refuse_call' ? (refused.why ?? '') : '', why);
    t.deepEqual(told(h), { ads: ['1 × cpus:1'] });
    t.is(outcomeOf(subscribe(new Harness(), { demand })), 'call_invalid');
  });
}

test('only the scheduler of a framework says what it wants, and only once it has subscribed', (t) => {
  const { h, frameworkId } = setUp();
  const demand = { frameworkId, number: 1, roles: [] };
  t.is(outcomeOf(send(h, { demand }, 'p2')), 'framework_not_yours');
  t.is(outcomeOf(send(h, { demand, instanceId: 'other' })), 'instance_superseded');
  t.is(outcomeOf(send(h, { demand: { ...demand, frameworkId: 'unknown' } })), 'framework_unknown');
  t.is(outcomeOf(send(h, {})), 'call_invalid');
  h.autoCommit = false;
  subscribe(h, {}, frameworkId);
  t.is(outcomeOf(send(h, { demand })), 'not_subscribed');
  h.commit();
  t.is(outcomeOf(send(h, { demand })), 'accepted');
});

test('whoever subscribes with the API of Mesos says so', (t) => {
  const h = new Harness();
  subscribe(h, { mesosCompatible: true });
  t.true([...h.state.frameworks.values()][0]?.mesosCompatible);
});
