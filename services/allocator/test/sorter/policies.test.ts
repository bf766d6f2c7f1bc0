import {
  decayedDrf,
  drf,
  guarded,
  type Policy,
  type PolicyProblem,
  policyProblems,
  random,
} from '@mesobus/allocator/policy';
import test from 'ava';
import fc from 'fast-check';
import { createRandom } from '../../src/core/random.ts';
import type { Candidate } from '../../src/core/sorter/policy.ts';

const dice = createRandom(1);
const candidate = (facts: Partial<Candidate> & { name: string }): Candidate => ({
  weight: 1,
  claim: 1,
  dominantShare: 0,
  allocations: 0,
  memory: undefined,
  ...facts,
});

test('the key of DRF is the dominant share by weight, and nothing else counts', (t) => {
  const key = (facts: Partial<Candidate>): number => drf.key(candidate({ name: 'a', ...facts }), 7, dice);
  t.is(key({ dominantShare: 0.5 }), 0.5);
  t.is(key({ dominantShare: 0.5, weight: 2 }), 0.25);
  t.is(key({ dominantShare: 0.25, weight: 0.5 }), 0.5);
  t.is(key({ dominantShare: 0.5, allocations: 9, claim: 0.1, memory: {} }), 0.5);
});

/** Who stands at which place, in so many orders. */
function places(claims: Readonly<Record<string, number>>, rounds: number): Record<string, number[]> {
  const own = createRandom(42);
  const counts = Object.fromEntries(Object.keys(claims).map((name) => [name, Object.keys(claims).map(() => 0)]));
  for (let round = 0; round < rounds; round += 1) {
    const keys = Object.entries(claims).map(([name, claim]) => ({
      name,
      key: random.key(candidate({ name, claim }), 0, own),
    }));
    keys.sort((a, b) => a.key - b.key);
    for (const [place, { name }] of keys.entries())
      (counts[name] as number[])[place] = (counts[name]?.[place] ?? 0) + 1;
  }
  return counts;
}

test('a random order without replacement gives each place in proportion to the claims of those that are left', (t) => {
  // By hand, for claims of 1/2, 1/3 and 1/6. First: the claims themselves. Second, for a: 1/3 * 3/4 + 1/6 * 3/5 = 7/20;
  // for b: 1/2 * 2/3 + 1/6 * 2/5 = 2/5; for c: 1/2 * 1/3 + 1/3 * 1/4 = 1/4. The last place is the rest.
  const rounds = 60_000;
  const expected = { a: [1 / 2, 7 / 20, 3 / 20], b: [1 / 3, 2 / 5, 4 / 15], c: [1 / 6, 1 / 4, 7 / 12] };
  const counts = places({ a: 1 / 2, b: 1 / 3, c: 1 / 6 }, rounds);
  for (const [name, chances] of Object.entries(expected)) {
    for (const [place, chance] of chances.entries()) {
      const seen = (counts[name]?.[place] ?? 0) / rounds;
      // Five standard deviations; the dice are seeded, so that this holds always or never.
      const bound = 5 * Math.sqrt((chance * (1 - chance)) / rounds);
      t.true(Math.abs(seen - chance) < bound, `${name} at place ${place}: ${seen}, expected ${chance} +- ${bound}`);
    }
  }
});

test('the random order is that of -(u ^ (1 / claim)), but that the smallest claims keep keys of their own', (t) => {
  const u = [0.9, 0.5, 0.1, 0.3];
  const keysOf = (claims: readonly number[]): number[] =>
    claims.map((claim, i) => random.key(candidate({ name: 'a', claim }), 0, { below: (bound) => (u[i] ?? 0) * bound }));
  const ranks = (keys: readonly number[]): number[] => [...keys.keys()].sort((a, b) => (keys[a] ?? 0) - (keys[b] ?? 0));
  const mesos = (claims: readonly number[]): number[] => claims.map((claim, i) => -((u[i] ?? 0) ** (1 / claim)));
  const claims = [0.1, 0.2, 0.4, 0.3];
  t.deepEqual(ranks(keysOf(claims)), ranks(mesos(claims)));
  const many = [1 / 6000, 1 / 6000, 1 / 6000, 1 / 6000];
  t.is(new Set(mesos(many)).size, 2);
  t.is(new Set(keysOf(many)).size, 4);
});

const minutes = 60_000;
const halfLifeMs = 10 * minutes;

/** The keys of one candidate that is asked for at these times with these shares. */
function follow(policy: Policy, steps: readonly (readonly [number, number])[], weight = 1): number[] {
  const memory = candidate({ name: 'a' });
  return steps.map(([at, dominantShare]) => {
    const seen = candidate({ name: 'a', dominantShare, weight, memory: memory.memory });
    const key = policy.key(seen, at, dice);
    memory.memory = seen.memory;
    return key;
  });
}

test('decayed DRF adds the average of what was held, in which use counts half after each half-life', (t) => {
  const keys = follow(decayedDrf({ halfLifeMs }), [
    [0, 0], // seen first with nothing: 0 + 0
    [0, 0.8], // given 0.8 at once: the present counts in full: 0.8 + 0
    [10 * minutes, 0.8], // held for a half-life: 0.8 + 0.8 / 2
    [20 * minutes, 0.4], // average 0.4 / 2 + 0.8 / 2 = 0.6; holds 0.4: 1.0
    [40 * minutes, 0], // average 0.6 / 4 + 0.4 * 3 / 4 = 0.45; holds nothing: 0.45
    [50 * minutes, 0], // 0.225
    [70 * minutes, 0], // 0.05625
  ]);
  const byHand = [0, 0.8, 1.2, 1, 0.45, 0.225, 0.05625];
  for (const [i, key] of keys.entries()) t.true(Math.abs(key - (byHand[i] ?? 0)) < 1e-12, `step ${i}: ${key}`);
});

test('the weight of now divides past and present', (t) => {
  const steps = [
    [0, 0],
    [0, 0.8],
    [10 * minutes, 0.4],
  ] as const;
  t.deepEqual(follow(decayedDrf({ halfLifeMs }), steps, 2), [0, 0.4, 0.4]);
});

test('who holds the same for long has twice its share as key; so has who is seen first with it', (t) => {
  const [first, , late] = follow(decayedDrf({ halfLifeMs }), [
    [0, 0.25],
    [1, 0.25],
    [99 * halfLifeMs, 0.25],
  ]);
  t.is(first, 0.5);
  t.is(late, 0.5);
});

test('however often it is asked between changes, the key of decayed DRF is the same', (t) => {
  const change = fc.record({
    lastsMs: fc.integer({ min: 1, max: 3_600_000 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const extra = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20, size: 'max' });
  const law = fc.property(fc.array(change, { minLength: 1, maxLength: 12, size: 'max' }), extra, (changes, asked) => {
    const atChanges: [number, number][] = [];
    let at = 0;
    for (const { lastsMs, share } of changes) {
      atChanges.push([at, share]);
      at += lastsMs;
    }
    const shareAt = (when: number): number => atChanges.findLast(([from]) => from <= when)?.[1] ?? 0;
    const end: [number, number] = [at, shareAt(at)];
    const often = [...atChanges, ...asked.map((part): [number, number] => [part * at, shareAt(part * at)])];
    const policy = decayedDrf({ halfLifeMs });
    const few = follow(policy, [...atChanges, end]).at(-1) ?? 0;
    const many = follow(policy, [...often.sort(([a], [b]) => a - b), end]).at(-1) ?? 0;
    if (Math.abs(few - many) > 1e-9) throw new Error(`asked at changes only: ${few}; also between: ${many}`);
  });
  t.notThrows(() => fc.assert(law));
});

test('of two that hold nothing now, the one that has used less goes first, until that has decayed away', (t) => {
  const policy = decayedDrf({ halfLifeMs });
  const busy = candidate({ name: 'busy' });
  const idle = candidate({ name: 'idle' });
  const keysAt = (at: number, share: number): [number, number] => [
    policy.key(Object.assign(busy, { dominantShare: share }), at, dice),
    policy.key(idle, at, dice),
  ];
  keysAt(0, 0.9);
  const [after, other] = keysAt(30 * minutes, 0); // its tasks have just ended
  t.true(after > 0.7);
  t.is(other, 0);
  t.deepEqual([drf.key(busy, 0, dice), drf.key(idle, 0, dice)], [0, 0], 'DRF sees no difference');
  // What `idle` may now take before it is the turn of `busy` again halves with each half-life.
  const left = [0, 1, 2, 10].map((halfLives) => keysAt(30 * minutes + halfLives * halfLifeMs, 0)[0] / after);
  for (const [i, part] of [1, 1 / 2, 1 / 4, 1 / 1024].entries()) t.true(Math.abs((left[i] ?? 0) - part) < 1e-12);
});

test('a clock that stands still or is asked again changes no key of decayed DRF', (t) => {
  t.deepEqual(
    follow(decayedDrf({ halfLifeMs }), [
      [0, 0],
      [0, 0.5],
      [0, 0.5],
      [0, 0.25],
    ]),
    [0, 0.5, 0.5, 0.25],
  );
});

for (const wrong of [0, -1, Number.NaN]) {
  test(`a half-life of ${wrong} ms is refused`, (t) => {
    t.throws(() => decayedDrf({ halfLifeMs: wrong }), { instanceOf: RangeError, message: /half-life.*more than 0/ });
  });
}

const broken: readonly (readonly [what: string, key: () => unknown, message: RegExp])[] = [
  ['NaN', () => Number.NaN, /'mine' gave NaN for 'a', which goes last: let its key be a number/],
  ['a text', () => '1', /gave a key of type string/],
  ['nothing', () => undefined, /gave a key of type undefined/],
  ['a promise', async () => 1, /gave a key of type object/],
];
for (const [what, key, message] of broken) {
  test(`a candidate whose key is ${what} goes last, and it is told once`, (t) => {
    const problems: PolicyProblem[] = [];
    const mine = { name: 'mine', contest: 'level', keysLast: 'change', key } as unknown as Policy;
    const safe = guarded(mine, (problem) => problems.push(problem));
    for (const name of ['a', 'b', 'a']) t.is(safe.key(candidate({ name }), 0, dice), Number.POSITIVE_INFINITY);
    t.is(problems.length, 1);
    t.regex(problems[0]?.message ?? '', message);
  });
}

test('a candidate for which a policy throws goes last, the others keep their keys, and the cause is told', (t) => {
  const problems: PolicyProblem[] = [];
  const cause = new Error('no such team');
  const safe = guarded(
    {
      ...drf,
      name: 'mine',
      key(one) {
        if (one.name === 'b') throw cause;
        return one.dominantShare;
      },
    },
    (problem) => problems.push(problem),
  );
  const keys = ['a', 'b', 'c'].map((name) => safe.key(candidate({ name, dominantShare: 0.5 }), 0, dice));
  t.deepEqual(keys, [0.5, Number.POSITIVE_INFINITY, 0.5]);
  t.like(problems, [{ policy: 'mine', candidate: 'b', cause }]);
});

test('a guarded policy is asked as before, and its extremes stand', (t) => {
  const keys = [1, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const mine: Policy = { name: 'mine', contest: 'flat', keysLast: 'round', key: () => keys.shift() ?? 0 };
  const safe = guarded(mine, () => t.fail('nothing is wrong'));
  t.like(safe, { name: 'mine', contest: 'flat', keysLast: 'round' });
  for (const key of [...keys]) t.is(safe.key(candidate({ name: 'a' }), 0, dice), key);
});

test('what comes with Mesobus are policies', (t) => {
  for (const policy of [drf, random, decayedDrf()]) t.deepEqual(policyProblems(policy), []);
});
