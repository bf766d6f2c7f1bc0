import { type BusLogger, connectNats, type NatsBus } from '@mesobus/sdk/bus';
import { startNatsCluster, startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import test, { type ExecutionContext } from 'ava';
import { type Leadership, type Log, type LostLeadership, openLog } from '../../src/index.ts';
import { commit, follow, framework, refusesReplicas, subjects, untilLease } from './support.ts';

const stream = `KV_${subjects.logBucket}`;

interface Cluster {
  readonly servers: readonly TestNatsServer[];
  connect(): Promise<NatsBus>;
  open(): Promise<Log>;
}

async function startCluster(t: ExecutionContext): Promise<Cluster> {
  const { servers, urls, stop } = await startNatsCluster({ jetstream: true });
  t.teardown(stop);
  const connect = async (): Promise<NatsBus> => {
    const bus = await connectNats({ servers: urls, name: t.title, reconnectWaitMs: 50, jitterMs: 0 });
    t.teardown(() => bus.close());
    return bus;
  };
  const open = async (): Promise<Log> => openLog({ connection: (await connect()).connection, subjects, replicas: 3 });
  return { servers, connect, open };
}

/** While servers elect, a question may go unanswered: it is asked again. */
async function streamLeader(connection: NatsBus['connection']): Promise<string> {
  const { streams } = await jetstreamManager(connection, { checkAPI: false });
  for (;;) {
    const info = await streams.info(stream).catch(() => undefined);
    if (info?.cluster?.leader) return info.cluster.leader;
  }
}

/** Commits frameworks one after the other until told to stop; gives the ids of those that were acknowledged. */
function keepCommitting(leadership: Leadership, prefix: string): { acknowledged: string[]; stop(): Promise<void> } {
  const acknowledged: string[] = [];
  let stopped = false;
  const work = (async () => {
    for (let at = 0; !stopped; at += 1) {
      await commit(leadership, [framework(`${prefix}${at}`)]);
      acknowledged.push(`${prefix}${at}`);
    }
  })();
  return {
    acknowledged,
    stop: async () => {
      stopped = true;
      await work;
    },
  };
}

test('losing the server that leads the stream changes no leader, and nothing acknowledged is lost', async (t) => {
  t.timeout(120_000);
  if (await refusesReplicas(t)) return;
  const { servers, connect, open } = await startCluster(t);
  const leadership = await (await open()).lead({ masterId: 'm1' });
  let lost: LostLeadership | undefined;
  void leadership.lost.then((how) => {
    lost = how;
  });
  const ends = new AbortController();
  const standby = (await open()).lead({ masterId: 'm2', signal: ends.signal });
  const { connection } = await connect();
  const { acknowledged, stop } = keepCommitting(leadership, 'f');
  for (let kill = 0; kill < 2; kill += 1) {
    await commit(leadership, [framework(`before-${kill}`)]);
    const name = await streamLeader(connection);
    const leader = servers.find((_, at) => `nats-${at + 1}` === name);
    await leader?.kill('SIGKILL');
    const startedAt = performance.now();
    await commit(leadership, [framework(`after-${kill}`)]);
    t.log(`writes stood still for ${Math.round(performance.now() - startedAt)} ms`);
    await leader?.restart();
  }
  await stop();
  t.is(lost, undefined);
  t.is(leadership.epoch, 1);
  ends.abort(new Error('enough'));
  await t.throwsAsync(standby, { message: 'enough' }, 'it has not taken over');
  const { ledger } = await follow(t, await open(), leadership.lastIndex);
  t.deepEqual(
    acknowledged.filter((id) => !ledger.frameworks.has(id)),
    [],
  );
  await leadership.resign();
});

test('without a quorum a leader freezes, then ends; with one again another leads, and nothing acknowledged is lost', async (t) => {
  t.timeout(120_000);
  if (await refusesReplicas(t)) return;
  const { servers, open } = await startCluster(t);
  const log = await open();
  const first = await log.lead({ masterId: 'm1', leaseMs: 6_000 });
  const acknowledged = ['f1', 'f2', 'f3'];
  for (const id of acknowledged) await commit(first, [framework(id)]);
  await Promise.all(servers.slice(1).map((server) => server.kill('SIGKILL')));
  let committed = false;
  first.onCommitted(() => {
    committed = true;
  });
  first.submit([framework('late')], { urgent: true });
  await untilLease(first, 'frozen');
  t.is((await first.lost).reason, 'expired');
  t.false(committed);
  t.throws(() => first.submit([framework('refused')], { urgent: true }), { code: 'not_leading' });

  const next = log.lead({ masterId: 'm1-2', after: { masterId: 'm1', pauseMs: 15_000 } });
  await Promise.all(servers.slice(1).map((server) => server.restart()));
  const second = await next;
  t.is(second.epoch, 2);
  await commit(second, [framework('f4')]);
  const { ledger } = await follow(t, await open(), second.lastIndex);
  t.deepEqual(
    [...acknowledged, 'f4'].filter((id) => !ledger.frameworks.has(id)),
    [],
  );
  t.false(ledger.frameworks.has('refused'));
  await second.resign();
});

test('a leader whose JetStream is full says why, and goes on without loss or repetition when there is room again', async (t) => {
  t.timeout(60_000);
  const server = await startNatsServer({ jetstream: 'max_file_store: 4MB' });
  t.teardown(() => server.stop());
  const bus = await connectNats({ servers: server.url, name: t.title });
  t.teardown(() => bus.close());
  const warnings: string[] = [];
  const told = Promise.withResolvers<void>();
  const warn = (fields: object, message: string): void => {
    warnings.push(`${message}: ${JSON.stringify(fields)}`);
    told.resolve();
  };
  const logger = { info: () => {}, error: () => {}, warn };
  const log = await openLog({ connection: bus.connection, subjects, replicas: 1, acceptLazyFsync: true, log: logger });
  const leadership = await log.lead({ masterId: 'm1' });
  await commit(leadership, [framework('before')]);

  const manager = await jetstreamManager(bus.connection);
  await manager.streams.add({ name: 'filler', subjects: ['filler'] });
  const block = new Uint8Array(256 * 1024);
  for (let full = false; !full; ) {
    full = await bus.connection.request('filler', block).then((answer) => answer.string().includes('error'));
  }
  const large = framework(`large-${'x'.repeat(200 * 1024)}`);
  const waiting = commit(leadership, [large, framework('with-it')]);
  const behind = commit(leadership, [framework('behind')]);
  await told.promise;
  t.log(warnings[0]);
  t.regex(warnings[0] ?? '', /max_file_store/);
  t.is(await Promise.race([waiting, Promise.resolve('waits')]), 'waits');
  await manager.streams.delete('filler');
  const index = await waiting;
  t.true((await behind) >= index);
  t.is(leadership.epoch, 1);

  const follower = await follow(
    t,
    await openLog({ connection: bus.connection, subjects, replicas: 1 }),
    leadership.lastIndex,
  );
  t.deepEqual(
    [...follower.ledger.frameworks.keys()].map((id) => id.slice(0, 7)),
    ['before', 'large-x', 'with-it', 'behind'],
  );
  await leadership.resign();
});

/** A log of entries of 200 KB on one server, and who reads it. */
async function startWithLargeEntries(t: ExecutionContext, config: string, count: number) {
  const server = await startNatsServer({ jetstream: true, config });
  t.teardown(() => server.stop());
  const open = async (log?: BusLogger): Promise<Log> => {
    const bus = await connectNats({ servers: server.url, name: t.title, reconnectWaitMs: 50, jitterMs: 0 });
    t.teardown(() => bus.close());
    const { connection } = bus;
    return openLog({ connection, subjects, replicas: 1, acceptLazyFsync: true, ...(log !== undefined && { log }) });
  };
  const leadership = await (await open()).lead({ masterId: 'm1' });
  for (let at = 0; at < count; at += 1) await commit(leadership, [framework(`f${at}-${'x'.repeat(200 * 1024)}`)]);
  t.teardown(() => leadership.resign());

  /** Resolves with the indexes of the entries as a follower got them, when it has the last. */
  const read = async (onEntry: (index: number) => void = () => {}): Promise<number[]> => {
    let restarts = 0;
    const warn = (): void => {
      restarts += 1;
    };
    const log = await open({ info: () => {}, error: () => {}, warn });
    const seen: number[] = [];
    const all = Promise.withResolvers<void>();
    const follower = log.follow({
      onEntry: ({ index }) => {
        seen.push(index);
        onEntry(index);
        if (index === count) all.resolve();
      },
      onStopped: all.reject,
    });
    t.teardown(() => follower.stop());
    await all.promise;
    t.log(`the following began anew ${restarts} times`);
    return seen;
  };
  return { read, indexes: Array.from({ length: count }, (_, at) => at + 1) };
}

test('a follower that is too slow for the NATS server misses nothing', async (t) => {
  t.timeout(60_000);
  const { read, indexes } = await startWithLargeEntries(t, 'write_deadline: "300ms"', 100);
  const seen = await read((index) => {
    const until = performance.now() + (index < 40 ? 100 : 0);
    while (performance.now() < until); // what a large ledger does to a process
  });
  t.deepEqual(seen, indexes);
});

test('a server that drops whoever has little pending is read all the same, in smaller pieces', async (t) => {
  t.timeout(60_000);
  const { read, indexes } = await startWithLargeEntries(t, 'max_pending: 2MB', 60);
  t.deepEqual(await read(), indexes);
});
