import type { BusLogger, NatsBus } from '@mesobus/sdk/bus';
import { firstNatsServerWith, isOlder } from '@mesobus/sdk/service';
import { DiscardPolicy, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { UnfitServerError } from './fit-server.ts';
import { getValue } from './get-value.ts';
import { readerOn } from './hashed-value.ts';
import { findOrCreate, findStream, keyOf, type LogBucket, openLogBucket, requireSame, update } from './log-bucket.ts';
import type { SnapshotStore, StoredValue } from './snapshot-store.ts';
import { ThreadedReader } from './threaded-reader.ts';

/** So many keys are purged at once. */
const purgesUnderWay = 16;
/** To start a thread costs as much as to read about so many values. */
const manyValues = 128;
const nsPerMs = 1_000_000;

/** What a thread needs that reads over a connection of its own. */
interface ThreadOptions {
  readonly connectedBy: NatsBus['connectedBy'];
  readonly log: BusLogger;
}

/**
 * Opens the bucket of the snapshots, and creates it if there is none.
 *
 * @param threads - undefined: large snapshots are read on this thread too
 * @throws {UnfitServerError} the server or the bucket would lose data
 */
export async function openSnapshots(
  connection: NatsConnection,
  names: { readonly snapshotBucket: string; readonly historyStream: string },
  log: Pick<LogBucket, 'name' | 'stream' | 'manager'>,
  replicas: number,
  threads: ThreadOptions | undefined,
): Promise<SnapshotStore> {
  const bucket = await openLogBucket(connection, names.snapshotBucket, replicas);
  const { manager, stream } = bucket;
  const purge = (key: string): Promise<unknown> =>
    manager.streams.purge(stream, { filter: `$KV.${bucket.name}.${key}` });
  const get = (key: string): Promise<StoredValue | undefined> => getValue(manager, bucket, key);
  return {
    name: bucket.name,
    ...(threads !== undefined && {
      openReader: (values: number) => {
        if (values < manyValues) return undefined;
        const data = { connectedBy: threads.connectedBy, bucket: { name: bucket.name, stream } };
        const reader = new ThreadedReader(data, readerOn({ get }), threads.log);
        void connection.closed().then(() => reader.close());
        return reader;
      },
    }),
    keys: async () => {
      const info = await manager.streams.info(stream, { subjects_filter: '>' });
      return Object.keys(info.state.subjects ?? {}).map((subject) => keyOf(bucket, subject));
    },
    get,
    update: (key, bytes, expectedRevision) => update(bucket, key, bytes, expectedRevision),
    purge: async (keys) => {
      for (let at = 0; at < keys.length; at += purgesUnderWay) {
        await Promise.all(keys.slice(at, at + purgesUnderWay).map(purge));
      }
    },
    purgeLog: async (belowSequence) => {
      await manager.streams.purge(log.stream, { filter: `$KV.${log.name}.log.*`, seq: belowSequence });
    },
    history: async () => {
      const info = await findStream(manager, names.historyStream);
      return info && { lastSequence: info.state.last_seq };
    },
  };
}

/**
 * Creates the history of the log if there is none: a mirror of the log's entries that keeps each for a while after it was
 * written, whatever is purged from the log.
 *
 * @throws {UnfitServerError} there is a stream of this name that is no such mirror
 */
export async function openHistory(
  connection: NatsConnection,
  name: string,
  log: Pick<LogBucket, 'name' | 'stream' | 'manager'>,
  settings: { readonly replicas: number; readonly maxAgeMs: number },
): Promise<void> {
  // Without a filter it has the leader's renewals too.
  const filters = !isOlder(connection.info?.version ?? '', firstNatsServerWith.filteredMirrors);
  const wanted = {
    name,
    mirror: { name: log.stream, ...(filters && { filter_subject: `$KV.${log.name}.log.*` }) },
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    num_replicas: settings.replicas,
    max_age: settings.maxAgeMs * nsPerMs,
    discard: DiscardPolicy.Old,
    deny_delete: true,
  };
  const found = await findOrCreate(log.manager, wanted);
  if (found.mirror?.name !== log.stream) {
    const todo = `delete it with \`nats stream rm ${name}\`, and start a registry to create it`;
    throw new UnfitServerError(`Cannot use the stream '${name}': it is no mirror of '${log.stream}'; ${todo}`);
  }
  requireSame(wanted, found, ['storage', 'num_replicas']);
  if (found.max_age !== wanted.max_age) await log.manager.streams.update(name, { ...found, max_age: wanted.max_age });
}
