import { randomBytes } from 'node:crypto';
import { ManualClock } from '@mesobus/sdk/bus';
import { Kvm } from '@nats-io/kv';
import test from 'ava';
import { applyRecord, createLedger, ledgerHash } from '../../src/core/index.ts';
import { defaultLeaseMs } from '../../src/core/leadership.ts';
import { UnfitServerError, type Witness } from '../../src/index.ts';
import { openLog } from '../../src/shell/open-log.ts';
import { commit, connectTo, follow, framework, openTestLog, startServer, subjects } from './support.ts';

const masterId = (): string => `master-${randomBytes(4).toString('hex')}`;

test('what a leader commits is what a follower reads', async (t) => {
  const log = await openTestLog(t, await startServer(t));
  const leadership = await log.lead({ masterId: masterId() });
  t.is(leadership.epoch, 1);
  await commit(leadership, [framework('f1'), framework('f2')]);
  const index = await commit(leadership, [framework('f3')]);
  const follower = await follow(t, log, index);
  t.deepEqual([...follower.ledger.frameworks.keys()], ['f1', 'f2', 'f3']);
  t.is(follower.lastIndex, index);
  await leadership.resign();
});

test('a cold start replays the log to the same hash', async (t) => {
  const log = await openTestLog(t, await startServer(t));
  const first = await log.lead({ masterId: masterId() });
  const records = Array.from({ length: 2000 }, (_, i) => framework(`f${i}`));
  const expected = createLedger();
  for (const record of records) applyRecord(expected, record);
  for (let at = 0; at < records.length; at += 100) await commit(first, records.slice(at, at + 100));
  await first.resign();
  const second = await log.lead({ masterId: masterId() });
  t.is(ledgerHash(second.ledger), ledgerHash(expected));
  t.is(second.epoch, 2);
  await second.resign();
});

test('records that are submitted in one turn stand in one entry', async (t) => {
  const log = await openTestLog(t, await startServer(t));
  const leadership = await log.lead({ masterId: masterId() });
  const before = leadership.lastIndex;
  const indices = await Promise.all(['f1', 'f2', 'f3'].map((id) => commit(leadership, [framework(id)])));
  t.deepEqual(indices, [before + 1, before + 1, before + 1]);
  await leadership.resign();
});

test('a leader that is replaced commits nothing any more', async (t) => {
  const server = await startServer(t);
  const [one, two] = [await openTestLog(t, server, new ManualClock()), await openTestLog(t, server)];
  const first = await one.lead({ masterId: masterId(), leaseMs: 500 }); // its clock stands still: it hangs
  await commit(first, [framework('before')]);
  const second = await two.lead({ masterId: masterId() });
  let committed = false;
  first.onCommitted(() => {
    committed = true;
  });
  first.submit([framework('too-late')], { urgent: true });
  t.is((await first.lost).reason, 'deposed');
  t.false(committed);
  t.throws(() => first.submit([framework('refused')], { urgent: true }), { code: 'not_leading' });

  const index = await commit(second, [framework('after')]);
  const follower = await follow(t, two, index);
  t.deepEqual([...follower.ledger.frameworks.keys()], ['before', 'after']);
  t.is(second.epoch, first.epoch + 1);
  await second.resign();
});

test('a standby takes over as soon as the leader resigns', async (t) => {
  const server = await startServer(t);
  const [one, two] = [await openTestLog(t, server), await openTestLog(t, server)];
  const first = await one.lead({ masterId: masterId() });
  await commit(first, [framework('f1')]);
  const standby = two.lead({ masterId: masterId() });
  const startedAt = performance.now();
  await first.resign();
  t.is((await first.lost).reason, 'resigned');
  const second = await standby;
  t.true(performance.now() - startedAt < 5000);
  t.deepEqual([...second.ledger.frameworks.keys()], ['f1']);
  await second.resign();
});

/** Nobody beats, and nobody is found: only the log shows that there is a leader. */
const seesNobody: Witness = {
  onBeat: () => () => {},
  onConnection: (listener) => {
    listener(true);
    return () => {};
  },
  probe: async () => 'nobody',
};

test('a leader that shows nothing in the log, is not heard and not found is replaced long before its lease ends', async (t) => {
  const server = await startServer(t);
  const [one, two] = [await openTestLog(t, server, new ManualClock()), await openTestLog(t, server)];
  const first = await one.lead({ masterId: masterId() });
  await commit(first, [framework('f1')]);
  const startedAt = performance.now();
  const second = await two.lead({ masterId: masterId(), witness: seesNobody });
  t.log(`after ${Math.round(performance.now() - startedAt)} ms`);
  t.true(performance.now() - startedAt < defaultLeaseMs);
  t.deepEqual([...second.ledger.frameworks.keys()], ['f1']);
  await second.resign();
});

test('a leader that is outranked hands over to one with a higher epoch', async (t) => {
  const log = await openTestLog(t, await startServer(t));
  const first = await log.lead({ masterId: masterId() });
  await first.resign(40);
  const second = await log.lead({ masterId: masterId() });
  t.is(second.epoch, 41);
  t.is(await commit(second, [framework('f1')]), 1);
  await second.resign(7);
  const third = await log.lead({ masterId: masterId() });
  t.is(third.epoch, 42);
  await third.resign();
});

test('an idle leader renews often enough to keep standbys away', async (t) => {
  const server = await startServer(t);
  const [one, two] = [await openTestLog(t, server), await openTestLog(t, server)];
  const first = await one.lead({ masterId: masterId() });
  const ends = new AbortController();
  const standby = two.lead({ masterId: masterId(), witness: seesNobody, signal: ends.signal });
  const outcome = await Promise.race([
    standby.then(() => 'taken over'),
    new Promise((resolve) => setTimeout(resolve, 3000, 'kept')), // a silence can only be waited out
  ]);
  t.is(outcome, 'kept');
  ends.abort(new Error('enough'));
  await t.throwsAsync(standby, { message: 'enough' });
  await first.resign();
});

test('nothing acknowledged is lost when the server is killed under load', async (t) => {
  const server = await startServer(t);
  const log = await openTestLog(t, server);
  const leadership = await log.lead({ masterId: masterId() });
  const acknowledged: string[] = [];
  let submitted = 0;
  const submitOne = async (): Promise<void> => {
    const id = `f${submitted++}`;
    await commit(leadership, [framework(id)]);
    acknowledged.push(id);
  };
  for (let kill = 0; kill < 3; kill += 1) {
    for (let at = 0; at < 20; at += 1) await Promise.all([submitOne(), submitOne(), submitOne()]);
    const underWay = Promise.all([submitOne(), submitOne()]);
    await server.kill('SIGKILL');
    await server.restart();
    await underWay;
  }
  const follower = await follow(t, await openTestLog(t, server), leadership.lastIndex);
  t.deepEqual(
    acknowledged.filter((id) => !follower.ledger.frameworks.has(id)),
    [],
  );
  t.is(follower.ledger.frameworks.size, submitted);
  await leadership.resign();
});

test('a follower goes on after the server was killed', async (t) => {
  const server = await startServer(t);
  const log = await openTestLog(t, server);
  const leadership = await log.lead({ masterId: masterId() });
  const first = await commit(leadership, [framework('f1')]);
  const seen: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const followed = await openTestLog(t, server);
  const follower = followed.follow({
    onEntry: ({ index }) => {
      seen.push(index);
      if (index === first + 1) resolve();
    },
  });
  t.teardown(() => follower.stop());
  await follower.caughtUp;
  await server.kill('SIGKILL');
  await server.restart();
  await commit(leadership, [framework('f2')]);
  await promise;
  t.deepEqual(seen, [first, first + 1]);
  await leadership.resign();
});

test('waiting for the log ends when the connection is closed', async (t) => {
  const server = await startServer(t);
  const first = await (await openTestLog(t, server)).lead({ masterId: masterId() });
  const bus = await connectTo(t, server);
  const log = await openLog({ connection: bus.connection, subjects, replicas: 1 });
  const standby = log.lead({ masterId: masterId() });
  await bus.close();
  await t.throwsAsync(standby, { name: 'DisconnectedError' });
  await first.resign();
});

test('a record larger than an entry is refused and harms nothing', async (t) => {
  const log = await openTestLog(t, await startServer(t));
  const leadership = await log.lead({ masterId: masterId() });
  const huge = framework('x'.repeat(600_000));
  t.throws(() => leadership.submit([huge], { urgent: true }), { code: 'message_too_large' });
  t.true((await commit(leadership, [framework('small')])) > 0);
  await leadership.resign();
});

test('a bucket with other settings is refused with what is wrong', async (t) => {
  const server = await startServer(t);
  const { connection } = await connectTo(t, server);
  await new Kvm(connection).create(subjects.logBucket, { ttl: 60_000 });
  const error = await t.throwsAsync(openLog({ connection, subjects, replicas: 1 }), { instanceOf: UnfitServerError });
  t.regex(error?.message ?? '', /max_age is 60000000000, not 0/);
});
