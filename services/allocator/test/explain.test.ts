// Why a framework is offered nothing: each cause by itself, and that there is a reason wherever nothing is offered.
import assert from 'node:assert/strict';
import { mesobus, mesos } from '@mesobus/protos';
import { parseResources } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { explain } from '../src/core/index.ts';
import { frameworkCan, World } from './oracle/world.ts';

const { Reason } = mesobus.v1.Withheld;

/** What the query gives when it is carried to its end. */
function explained(world: World, frameworkId: string, query: mesobus.v1.ExplainFramework.$Properties = {}) {
  const asked = new mesobus.v1.ExplainFramework({ maxAgents: 10, ...query, frameworkId });
  const work = explain(world.state, () => world.at, asked);
  for (let step = work.next(); ; step = work.next()) if (step.done) return step.value;
}

const reasonsOf = (world: World, frameworkId: string, query = {}): (string | undefined)[] =>
  (explained(world, frameworkId, query).roles ?? []).flatMap((role) => [
    ...(role?.reason ? [Reason[role.reason.reason ?? 0]] : []),
    ...(role?.agents ?? []).map((found) => Reason[found?.reason?.reason ?? 0]),
  ]);

/** A framework `f1` in role `ads`, and an agent; `other` in role `eng` is offered what f1 is not. */
function world(total: string, change: mesobus.v1.FrameworkBook.$Properties = {}): World {
  const made = new World();
  made.putFramework('f1', { roles: ['ads'], ...change });
  made.addAgents(total);
  return made;
}

const wants = (cpus: number, count = 1) => ({
  role: 'ads',
  shapes: [{ count, quantities: { cpus: { value: cpus } } }],
});
const domain = (name: string) => ({ faultDomain: { region: { name }, zone: { name: 'z' } } });
const rack = { selector: { attributeName: 'rack' }, predicate: { exists: {} } };
const inactive = (why: number) => (made: World) => made.putAgent('a1', { book: { active: false, inactive: why } });
const { Inactive } = mesobus.v1.AgentBook;

const all =
  (...steps: ((world: World) => unknown)[]) =>
  (made: World): void => {
    for (const step of steps) step(made);
  };

/** How it comes about, and what mends it; undefined: nothing that the leader could say. */
const causes: readonly (readonly [
  string,
  World,
  (world: World) => void,
  ((world: World) => void) | undefined,
  query?: object,
])[] = [
  ['FRAMEWORK_UNKNOWN', new World(), () => {}, undefined],
  [
    'FRAMEWORK_DISCONNECTED',
    world('cpus:1', { active: false }),
    () => {},
    (w) => w.putFramework('f1', { active: true }),
  ],
  [
    'ROLE_NOT_SUBSCRIBED',
    world('cpus:1'),
    () => {},
    all(
      (w) => w.putFramework('f1', { roles: ['ads', 'x'] }),
      (w) => w.addAgents('cpus:1'),
    ),
    { role: 'x' },
  ],
  [
    'ROLE_SUPPRESSED',
    world('cpus:1', { suppressedRoles: ['ads'] }),
    () => {},
    (w) => w.putFramework('f1', { suppressedRoles: [] }),
  ],
  [
    'NO_DEMAND',
    world('cpus:1', { demands: [{ role: 'ads', shapes: [] }] }),
    () => {},
    (w) => w.putFramework('f1', { demands: [wants(1)] }),
  ],
  [
    'DEMAND_UNDER_OFFER',
    world('cpus:1', { demands: [wants(1)] }),
    (w) => void w.offerAll(),
    all(
      (w) => w.putFramework('f1', { demands: [wants(1, 2)] }),
      (w) => w.addAgents('cpus:1'),
    ),
  ],
  [
    'TOO_MANY_OPEN_OFFERS',
    world('cpus:1', { maxOpenOffers: 1 }),
    all(
      (w) => w.offerAll(),
      (w) => w.addAgents('cpus:1'),
    ),
    (w) => w.putFramework('f1', { maxOpenOffers: 0 }),
  ],
  [
    'AGENT_DISCONNECTED',
    world('cpus:1'),
    inactive(Inactive.DISCONNECTED),
    (w) => w.putAgent('a1', { book: { active: true } }),
  ],
  [
    'AGENT_DEACTIVATED',
    world('cpus:1'),
    inactive(Inactive.DEACTIVATED),
    (w) => w.putAgent('a1', { book: { active: true } }),
  ],
  ['AGENT_DRAINING', world('cpus:1'), inactive(Inactive.DRAINING), (w) => w.putAgent('a1', { book: { active: true } })],
  [
    'AGENT_NOT_WHITELISTED',
    world('cpus:1'),
    inactive(Inactive.NOT_WHITELISTED),
    (w) => w.putAgent('a1', { book: { active: true } }),
  ],
  [
    'AGENT_DOWN',
    world('cpus:1'),
    inactive(Inactive.DOWN_FOR_MAINTENANCE),
    (w) => w.putAgent('a1', { book: { active: true } }),
  ],
  ['AGENT_UNKNOWN', world('cpus:1'), () => {}, undefined, { agentId: 'a9' }],
  [
    'CONSTRAINT_NOT_MET',
    world('cpus:1', { offerConstraints: { roleConstraints: { ads: { groups: [{ attributeConstraints: [rack] }] } } } }),
    () => {},
    (w) =>
      w.putAgent('a1', {
        book: { attributes: [{ name: 'rack', type: mesos.v1.Value.Type.TEXT, text: { value: 'k' } }] },
      }),
  ],
  ['RESERVED_FOR_OTHERS', world('cpus(eng):1'), () => {}, (w) => w.reserve('a1', undefined)],
  [
    'GPU_ONLY_FOR_GPU_FRAMEWORKS',
    world('cpus:1;gpus:1'),
    () => {},
    (w) => w.putFramework('f1', { capabilities: [{ type: frameworkCan.GPU_RESOURCES }] }),
  ],
  [
    'OTHER_REGION',
    world('cpus:1'),
    all(
      (w) => w.putAgent('a1', { book: { domain: domain('far') } }),
      (w) => w.feed([{ cluster: { domain: domain('here') } }]),
    ),
    (w) => w.putFramework('f1', { capabilities: [{ type: frameworkCan.REGION_AWARE }] }),
  ],
  [
    'CAPABILITY_MISSING',
    world(JSON.stringify([{ name: 'cpus', type: 'SCALAR', scalar: { value: 1 }, revocable: {} }])),
    () => {},
    (w) => w.putFramework('f1', { capabilities: [{ type: frameworkCan.REVOCABLE_RESOURCES }] }),
  ],
  ['QUOTA_LIMIT', world('cpus:1'), (w) => w.quota('ads', {}, { cpus: 0 }), (w) => w.putRole('ads', { quota: null })],
  [
    'QUOTA_HEADROOM',
    world('cpus:1'),
    (w) => w.quota('later', { cpus: 4 }, {}),
    (w) => w.putRole('later', { quota: null }),
  ],
  [
    'BELOW_MINIMUM',
    world('cpus:0.005'),
    () => {},
    (w) => w.putFramework('f1', { offerFilters: { ads: { minAllocatableResources: { quantities: [] } } } }),
  ],
  [
    'SHAPE_DOES_NOT_FIT',
    world('cpus:1', { demands: [wants(2)] }),
    () => {},
    (w) => w.putFramework('f1', { demands: [wants(1)] }),
  ],
  [
    'FILTERED',
    world('cpus:1'),
    all(
      (w) => w.offerAll(),
      (w) => w.answer('a1', 0, '', 60_000),
    ),
    (w) => w.feed([{ filtersLifted: { frameworkId: 'f1', roles: ['ads'] } }]),
  ],
  ['OFFERED_ALREADY', world('cpus:1'), (w) => void w.offerAll(), (w) => w.addAgents('cpus:1')],
  [
    'NOTHING_FREE',
    world('cpus:1'),
    all(
      (w) => w.offerAll(),
      (w) => w.answer('a1', 0, 'cpus:1', 0),
    ),
    (w) => w.release('a1', 0),
  ],
];

for (const [reason, made, cause, mend, query] of causes) {
  test(`the reason is ${reason}${mend === undefined ? '' : ', and without its cause there is an offer'}`, (t) => {
    cause(made);
    for (let decided = true; decided; ) decided = made.round().length > 0;
    made.judge(made.sent.length);
    t.deepEqual(reasonsOf(made, 'f1', query), [reason]);
    for (const role of explained(made, 'f1', query).roles ?? []) {
      for (const detail of [role?.reason, ...(role?.agents ?? []).map((found) => found?.reason)]) {
        if (detail) t.truthy(detail.detail);
      }
    }
    if (mend === undefined) return;
    mend(made);
    made.at += 1_000;
    t.true(made.offerAll().some(({ frameworkId }) => frameworkId === 'f1'));
  });
}

test('the reason is ALLOCATOR_NOT_READY between a gap and the next snapshot', (t) => {
  const made = world('cpus:1');
  made.state.synchronised = false;
  t.deepEqual(reasonsOf(made, 'f1'), ['ALLOCATOR_NOT_READY']);
});

test('what is about to be offered is said to be in turn, and after whom', (t) => {
  const made = world('cpus:1');
  made.putFramework('other', { roles: ['eng'] });
  made.addAgents('cpus:1');
  made.round();
  made.judge(2);
  const served = made.offerOn('a1', 0)?.frameworkId ?? '';
  made.addAgents('cpus:1');
  const [role] = explained(made, served, { agentId: 'a3' }).roles ?? [];
  t.like(role?.agents?.[0]?.reason, { reason: Reason.IN_TURN });
});

test('reasons tell when a filter ends, and whose limit, guarantee or reservation is in the way', (t) => {
  const filtered = world('cpus:1');
  filtered.offerAll();
  filtered.answer('a1', 0, '', 60_000);
  filtered.at += 10_000;
  const reason = (made: World) => explained(made, 'f1').roles?.[0]?.agents?.[0]?.reason;
  t.is(reason(filtered)?.endsInMs, 50_000);
  const limited = world('cpus:1', { roles: ['a/b'] });
  limited.quota('a', {}, { cpus: 0 });
  limited.quota('a/b', {}, { cpus: 1 }); // has room of its own
  t.deepEqual(reason(limited)?.roles, ['a']);
  t.is(reason(limited)?.detail, "the limit is reached: cpus of 'a' (0)");
  const kept = world('cpus:1');
  kept.quota('later', { cpus: 2 }, {});
  t.deepEqual(reason(kept)?.roles, ['later']);
  t.deepEqual(reason(world('cpus(x):1;cpus(y):1'))?.roles, ['x', 'y']);
});

test('where nothing is free, it is told in which roles it is allocated or offered', (t) => {
  const made = world('cpus:4;mem:64');
  made.offerAll();
  const reason = () => explained(made, 'late').roles?.[0]?.agents?.[0]?.reason;
  made.putFramework('late', { roles: ['eng'] });
  t.like(reason(), { reason: Reason.NOTHING_FREE, detail: 'all of it is offered to ads', roles: ['ads'] });
  made.answer('a1', 0, 'cpus:1;mem:64', 60_000);
  made.putFramework('third', {
    roles: ['web'],
    offerFilters: { web: { minAllocatableResources: { quantities: [] } } },
  });
  t.true(made.offerAll().some(({ frameworkId }) => frameworkId !== 'f1'));
  made.putFramework('fourth', { roles: ['x'] });
  const [role] = explained(made, 'fourth').roles ?? [];
  t.regex(role?.agents?.[0]?.reason?.detail ?? '', /^all of it is allocated to ads or offered to (eng|web)$/);
});

test('what is left beside a reservation is too small because of the reservation', (t) => {
  const reason = (total: string, change = {}) => reasonsOf(world(total, change), 'f1');
  t.deepEqual(reason('cpus(eng):4;mem(eng):64;disk:9'), ['RESERVED_FOR_OTHERS']);
  t.deepEqual(reason('cpus(eng):4;cpus:1', { demands: [wants(2)] }), ['RESERVED_FOR_OTHERS']);
  t.deepEqual(reason('cpus(eng):4;cpus:1', { demands: [wants(9)] }), ['SHAPE_DOES_NOT_FIT']);
  t.deepEqual(reason('cpus(eng):0.001;disk:9'), ['BELOW_MINIMUM']);
});

test('agents are counted by reason, and so many as were asked for are named', (t) => {
  const made = world('cpus:0.001');
  made.addAgents(...Array.from({ length: 5 }, () => 'cpus(eng):1'));
  made.putRole('eng', { weight: 1 });
  const found = explained(made, 'f1', { maxAgents: 2 }).roles?.[0]?.agents;
  t.like(found, [
    { count: 5, agentIds: ['a2', 'a3'] },
    { count: 1, agentIds: ['a1'] },
  ]);
});

test('a large cluster is explained in steps', (t) => {
  const made = new World({}, false);
  made.putFramework('f1', { roles: ['ads'] });
  made.addAgents(...Array.from({ length: 2_500 }, () => 'cpus(eng):1'));
  const work = explain(made.state, () => 0, new mesobus.v1.ExplainFramework({ frameworkId: 'f1' }));
  let steps = 1;
  for (let step = work.next(); !step.done; step = work.next()) steps += 1;
  t.is(steps, 3);
});

test('wherever nothing is offered there is a reason', (t) => {
  const totals = ['cpus:2;mem:64', 'cpus(ads):1', 'cpus:1;gpus:1', 'cpus:0.001', 'ports:[1-3]'];
  const law = fc.property(
    fc.array(fc.constantFrom(...totals), { maxLength: 5 }),
    fc.array(fc.subarray(['ads', 'ads/x', 'eng']), { maxLength: 4 }),
    fc.nat({ max: 3 }),
    fc.nat({ max: 3 }),
    (agents, frameworks, guarantee, limit) => {
      const made = new World();
      made.quota('ads', {}, { cpus: limit });
      made.quota('later', { cpus: guarantee }, {});
      for (const [i, roles] of frameworks.entries()) made.putFramework(`f${i}`, { roles });
      made.addAgents(...agents);
      made.settle();
      made.judge(made.sent.length);
      for (const id of made.frameworks.keys()) {
        for (const role of explained(made, id, { maxAgents: 100 }).roles ?? []) {
          if (role?.reason) continue;
          const named = (role?.agents ?? []).flatMap((found) => found?.agentIds ?? []);
          assert.deepEqual(new Set(named), new Set(made.agents.keys()));
          for (const found of role?.agents ?? []) {
            // Nothing is left to be offered: whoever holds nothing of an agent is not in turn for it.
            assert.notEqual(found?.reason?.reason, Reason.UNKNOWN);
            assert.notEqual(found?.reason?.reason, Reason.IN_TURN);
          }
        }
      }
    },
  );
  t.notThrows(() => fc.assert(law, { numRuns: 150 }));
});

test('the amounts that are too small are told', (t) => {
  const reason = explained(world('cpus:0.005'), 'f1').roles?.[0]?.agents?.[0]?.reason;
  t.is(reason?.detail, 'what is free, cpus:0.005, is below the smallest offer');
  t.deepEqual(parseResources('cpus:0.005').length, 1);
});

test('of agents with the same reason and different amounts one is told as an example', (t) => {
  const made = world('cpus:1', { demands: [wants(2)] });
  const detail = () => explained(made, 'f1').roles?.[0]?.agents?.[0]?.reason?.detail;
  t.is(detail(), 'no task that is wanted fits in what is free, cpus:1: cpus:2 is wanted');
  made.addAgents('cpus:1.5');
  t.is(detail(), 'for example: no task that is wanted fits in what is free, cpus:1: cpus:2 is wanted');
});
