// The allocator beside its plain double, through everything that a leader can say: both must decide the same, and the
// laws of allocation hold after every step.
import assert from 'node:assert/strict';
import { mesos } from '@mesobus/protos';
import {
  add,
  noResources,
  parseResources,
  type Quantities,
  quantitiesOf,
  revocable,
  select,
} from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { availableOn, type Decision, type Settings } from '../src/core/index.ts';
import { drf, random } from '../src/core/sorter/index.ts';
import { isLoose, pathOf } from './oracle/plain-books.ts';
import { agentCan, checkAgent, checkLent, frameworkCan, volumeOf, World } from './oracle/world.ts';

const agentIds = ['a1', 'a2', 'a3', 'a4'];
const frameworkIds = ['f1', 'f2', 'f3'];
const roles = ['ads', 'ads/web', 'ads/web/x', 'eng', '*'];
const totals = [
  'cpus:8;mem:4096;ports:[1-20]',
  'cpus:4;mem:1024;disk:2048',
  'cpus:2;mem:512;cpus(ads):2;mem(ads/web):512',
  'cpus:4;mem:2048;gpus:2',
  'cpus:6;mem:6000;bogomips:70',
];

type Act = (world: World) => void;
const agent = fc.constantFrom(...agentIds);
const framework = fc.constantFrom(...frameworkIds);
const role = fc.constantFrom(...roles);
const few = fc.nat({ max: 7 });
const all = fc.tuple(agent, framework, role, few, few);
type Picked = [agent: string, framework: string, role: string, n: number, m: number];

/** An input of a kind; the picks say of which agent, framework and role, and how much. */
const kind = (act: (world: World, ...picked: Picked) => void): fc.Arbitrary<Act> =>
  all.map(
    (picked): Act =>
      (world) =>
        act(world, ...picked),
  );

const onAgent = (act: (world: World, ...picked: Picked) => void): fc.Arbitrary<Act> =>
  kind((world, id, ...rest) => {
    if (world.agents.has(id)) act(world, id, ...rest);
  });
const onFramework = (act: (world: World, ...picked: Picked) => void): fc.Arbitrary<Act> =>
  kind((world, id, frameworkId, ...rest) => {
    if (world.frameworks.has(frameworkId)) act(world, id, frameworkId, ...rest);
  });

const subset = <T>(list: readonly T[], bits: number): T[] => list.filter((_, i) => (bits & (1 << i)) !== 0);
const capabilities = (bits: number) => [
  ...subset(
    [
      frameworkCan.REVOCABLE_RESOURCES,
      frameworkCan.GPU_RESOURCES,
      frameworkCan.SHARED_RESOURCES,
      frameworkCan.REGION_AWARE,
      frameworkCan.RESERVATION_REFINEMENT,
      frameworkCan.MULTI_ROLE,
    ],
    bits * 7 + 1,
  ).map((type) => ({ type })),
];
const domain = (n: number) => ({ faultDomain: { region: { name: `r${n % 2}` }, zone: { name: 'z' } } });
const attribute = (n: number) => ({ name: 'rack', type: mesos.v1.Value.Type.TEXT, text: { value: `k${n % 3}` } });
const usualAgentCan = [agentCan.MULTI_ROLE, agentCan.HIERARCHICAL_ROLE].map((type) => ({ type }));

const join = (world: World, id: string, n: number): void => {
  if (world.agents.has(id)) return;
  const total = parseResources(totals[n % totals.length] as string);
  world.putAgent(id, { total, book: { active: true, capabilities: usualAgentCan } });
};
const subscribe = (world: World, id: string, bits: number): void =>
  world.putFramework(id, { active: true, roles: subset(roles, bits * 4 + bits + 1) });

const wants = (r: string, n: number, m: number) => ({
  role: r,
  shapes: subset(
    [
      { quantities: { cpus: { value: 1 }, mem: { value: 128 } }, count: m },
      { quantities: { cpus: { value: 0.5 }, ports: { value: 2 } }, count: 1 },
      { quantities: { disk: { value: 50 } }, count: 2 },
    ],
    n,
  ),
});

const kinds: Readonly<Record<string, fc.Arbitrary<Act>>> = {
  'an agent joins': kind((world, id, _f, _r, n) => join(world, id, n)),
  'another agent joins': kind((world, id, _f, _r, n) => join(world, id, n)),
  'an agent is removed': onAgent((world, id) => world.removeAgent(id)),
  'an agent is inactive, for a reason': onAgent((world, id, _f, _r, n) =>
    world.putAgent(id, { book: { active: false, inactive: n % 6 } }),
  ),
  'an agent is active again': onAgent((world, id) => world.putAgent(id, { book: { active: true } })),
  'an agent is larger or smaller': onAgent((world, id, _f, _r, n) =>
    world.putAgent(id, { total: parseResources(totals[n % totals.length] as string) }),
  ),
  'an agent lends revocable resources': onAgent((world, id, _f, _r, n) => world.estimate(id, n + 1)),
  'an agent lends less': onAgent((world, id, _f, _r, n) => world.estimate(id, n / 10)),
  'an agent has a volume': onAgent((world, id, _f, r, n) => {
    const plain = select(world.agent(id).total, ({ disk }) => disk === undefined);
    world.putAgent(id, { total: r === '*' ? plain : add(plain, volumeOf(r, n % 2 === 0)) });
  }),
  'an agent has disks of its own': onAgent((world, id, _f, _r, n) => {
    const plain = select(world.agent(id).total, ({ disk }) => disk === undefined);
    const type = n % 2 === 0 ? 'MOUNT' : 'PATH';
    const disk = {
      name: 'disk',
      type: 'SCALAR',
      scalar: { value: 300 },
      disk: { source: { type, [type.toLowerCase()]: { root: '/d' } } },
    };
    world.putAgent(id, { total: add(plain, parseResources(JSON.stringify([disk]))) });
  }),
  'an agent has other attributes': onAgent((world, id, _f, _r, n) =>
    world.putAgent(id, { book: { attributes: [attribute(n)] } }),
  ),
  'an agent is in a region': onAgent((world, id, _f, _r, n) => world.putAgent(id, { book: { domain: domain(n) } })),
  'an agent has other capabilities': onAgent((world, id, _f, _r, n) =>
    world.putAgent(id, { book: { capabilities: subset(usualAgentCan, n) } }),
  ),
  'the master is in a region': kind((world, _a, _f, _r, n) => {
    world.cluster = { cluster: n % 3 === 0 ? {} : { domain: domain(n) } };
    world.feed([world.cluster]);
  }),
  'a framework subscribes': kind((world, _a, id, _r, n) => subscribe(world, id, n)),
  'a framework has other roles': kind((world, _a, id, _r, n) => subscribe(world, id, n)),
  'a framework is removed': kind((world, _a, id) => world.removeFramework(id)),
  'a framework is disconnected': onFramework((world, _a, id) => world.putFramework(id, { active: false })),
  'a framework is back': onFramework((world, _a, id) => world.putFramework(id, { active: true })),
  'a framework suppresses roles': onFramework((world, _a, id, _r, n) =>
    world.putFramework(id, { suppressedRoles: subset(roles, n) }),
  ),
  'a framework revives roles': onFramework((world, _a, id, r, n) => {
    world.putFramework(id, { suppressedRoles: [] });
    world.feed([{ filtersLifted: { frameworkId: id, roles: n % 2 === 0 ? [] : [r] } }]);
  }),
  'a framework has other capabilities': onFramework((world, _a, id, _r, n) =>
    world.putFramework(id, { capabilities: capabilities(n) }),
  ),
  'a framework takes smaller offers': onFramework((world, _a, id, r, n) => {
    const quantities = [
      { quantities: { cpus: { value: n } } },
      { quantities: { ports: { value: 3 }, mem: { value: 1 } } },
    ];
    world.putFramework(id, {
      offerFilters: { [r]: { minAllocatableResources: { quantities: subset(quantities, n) } } },
    });
  }),
  'a framework constrains its agents': onFramework((world, _a, id, r, n) => {
    const constraint = { selector: { attributeName: 'rack' }, predicate: { textEquals: { value: `k${n % 3}` } } };
    const roleConstraints = { [r]: { groups: [{ attributeConstraints: [constraint] }] } };
    world.putFramework(id, { offerConstraints: n > 4 ? null : { roleConstraints } });
  }),
  'a framework says what it wants': onFramework((world, _a, id, r, n, m) =>
    world.putFramework(id, { demands: [wants(r, n, m + 1)] }),
  ),
  'a framework wants nothing': onFramework((world, _a, id, r) => world.putFramework(id, { demands: [wants(r, 0, 0)] })),
  'a framework says no more what it wants': onFramework((world, _a, id) => world.putFramework(id, { demands: [] })),
  'a framework may have few offers': onFramework((world, _a, id, _r, n) =>
    world.putFramework(id, { maxOpenOffers: n % 4 }),
  ),
  'a role has a weight': kind((world, _a, _f, r, n) => world.putRole(r, { weight: n + 0.5 })),
  'a role is guaranteed something': kind((world, _a, _f, r, n, m) => world.quota(r, { cpus: n, mem: m * 100 }, {})),
  'a role is limited': kind((world, _a, _f, r, n, m) =>
    world.quota(r, { cpus: Math.min(n, m) }, { cpus: n, disk: m * 50 }),
  ),
  'a role has no quota any more': kind((world, _a, _f, r) => world.putRole(r, { quota: null })),
  'a role is as it was': kind((world, _a, _f, r) => {
    world.roles.delete(r);
    world.feed([{ role: { role: r, weight: 0 } }]);
  }),
  'a round': kind((world) => void world.round()),
  'decisions become offers': kind((world, _a, _f, _r, n) => world.judge(n + 1)),
  'all decisions become offers': kind((world) => world.judge(world.sent.length)),
  'decisions are refused': kind((world, _a, _f, _r, n) => world.judge(n, false)),
  'an offer is accepted whole': kind((world, id, _f, _r, n) => {
    const held = world.offerOn(id, n);
    if (held === undefined) return;
    held.allocated = add(held.allocated, held.offered);
    held.offered = noResources;
    world.feed([world.agentItem(id)]);
  }),
  'an offer is accepted in part': kind((world, id, _f, _r, n, m) => world.answer(id, n, 'cpus:1', m * 500)),
  'an offer is declined for a while': kind((world, id, _f, _r, n, m) => world.answer(id, n, '', (m + 1) * 700)),
  'an offer is declined': kind((world, id, _f, _r, n) => world.answer(id, n, '', 0)),
  'tasks end': kind((world, id, _f, _r, n) => world.release(id, n)),
  'cpus are reserved': kind((world, id, _f, r) => r !== '*' && world.reserve(id, r)),
  'cpus are unreserved': kind((world, id) => world.reserve(id, undefined)),
  'time passes': kind((world, _a, _f, _r, n) => {
    world.at += n * 300;
  }),
  'an agent is told of twice': onAgent((world, id) => world.feed([world.agentItem(id), world.agentItem(id)])),
  'a gap, and a snapshot': kind((world) => world.gap()),
  'a new appointment': kind((world) => world.appointAnew()),
};

const always = ['a round', 'all decisions become offers'].map((name) => kinds[name] as fc.Arbitrary<Act>);

/** A cluster where only some kinds of things happen, again and again: so that they meet. Rounds come more often. */
const anyLife = fc
  .subarray(Object.keys(kinds), { minLength: 6 })
  .chain((names) =>
    fc.array(
      fc.oneof(
        { arbitrary: fc.oneof(...names.map((name) => kinds[name] as fc.Arbitrary<Act>)), weight: 3 },
        ...always.map((arbitrary) => ({ arbitrary, weight: 1 })),
      ),
      { minLength: 20, maxLength: 90, size: 'max' },
    ),
  );

/** Without these there would be little to see for a long while. */
function populate(world: World): void {
  for (const [i, id] of agentIds.entries()) join(world, id, i);
  for (const [i, id] of frameworkIds.entries()) subscribe(world, id, i * 3 + 1);
}

const names = ['cpus', 'mem', 'disk', 'gpus', 'bogomips'];
const surplus = ({ plain }: World): Quantities => Object.fromEntries(names.map((name) => [name, plain.surplus(name)]));

function checkLaws(world: World, before: Quantities, decisions: readonly Decision[]): void {
  const { plain } = world;
  for (const id of world.agents.keys()) {
    checkAgent(world, id, availableOn(world.state, id));
    checkLent(world, id, availableOn(world.state, id));
  }
  const after = surplus(world);
  for (const name of names) {
    const least = Math.min(0, before[name] as number);
    assert.ok((after[name] as number) >= least, `${name} that are kept for guarantees were given away`);
  }
  for (const { frameworkId, role: r, resources } of decisions) {
    for (const name of Object.keys(quantitiesOf(select(resources, isLoose)))) {
      for (const above of pathOf(r)) {
        const limit = plain.quotaOf(above)?.limits[name];
        const consumed = plain.consumed(above)[name] ?? 0;
        assert.ok(limit === undefined || consumed <= limit.value * 1000, `${above} is above its limit of ${name}`);
      }
    }
    const book = world.frameworks.get(frameworkId);
    const can = (type: number): boolean => (book?.capabilities ?? []).some((one) => one?.type === type);
    for (const { revocable, shared, reservations } of resources) {
      assert.ok(!revocable || can(frameworkCan.REVOCABLE_RESOURCES), `${frameworkId} cannot take revocable resources`);
      assert.ok(!shared || can(frameworkCan.SHARED_RESOURCES), `${frameworkId} cannot share`);
      assert.ok((reservations?.length ?? 0) < 2 || can(frameworkCan.RESERVATION_REFINEMENT));
    }
  }
}

const policies: readonly (readonly [string, Partial<Settings>, runs: number])[] = [
  ['dominant shares', {}, 300],
  ['dice', { rolePolicy: random, frameworkPolicy: random }, 50],
  ['shares without mem', { excludedFromShares: ['mem'], filterGpuResources: false }, 50],
];

for (const [how, settings, numRuns] of policies) {
  test(`by ${how}, the allocator decides as its plain double does, and keeps the laws`, (t) => {
    let decided = 0;
    const law = fc.property(anyLife, (acts) => {
      const world = new World({ ...settings, starvationBoundMs: Number.POSITIVE_INFINITY });
      populate(world);
      for (const act of acts) {
        const seen = world.sent.length;
        const before = surplus(world);
        const wasRound = world.sent;
        act(world);
        const decisions = world.sent === wasRound ? world.sent.slice(seen) : [];
        decided += decisions.length;
        if (decisions.length > 0) checkLaws(world, before, decisions);
      }
      // What comes of an agent alone is looked at with it alone: in the end nothing must have been missed.
      world.settle();
      assert.deepEqual(world.leftOver(), []);
    });
    t.notThrows(() => fc.assert(law, { numRuns }));
    t.true(decided > 5 * numRuns, `only ${decided} decisions were looked at`);
  });
}

/** Where much is lent, used and taken back. */
const lending = [
  'an agent lends revocable resources',
  'an agent lends less',
  'an offer is accepted whole',
  'an offer is accepted in part',
  'an offer is declined',
  'tasks end',
  'a framework says what it wants',
  'a role is guaranteed something',
  'time passes',
  ...['a round', 'all decisions become offers', 'a round', 'all decisions become offers'],
].map((name) => kinds[name] as fc.Arbitrary<Act>);

test('however estimates change, no more is lent than is idle, and nothing else is withheld', (t) => {
  let lent = 0;
  const law = fc.property(fc.array(fc.oneof(...lending), { minLength: 30, maxLength: 90, size: 'max' }), (acts) => {
    const world = new World({ starvationBoundMs: Number.POSITIVE_INFINITY });
    populate(world);
    for (const id of frameworkIds) world.putFramework(id, { capabilities: capabilities(0) });
    for (const act of acts) {
      act(world);
      for (const id of agentIds) {
        checkAgent(world, id, availableOn(world.state, id));
        checkLent(world, id, availableOn(world.state, id));
        if (world.agent(id).held.some(({ allocated }) => revocable(allocated).length > 0)) lent += 1;
      }
    }
    world.settle();
    assert.deepEqual(world.leftOver(), []);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
  t.true(lent > 200, `only ${lent} times something was lent`);
});

test('there are at least 30 kinds of inputs', (t) => {
  t.true(Object.keys(kinds).length >= 30);
});

const planted: readonly (readonly [string, Partial<Settings>])[] = [
  ['weights do not count', { rolePolicy: { ...drf, key: ({ dominantShare }) => dominantShare } }],
  ['gpus go to everyone', { filterGpuResources: false }],
  ['the smallest offer is larger', { minimums: [{ cpus: 1_500 }, { mem: 32_000 }] }],
];
for (const [fault, settings] of planted) {
  test(`that ${fault} is found in as many runs`, (t) => {
    const law = fc.property(anyLife, (acts) => {
      const world = new World({ starvationBoundMs: Number.POSITIVE_INFINITY }, true, settings);
      populate(world);
      for (const act of acts) act(world);
    });
    t.throws(() => fc.assert(law, { numRuns: 300, endOnFailure: true }));
  });
}
