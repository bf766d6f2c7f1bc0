import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { firstNatsServerWith, isOlder, resolveNatsServer } from '@mesobus/sdk/service';
import { startNatsCluster, type TestNatsServer } from '@mesobus/sdk/testing';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import test, { type ExecutionContext } from 'ava';
import { applyRecord, createLedger, ledgerHash } from '../../src/core/index.ts';
import type { Leadership, LogFollower } from '../../src/index.ts';
import { type KeepOptions, SnapshotKeeper } from '../../src/shell/keep-snapshots.ts';
import { logOn, openLogTools } from '../../src/shell/open-log.ts';
import { commit, connectTo, framework, openTestLog, refusesReplicas, startServer, subjects } from './support.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const limits = { logBytes: 1e12, logEntries: 40, ageMs: 1e12 };
const logStream = `KV_${subjects.logBucket}`;
const snapshotStream = `KV_${subjects.snapshotBucket}`;

type Status = SnapshotKeeper['status'];

interface Registry {
  readonly follower: LogFollower;
  readonly keeper: SnapshotKeeper;
  /** Resolves once the status is as wanted. */
  until(is: (status: Status) => boolean): Promise<void>;
}

async function startRegistry(
  t: ExecutionContext,
  server: TestNatsServer,
  registryId: string,
  { replicas = 1, ...more }: Partial<KeepOptions> & { replicas?: number } = {},
): Promise<Registry> {
  const { connection } = await connectTo(t, server);
  const tools = await openLogTools({ connection, subjects, replicas, historyMaxAgeMs: 60_000 });
  let keeper: SnapshotKeeper | undefined;
  const follower = logOn(tools).follow({ onEntry: (entry) => keeper?.onEntry(entry) });
  await follower.caughtUp;
  const waiting = new Set<() => void>();
  const onRound = (): void => {
    for (const look of waiting) look();
  };
  const options = { registryId, limits, checkEveryMs: 50, leaveToOthersMs: 500, onRound, ...more };
  const kept = new SnapshotKeeper(tools, follower.reading, options);
  keeper = kept;
  t.teardown(() => {
    kept.stop();
    follower.stop();
  });
  const until: Registry['until'] = (is) =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!is(kept.status)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
    });
  return { follower, keeper: kept, until };
}

/** A leader that commits one entry after the other until it is told to stop. */
async function startLoad(t: ExecutionContext, server: TestNatsServer) {
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  let count = 0;
  let stopped = false;
  const { promise, resolve } = Promise.withResolvers<void>();
  const ledger = createLedger();
  const submit = (): number => {
    const record = framework(`f${count++ % 500}`);
    applyRecord(ledger, record);
    return leadership.submit([record], { urgent: true });
  };
  let wanted = submit();
  leadership.onCommitted((position) => {
    if (position < wanted) return;
    if (stopped) resolve();
    else wanted = submit();
  });
  const stop = (): Promise<void> => {
    stopped = true;
    return promise;
  };
  return { leadership, ledger, stop };
}

async function coldStart(t: ExecutionContext, server: TestNatsServer): Promise<LogFollower> {
  const follower = (await openTestLog(t, server)).follow();
  t.teardown(() => follower.stop());
  await follower.caughtUp;
  return follower;
}

async function managerOf(t: ExecutionContext, server: TestNatsServer): Promise<JetStreamManager> {
  return jetstreamManager((await connectTo(t, server)).connection);
}

async function commitMany(leadership: Leadership, prefix: string, count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await commit(leadership, [framework(`${prefix}${at}`)]);
}

test('under load the log is purged behind confirmed snapshots; a cold start and who was away find the same ledger', async (t) => {
  const server = await startServer(t);
  const load = await startLoad(t, server);
  const [one, two] = [await startRegistry(t, server, 'r1'), await startRegistry(t, server, 'r2')];
  const { promise: reloaded, resolve } = Promise.withResolvers<void>();
  let heldAt = Number.POSITIVE_INFINITY;
  const away = (await openTestLog(t, server)).follow({ onReloaded: () => away.lastIndex > heldAt && resolve() });
  t.teardown(() => away.stop());
  await away.caughtUp;
  t.true(away.reading.hold());
  heldAt = away.lastIndex;
  await Promise.race([one, two].map((registry) => registry.until(({ truncatedTo }) => truncatedTo > heldAt)));
  await load.stop();
  const { lastIndex } = load.leadership;

  const manager = await managerOf(t, server);
  const log = await manager.streams.info(logStream, { subjects_filter: '>' });
  t.true(log.state.messages < lastIndex, `${log.state.messages} of ${lastIndex} entries stand`);
  t.truthy(log.state.subjects?.[`$KV.${subjects.logBucket}.leader`], 'the leader is never purged');

  const cold = await coldStart(t, server);
  t.is(cold.lastIndex, lastIndex);
  t.true((cold.reading.snapshot?.generation ?? 0) > 0);
  t.is(ledgerHash(cold.ledger), ledgerHash(load.ledger));
  t.is(cold.masterId, 'm1');

  away.reading.release();
  await reloaded;
  t.truthy(away.reading.snapshot, 'who was away while the log was purged has reloaded');
  t.true(away.lastIndex > heldAt);
  await load.leadership.resign();
});

test('a flipped bit in a value is not believed: the generation before is used', async (t) => {
  const server = await startServer(t);
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  const registry = await startRegistry(t, server, 'r1');
  for (const generation of [1, 2, 3]) {
    await commitMany(leadership, `g${generation}-`, 40);
    await registry.until((status) => status.generation === generation);
  }
  await registry.until(({ truncatedTo }) => truncatedTo > 0);
  registry.keeper.stop();
  const { connection } = await connectTo(t, server);
  const kv = await new Kvm(connection).open(subjects.snapshotBucket);
  const value = Uint8Array.from((await kv.get('snap.3.0'))?.value ?? []);
  value[value.length >> 1] = (value[value.length >> 1] ?? 0) ^ 1;
  await kv.put('snap.3.0', value);

  const cold = await coldStart(t, server);
  t.is(cold.reading.snapshot?.generation, 2);
  t.is(ledgerHash(cold.ledger), ledgerHash(registry.follower.ledger));
  await kv.put('snap.2.0', value);
  const { promise: stopped, resolve } = Promise.withResolvers<Error>();
  const none = (await openTestLog(t, server)).follow({ onStopped: resolve });
  t.teardown(() => none.stop());
  t.regex((await stopped).message, /no snapshot leads on: generation 3: .*snap\.3\.0.*generation 2: .*snap\.2\.0/);
  const lead = (await openTestLog(t, server)).lead({ masterId: 'm2' });
  await t.throwsAsync(lead, { name: 'UnfitLogError' }, 'nobody leads over it');
  await leadership.resign();
});

test('a registry that is killed while it writes a snapshot leaves one that another takes over', async (t) => {
  const server = await startServer(t);
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  for (let at = 0; at < 60; at += 1) await commit(leadership, [framework(`${at}-${'x'.repeat(20_000)}`)]);
  const flags = ['--snapshot-log-entries', '10', '--snapshot-rate', '64KB', '--log-level', 'warn'];
  const args = ['-C', 'mesobus-source', main, '--nats', server.url, '--cluster', 'test', ...flags];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const { connection } = await connectTo(t, server);
  const kv = await new Kvm(connection).open(subjects.snapshotBucket);
  const watch = await kv.watch({ key: 'snap.>' });
  for await (const { key } of watch) if (key === 'snap.1.0') break; // others have yet to be written
  child.kill('SIGKILL');
  await ended;

  const manager = await managerOf(t, server);
  const left = await manager.streams.info(snapshotStream, { subjects_filter: '>' });
  t.falsy(left.state.subjects?.[`$KV.${subjects.snapshotBucket}.meta.1`]);
  const cold = await coldStart(t, server);
  t.is(cold.reading.snapshot, undefined, 'what has no meta record counts for nothing');
  const other = await startRegistry(t, server, 'r2', { claimExpiresMs: 1_000 });
  await other.until(({ generation }) => generation > 0);
  t.is(other.keeper.status.generation, 2);
  t.is((await coldStart(t, server)).reading.snapshot?.generation, 2);
  await leadership.resign();
});

test('the history keeps every entry; without it nothing is purged', async (t) => {
  const server = await startServer(t);
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  const registry = await startRegistry(t, server, 'r1');
  const manager = await managerOf(t, server);
  await manager.streams.delete(subjects.historyStream);
  for (const generation of [1, 2, 3]) {
    await commitMany(leadership, `g${generation}-`, 40);
    await registry.until((status) => status.generation === generation);
  }
  await registry.until(({ historyBehindMs }) => historyBehindMs > 0);
  t.is(registry.keeper.status.truncatedTo, 0);

  const again = await startRegistry(t, server, 'r2');
  await again.until(({ truncatedTo }) => truncatedTo > 0);
  const history = await manager.streams.info(subjects.historyStream, { subjects_filter: '>' });
  const kept = Object.keys(history.state.subjects ?? {});
  const others = kept.filter((subject) => !subject.includes('.log.'));
  t.is(kept.length - others.length, leadership.lastIndex, 'every entry');
  const { version } = await resolveNatsServer();
  const filters = !isOlder(version, firstNatsServerWith.filteredMirrors);
  t.deepEqual(others, filters ? [] : [`$KV.${subjects.logBucket}.leader`], 'and nothing that could be left out');
  await leadership.resign();
});

test('a stream that has the name of the history and does not mirror the log is refused', async (t) => {
  const server = await startServer(t);
  const { connection } = await connectTo(t, server);
  await (await managerOf(t, server)).streams.add({ name: subjects.historyStream, subjects: ['something.else'] });
  const opening = openLogTools({ connection, subjects, replicas: 1, historyMaxAgeMs: 60_000 });
  await t.throwsAsync(opening, { name: 'UnfitServerError', message: /is no mirror of .*nats stream rm/ });
});

test('three servers keep log, snapshots and history; without the one that led them a cold start finds all', async (t) => {
  t.timeout(120_000);
  if (await refusesReplicas(t)) return;
  const { servers, stop } = await startNatsCluster({ jetstream: true });
  t.teardown(stop);
  const [one, two] = servers as [TestNatsServer, TestNatsServer];
  const { connection } = await connectTo(t, one);
  const leadership = await logOn(await openLogTools({ connection, subjects, replicas: 3 })).lead({ masterId: 'm1' });
  const registry = await startRegistry(t, one, 'r1', { replicas: 3 });
  for (const generation of [1, 2, 3]) {
    await commitMany(leadership, `g${generation}-`, 40);
    await registry.until((status) => status.generation === generation);
  }
  await registry.until(({ truncatedTo }) => truncatedTo > 0);
  const manager = await managerOf(t, two);
  for (const stream of [logStream, snapshotStream, subjects.historyStream]) {
    t.is((await manager.streams.info(stream)).config.num_replicas, 3);
  }
  registry.keeper.stop();
  await leadership.resign();
  const hash = ledgerHash(registry.follower.ledger);
  await one.kill('SIGKILL');
  const other = (await connectTo(t, two)).connection;
  const cold = logOn(await openLogTools({ connection: other, subjects, replicas: 3 })).follow();
  t.teardown(() => cold.stop());
  await cold.caughtUp;
  t.is(cold.reading.snapshot?.generation, 3);
  t.is(ledgerHash(cold.ledger), hash);
});

test('a follower finds that the log was replaced by a new one, and reads that from its beginning', async (t) => {
  const server = await startServer(t);
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  await commitMany(leadership, 'old', 30);
  const { promise: renewed, resolve } = Promise.withResolvers<void>();
  const follower = (await openTestLog(t, server)).follow({
    onEntry: ({ index }) => index === 1 && follower.ledger.frameworks.has('new0') && resolve(),
  });
  t.teardown(() => follower.stop());
  await follower.caughtUp;
  await leadership.resign();
  await (await managerOf(t, server)).streams.delete(logStream);
  const again = await (await openTestLog(t, server)).lead({ masterId: 'm2' });
  await commitMany(again, 'new', 1);
  await renewed;
  t.deepEqual([...follower.ledger.frameworks.keys()], ['new0']);
  await again.resign();
});
