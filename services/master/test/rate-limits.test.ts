import { createMetrics } from '@mesobus/sdk/service';
import test from 'ava';
import fc from 'fast-check';
import { parseRateLimits, RateLimiter } from '../src/shell/rate-limits.ts';

const limiterOf = (json: object, metrics = createMetrics()): RateLimiter =>
  new RateLimiter(parseRateLimits(JSON.stringify(json)), metrics);

/** Calls one by one, and says how many were taken. */
const takenOf = (limiter: RateLimiter, principal: string, calls: number, nowMs: number): number =>
  Array.from({ length: calls }, () => limiter.take(principal, 1, nowMs)).filter(Boolean).length;

test('a principal makes so many calls at once, and then so many a second', (t) => {
  const limiter = limiterOf({ limits: [{ principal: 'ads', qps: 10, capacity: 30 }] });
  t.is(takenOf(limiter, 'ads', 100, 0), 30);
  t.is(takenOf(limiter, 'ads', 100, 1_000), 10);
  t.is(takenOf(limiter, 'ads', 100, 1_050), 0);
  t.is(takenOf(limiter, 'ads', 100, 1_100), 1);
  t.is(takenOf(limiter, 'ads', 100, 60_000), 30, 'it gathers no more than its capacity');
});

test('without a capacity it is what comes in a second, and at least one call', (t) => {
  const limiter = limiterOf({
    limits: [
      { principal: 'a', qps: 5 },
      { principal: 'b', qps: 0.5 },
    ],
  });
  t.is(takenOf(limiter, 'a', 100, 0), 5);
  t.is(takenOf(limiter, 'b', 100, 0), 1);
  t.is(takenOf(limiter, 'b', 100, 1_000), 0);
  t.is(takenOf(limiter, 'b', 100, 2_000), 1);
});

test('a principal without a rate is not limited, and neither are others unless it is said', (t) => {
  const limiter = limiterOf({ limits: [{ principal: 'ads' }, { principal: 'b', qps: 1 }] });
  t.is(takenOf(limiter, 'ads', 1_000, 0), 1_000);
  t.is(takenOf(limiter, 'somebody', 1_000, 0), 1_000);
});

test('principals that are not named share one rate, and it is not that of the named', (t) => {
  const limits = [{ principal: 'ads', qps: 10 }];
  const limiter = limiterOf({ limits, aggregate_default_qps: 4, aggregate_default_capacity: 6 });
  t.is(takenOf(limiter, 'a', 4, 0) + takenOf(limiter, 'b', 4, 0), 6);
  t.is(takenOf(limiter, 'ads', 100, 0), 10);
});

test('calls that come together are taken together; what is lent is paid back first', (t) => {
  const limiter = limiterOf({ limits: [{ principal: 'ads', qps: 10, capacity: 10 }] });
  t.true(limiter.take('ads', 60, 0));
  t.false(limiter.take('ads', 1, 5_000));
  t.true(limiter.take('ads', 1, 5_100));
});

test('refused calls are counted by principal, those of the unnamed under no name', async (t) => {
  const metrics = createMetrics();
  const limiter = limiterOf({ limits: [{ principal: 'ads', qps: 1 }], aggregate_default_qps: 1 }, metrics);
  for (const principal of ['ads', 'x', 'y']) for (let call = 0; call < 3; call += 1) limiter.take(principal, 2, 0);
  const text = await metrics.text();
  t.regex(text, /mesobus_master_rate_limited_calls_total\{principal="ads"\} 4/);
  t.regex(text, /mesobus_master_rate_limited_calls_total\{principal=""\} 10/);
});

test('over any time no more is taken than the capacity, the rate, and one batch', (t) => {
  const steps = fc.array(fc.record({ calls: fc.integer({ min: 1, max: 20 }), ms: fc.integer({ min: 0, max: 500 }) }), {
    size: 'max',
    maxLength: 200,
  });
  const law = fc.property(
    fc.integer({ min: 1, max: 50 }),
    fc.integer({ min: 1, max: 50 }),
    steps,
    (qps, capacity, all) => {
      const limiter = limiterOf({ limits: [{ principal: 'p', qps, capacity }] });
      let [now, taken] = [0, 0];
      for (const { calls, ms } of all) {
        now += ms;
        if (limiter.take('p', calls, now)) taken += calls;
        if (taken > capacity + (qps * now) / 1000 + 20) throw new Error(`${taken} calls in ${now} ms`);
      }
    },
  );
  t.notThrows(() => fc.assert(law));
});

const wrong: Record<string, [json: unknown, problem: RegExp]> = {
  'a list': [[], /the file is not an object/],
  'an unknown field': [{ limit: [] }, /the file has 'limit': use 'limits', 'aggregate_default_qps'/],
  'limits that are no list': [{ limits: {} }, /'limits' is not a list/],
  'a limit for nobody': [{ limits: [{ qps: 1 }] }, /limits\[0\].principal is not a text/],
  'a principal twice': [
    { limits: [{ principal: 'a' }, { principal: 'a' }] },
    /limits\[1\].principal 'a' is named before/,
  ],
  'a rate of nothing': [
    { limits: [{ principal: 'a', qps: 0 }] },
    /limits\[0\].qps is 0: give a number of at least 0.001/,
  ],
  'a capacity as a text': [{ aggregate_default_capacity: '5' }, /aggregate_default_capacity is "5": give a number/],
};
for (const [what, [json, problem]] of Object.entries(wrong)) {
  test(`rate limits with ${what} are refused, and it says where`, (t) => {
    t.throws(() => parseRateLimits(JSON.stringify(json)), { message: problem });
  });
}
