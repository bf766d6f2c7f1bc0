import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Worker } from 'node:worker_threads';
import { silentLogger } from '@mesobus/sdk/bus';
import { startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import { Kvm } from '@nats-io/kv';
import test, { type ExecutionContext } from 'ava';
import { ledgerHash } from '../../src/core/index.ts';
import { readerOn } from '../../src/shell/hashed-value.ts';
import { openSnapshots } from '../../src/shell/jetstream-snapshots.ts';
import { SnapshotKeeper } from '../../src/shell/keep-snapshots.ts';
import { type LoadOptions, loadNewest } from '../../src/shell/load-snapshot.ts';
import { openLogBucket } from '../../src/shell/log-bucket.ts';
import { logOn, openLogTools } from '../../src/shell/open-log.ts';
import type { ValueReader } from '../../src/shell/snapshot-store.ts';
import { type ThreadData, ThreadedReader } from '../../src/shell/threaded-reader.ts';
import { commit, connectTo, framework, openTestLog, startServer, subjects } from './support.ts';

const limits = { logBytes: 0, logEntries: 1, ageMs: Number.POSITIVE_INFINITY };
const bucket = { name: subjects.snapshotBucket, stream: `KV_${subjects.snapshotBucket}` };

/** A confirmed snapshot of two megabytes in about ten values, and what it must add up to. */
async function startSnapshot(t: ExecutionContext) {
  const server = await startServer(t);
  const leadership = await (await openTestLog(t, server)).lead({ masterId: 'm1' });
  for (let at = 0; at < 100; at += 1) await commit(leadership, [framework(`${at}-${'x'.repeat(20_000)}`)]);
  await leadership.resign();
  const { connection } = await connectTo(t, server);
  const tools = await openLogTools({ connection, subjects, replicas: 1 });
  const follower = logOn(tools).follow();
  await follower.caughtUp;
  const { promise: confirmed, resolve } = Promise.withResolvers<void>();
  const keeper: SnapshotKeeper = new SnapshotKeeper(tools, follower.reading, {
    ...{ registryId: 'r1', limits, checkEveryMs: 50, leaveToOthersMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY },
    onRound: () => keeper.status.generation > 0 && resolve(),
  });
  await confirmed;
  keeper.stop();
  follower.stop();
  return { server, connection, tools, hash: ledgerHash(follower.ledger) };
}

type Snapshot = Awaited<ReturnType<typeof startSnapshot>>;

/** A reader over a thread that is ready, and what it did not do. */
async function startReader(
  t: ExecutionContext,
  { server, tools }: Snapshot,
  how: Partial<ThreadData['connectedBy']> = {},
) {
  const read: string[] = [];
  const here = readerOn(tools.snapshots);
  const reading: ValueReader = {
    ...here,
    get: (key) => {
      read.push(key);
      return here.get(key);
    },
  };
  const warnings: string[] = [];
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const workers = once(process, 'worker');
  const connectedBy = { servers: server.url, name: t.title, reconnectWaitMs: 50, jitterMs: 0, ...how };
  const reader = new ThreadedReader({ connectedBy, bucket }, reading, {
    ...silentLogger,
    info: () => start(),
    warn: (_, message) => {
      warnings.push(message);
      start();
    },
  });
  t.teardown(() => reader.close());
  const [worker] = (await workers) as [Worker];
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve())); // also after an error
  await started;
  const load = (options: Partial<LoadOptions> = {}) =>
    loadNewest(
      { ...tools, snapshots: { ...tools.snapshots, openReader: () => reader } },
      { incarnation: 0, index: 0, ...options },
    );
  return { reader, worker, ended, load, readHere: read, warnings };
}

test.serial('a thread reads a snapshot that adds up to the same ledger, and ends with it', async (t) => {
  const snapshot = await startSnapshot(t);
  const { load, ended, readHere } = await startReader(t, snapshot);
  const loaded = await load();
  if (!('ledger' in loaded)) return t.fail(loaded.refused.join());
  t.true(loaded.meta.pieces.length > 5);
  t.is(ledgerHash(loaded.ledger), snapshot.hash);
  t.deepEqual(readHere, []);
  await ended;
});

test.serial('what a thread reads is believed no more than what is read here', async (t) => {
  const snapshot = await startSnapshot(t);
  const kv = await new Kvm(snapshot.connection).open(subjects.snapshotBucket);
  const value = Uint8Array.from((await kv.get('snap.1.2'))?.value ?? []);
  value[value.length >> 1] = (value[value.length >> 1] ?? 0) ^ 1;
  await kv.put('snap.1.2', value);
  const first = await startReader(t, snapshot);
  t.deepEqual(await first.load(), {
    refused: ['generation 1: its value snap.1.2 is not what was written: hashes differ'],
  });
  await first.ended;

  await snapshot.tools.snapshots.purge(['snap.1.2']);
  const second = await startReader(t, snapshot);
  t.deepEqual(await second.load(), { refused: ['generation 1: its value snap.1.2 is missing'] });
  await second.ended;
  t.deepEqual([...first.readHere, ...second.readHere], []);
});

test.serial('a thread that ends halfway is done without', async (t) => {
  const snapshot = await startSnapshot(t);
  const { worker, reader, load, readHere, warnings } = await startReader(t, snapshot);
  const read: number[] = [];
  const { get } = reader;
  reader.get = (key) => {
    if (read.push(1) === 4) void worker.terminate(); // before it has seen what was asked
    return get.call(reader, key);
  };
  const loaded = await load();
  if (!('ledger' in loaded)) return t.fail(loaded.refused.join());
  t.is(ledgerHash(loaded.ledger), snapshot.hash);
  t.not(readHere.length, 0);
  t.deepEqual(warnings, ['the thread that reads the values of the snapshot has ended; going on without']);
});

test.serial('a thread that cannot connect is done without', async (t) => {
  const snapshot = await startSnapshot(t);
  const guarded = await startNatsServer({ token: 'secret' });
  t.teardown(() => guarded.stop());
  const { load, ended, readHere, warnings } = await startReader(t, snapshot, { servers: guarded.url, token: 'wrong' });
  await ended;
  const loaded = await load();
  if (!('ledger' in loaded)) return t.fail(loaded.refused.join());
  t.is(readHere.length, loaded.meta.pieces.length);
  t.is(warnings.length, 1);
});

test.serial('a thread that loses its connection halfway connects again and goes on', async (t) => {
  const snapshot = await startSnapshot(t);
  const servers = await startWeakLine(t, snapshot.server, 1_000_000);
  const { load, readHere, warnings } = await startReader(t, snapshot, { servers });
  const loaded = await load();
  if (!('ledger' in loaded)) return t.fail(loaded.refused.join());
  t.is(ledgerHash(loaded.ledger), snapshot.hash);
  t.deepEqual([readHere, warnings], [[], []]);
});

/** The way to a server that is cut once, when so much has come over it. */
async function startWeakLine(t: ExecutionContext, server: TestNatsServer, bytes: number): Promise<string> {
  let left = bytes;
  const sockets = new Set<Socket>();
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const proxy = createServer((client) => {
    const upstream = connect(server.port, '127.0.0.1');
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
    client.on('close', () => upstream.destroy()).pipe(upstream);
    upstream.on('close', () => client.destroy()).pipe(client);
    upstream.on('data', (chunk) => {
      const isUp = left > 0;
      left -= chunk.length;
      if (isUp && left <= 0) cut();
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.teardown(() => {
    cut();
    proxy.close();
  });
  return `nats://127.0.0.1:${(proxy.address() as { port: number }).port}`;
}

test.serial('who stops while a snapshot is loaded leaves no thread behind', async (t) => {
  const snapshot = await startSnapshot(t);
  const { reader, ended } = await startReader(t, snapshot);
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const openReader = (): ValueReader => {
    queueMicrotask(() => {
      follower.stop();
      resolve();
    });
    return reader;
  };
  const tools = { ...snapshot.tools, snapshots: { ...snapshot.tools.snapshots, openReader } };
  const follower = logOn(tools).follow({ onReloaded: () => t.fail('it was loaded nevertheless') });
  await stopped;
  await ended;
  await t.throwsAsync(reader.get('snap.1.0'), { message: /the reader is closed/ });
});

test.serial('few values are worth no thread; one ends with the connection of who started it', async (t) => {
  const server = await startServer(t);
  const bus = await connectTo(t, server);
  const { connection, connectedBy } = bus;
  const logBucket = await openLogBucket(connection, subjects.logBucket, 1);
  const threads = { connectedBy, log: silentLogger };
  const { openReader } = await openSnapshots(connection, subjects, logBucket, 1, threads);
  t.is(openReader?.(127), undefined);
  t.is((await openSnapshots(connection, subjects, logBucket, 1, undefined)).openReader, undefined);
  const workers = once(process, 'worker');
  t.truthy(openReader?.(128));
  const [worker] = (await workers) as [Worker];
  const ended = once(worker, 'exit');
  await bus.close();
  await ended;
});
