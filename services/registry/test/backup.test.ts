import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { encode, mesobus } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { entryKey, type Ledger, type LogMessage, ledgerHash } from '../src/core/index.ts';
import type { LogStore, SnapshotStore } from '../src/index.ts';
import { backUp } from '../src/shell/back-up.ts';
import { readCatalogue } from '../src/shell/load-snapshot.ts';
import { readBackup } from '../src/shell/read-backup.ts';
import { restore } from '../src/shell/restore.ts';
import { SnapshotSource, writeSnapshot } from '../src/shell/take-snapshot.ts';
import { MemoryCluster } from './memory-stores.ts';
import { aCluster, frameworkRecord, launch } from './records.ts';

function fileOf(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-backup-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return path.join(folder, 'backup');
}

/** A cluster with a snapshot and a log that goes on after it. */
async function aRunningCluster(): Promise<MemoryCluster> {
  const cluster = new MemoryCluster();
  cluster.leader(1);
  cluster.write(...aCluster, { cluster: { clusterIncarnation: 1, nextAgentNumber: 3, nextFrameworkNumber: 4 } });
  cluster.write(launch('t1', 1), launch('t2', 2));
  const reading = await cluster.read();
  const encoded = await new SnapshotSource(reading, cluster.clock).encode(1, []);
  assert.ok(encoded);
  const options = { registryId: 'r1', takenAtMs: 1, bytesPerSecond: 1e9, mayGoOn: () => Promise.resolve() };
  await writeSnapshot(cluster.tools, encoded, options);
  reading.stop();
  cluster.write(frameworkRecord('f3'));
  cluster.write(launch('t3', 3));
  return cluster;
}

async function aBackup(t: ExecutionContext): Promise<{ cluster: MemoryCluster; file: string }> {
  const [cluster, file] = [await aRunningCluster(), fileOf(t)];
  await backUp(cluster.tools, 'main', file);
  return { cluster, file };
}

const tasksOf = (ledger: Ledger): string[] =>
  [...ledger.frameworks.values()].flatMap(({ tasks }) => [...tasks.keys()]).sort();

test('a backup holds what its cluster held: the snapshot and the log after it', async (t) => {
  const { cluster, file } = await aBackup(t);
  const reading = await cluster.read();
  const { header, ledger, position } = readBackup(file);
  t.is(header.cluster, 'main');
  t.is(header.snapshot?.index, 2);
  t.is(position.index, cluster.lastIndex);
  t.is(ledgerHash(ledger), ledgerHash(reading.ledger));
  t.deepEqual(readdirSync(path.dirname(file)), ['backup'], 'nothing else is left');
});

test('a cluster without a snapshot is backed up by its log', async (t) => {
  const [cluster, file] = [new MemoryCluster(), fileOf(t)];
  cluster.leader(1);
  cluster.write(...aCluster);
  t.like(await backUp(cluster.tools, 'main', file), { index: 1, agents: 2, frameworks: 2 });
  t.is(readBackup(file).ledger.agents.size, 2);
});

test('what a backup that was killed has left does not stop the next one', async (t) => {
  const { cluster, file } = await aBackup(t);
  writeFileSync(`${file}.${process.pid}.part`, 'half');
  await t.notThrowsAsync(backUp(cluster.tools, 'main', file));
});

test('a backup that cannot be given its name leaves nothing behind', async (t) => {
  const [cluster, file] = [await aRunningCluster(), fileOf(t)];
  mkdirSync(file);
  await t.throwsAsync(backUp(cluster.tools, 'main', file), { code: 'EISDIR' });
  t.deepEqual(readdirSync(path.dirname(file)), ['backup']);
});

test('what fails while an entry is copied ends the backup, and not whoever delivers the log', async (t) => {
  const [cluster, file] = [await aRunningCluster(), fileOf(t)];
  const { tools } = cluster;
  const full = (message: LogMessage): LogMessage =>
    Object.defineProperty({ ...message }, 'bytes', {
      get: () => {
        throw new Error('no room'); // in place of the disk
      },
    });
  const tail: LogStore['tail'] = (options) =>
    tools.store.tail({ ...options, onMessage: (message) => options.onMessage(full(message)) });
  const failing = { ...tools, store: { ...tools.store, tail } };
  await t.throwsAsync(backUp(failing, 'main', file), { message: 'no room' });
  t.deepEqual(readdirSync(path.dirname(file)), []);
});

test('a restored cluster goes on after the backup, in an incarnation that outranks the old one', async (t) => {
  const { cluster, file } = await aBackup(t);
  const before = await cluster.read();
  cluster.write(launch('t4', 4)); // after the backup
  const fresh = new MemoryCluster();
  const summary = await restore(fresh.tools, file, { force: false });
  t.like(summary, { incarnation: 2, epoch: 2, index: 4, tasks: 3, agents: 2 });
  const reading = await fresh.read();
  t.deepEqual(tasksOf(reading.ledger), ['t1', 't2', 't3']);
  t.like(reading.ledger.cluster, { incarnation: 2, nextAgentNumber: 3, nextFrameworkNumber: 4 });
  t.is(reading.reader.lastIndex, 5, 'the log begins with an entry of its own');
  t.is(reading.reader.leader?.record.masterId, '', 'anybody may lead');
  t.is(reading.reader.epoch, 2);
  t.is(tasksOf(before.ledger).length, 4);
});

test('any byte that is another, missing or too many is found before anything is written', async (t) => {
  const { file } = await aBackup(t);
  const whole = readFileSync(file);
  const damage = fc.oneof(
    fc.record({ at: fc.nat(whole.length - 1), by: fc.integer({ min: 1, max: 255 }) }).map(({ at, by }) => {
      const bytes = Uint8Array.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ by;
      return bytes;
    }),
    fc.nat(whole.length - 1).map((length) => whole.subarray(0, length)),
    fc.constant(Buffer.concat([whole, Buffer.from('x')])),
  );
  const law = fc.asyncProperty(damage, async (bytes) => {
    writeFileSync(file, bytes);
    const fresh = new MemoryCluster();
    await assert.rejects(restore(fresh.tools, file, { force: true }), { name: 'DamagedBackupError' });
    assert.equal(fresh.log.lastSequence + fresh.snapshots.lastSequence, 0);
  });
  await t.notThrowsAsync(fc.assert(law, { numRuns: 300, includeErrorInReport: true }));
});

test('a backup in the format of another version is refused with both', async (t) => {
  const { file } = await aBackup(t);
  const bytes = readFileSync(file);
  const at = bytes.indexOf(Buffer.from([0x08, 1, 0x12])); // the format, and the version that wrote it after that
  bytes[at + 1] = 2;
  writeFileSync(file, bytes);
  t.throws(() => readBackup(file), {
    message: /Mesobus \d+\.\d+\.\d+ wrote it in format 2, not 1; nothing was changed/,
  });
});

test('a file that is not there, is a folder, or is no backup is refused as such', (t) => {
  const file = fileOf(t);
  t.throws(() => readBackup(file), { message: /Cannot use the backup '.*': it cannot be read \(ENOENT: .*another/ });
  mkdirSync(file);
  t.throws(() => readBackup(file), { message: /it is no backup of Mesobus/ });
  rmSync(file, { recursive: true });
  writeFileSync(file, 'hello');
  t.throws(() => readBackup(file), { message: /it is no backup of Mesobus/ });
});

test('a backup of a log that only a newer version knows is not restored by this one', async (t) => {
  const [cluster, file] = [await aRunningCluster(), fileOf(t)];
  cluster.oldestReaderVersion = 99;
  cluster.write(frameworkRecord('f4'));
  await backUp(cluster.tools, 'main', file);
  const empty = new MemoryCluster();
  await t.throwsAsync(restore(empty.tools, file, { force: false }), {
    message: /needs version 99 of the ledger's rules, this has \d+; restore it with a newer version$/,
  });
  t.is(empty.log.lastSequence, 0);
});

test('a log that holds anything is replaced only by force', async (t) => {
  const { file } = await aBackup(t);
  const used = await aRunningCluster();
  const sequence = used.log.lastSequence;
  await t.throwsAsync(restore(used.tools, file, { force: false }), { message: /holds 4 entries, up to 4.*--force/ });
  const led = new MemoryCluster();
  led.leader(1);
  await t.throwsAsync(restore(led.tools, file, { force: false }), { message: /holds nothing, and m leads/ });
  t.is(used.log.lastSequence, sequence);
});

test('whoever follows the log while it is replaced waits for the new state and goes on from it', async (t) => {
  const { file } = await aBackup(t);
  const used = await aRunningCluster();
  used.write(frameworkRecord('only-here'));
  const [live, held] = [await used.read(), await used.read()];
  held.hold();
  t.true(live.ledger.frameworks.has('only-here'));
  await restore(used.tools, file, { force: true });
  held.release();
  for (const reading of [live, held]) {
    while (reading.progress.phase !== 'caught_up') await new Promise((resolve) => setImmediate(resolve));
    t.is(reading.stopped, undefined);
    t.like(reading.reader, { incarnation: 2, lastIndex: 5 });
    t.false(reading.ledger.frameworks.has('only-here'));
  }
  const stale = encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 99, index: 6 });
  used.log.put(entryKey(6), stale);
  t.is(live.reader.lastIndex, 5, 'what the old incarnation writes is void');
});

test('a restore that dies leaves no empty cluster: readers wait, and another restore heals it', async (t) => {
  const { file } = await aBackup(t);
  const fresh = new MemoryCluster();
  const failing = { ...fresh.tools.snapshots, update: () => Promise.reject(new Error('killed')) };
  await t.throwsAsync(restore({ ...fresh.tools, snapshots: failing }, file, { force: false }), { message: 'killed' });
  const pending = fresh.read();
  await restore(fresh.tools, file, { force: true });
  const reading = await pending;
  t.deepEqual(tasksOf(reading.ledger), ['t1', 't2', 't3']);
  t.is(reading.reader.incarnation, 3);
});

test('a master that leads as soon as the restored state stands does not make the restore fail', async (t) => {
  const { file } = await aBackup(t);
  const fresh = new MemoryCluster();
  const { snapshots } = fresh.tools;
  const update: SnapshotStore['update'] = async (key, bytes, revision) => {
    const outcome = await snapshots.update(key, bytes, revision);
    if (key.startsWith('meta.')) fresh.leader(3, { clusterIncarnation: 2, masterId: 'quick' });
    return outcome;
  };
  const tools = { ...fresh.tools, snapshots: { ...snapshots, update } };
  t.like(await restore(tools, file, { force: false }), { incarnation: 2, tasks: 3 });
  t.is((await fresh.read()).reader.leader?.record.masterId, 'quick');
});

test('a restore that fails gives up its claim, so that the next one need not wait', async (t) => {
  const { file } = await aBackup(t);
  const fresh = new MemoryCluster();
  const { snapshots } = fresh.tools;
  const update: SnapshotStore['update'] = (key, bytes, revision) =>
    key.startsWith('snap.')
      ? Promise.resolve({ kind: 'unknown', why: 'no answer' })
      : snapshots.update(key, bytes, revision);
  const tools = { ...fresh.tools, snapshots: { ...snapshots, update } };
  await t.throwsAsync(restore(tools, file, { force: false }), { message: /no answer/ });
  const before = fresh.clock.now();
  await restore({ ...fresh.tools, random: () => 0.5 }, file, { force: true });
  t.true(fresh.clock.now() - before < 1_000);
});

test('a restored log whose snapshot is lost is refused, not taken for a new cluster', async (t) => {
  const { file } = await aBackup(t);
  const fresh = new MemoryCluster();
  await restore(fresh.tools, file, { force: false });
  const { keys } = await readCatalogue(fresh.tools.snapshots);
  await fresh.tools.snapshots.purge(keys);
  t.regex((await fresh.read()).stopped ?? '', /entry 1 should come next, not 5, and no snapshot leads on: none stands/);
});
