// What would be offered if some things were otherwise.
import { mesobus } from '@mesobus/protos';
import test from 'ava';
import { availableOn, quotas, shares, whatIf } from '../src/core/index.ts';
import { World } from './oracle/world.ts';

type Query = mesobus.v1.WhatIf.$Properties;

function answer(world: World, query: Query) {
  const work = whatIf(world.state, world.at, new mesobus.v1.WhatIf(query as never));
  for (let step = work.next(); ; step = work.next()) if (step.done) return step.value;
}

const cpus = (
  offers: readonly (mesobus.v1.OfferedTo.$Properties | null)[] | null | undefined,
): Record<string, number> =>
  Object.fromEntries((offers ?? []).map((one) => [one?.role ?? '', one?.quantities?.['cpus']?.value ?? 0]));

function twoRoles(agents: number): World {
  const world = new World({}, false);
  for (const role of ['ads', 'eng']) world.putFramework(`f of ${role}`, { roles: [role] });
  world.addAgents(...Array.from({ length: agents }, () => 'cpus:1;mem:100'));
  return world;
}

const role = (name: string, weight: number, guaranteed?: number) => ({
  role: name,
  weight,
  quota: guaranteed === undefined ? null : { role: name, guarantees: { cpus: { value: guaranteed } }, limits: {} },
});

test('a weight would change who is offered how much', (t) => {
  const world = twoRoles(30);
  world.offerAll();
  const { offersBefore, offersAfter } = answer(world, { roles: [role('eng', 2)] });
  t.deepEqual(cpus(offersBefore), { ads: 15, eng: 15 });
  t.deepEqual(cpus(offersAfter), { ads: 10, eng: 20 });
});

test('a quota would keep what it guarantees, and agents could come and go', (t) => {
  const world = twoRoles(10);
  const { offersAfter } = answer(world, {
    roles: [role('later', 0, 6)],
    agentsAdded: [{ count: 4, resources: [], attributes: [] }],
    agentsRemoved: ['a1', 'a2'],
  });
  t.deepEqual(cpus(offersAfter), { ads: 3, eng: 3 });
});

test('what is allocated stays, and what is offered is taken back', (t) => {
  const world = twoRoles(4);
  world.offerAll();
  const used = [...world.agents.keys()].filter((id) => world.offerOn(id, 0)?.role === 'ads');
  for (const id of used) world.answer(id, 0, 'cpus:1;mem:100', 0);
  const { sharesBefore, offersBefore } = answer(world, {});
  t.deepEqual(cpus(offersBefore), { eng: 2 });
  t.deepEqual((sharesBefore?.roles ?? []).map((one) => [one?.role, one?.dominantShare]).sort(), [
    ['ads', 0.5],
    ['eng', 0.5],
  ]);
});

test('nothing of the books is changed', (t) => {
  const world = twoRoles(6);
  world.quota('ads', { cpus: 1 }, { cpus: 4 });
  world.offerAll();
  const books = () => ({
    shares: shares(world.state, 0),
    quotas: quotas(world.state),
    free: [...world.agents.keys()].map((id) => availableOn(world.state, id)),
    open: world.state.open.size,
    candidates: world.state.candidates.size,
    number: world.state.lastNumber,
    amounts: [...world.state.amounts.data],
  });
  const before = books();
  answer(world, { roles: [role('eng', 5, 3)], agentsRemoved: ['a1'] });
  t.deepEqual(books(), before);
});

test('the books may change while an answer is worked out', (t) => {
  const world = twoRoles(2_500);
  const work = whatIf(world.state, 0, new mesobus.v1.WhatIf({}));
  work.next();
  world.removeAgent('a2000');
  world.addAgents('cpus:1;newscalar:5');
  for (let step = work.next(); ; step = work.next()) {
    if (!step.done) continue;
    const { ads = 0, eng = 0 } = cpus(step.value.offersAfter);
    t.is(ads + eng, 2_499);
    return;
  }
});

const problems: readonly (readonly [string, Query, RegExp])[] = [
  ['an agent that is not there', { agentsRemoved: ['a9'] }, /^there is no agent 'a9' to remove: name one/],
  ['a role that is none', { roles: [role('a//b', 1)] }, /empty component/],
  ['a weight that is none', { roles: [role('a', -1)] }, /^the weight -1 of role 'a' is not above 0: give/],
  ['too many agents', { agentsAdded: [{ count: 100_001 }] }, /^100001 agents are too many: add at most 100000$/],
  [
    'a resource that is none',
    { agentsAdded: [{ count: 1, resources: [{ name: 'cpus', type: 0, scalar: { value: -1 } }] }] },
    /negative/,
  ],
];
for (const [what, query, message] of problems) {
  test(`${what} is refused`, (t) => {
    const world = twoRoles(2);
    const bytes = mesobus.v1.WhatIf.encode(query as never).finish();
    t.throws(() => answer(world, mesobus.v1.WhatIf.decode(bytes)), { name: 'WhatIfProblem', message });
  });
}

test('quotas are told with what counts against them, and what is kept free', (t) => {
  const world = twoRoles(10);
  world.quota('ads', { cpus: 7 }, { cpus: 8 });
  world.quota('ads/x', { cpus: 2 }, {});
  world.round();
  world.judge(world.sent.length);
  const { roles, requiredHeadroom, availableHeadroom } = quotas(world.state);
  t.deepEqual(requiredHeadroom, { cpus: { value: 2 } });
  t.deepEqual(availableHeadroom?.['cpus'], { value: 2 });
  t.like(roles?.[0], {
    config: { role: 'ads', guarantees: { cpus: { value: 7 } }, limits: { cpus: { value: 8 } } },
    consumed: { cpus: { value: 5 } },
  });
});
