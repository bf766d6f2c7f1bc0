import { mesobus } from '@mesobus/protos';
import test from 'ava';
import { answerQuery, type Config } from '../src/core/index.ts';
import { CallType, filtersOf, Harness } from './harness.ts';

function setUp(config: Partial<Config> = {}, agents = 1) {
  const h = new Harness(config);
  const agentIds = Array.from({ length: agents }, (_, i) => h.agent(`a${i}`));
  const frameworkId = h.framework();
  h.appoint();
  const link = h.state.frameworks.get(frameworkId);
  if (link === undefined) throw new Error('not subscribed');
  const offer = (agent = 0): string => h.offer(frameworkId, agentIds[agent] ?? '');
  const decline = (id: string): void => {
    h.call(
      { frameworkId },
      { type: CallType.DECLINE, decline: { offerIds: [{ value: id }], filters: { refuseSeconds: 0 } } },
    );
  };
  return {
    h,
    link,
    frameworkId,
    offer,
    decline,
    /** Is offered something, and answers after so long. */
    answerAfter(ms: number): void {
      const id = offer();
      h.tick(ms);
      decline(id);
    },
    /** How long an offer stays open that nobody answers, in steps of 10 ms; undefined: for longer than a minute. */
    lifetime(): number | undefined {
      offer();
      for (let ms = 10; ms <= 60_000; ms += 10) {
        h.tick(10);
        if (h.state.offers.size === 0) return ms;
      }
      return undefined;
    },
    facts(): mesobus.v1.FrameworkConnection.$Properties | undefined {
      const query = new mesobus.v1.MasterQuery({ getConnections: {} });
      return answerQuery(h.state, 'ops', query, 1, h.now)?.connections?.frameworks[0];
    },
    window: (): number | undefined => {
      const books = h.feedOf().flatMap(({ items }) => items.flatMap(({ framework }) => (framework ? [framework] : [])));
      return books.at(-1)?.maxOpenOffers;
    },
  };
}

test('an offer to a framework of which nothing is known expires after 5 s', (t) => {
  t.is(setUp().lifetime(), 5_000);
});

test('no offer expires while its answer may wait in the leader: for the log, or for the connection', (t) => {
  const { h, offer, link } = setUp();
  offer();
  h.tick(6_000, { logStands: true });
  h.step({ kind: 'bus_connection', connected: false });
  h.tick(6_000);
  h.step({ kind: 'bus_connection', connected: true });
  t.is(h.state.offers.size, 1);
  t.is(link.conduct.expired, 0);
  h.tick(1_000);
  t.is(h.state.offers.size, 0);
});

test('an offer to a framework that came with the API of Mesos does not expire', (t) => {
  const { link, lifetime } = setUp();
  link.mesosCompatible = true;
  t.is(lifetime(), undefined);
});

test('a time-out that is configured counts for all, and none at all too', (t) => {
  t.is(setUp({ offerTimeoutMs: 30_000 }).lifetime(), 30_000);
  t.is(setUp({ offerTimeoutMs: 0 }).lifetime(), undefined);
  const compatible = setUp({ offerTimeoutMs: 700 });
  compatible.link.mesosCompatible = true;
  t.is(compatible.lifetime(), 700);
});

test('a framework that answers at once is given a second; before eight answers, five', (t) => {
  const { answerAfter, facts, lifetime } = setUp();
  for (let i = 0; i < 7; i += 1) answerAfter(10);
  t.is(facts()?.offerTimeoutMs, 5_000);
  answerAfter(10);
  t.is(facts()?.offerTimeoutMs, 1_000);
  t.is(lifetime(), 1_000);
});

test('the time-out is the mean of the decision time and four deviations, and 5 s at most', (t) => {
  const { answerAfter, facts } = setUp();
  answerAfter(1_000);
  // The first is the mean, half of it the deviation; each further equal one takes a quarter of the deviation away.
  for (let i = 0; i < 7; i += 1) answerAfter(1_000);
  t.is(facts()?.decisionMs, 1_000);
  t.is(facts()?.offerTimeoutMs, 1_000 + 4 * 500 * 0.75 ** 7);
  for (let i = 0; i < 40; i += 1) answerAfter(4_900);
  t.is(facts()?.offerTimeoutMs, 5_000);
});

test('each offer that expires halves the window, down to one', (t) => {
  const { h, offer, window } = setUp({}, 16);
  for (let agent = 0; agent < 16; agent += 1) {
    offer(agent);
    h.tick(1);
  }
  const windows = Array.from({ length: 5 }, (_, i) => {
    h.tick(i === 0 ? 4_984 : 1);
    return window();
  });
  t.deepEqual(windows, [8, 4, 2, 1, undefined]);
});

test('each answer doubles the window, until there is none', (t) => {
  const { lifetime, window, answerAfter } = setUp();
  lifetime();
  t.is(window(), 1);
  const windows = Array.from({ length: 10 }, () => {
    answerAfter(1);
    return window();
  });
  t.deepEqual(windows, [2, 4, 8, 16, 32, 64, 128, 256, 512, 0]);
});

test('each offer that expires halves the time-out, down to a quarter of a second; an answer restores it', (t) => {
  const { lifetime, answerAfter } = setUp();
  t.deepEqual(
    Array.from({ length: 6 }, () => lifetime()),
    [5_000, 2_500, 1_250, 630, 320, 250],
  );
  answerAfter(10);
  t.is(lifetime(), 5_000);
});

test('offers that were made together and expire together count once against the time-out', (t) => {
  const { h, offer, facts } = setUp({}, 3);
  for (const agent of [0, 1, 2]) offer(agent);
  h.tick(5_000);
  t.is(facts()?.expiredOffers, 3);
  t.is(facts()?.offerTimeoutMs, 2_500);
});

test('what has expired is kept from its framework as after a decline, longer each time', (t) => {
  const { h, lifetime } = setUp();
  const pauses = Array.from({ length: 6 }, () => {
    h.feedOf();
    lifetime();
    return filtersOf(h).at(-1)?.filter?.refuseMs;
  });
  t.deepEqual(pauses, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
});

test('a framework that answers too late is slow, not dead: it gets its time and what it let expire', (t) => {
  const { h, link, offer, decline, facts } = setUp();
  for (let i = 0; i < 3; i += 1) {
    const id = offer();
    h.tick(5_000);
    h.feedOf();
    decline(id);
    t.deepEqual(filtersOf(h), [{ filtersLifted: { frameworkId: link.frameworkId, roles: [] } }]);
    t.is(facts()?.offerTimeoutMs, 5_000);
  }
  t.is(facts()?.maxOpenOffers, 1, 'only what is answered in time widens the window');
  decline('m1-O1');
  t.is(facts()?.answeredOffers, 3, 'an answer counts once');
});

test('a framework that came with the API of Mesos is offered no less for what it lets expire', (t) => {
  const { h, link, lifetime, facts } = setUp({ offerTimeoutMs: 1_000 });
  link.mesosCompatible = true;
  lifetime();
  t.is(lifetime(), 1_000);
  t.is(facts()?.maxOpenOffers, 0);
  t.deepEqual(filtersOf(h), []);
});

test('what lies in offers is metered in resource-seconds, however they end and while they are open', (t) => {
  const { h, link, offer, decline, facts } = setUp({ offerTimeoutMs: 10_000 }, 4);
  const held = () =>
    Object.fromEntries(Object.entries(facts()?.heldSeconds ?? {}).map(([name, { value }]) => [name, value]));
  const declined = offer(0); // of 4 cpus and 4096 MB each
  h.tick(1_000);
  decline(declined);
  t.deepEqual(held(), { cpus: 4, mem: 4_096 });
  offer(1);
  h.tick(2_000);
  t.deepEqual(held(), { cpus: 12, mem: 12_288 });
  h.tick(8_000); // expires
  t.deepEqual(held(), { cpus: 44, mem: 45_056 });
  offer(2);
  h.tick(500);
  h.step({ kind: 'frozen' }); // rescinds
  h.tick(60_000);
  t.deepEqual(held(), { cpus: 46, mem: 47_104 });
  h.subscribe({}, { frameworkId: link.frameworkId });
  t.deepEqual(held(), { cpus: 46, mem: 47_104 }, 'a new subscription does not absolve');
});

test('a scheduler that subscribes again is known; another in its place starts without blame', (t) => {
  const { h, lifetime, frameworkId, facts } = setUp();
  lifetime();
  h.subscribe({}, { frameworkId });
  t.is(facts()?.maxOpenOffers, 1);
  h.subscribe({}, { frameworkId, instanceId: 'i2' });
  t.is(facts()?.maxOpenOffers, 0);
  t.deepEqual(facts()?.heldSeconds?.['cpus']?.value, 20);
});

test('an answer that closes no offer does not count as one', (t) => {
  const { h, frameworkId, offer, facts } = setUp({}, 2);
  h.accept(frameworkId, [offer(0)], [], 'same');
  h.accept(frameworkId, ['m1-O99'], [], 'other');
  t.is(facts()?.answeredOffers, 1);
});
