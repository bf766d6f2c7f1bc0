// How many records a second the leader's log takes, beside bare appends of entries of the same size.
import type { mesobus } from '@mesobus/protos';
import { type Leadership, openLog } from '@mesobus/registry';
import { connectNats, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';
import { startNatsCluster, startNatsServer } from '@mesobus/sdk/testing';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { percentile, rounded } from './percentiles.ts';

const subjects = subjectsOf('bench');
const warmUpMs = 1_500;
const measureMs = 5_000;
const floorAppends = 500;
/** Records that wait or are under way: what a busy master has. */
const outstanding = 6_000;
const recordsPerSubmit = 100;

export async function benchLog(): Promise<unknown> {
  const rows: unknown[] = [];
  for (const replicas of [1, 3]) {
    for (const sync of ['default', 'always']) rows.push(await measure(replicas, sync));
  }
  return { bench: 'log', rows };
}

async function measure(replicas: number, sync: string): Promise<unknown> {
  const options = { jetstream: sync === 'always' ? 'sync_interval: always' : true };
  await using started =
    replicas === 1 ? await startNatsServer(options) : await startNatsCluster({ ...options, size: replicas });
  const servers = 'urls' in started ? started.urls : [started.url];
  const bus = await connectNats({ servers, name: 'bench log' });
  try {
    const log = await openLog({ connection: bus.connection, subjects, replicas });
    const leadership = await log.lead({ masterId: 'bench' });
    const { recordsPerSecond, recordsPerEntry, appendMs, recordBytes, entryBytes } = await saturate(leadership, bus);
    await leadership.resign();
    const floorMs = await bareAppends(bus, replicas, entryBytes);
    return {
      replicas,
      sync,
      records_per_second: rounded(recordsPerSecond, 0),
      record_bytes: rounded(recordBytes, 0),
      records_per_entry: rounded(recordsPerEntry, 0),
      append_ms: quantiles(appendMs),
      floor_append_ms: quantiles(floorMs),
    };
  } finally {
    await bus.close();
  }
}

const quantiles = (sample: readonly number[]) => ({
  p50: rounded(percentile(sample, 0.5)),
  p99: rounded(percentile(sample, 0.99)),
});

interface Saturated {
  readonly recordsPerSecond: number;
  readonly recordsPerEntry: number;
  /** From one commit to the next: the append, and all that the writer does for it. */
  readonly appendMs: number[];
  readonly recordBytes: number;
  readonly entryBytes: number;
}

/** Keeps as many records waiting as a busy master has. Each is a task of its own. */
async function saturate(leadership: Leadership, bus: NatsBus): Promise<Saturated> {
  const appendMs: number[] = [];
  const done = Promise.withResolvers<void>();
  const began = performance.now() + warmUpMs;
  let submitted = 0;
  let first: { position: number; index: number; at: number } | undefined;
  let last = { position: 0, index: 0, at: 0 };
  const fill = (): void => {
    while (submitted - last.position < outstanding) {
      const records = Array.from({ length: recordsPerSubmit }, (_, at) => taskRecord(submitted + at));
      submitted = leadership.submit(records, { urgent: true });
    }
  };
  leadership.onCommitted((position, index) => {
    const at = performance.now();
    if (first !== undefined) appendMs.push(at - last.at);
    last = { position, index, at };
    if (first === undefined && at >= began) first = last;
    if (at < began + measureMs) fill();
    else if (position === submitted) done.resolve();
  });
  void leadership.lost.then(({ why }) => done.reject(new Error(`the leadership was lost: ${why}`)));
  fill();
  await done.promise;
  if (first === undefined) throw new Error('nothing was committed in time');
  const records = last.position - first.position;
  const entries = last.index - first.index;
  const { bytes, messages } = await entriesIn(bus);
  return {
    recordsPerSecond: (records * 1000) / (last.at - first.at),
    recordsPerEntry: records / entries,
    appendMs,
    recordBytes: bytes / last.position,
    entryBytes: Math.round(bytes / messages),
  };
}

/** At least 100 bytes of the log each. */
const taskRecord = (number: number): mesobus.v1.Record.$Properties => ({
  taskLaunched: {
    frameworkId: 'bench-0000',
    agentId: `bench-S${number % 1000}`,
    task: { name: 'bench', taskId: { value: `task-${number}` }, agentId: { value: `bench-S${number % 1000}` } },
    resources: [{ name: 'cpus', type: 0, scalar: { value: 0.1 } }],
    role: 'bench',
    commandNumber: number,
    callId: `call-${number}`,
    acceptedAtMs: 1_700_000_000_000 + number,
  },
});

async function entriesIn({ connection }: NatsBus): Promise<{ bytes: number; messages: number }> {
  const manager = await jetstreamManager(connection);
  return (await manager.streams.info(`KV_${subjects.logBucket}`)).state;
}

/** One append after the other, each conditional on the one before, as the writer's are. */
async function bareAppends({ connection }: NatsBus, replicas: number, bytes: number): Promise<number[]> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'bench-floor', subjects: ['bench.floor.>'], num_replicas: replicas });
  const client = jetstream(connection);
  const times: number[] = [];
  for (let sequence = 0; sequence < floorAppends; sequence += 1) {
    const payload = crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536)));
    const entry = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += payload.length) entry.set(payload.subarray(0, bytes - at), at);
    const startedAt = performance.now();
    await client.publish(`bench.floor.${sequence}`, entry, { expect: { lastSequence: sequence } });
    times.push(performance.now() - startedAt);
  }
  return times.slice(floorAppends / 10);
}
