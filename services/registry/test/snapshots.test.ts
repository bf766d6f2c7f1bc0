import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mesobus } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createLedger, entryKey, type LogMessage, ledgerHash, shardCount } from '../src/core/index.ts';
import { ledgerVersion } from '../src/core/log-writer.ts';
import { metaKey, partKey } from '../src/core/snapshot-keys.ts';
import { targetPartBytes } from '../src/core/snapshot-parts.ts';
import { retentionOf } from '../src/core/snapshot-retention.ts';
import type { LogReading, LogStore, SnapshotStore } from '../src/index.ts';
import { backUp } from '../src/shell/back-up.ts';
import { confirmSnapshot } from '../src/shell/confirm-snapshot.ts';
import { SnapshotKeeper } from '../src/shell/keep-snapshots.ts';
import { loadNewest, readCatalogue } from '../src/shell/load-snapshot.ts';
import { startReading } from '../src/shell/reading.ts';
import { restore } from '../src/shell/restore.ts';
import { SnapshotClaims } from '../src/shell/snapshot-claim.ts';
import { SnapshotSource, writeSnapshot } from '../src/shell/take-snapshot.ts';
import { MemoryCluster } from './memory-stores.ts';
import { aCluster, agentRecord, anyRecord, frameworkRecord, launch } from './records.ts';

/** Takes generation after generation from one reading, as a registry does. */
class Taker {
  readonly cluster: MemoryCluster;
  readonly reading: LogReading;
  readonly #source: SnapshotSource;
  #generation = 0;

  constructor(cluster: MemoryCluster, reading: LogReading) {
    this.cluster = cluster;
    this.reading = reading;
    this.#source = new SnapshotSource(reading, cluster.clock);
  }

  /** @returns what was written anew */
  async take({ confirm = true } = {}): Promise<{ meta: mesobus.v1.SnapshotMeta; written: number }> {
    const { tools } = this.cluster;
    await caughtUp(this.reading);
    const { generations } = await readCatalogue(tools.snapshots);
    const encoded = await this.#source.encode(++this.#generation, generations);
    assert.ok(encoded);
    const options = { registryId: 'r1', takenAtMs: 1, bytesPerSecond: 1e9, mayGoOn: () => Promise.resolve() };
    const meta = await writeSnapshot(tools, encoded, options);
    this.#source.onTaken(meta.generation);
    await caughtUp(this.reading);
    if (confirm) assert.equal(await this.confirm(), 'confirmed');
    return { meta, written: encoded.values.size };
  }

  async confirm(registryId = 'r2'): ReturnType<typeof confirmSnapshot> {
    const [newest] = (await readCatalogue(this.cluster.tools.snapshots)).generations;
    assert.ok(newest);
    return confirmSnapshot(this.cluster.tools, this.reading, newest, registryId);
  }
}

async function caughtUp(reading: LogReading): Promise<void> {
  while (reading.progress.phase !== 'caught_up') await new Promise((resolve) => setImmediate(resolve));
}

async function begin(): Promise<{ cluster: MemoryCluster; taker: Taker; reading: LogReading }> {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.write(...aCluster);
  cluster.write(launch('t1', 1), launch('t2', 2));
  const reading = await cluster.read();
  return { cluster, reading, taker: new Taker(cluster, reading) };
}

/** A log whose beginning is gone, with three snapshots behind it; the last entry stands. */
async function truncated(): Promise<{ cluster: MemoryCluster; taker: Taker; reading: LogReading }> {
  const all = await begin();
  for (const id of ['f3', 'f4', 'f5']) {
    await all.taker.take();
    all.cluster.write(frameworkRecord(id));
  }
  const [, before] = (await readCatalogue(all.cluster.tools.snapshots)).generations;
  await all.cluster.tools.snapshots.purgeLog((before?.meta.sequence ?? 0) + 1);
  return all;
}

const hashOf = (reading: LogReading): string => ledgerHash(reading.ledger);

test('a cold start from a snapshot and the log after it makes the same ledger', async (t) => {
  const { cluster, reading } = await truncated();
  const cold = await cluster.read();
  t.is(hashOf(cold), hashOf(reading));
  t.is(cold.reader.lastIndex, reading.reader.lastIndex);
  t.is(cold.snapshot?.generation, 3);
  t.is(cold.reader.leader?.record.masterId, 'm', 'the record of the leader is older than the snapshot');
});

test('whatever the log says, each snapshot adds up to what the ledger was, and two in a row share no value', async (t) => {
  const phase = fc.array(anyRecord, { maxLength: 30, size: 'max' });
  const law = fc.asyncProperty(fc.array(phase, { minLength: 1, maxLength: 5 }), async (phases) => {
    const { cluster, taker, reading } = await begin();
    let before = new Set<string>();
    for (const records of phases) {
      cluster.write(...records);
      const { meta } = await taker.take();
      const found = await loadNewest(cluster.tools, { incarnation: 0, index: 0 });
      assert.ok('ledger' in found);
      assert.equal(found.meta.generation, meta.generation);
      assert.equal(ledgerHash(found.ledger), hashOf(reading));
      const keys = new Set(meta.pieces.map((piece) => partKey(piece.generation ?? 0, piece.part ?? 0)));
      assert.ok([...keys].every((key) => !before.has(key)));
      before = keys;
    }
  });
  await t.notThrowsAsync(fc.assert(law, { numRuns: 60, includeErrorInReport: true }));
});

test('what has not changed since the snapshot before the last is not written again', async (t) => {
  const { cluster, taker } = await begin();
  const big = 'x'.repeat(2_000);
  for (let at = 0; at < 1_500; at += 1) {
    cluster.write(agentRecord(`b${at}`, { version: big }));
  }
  const first = await taker.take();
  t.true(first.written > 8);
  await taker.take();
  cluster.write(frameworkRecord('f9'));
  const third = await taker.take();
  t.true(third.written < first.written / 2, `${third.written} of ${first.written}`);
  t.true(third.meta.pieces.some((piece) => piece.generation === first.meta.generation));
});

test('small shards share a value, and a shard that is too large for one is cut', async (t) => {
  const { cluster, taker } = await begin();
  const small = await taker.take();
  t.true(small.written < shardCount / 10);
  const text = 'x'.repeat(10_000);
  for (let number = 3; number < 103; number += 1) {
    cluster.write(launch(`t${number}`, number, { traceparent: text }));
  }
  const { meta } = await taker.take();
  const bytes = meta.pieces.map((piece) => piece.bytes ?? 0);
  t.true(Math.max(...bytes) < targetPartBytes + 20_000);
  const shards = meta.pieces.map((piece) => piece.shard);
  t.true(new Set(shards).size < shards.length, 'one shard has several values');
});

const damages = [
  [
    'a flipped bit',
    (cluster: MemoryCluster, key: string) => {
      const bytes = Uint8Array.from(cluster.snapshots.get(key)?.bytes ?? []);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      cluster.snapshots.put(key, bytes);
    },
    /hashes differ/,
  ],
  ['a missing value', (cluster: MemoryCluster, key: string) => cluster.snapshots.purge(key), /is missing/],
  [
    'a truncated value',
    (cluster: MemoryCluster, key: string) =>
      void cluster.snapshots.put(key, (cluster.snapshots.get(key)?.bytes ?? Uint8Array.of()).subarray(0, -1)),
    /hashes differ/,
  ],
] as const;
for (const [what, damage, why] of damages) {
  test(`${what}: the generation before is used, and the reason is logged`, async (t) => {
    const { cluster, reading } = await truncated();
    const [newest] = (await readCatalogue(cluster.tools.snapshots)).generations;
    const piece = newest?.meta.pieces[0];
    damage(cluster, partKey(piece?.generation ?? 0, piece?.part ?? 0));
    const cold = await cluster.read();
    t.is(cold.snapshot?.generation, 2);
    t.is(hashOf(cold), hashOf(reading));
    t.true(cluster.errors.some((fields) => why.test(String(fields['why']))));
  });
}

test('a damaged meta record is refused as a damaged value is', async (t) => {
  const { cluster, reading } = await truncated();
  cluster.snapshots.put(metaKey(3), Uint8Array.of(255, 1));
  const cold = await cluster.read();
  t.is(cold.snapshot?.generation, 2);
  t.is(hashOf(cold), hashOf(reading));
});

test('with no snapshot to believe and the beginning of the log gone, the reading ends and says what is wrong with each', async (t) => {
  const { cluster } = await truncated();
  for (const { key } of cluster.snapshots.stored) if (key.startsWith('snap.')) cluster.snapshots.purge(key);
  const cold = await cluster.read();
  t.regex(cold.stopped ?? '', /entry 1 should come next.*generation 3: .*missing.*generation 2: .*restore a backup/);
});

test('with no snapshot to believe and the whole log there, the log is read', async (t) => {
  const { cluster, taker, reading } = await begin();
  await taker.take();
  cluster.snapshots.purge(partKey(1, 0));
  const cold = await cluster.read();
  t.is(hashOf(cold), hashOf(reading));
  t.is(cold.snapshot, undefined);
});

test('a snapshot whose ledger has another hash than it says is not believed', async (t) => {
  const { cluster, taker } = await begin();
  await taker.take({ confirm: false });
  const [newest] = (await readCatalogue(cluster.tools.snapshots)).generations;
  assert.ok(newest);
  const wrong = new mesobus.v1.SnapshotMeta({ ...newest.meta, ledgerHash: '0'.repeat(16) });
  cluster.snapshots.put(metaKey(1), mesobus.v1.SnapshotMeta.encode(wrong).finish());
  const found = await loadNewest(cluster.tools, { incarnation: 0, index: 0 });
  t.true('refused' in found && /has the hash/.test(found.refused.join()));
});

test('a reading that was away while the log was purged reloads and goes on', async (t) => {
  const { cluster, reading, taker } = await begin();
  const away = await cluster.read();
  away.hold();
  for (const id of ['f3', 'f4', 'f5']) {
    cluster.write(frameworkRecord(id));
    await taker.take();
  }
  const [, before] = (await readCatalogue(cluster.tools.snapshots)).generations;
  await cluster.tools.snapshots.purgeLog((before?.meta.sequence ?? 0) + 1);
  away.release();
  await caughtUp(away);
  while (away.reader.lastIndex < cluster.lastIndex) await new Promise((resolve) => setImmediate(resolve));
  t.is(away.reloads, 1);
  t.is(hashOf(away), hashOf(reading));
  cluster.write(frameworkRecord('f6'));
  t.true(away.ledger.frameworks.has('f6'));
});

test('a reading whose snapshots are purged while it loads them takes the newer ones', async (t) => {
  const { cluster, taker } = await begin();
  const { tools } = cluster;
  const overtake = async (): Promise<void> => {
    for (const id of ['f3', 'f4', 'f5']) {
      cluster.write(frameworkRecord(id));
      await taker.take();
    }
    const { generations, keys } = await readCatalogue(tools.snapshots);
    const { truncateAt, purgeable } = retentionOf(generations, keys);
    await tools.snapshots.purge(purgeable);
    await tools.snapshots.purgeLog((truncateAt?.sequence ?? 0) + 1);
  };
  let overtaken = true;
  const get: SnapshotStore['get'] = async (key) => {
    if (!overtaken && key.startsWith('snap.')) {
      overtaken = true;
      await overtake();
    }
    return tools.snapshots.get(key);
  };
  const slow = { ...tools, snapshots: { ...tools.snapshots, get } };
  const away = startReading(slow, { onCaughtUp() {}, onEffect() {} });
  await caughtUp(away);
  away.hold();
  await overtake();
  overtaken = false;
  away.release();
  while (away.reader.lastIndex < cluster.lastIndex && away.reader.stopped === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.is(away.reader.stopped, undefined);
  t.is(away.snapshot?.generation, 6);
  t.is(hashOf(away), hashOf(taker.reading));
});

test('a snapshot of what the log has lost since is passed over, while the log is shorter and when it has grown again', async (t) => {
  const { cluster, taker, reading } = await begin();
  await taker.take();
  const { lastSequence: synced } = cluster.log;
  cluster.write(frameworkRecord('lost'));
  await taker.take();
  reading.stop();
  cluster.log.loseAfter(synced);
  const shorter = await cluster.read();
  t.is(shorter.snapshot?.generation, 1);
  t.false(shorter.ledger.frameworks.has('lost'));
  t.true(cluster.errors.some(({ why }) => /generation 2 .*the log ends at sequence 3/.test(String(why))));

  cluster.goOnAfter(shorter.reader);
  cluster.write(frameworkRecord('later'));
  cluster.write(frameworkRecord('last'));
  const grown = await cluster.read();
  t.is(grown.stopped, undefined);
  t.is(grown.snapshot?.generation, 1);
  t.deepEqual([...grown.ledger.frameworks.keys()].slice(-2), ['later', 'last']);
});

test('an empty log of which snapshots stand is not taken for a new cluster', async (t) => {
  const { cluster, taker, reading } = await begin();
  await taker.take();
  reading.stop();
  cluster.log.loseAfter(0);
  const { stopped } = await cluster.read();
  t.regex(stopped ?? '', /holds no entry, although snapshots of it stand.*generation 1 .*restore a backup/);
});

test('a reading whose log was replaced by a new one says that its ledger is another', async (t) => {
  const { cluster } = await begin();
  const { tools } = cluster;
  let replaced = (_lastSequence: number): void => {};
  const tail: LogStore['tail'] = (options) => {
    replaced = (lastSequence) => options.onReplaced?.(lastSequence);
    return tools.store.tail(options);
  };
  const ledgers: number[] = [];
  const onReloaded = (): void => void ledgers.push(reading.ledger.agents.size);
  const handlers = { onCaughtUp() {}, onEffect() {}, onReloaded };
  const reading = startReading({ ...tools, store: { ...tools.store, tail } }, handlers);
  await caughtUp(reading);
  replaced(0);
  t.deepEqual(ledgers, [0]);
  await caughtUp(reading);
  t.is(reading.reader.lastIndex, cluster.lastIndex);
});

test('entries that come while a snapshot is encoded are in the next one, and in no way in this', async (t) => {
  const { cluster, taker } = await begin();
  const before = cluster.lastIndex;
  const taking = taker.take({ confirm: false });
  cluster.write(frameworkRecord('late'));
  const { meta } = await taking;
  const found = await loadNewest(cluster.tools, { incarnation: 0, index: 0 });
  assert.ok('ledger' in found);
  t.is(found.ledger.frameworks.has('late'), meta.index > before);
  const next = await taker.take();
  const after = await loadNewest(cluster.tools, { incarnation: 0, index: 0 });
  t.is(next.meta.index, before + 1);
  t.true('ledger' in after && after.ledger.frameworks.has('late'));
});

test('who finds that a snapshot and the log add up to something else says so, and nobody believes it', async (t) => {
  const { cluster, taker } = await begin();
  await taker.take({ confirm: false });
  const other = await cluster.read();
  cluster.write(frameworkRecord('f3'));
  Object.defineProperty(other, 'ledger', { value: createLedger() }); // a registry that went wrong somewhere
  const [newest] = (await readCatalogue(cluster.tools.snapshots)).generations;
  assert.ok(newest);
  const found = await confirmSnapshot(cluster.tools, other, newest, 'r2');
  t.regex(typeof found === 'string' ? found : found.fault, /adds up to .*, but its own ledger to/);
  const loaded = await loadNewest(cluster.tools, { incarnation: 0, index: 0 });
  t.true('refused' in loaded && /r2 found that/.test(loaded.refused.join()));
});

/** A reading whose last entry was damaged on its way. */
async function damagedReading(cluster: MemoryCluster): Promise<{ tools: MemoryCluster['tools']; reading: LogReading }> {
  const { tools } = cluster;
  const damage = (message: LogMessage): LogMessage => {
    if (message.key !== entryKey(cluster.lastIndex)) return message;
    const bytes = Uint8Array.from(message.bytes);
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 1;
    return { ...message, bytes };
  };
  const tail: LogStore['tail'] = (options) =>
    tools.store.tail({ ...options, onMessage: (message) => options.onMessage(damage(message)) });
  const reading = startReading({ ...tools, store: { ...tools.store, tail } }, { onCaughtUp() {}, onEffect() {} });
  await caughtUp(reading);
  return { tools, reading };
}

test('no snapshot is taken of a ledger whose last entry was damaged on its way: the log says something else', async (t) => {
  const { cluster } = await begin();
  const healthy = await cluster.read();
  const { tools, reading } = await damagedReading(cluster);
  t.is(reading.reader.lastIndex, healthy.reader.lastIndex);
  t.not(hashOf(reading), hashOf(healthy));

  const limits = { logBytes: 1, logEntries: 1, ageMs: 1 };
  const warnings: string[] = [];
  const log = { ...tools.log, warn: ({ why }: { why?: unknown }) => void warnings.push(String(why)) };
  const rounds = async (own: LogReading): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const keeper = new SnapshotKeeper({ ...tools, log }, own, { registryId: 'r1', limits, onRound: resolve });
    await promise;
    keeper.stop();
  };
  await rounds(reading);
  t.regex(warnings.join(), /entry 2 at sequence 3, read again, is not what was read before/);
  t.deepEqual((await readCatalogue(tools.snapshots)).generations, []);
  await rounds(healthy);
  t.is((await readCatalogue(tools.snapshots)).generations.length, 1);
});

test('a registry whose last entry was damaged on its way blames no snapshot for it', async (t) => {
  const { cluster, taker } = await begin();
  await taker.take({ confirm: false });
  cluster.write(frameworkRecord('f3'));
  const { tools, reading } = await damagedReading(cluster);
  const [newest] = (await readCatalogue(tools.snapshots)).generations;
  assert.ok(newest);
  t.is(await confirmSnapshot(tools, reading, newest, 'r2'), 'later');
  t.is(await taker.confirm('r3'), 'confirmed');
});

test('a claim is free once it has not changed for thirty seconds by the clock of who looks', async (t) => {
  const { snapshots } = new MemoryCluster().tools;
  let at = 0;
  const clock = { now: () => at, after: () => () => {} };
  const [one, two] = ['r1', 'r2'].map((id) => new SnapshotClaims(snapshots, clock, id));
  assert.ok(one && two);
  const first = await one.claim(0);
  t.is(first?.generation, 1);
  t.is(await two.claim(0), undefined);
  at = 29_000;
  await first?.renew();
  t.is(await two.claim(0), undefined, 'it has changed');
  at = 60_000;
  const second = await two.claim(0);
  t.is(second?.generation, 2);
  await t.throwsAsync(async () => first?.renew(), { name: 'ClaimLostError' });
  await second?.release();
  t.is((await one.claim(7))?.generation, 8, 'above all that stands');
});

/** Registries that look after the snapshots of a cluster, and who waits for what they do. */
async function keeping(
  t: ExecutionContext,
  cluster: MemoryCluster,
  registryIds: readonly string[],
): Promise<{ keepers: SnapshotKeeper[]; until(is: () => boolean): Promise<void> }> {
  const limits = { logBytes: 1e9, logEntries: 5, ageMs: 1e12 };
  const rounds = new Set<() => void>();
  const keepers: SnapshotKeeper[] = [];
  for (const registryId of registryIds) {
    const onRound = (): void => {
      for (const call of rounds) call();
    };
    keepers.push(new SnapshotKeeper(cluster.tools, await cluster.read(), { registryId, limits, onRound }));
  }
  t.teardown(() => {
    for (const keeper of keepers) keeper.stop();
  });
  const until = (is: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!is()) return;
        rounds.delete(look);
        resolve();
      };
      rounds.add(look);
    });
  return { keepers, until };
}

test('registries take, confirm and purge by themselves, and never more than the older of two confirmed snapshots covers', async (t) => {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.write(...aCluster);
  const { keepers, until } = await keeping(t, cluster, ['r1', 'r2']);
  const [keeper] = keepers as [SnapshotKeeper];

  cluster.historyUpTo = 0;
  for (let taken = 0; taken < 3; taken += 1) {
    const { index } = keeper.status;
    for (let at = 0; at < 6; at += 1) cluster.write(frameworkRecord(`g${taken}-${at}`));
    await until(() => keeper.status.index > index);
  }
  t.deepEqual(cluster.purgedLogBelow, [], 'the history lacks everything');
  await until(() => cluster.errors.length > 0);
  t.regex(String(cluster.errors[0]?.['todo']), /nothing is purged from the log/);

  cluster.historyUpTo = undefined;
  await until(() => keepers.some(({ status }) => status.truncatedTo > 0));
  const [, before] = (await readCatalogue(cluster.tools.snapshots)).generations;
  const truncated = keepers.map(({ status }) => status.truncatedTo);
  t.is<number | undefined, number | undefined>(Math.max(...truncated), before?.meta.index);
  t.true(cluster.log.get('leader') !== undefined);
  const kept = cluster.snapshots.stored.filter(({ key }) => key.startsWith('meta.'));
  t.is(kept.length, 2);
  const cold = await cluster.read();
  t.is(cold.stopped, undefined);
  t.is(cold.reader.lastIndex, cluster.lastIndex);
});

test('a registry that is too old for the log takes no snapshot of what it makes of it', async (t) => {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.oldestReaderVersion = ledgerVersion + 1;
  cluster.write(...aCluster);
  const { until } = await keeping(t, cluster, ['r1']);
  let rounds = 0;
  await until(() => ++rounds > 100);
  t.deepEqual(cluster.snapshots.stored, []);
});

test('a registry that outlives a restore purges the log behind the snapshots of the older index too', async (t) => {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.write(...aCluster);
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-backup-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'backup');
  await backUp(cluster.tools, 'main', file);
  const { keepers, until } = await keeping(t, cluster, ['r1']);
  const [keeper] = keepers as [SnapshotKeeper];
  const grow = async (snapshots: number): Promise<void> => {
    for (let taken = 0; taken < snapshots; taken += 1) {
      const { generation } = keeper.status;
      for (let at = 0; at < 6; at += 1) cluster.write(frameworkRecord(`g${taken}-${at}`));
      await until(() => keeper.status.generation > generation);
    }
  };
  await grow(4);
  await until(() => keeper.status.truncatedTo > 15);

  await restore(cluster.tools, file, { force: true });
  await until(() => keeper.status.index === 1);
  cluster.goOnAfter((await cluster.read()).reader);
  await grow(2);
  for (let round = 0; round < 3; round += 1) await until(() => true);
  t.like(keeper.status, { index: 14, truncatedTo: 8 });
  const left = cluster.log.stored.map(({ key }) => key).filter((key) => key !== 'leader');
  t.is(left[0], entryKey(9));
});

test('a registry that finds the log shorter than its newest snapshot says so for all, and goes on from the one before', async (t) => {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.write(...aCluster);
  const before = await keeping(t, cluster, ['r1']);
  const grow = (prefix: string): void => {
    for (let at = 0; at < 6; at += 1) cluster.write(frameworkRecord(`${prefix}-${at}`));
  };
  grow('kept');
  await before.until(() => before.keepers[0]?.status.generation === 1);
  const { lastSequence: synced } = cluster.log;
  grow('lost');
  await before.until(() => before.keepers[0]?.status.generation === 2);
  before.keepers[0]?.stop();
  cluster.log.loseAfter(synced);

  const after = await keeping(t, cluster, ['r1']);
  await after.until(() => after.keepers[0]?.status.generation === 1);
  const { generations } = await readCatalogue(cluster.tools.snapshots);
  t.regex(generations[0]?.fault ?? '', /r1 found that generation 2 .*it has lost its end/);
  cluster.goOnAfter((await cluster.read()).reader);
  grow('new');
  grow('newer');
  await after.until(() => after.keepers[0]?.status.generation === 3);
  const cold = await cluster.read();
  t.is(cold.snapshot?.generation, 3);
  t.deepEqual(
    [...cold.ledger.frameworks.keys()].filter((id) => id.startsWith('lost')),
    [],
  );
});

test('the log is not purged up to a snapshot of what it has lost, which lies behind the newest', (t) => {
  const generation = (number: number, sequence: number) => ({
    meta: new mesobus.v1.SnapshotMeta({ generation: number, sequence }),
    confirmed: true,
  });
  const { truncateAt } = retentionOf([generation(3, 40), generation(2, 50), generation(1, 10)], []);
  t.is(truncateAt?.generation, 1);
});
