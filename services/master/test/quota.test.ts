import { mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import { parseResources, reservedFor, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import { answerQuery, type State } from '../src/core/index.ts';
import { Harness, rescinded, resources, type Sent, statusesIn, TaskState, task, whyRefused } from './harness.ts';

const { Type } = mesos.v1.master.Call;
const { MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;

type Amounts = Readonly<Record<string, number>>;

const scalars = (amounts: Amounts = {}): Record<string, { value: number }> =>
  Object.fromEntries(Object.entries(amounts).map(([name, value]) => [name, { value }]));

interface Wanted {
  readonly role: string;
  readonly guarantees?: Amounts;
  readonly limits?: Amounts;
}

let calls = 0;

const operate = (h: Harness, call: mesos.v1.master.Call.$Properties, callId = `o${++calls}`): Sent[] =>
  h.operatorCall({ callId, call });

const updateQuota = (h: Harness, wanted: readonly Wanted[], force = false, callId?: string): Sent[] =>
  operate(h, { type: Type.UPDATE_QUOTA, updateQuota: { force, quotaConfigs: wanted.map(configOf) } }, callId);

const configOf = ({ role, guarantees, limits }: Wanted): mesos.v1.quota.QuotaConfig.$Properties => ({
  role,
  guarantees: scalars(guarantees),
  limits: scalars(limits),
});

const framework = (h: Harness, instanceId: string, ...roles: string[]): string =>
  h.framework({ roles, capabilities: [{ type: MULTI_ROLE }] }, { instanceId });

function consumed(state: State, role: string): Amounts {
  const answer = answerQuery(state, 'ops', new mesobus.v1.MasterQuery({ getRoleUse: {} }), 1, 0)?.roleUse;
  const use = answer?.roles.find(({ quota }) => quota?.role === role)?.consumed ?? {};
  return Object.fromEntries(Object.entries(use).map(([name, { value }]) => [name, value]));
}

// ---- what is refused

const refused: [title: string, wanted: Wanted[], why: RegExp][] = [
  ['no role', [], /names no role/],
  ['a malformed role', [{ role: 'a//b', limits: { cpus: 1 } }], /'a\/\/b' has an empty component/],
  ['the default role', [{ role: '*', limits: { cpus: 1 } }], /default role.*a role of its own/],
  ['a role twice', [{ role: 'a' }, { role: 'a' }], /'a' is named twice/],
  ['a negative limit', [{ role: 'a', limits: { cpus: -1 } }], /limit 'cpus' of role 'a' is -1: give a number/],
  ['a guarantee that is no number', [{ role: 'a', guarantees: { cpus: Number.NaN } }], /guarantee 'cpus'.*NaN/],
  [
    'a guarantee above its limit',
    [{ role: 'a', guarantees: { cpus: 2 }, limits: { cpus: 1 } }],
    /guaranteed cpus:2, above its own limit, cpus:1; lower the guarantee or raise the limit/,
  ],
  [
    'guarantees above what there is',
    [
      { role: 'a', guarantees: { cpus: 3 } },
      { role: 'b', guarantees: { cpus: 2 } },
    ],
    /together would be cpus:5, but the agents have cpus:4; guarantee less, add agents, or use force/,
  ],
  [
    'a nested guarantee with nothing above it',
    [{ role: 'a/b', guarantees: { cpus: 1 } }],
    /no role above it is guaranteed any; give role 'a' as much first/,
  ],
  [
    "guarantees of children above their parent's",
    [
      { role: 'a', guarantees: { cpus: 3 } },
      { role: 'a/b', guarantees: { cpus: 2 } },
      { role: 'a/c/d', guarantees: { cpus: 2 } },
    ],
    /below 'a' would be guaranteed cpus:4 together, but 'a' only cpus:3; raise/,
  ],
  [
    "a child's limit above its parent's",
    [
      { role: 'a', limits: { mem: 100 } },
      { role: 'a/b', limits: { mem: 101 } },
    ],
    /'a\/b' would have the limit mem:101, above the limit of role 'a', mem:100/,
  ],
  [
    "a child's guarantee above a limit further up",
    [
      { role: 'a', guarantees: { cpus: 3 } },
      { role: 'a/b', limits: { cpus: 1 } },
      { role: 'a/b/c', guarantees: { cpus: 2 } },
    ],
    /'a\/b\/c' would be guaranteed cpus:2, above the limit of role 'a\/b', cpus:1/,
  ],
];
for (const [title, wanted, why] of refused) {
  test(`an update with ${title} is refused, and nothing is changed`, (t) => {
    const h = new Harness();
    h.agent();
    const before = h.records.length;
    t.regex(whyRefused(updateQuota(h, wanted)), why);
    t.is(h.records.length, before);
  });
}

test('force takes a quota above the capacity, and none that contradicts itself', (t) => {
  const h = new Harness();
  t.regex(whyRefused(updateQuota(h, [{ role: 'a', guarantees: { cpus: 100 } }])), /the agents have cpus:0/);
  t.is(whyRefused(updateQuota(h, [{ role: 'a', guarantees: { cpus: 100 } }], true)), 'accepted');
  t.regex(
    whyRefused(updateQuota(h, [{ role: 'a/b', guarantees: { cpus: 101 } }], true)),
    /below 'a'.*cpus:101.*only cpus:100/,
  );
});

test('a parent is not lowered under its children, nor removed before them; together with them it is', (t) => {
  const h = new Harness();
  h.agent();
  const eng = { role: 'eng', guarantees: { cpus: 3 }, limits: { cpus: 4 } };
  const ads = { role: 'eng/ads', guarantees: { cpus: 2 }, limits: { cpus: 3 } };
  t.is(whyRefused(updateQuota(h, [eng, ads])), 'accepted');
  t.regex(whyRefused(updateQuota(h, [{ ...eng, guarantees: { cpus: 1 } }])), /below 'eng'.*cpus:2.*only cpus:1/);
  t.regex(
    whyRefused(updateQuota(h, [{ ...eng, guarantees: { cpus: 2 }, limits: { cpus: 2 } }])),
    /limit of role 'eng'/,
  );
  t.regex(whyRefused(updateQuota(h, [{ role: 'eng' }])), /no role above it is guaranteed any/);
  t.is(whyRefused(updateQuota(h, [{ role: 'eng' }, { role: 'eng/ads' }])), 'accepted');
  t.is(h.state.ledger.roles.size, 0);
});

test('a limit below what is used is refused unless it is forced; nothing is killed then', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const f = framework(h, 'i1', 'a/b');
  h.accept(f, [h.offer(f, agentId, 'cpus:2;mem:128', 'a/b')], [task('t1', agentId, { ask: 'cpus:2;mem:128' })]);
  const wanted = [{ role: 'a', limits: { cpus: 1 } }];
  t.regex(whyRefused(updateQuota(h, wanted)), /'a' and its subroles use cpus:2, more than the limit cpus:1; end tasks/);
  t.is(whyRefused(updateQuota(h, wanted, true)), 'accepted');
  t.is(h.task(f, 't1')?.state, TaskState.TASK_STAGING);
  t.is(h.offer(f, agentId, 'cpus:1', 'a/b'), '');
});

// ---- durable, once

test('a quota is in the log beside the weight of its role, for the next leader too, and leaves it again', (t) => {
  const h = new Harness();
  h.agent();
  operate(h, { type: Type.UPDATE_WEIGHTS, updateWeights: { weightInfos: [{ role: 'a', weight: 2 }] } });
  updateQuota(h, [{ role: 'a', guarantees: { cpus: 1, mem: 0 }, limits: { cpus: 2, gpus: 0 } }]);
  const next = Harness.after(h);
  const record = next.state.ledger.roles.get('a');
  t.is(record?.weight, 2);
  t.deepEqual(Object.keys(record?.quota?.guarantees ?? {}), ['cpus']);
  t.deepEqual(Object.keys(record?.quota?.limits ?? {}), ['cpus', 'gpus']);
  updateQuota(next, [{ role: 'a' }]);
  t.like(next.state.ledger.roles.get('a'), { weight: 2, quota: null });
});

test('a call that is repeated gets the same answer, from the next leader too, whatever has changed since', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const f = framework(h, 'i1', 'a');
  const wanted = [{ role: 'a', limits: { cpus: 3 } }];
  updateQuota(h, wanted, false, 'one');
  updateQuota(h, [{ role: 'a', limits: { cpus: 4 } }]);
  h.accept(f, [h.offer(f, agentId, 'cpus:4;mem:128', 'a')], [task('t1', agentId, { ask: 'cpus:4;mem:64' })]);
  t.is(whyRefused(updateQuota(h, wanted, false, 'one')), 'accepted');
  const next = Harness.after(h);
  t.is(whyRefused(updateQuota(next, wanted, false, 'one')), 'accepted');
  t.is(next.state.ledger.roles.get('a')?.quota?.limits['cpus']?.value, 4);
});

test('a quota that is already so makes no record for its role', (t) => {
  const h = new Harness();
  h.agent();
  updateQuota(h, [{ role: 'a', guarantees: { cpus: 1 } }]);
  const before = h.records.filter(({ role }) => role).length;
  t.is(whyRefused(updateQuota(h, [{ role: 'a', guarantees: { cpus: 1 } }])), 'accepted');
  t.is(h.records.filter(({ role }) => role).length, before);
});

test('the old calls: what is guaranteed is the limit, once, until it is removed', (t) => {
  const h = new Harness();
  h.agent();
  const set = (guarantee: mesos.v1.Resource.$Properties[], callId?: string): string =>
    whyRefused(operate(h, { type: Type.SET_QUOTA, setQuota: { quotaRequest: { role: 'a', guarantee } } }, callId));
  t.regex(set([]), /guarantees nothing/);
  t.regex(set(resources('ports:[1-2]')), /'ports' is no scalar/);
  t.regex(set(resources('cpus(b):1')), /'cpus' is reserved/);
  t.regex(set([...resources('cpus:1'), ...resources('cpus:1')]), /'cpus' is named twice/);
  t.regex(set(resources('cpus:5')), /the agents have cpus:4/);
  t.is(set(resources('cpus:2'), 'set'), 'accepted');
  const quota = h.state.ledger.roles.get('a')?.quota;
  t.is(quota?.guarantees['cpus']?.value, 2);
  t.is(quota?.limits['cpus']?.value, 2);
  t.regex(set(resources('cpus:3')), /has a quota already; use UPDATE_QUOTA/);
  t.is(set(resources('cpus:2'), 'set'), 'accepted');
  const remove = (callId: string): string =>
    whyRefused(operate(h, { type: Type.REMOVE_QUOTA, removeQuota: { role: 'a' } }, callId));
  t.is(remove('remove'), 'accepted');
  t.is(remove('remove'), 'accepted');
  t.regex(remove('another'), /has no quota/);
});

// ---- what counts

test('reservations count whether they are held or not, of subroles too; what is held of them does not count twice', (t) => {
  const h = new Harness();
  const agentId = h.agent('a1', 'cpus:4;cpus(a/b):2;mem:1024');
  const f = framework(h, 'i1', 'a/b', 'a');
  updateQuota(h, [{ role: 'a', limits: { cpus: 5 } }]);
  t.deepEqual(consumed(h.state, 'a'), { cpus: 2 });
  h.offer(f, agentId, 'cpus(a/b):2', 'a/b');
  t.deepEqual(consumed(h.state, 'a'), { cpus: 2 });
  h.offer(f, agentId, 'cpus:3;mem:10', 'a');
  t.deepEqual(consumed(h.state, 'a'), { cpus: 5, mem: 10 });
  h.operateOnAgent('markAgentGone', agentId);
  t.deepEqual(consumed(h.state, 'a'), {});
});

test('an allocation that would pass the limit of a role above is dropped, and told in the feed', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const f = framework(h, 'i1', 'a/b/c', 'd');
  h.appoint();
  updateQuota(h, [{ role: 'a', limits: { cpus: 2 } }]);
  h.feedOf();
  t.is(h.offer(f, agentId, 'cpus:2.001', 'a/b/c'), '');
  const [log] = h.sent.flatMap((effect) => (effect.kind === 'log' && effect.fields['why'] ? [effect.fields] : []));
  t.is(log?.['why'], "the limit of role 'a' would be passed");
  t.true(h.feedOf().some(({ items }) => items.some(({ agent }) => agent?.agentId === agentId)));
  t.is(h.offer(f, agentId, 'cpus:2;mem:4000', 'a/b/c'), 'm1-O1');
  t.is(h.offer(f, agentId, 'cpus:0.001', 'a/b/c'), 'm1-O1', 'nothing more');
  t.is(h.offer(f, agentId, 'cpus:2', 'd'), 'm1-O2', 'another role is free to');
});

// ---- what an update takes back

test('offers of a role above its new limit are taken back, the youngest first, with the reason in their traces', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const agents = ['a1', 'a2', 'a3'].map((name) => h.agent(name));
  const f = framework(h, 'i1', 'a/b', 'c');
  const [first] = agents.map((agentId) => h.offer(f, agentId, 'cpus:2', 'a/b'));
  h.offer(f, agents[0] ?? '', 'cpus:2', 'c');
  const sent = updateQuota(h, [{ role: 'a', limits: { cpus: 3 } }]);
  t.deepEqual(rescinded(sent), ['m1-O3', 'm1-O2']);
  t.true(h.state.offers.has(first ?? ''));
  const spans = sent.flatMap((effect) => (effect.kind === 'span' ? [effect.span] : []));
  t.is(spans.at(-1)?.attributes?.['mesobus.why'], "role 'a' is above its new limit");
});

test('offers are taken back until a new guarantee can be met, and no more; those of the guaranteed role stay', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const agents = ['a1', 'a2', 'a3'].map((name) => h.agent(name));
  const f = framework(h, 'i1', 'a', 'b');
  h.offer(f, agents[0] ?? '', 'cpus:4', 'b');
  h.offer(f, agents[1] ?? '', 'cpus:4', 'b');
  h.offer(f, agents[2] ?? '', 'cpus:4', 'a');
  // 4 are consumed, of the other 4 none is free.
  t.deepEqual(rescinded(updateQuota(h, [{ role: 'a', guarantees: { cpus: 8 } }])), ['m1-O2']);
  t.deepEqual(rescinded(updateQuota(h, [{ role: 'b', guarantees: { cpus: 4 } }])), []);
});

test('a guarantee of a child takes nothing back that the guarantee of its parent keeps already', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const [a1, a2] = [h.agent('a1'), h.agent('a2')];
  const f = framework(h, 'i1', 'b');
  updateQuota(h, [{ role: 'a', guarantees: { cpus: 4 } }]);
  h.offer(f, a1, 'cpus:4', 'b');
  t.deepEqual(rescinded(updateQuota(h, [{ role: 'a/x', guarantees: { cpus: 4 } }])), []);
  t.deepEqual(rescinded(updateQuota(h, [{ role: 'a', guarantees: { cpus: 5 } }])), ['m1-O1']);
  t.truthy(a2);
});

// ---- what the allocator takes back

test('an allocator takes offers of a framework on an agent back, with its reason; repeated it does nothing', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const [f, g] = [framework(h, 'i1', 'a', 'b'), framework(h, 'i2', 'a')];
  h.offer(f, agentId, 'cpus:1', 'a');
  h.offer(f, agentId, 'cpus:1', 'b');
  h.offer(g, agentId, 'cpus:1', 'a');
  const kind = mesobus.v1.Allocation.Kind.RESCIND;
  const allocation = { kind, agentId, frameworkId: f, role: 'a', why: 'role c has waited for 2 s' };
  const sent = h.allocate([{ ...allocation, number: 4 }]);
  t.deepEqual(rescinded(sent), ['m1-O1']);
  const log = sent.find((effect) => effect.kind === 'log');
  t.like(log, { fields: { why: 'role c has waited for 2 s', offers: 1 } });
  t.deepEqual(rescinded(h.allocate([{ ...allocation, number: 4 }])), []);
  t.deepEqual(rescinded(h.allocate([{ ...allocation, number: 5 }])), []);
  t.is(h.state.allocators.allocationsSeen, 5);
});

test('running tasks are not asked back: such an allocation is dropped, and the next one counts', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  const kind = mesobus.v1.Allocation.Kind.RECLAIM;
  h.allocate([{ kind, agentId, frameworkId, role: '*', resources: resources('cpus:1') }]);
  t.is(h.task(frameworkId, 't1')?.state, TaskState.TASK_STAGING);
  t.is(h.offer(frameworkId, agentId, 'cpus:1'), 'm1-O2');
});

// ---- weights

test('a new weight takes all offers back if its role, or one below, has a framework; the same weight does not', (t) => {
  const h = new Harness({ offerTimeoutMs: 0 });
  const agentId = h.agent();
  const f = framework(h, 'i1', 'a/b', 'c');
  h.offer(f, agentId, 'cpus:1', 'c');
  const weigh = (role: string, weight: number): string[] =>
    rescinded(operate(h, { type: Type.UPDATE_WEIGHTS, updateWeights: { weightInfos: [{ role, weight }] } }));
  t.deepEqual(weigh('other', 2), []);
  t.deepEqual(weigh('a', 1), [], 'as it was');
  t.deepEqual(weigh('a', 2), ['m1-O1']);
  h.offer(f, agentId, 'cpus:1', 'c');
  t.deepEqual(weigh('a', 2), []);
});

test('a role that is given two weights at once is refused', (t) => {
  const h = new Harness();
  const weightInfos = [2, 1].map((weight) => ({ role: 'a', weight }));
  t.regex(whyRefused(operate(h, { type: Type.UPDATE_WEIGHTS, updateWeights: { weightInfos } })), /'a' is named twice/);
  t.is(h.records.length, 0);
});

test('offers of a role that comes above its limit by a reservation, or by what an agent brings, are taken back', (t) => {
  const h = new Harness();
  const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_OPERATION_FEEDBACK }];
  h.register('a1', { capabilities });
  const agentId = h.state.ledger.agentsByName.get('a1')?.id ?? '';
  const f = framework(h, 'i1', 'a');
  updateQuota(h, [{ role: 'a', limits: { cpus: 2 } }]);
  const first = h.offer(f, agentId, 'cpus:2', 'a');
  const reserved = toWire(reservedFor(parseResources('cpus:1'), 'a'));
  const call = { agentId: { value: agentId }, resources: reserved };
  t.deepEqual(rescinded(operate(h, { type: Type.RESERVE_RESOURCES, reserveResources: call })), [first]);
  const second = h.offer(f, agentId, 'cpus:1', 'a');
  t.deepEqual(rescinded(h.register('a2', { total: 'cpus(a):1' } as never)), [second]);
});

test('a weight of 0 or less is refused', (t) => {
  const h = new Harness();
  for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    const weightInfos = [{ role: 'a', weight }];
    const sent = operate(h, { type: Type.UPDATE_WEIGHTS, updateWeights: { weightInfos } });
    t.regex(whyRefused(sent), /the weight of role 'a' is .*: give more than 0/);
  }
});

test('the rest of an accept that a dead leader began passes no limit that others have come up to since', (t) => {
  const h = new Harness();
  const total = 'cpus:1000;mem:100000';
  const agentId = h.agent('a1', total);
  const f = framework(h, 'i1', 'a');
  updateQuota(h, [{ role: 'a', limits: { cpus: 300 } }]);
  const tasks = Array.from({ length: 250 }, (_, i) => task(`t${i}`, agentId, { ask: 'cpus:1' }));
  const offerId = h.offer(f, agentId, 'cpus:250;mem:100', 'a');
  h.accept(f, [offerId], tasks, 'c1');
  const next = Harness.after(h, 'm2', (ledger) => {
    const first = h.records.findIndex(({ taskLaunched }) => taskLaunched?.task?.taskId.value === 't200');
    for (const record of h.records.slice(0, first)) applyRecord(ledger, record);
  });
  next.register('a1', { total, cursor: 0 } as never);
  next.subscribe({ roles: ['a'], capabilities: [{ type: MULTI_ROLE }] }, { frameworkId: f });
  next.offer(f, agentId, 'cpus:60', 'a');
  const statuses = statusesIn(next.accept(f, [offerId], tasks, 'c1'));
  t.is(statuses.length, 50);
  t.regex(statuses[0]?.message ?? '', /limit of role 'a'/);
  t.is(consumed(next.state, 'a')['cpus'], 260);
  t.true(next.state.ledger.calls.get('c1')?.record.complete);
});
