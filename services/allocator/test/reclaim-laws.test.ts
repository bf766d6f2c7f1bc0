// Running tasks that are asked back: never those that guarantees need, never for ever, and never to and fro.
import assert from 'node:assert/strict';
import { mesobus } from '@mesobus/protos';
import { add, noQuantities, quantitiesOf, type Resources, select } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import type { Decision, State } from '../src/core/index.ts';
import { isLoose, pathOf, readAmounts } from './oracle/plain-books.ts';
import { frameworkCan, World } from './oracle/world.ts';

const { OFFER, RECLAIM } = mesobus.v1.Allocation.Kind;

const reclaimAfterMs = 5_000;
const agentIds = ['a1', 'a2', 'a3'];
/** Each framework has one role. */
const roleOf: Readonly<Record<string, string>> = { f1: 'a', f2: 'b', f3: 'b/x', f4: 'b/y', f5: 'c' };
const frameworkIds = Object.keys(roleOf);
const roles = Object.values(roleOf);

const isReclaim = ({ kind }: Decision): boolean => kind === RECLAIM;

function want(world: World, id: string, cpus: number, count: number): void {
  const shapes = count === 0 ? [] : [{ quantities: { cpus: { value: cpus } }, count }];
  world.putFramework(id, { demands: [{ role: roleOf[id] as string, shapes }] });
}

/** What a framework still wants, in tasks of its one size. */
function wanted(world: World, id: string): { cpus: number; count: number } {
  const [shape] = world.frameworks.get(id)?.demands?.[0]?.shapes ?? [];
  return { cpus: shape?.quantities?.['cpus']?.value ?? 0, count: shape?.count ?? 0 };
}

/** A cluster in which all frameworks take part and tasks are asked back. */
function populated(compares: boolean): World {
  const world = new World({ starvationBoundMs: Number.POSITIVE_INFINITY }, compares);
  world.addAgents('cpus:4;mem:4096', 'cpus:6;mem:4096', 'cpus:3;mem:4096');
  for (const id of frameworkIds) {
    const capabilities = [{ type: frameworkCan.REVOCABLE_RESOURCES }];
    world.putFramework(id, { roles: [roleOf[id] as string], capabilities });
    want(world, id, 1, 0);
  }
  world.reclaimAfter(reclaimAfterMs);
  return world;
}

interface Act {
  (world: World): void;
  /** As a counterexample shows it. */
  [fc.toStringMethod]?: () => string;
}

function act(
  title: string,
  apply: (world: World, agent: string, framework: string, role: string, n: number) => void,
): fc.Arbitrary<Act> {
  const any = fc.tuple(
    fc.constantFrom(...agentIds),
    fc.constantFrom(...frameworkIds),
    fc.constantFrom(...roles),
    fc.nat(7),
  );
  return any.map((chosen) => {
    const one: Act = (world) => apply(world, ...chosen);
    one[fc.toStringMethod] = () => `${title} (${chosen.join(' ')})`;
    return one;
  });
}

/** What fills a cluster. */
const filling: readonly fc.Arbitrary<Act>[] = [
  act('a framework wants something', (world, _a, id, _r, n) => want(world, id, (n % 3) + 1, n)),
  act('tasks are launched that may be asked back', (world, id, _f, _r, n) => {
    world.judge(world.sent.length);
    world.startTasks(id, n, 4, n % 3 === 0 ? undefined : 'cpus:1;mem:32');
  }),
  act('a framework fills what is free', (world, _a, id, _r, n) => {
    want(world, id, 1, 20);
    world.at += 1_000;
    round(world);
    world.judge(world.sent.length);
    for (const agent of agentIds) {
      const mine = world.agent(agent).held.findIndex((one) => one.offered.length > 0 && one.frameworkId === id);
      if (mine >= 0) world.startTasks(agent, 0, 20, n % 4 === 0 ? 'cpus:2' : 'cpus:1');
    }
    want(world, id, 1, n % 3);
  }),
  act('a task is launched that may not', (world, id, _f, _r, n) => {
    world.judge(world.sent.length);
    world.answer(id, n, 'cpus:1', n % 2 === 0 ? 0 : 700);
  }),
  act('a round', (world) => {
    world.at += 1_000;
    round(world);
    world.judge(world.sent.length);
  }),
];

/** What else happens. */
const happening: readonly fc.Arbitrary<Act>[] = [
  act('a guarantee', (world, _a, _f, role, n) => world.quota(role, { cpus: n }, {})),
  act('a limit', (world, _a, _f, role, n) => world.quota(role, {}, n > 4 ? {} : { cpus: n })),
  act('a weight', (world, _a, _f, role, n) => world.putRole(role, { weight: n + 0.5 })),
  act('a framework says no more what it wants', (world, _a, id) => world.putFramework(id, { demands: [] })),
  act('revocable resources are lent', (world, id, _f, _r, n) => world.estimate(id, n)),
  act('tasks end', (world, id, _f, _r, n) => world.release(id, n)),
  act('what is asked back ends', (world, id) => void world.endReclaim(id)),
  act('an agent is away', (world, id) => world.putAgent(id, { book: { active: false } })),
  act('an agent is back', (world, id) => world.putAgent(id, { book: { active: true } })),
  act('a gap', (world) => world.gap()),
  act('a new appointment', (world) => world.appointAnew()),
  act('a decision is judged', (world, _a, _f, _r, n) => world.judge(1, n > 0)),
  act('time passes', (world, _a, _f, _r, n) => {
    world.at += n * 1_000;
  }),
];

const lives = (minLength: number): fc.Arbitrary<Act[]> =>
  fc.array(fc.oneof({ arbitrary: fc.oneof(...filling), weight: 3 }, { arbitrary: fc.oneof(...happening), weight: 1 }), {
    minLength,
    maxLength: 80,
    size: 'max',
  });

let reclaims: Decision[] = [];
let tamper: (state: State) => void = () => undefined;

/** A round whose reclaims are looked at. */
function round(world: World): void {
  tamper(world.state);
  const found = world.round().filter(isReclaim);
  reclaims.push(...found);
  for (const one of found) checkReclaim(world, one);
}

/** With what is decided, without what is asked back already. In thousandths. */
function consumed(world: World, role: string, name: string): number {
  const isWithin = (one: string): boolean => pathOf(one).includes(role);
  const loose = (list: Resources): number => quantitiesOf(select(list, isLoose))[name] ?? 0;
  let sum = 0;
  for (const { held, reclaim } of world.agents.values()) {
    for (const one of held) if (isWithin(one.role)) sum += loose(add(one.allocated, one.offered));
    for (const one of reclaim?.victims ?? []) if (isWithin(one.held.role)) sum -= loose(one.task.resources);
  }
  for (const one of world.sent) if (one.kind === OFFER && isWithin(one.role)) sum += loose(one.resources);
  return sum;
}

function checkReclaim(world: World, { agentId, frameworkId, role, victims }: Decision): void {
  const held = world.agent(agentId).held;
  const claimants = pathOf(role);
  const taken = new Map<string, Record<string, number>>();
  for (const victim of victims) {
    const whose = held.find((one) => one.frameworkId === victim.frameworkId && one.role === victim.role);
    const tasks = (whose?.tasks ?? []).map((task) => quantitiesOf(task.resources));
    const mayTake = tasks.reduce((sum, task) => sum + (task['cpus'] ?? 0), 0);
    assert.ok((quantitiesOf(victim.resources)['cpus'] ?? 0) <= mayTake, 'more is taken than tasks that may be');
    assert.notEqual(victim.frameworkId, frameworkId);
    const loose = quantitiesOf(select(victim.resources, isLoose));
    for (const above of pathOf(victim.role).filter((one) => !claimants.includes(one))) {
      const sum = taken.get(above) ?? {};
      for (const [name, amount] of Object.entries(loose)) sum[name] = (sum[name] ?? 0) + amount;
      taken.set(above, sum);
    }
  }
  for (const [above, amounts] of taken) {
    const guaranteed = readAmounts((world.roles.get(above)?.quota?.guarantees as never) ?? noQuantities);
    for (const [name, amount] of Object.entries(amounts)) {
      const left = consumed(world, above, name) - amount;
      assert.ok(left >= (guaranteed[name] ?? 0), `${above} is left ${left} ${name} of ${guaranteed[name]} guaranteed`);
    }
  }
}

test('the allocator asks for the same tasks as its plain double, and for none that a guarantee needs', (t) => {
  reclaims = [];
  const law = fc.property(lives(30), (acts) => {
    const world = populated(true);
    for (const apply of acts) apply(world);
    for (let i = 0; i < 12; i += 1) {
      world.at += 1_000;
      round(world);
      world.judge(world.sent.length);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 150, includeErrorInReport: true }));
  t.true(reclaims.length > 100, `only ${reclaims.length} reclaims were looked at`);
});

/** Time in which nothing may be asked back, so that nothing ever will be. */
const quietRounds = 2 * (reclaimAfterMs / 1_000) + 2;

/** Nobody launches anything but on what was reclaimed for it, and those tasks may be asked back too. */
function settle(world: World, maxRounds: number): number {
  let count = 0;
  let quiet = 0;
  for (let i = 0; i < maxRounds && quiet < quietRounds; i += 1) {
    world.at += 1_000;
    const found = world.round().filter(isReclaim);
    count += found.length;
    quiet = found.length > 0 ? 0 : quiet + 1;
    world.judge(world.sent.length);
    for (const id of agentIds) {
      const claimant = world.agent(id).reclaim;
      world.endReclaim(id);
      useOffers(world, id, [claimant?.frameworkId]);
    }
  }
  assert.ok(quiet >= quietRounds, `after ${maxRounds} rounds and ${count} reclaims tasks are still asked back`);
  return count;
}

/** All offers of an agent are answered: those of some frameworks are used as far as they want, all others declined. */
function useOffers(world: World, agentId: string, users: readonly (string | undefined)[]): void {
  for (let held = world.offerOn(agentId, 0); held !== undefined; held = world.offerOn(agentId, 0)) {
    const { cpus, count } = wanted(world, held.frameworkId);
    const fits = count > 0 && (quantitiesOf(held.offered)['cpus'] ?? 0) >= cpus * 1_000;
    if (!users.includes(held.frameworkId) || !fits) world.answer(agentId, 0, '', 0);
    else {
      const started = world.startTasks(agentId, 0, count, `cpus:${cpus}`);
      want(world, held.frameworkId, cpus, count - started);
    }
  }
}

test('while nobody launches but whom tasks were asked back for, finitely many are asked back, and then none', (t) => {
  let most = 0;
  const law = fc.property(lives(30), (acts) => {
    const world = populated(false);
    for (const apply of acts) apply(world);
    for (const id of agentIds) world.putAgent(id, { book: { active: true } });
    most = Math.max(most, settle(world, 400));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200, includeErrorInReport: true }));
  t.true(most >= 5, `at most ${most} reclaims in a run`);
});

interface Take {
  readonly atMs: number;
  readonly from: string;
  readonly to: string;
}

interface Step {
  readonly who: number;
  /** All of its tasks end. */
  readonly ends: boolean;
  readonly wants: number;
  readonly seconds: number;
  /** 0: as before. */
  readonly weight: number;
}

/** Two roles that fill the cluster with tasks that may be asked back, and whose demands swing. */
function swing(world: World, steps: readonly Step[]): Take[] {
  const takes: Take[] = [];
  const players = ['f1', 'f5'];
  for (const { who, ends, wants, seconds, weight } of steps) {
    const id = players[who] as string;
    if (ends) endAll(world, id);
    want(world, id, 1, wants);
    if (weight > 0) world.putRole(roleOf[id] as string, { weight });
    for (let i = 0; i < seconds; i += 1) {
      world.at += 1_000;
      tamper(world.state);
      for (const one of world.round().filter(isReclaim)) {
        for (const { role } of one.victims) takes.push({ atMs: world.at, from: role, to: one.role });
      }
      world.judge(world.sent.length);
      for (const agentId of agentIds) {
        world.endReclaim(agentId);
        useOffers(world, agentId, players);
      }
    }
  }
  return takes;
}

function endAll(world: World, frameworkId: string): void {
  for (const [agentId, { held }] of world.agents) {
    const used = held.filter(({ allocated }) => allocated.length > 0);
    const which = used.findIndex((one) => one.frameworkId === frameworkId);
    if (which >= 0) world.release(agentId, which);
  }
}

const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    who: fc.nat(1),
    ends: fc.boolean(),
    wants: fc.constantFrom(0, 3, 20),
    seconds: fc.integer({ min: 1, max: 12 }),
    weight: fc.constantFrom(0, 0, 0, 1, 3),
  }),
  { minLength: 12, maxLength: 30, size: 'max' },
);

function checkSwing(takes: readonly Take[]): number {
  let turns = 0;
  for (const [i, { atMs, from, to }] of takes.entries()) {
    const before = takes.slice(0, i).findLast((one) => one.from === to && one.to === from);
    if (before === undefined) continue;
    turns += 1;
    const after = `${to} takes from ${from} ${atMs - before.atMs} ms after that took from it`;
    assert.ok(atMs - before.atMs >= reclaimAfterMs, after);
  }
  return turns;
}

test('however demands swing, what one role took from another is not taken back before the time is over again', (t) => {
  let turns = 0;
  const law = fc.property(anySteps, (steps) => {
    turns += checkSwing(swing(populated(false), steps));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 150 }));
  t.true(turns > 20, `only ${turns} turns were seen`);
});

// ---- faults that the laws must find

test.serial('that guarantees of victims do not count is found', (t) => {
  tamper = ({ roles: known }) => {
    const role = known.get('c');
    if (role !== undefined) role.quota = undefined;
  };
  const law = fc.property(lives(30), (acts) => {
    const world = populated(true);
    for (const apply of acts) apply(world);
  });
  t.throws(() => fc.assert(law, { numRuns: 300, endOnFailure: true }));
  tamper = () => undefined;
});

test.serial('that nobody has to wait for what was taken from it is found', (t) => {
  tamper = (state) => {
    for (const role of state.roles.values()) {
      for (const member of role.members.values()) member.claimingSinceMs = Math.min(member.claimingSinceMs, 0);
    }
  };
  const law = fc.property(anySteps, (steps) => void checkSwing(swing(populated(false), steps)));
  t.throws(() => fc.assert(law, { numRuns: 300, endOnFailure: true }));
  tamper = () => undefined;
});
