import { setTimeout as sleep } from 'node:timers/promises';
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { headers, type NatsConnection } from '@nats-io/transport-node';
import type { StoredRecord } from '../core/log-writer.ts';
import { requireFitServer, UnfitServerError } from './fit-server.ts';
import type { AppendOutcome } from './log-store.ts';

/** A bucket in JetStream, by the name that `nats kv` knows it by: that of the log, or that of the snapshots. */
export interface LogBucket {
  readonly name: string;
  /** The stream under the bucket. */
  readonly stream: string;
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly client: JetStreamClient;
  /** The same bucket as a key-value store: for what stands under a key of its own. */
  readonly kv: KV;
}

/** How long an append may take before its outcome counts as unknown; it is then read back, so too short harms little. */
const appendTimeoutMs = 1_000;
/** The leader of the stream answers in milliseconds. */
const askAgainMs = 250;
const maxAsks = 4;
const createWaitMs = 15_000;
const createRetryMs = 200;

/** Errors that say 'the last sequence is another'; the second comes instead of the first from 2.12 on, if unsure. */
const conflictCodes: readonly number[] = [10071, 10164];
/** Errors that say that there is no room: of the account, of the servers, of their disks, of the stream. */
const noRoomCodes: readonly number[] = [10002, 10023, 10047, 10077];
const streamNotFound = 10059;
/** Somebody else has just created it. */
const streamExists = 10058;

/**
 * Opens a bucket, and creates it if there is none.
 *
 * @param replicas - how many NATS servers keep it: 1 or 3
 * @throws {UnfitServerError} the server is too old for so many replicas, has no JetStream, or the bucket is not as it must be
 */
export async function openLogBucket(connection: NatsConnection, name: string, replicas: number): Promise<LogBucket> {
  requireFitServer(connection, replicas);
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const bucket = { name, stream: `KV_${name}`, connection, manager, client: jetstream(connection) };
  const wanted = bucketConfig(bucket, replicas);
  requireSame(wanted, await findOrCreate(manager, wanted), essential);
  return { ...bucket, kv: await new Kvm(bucket.client).open(name) };
}

function bucketConfig({ name, stream }: Pick<LogBucket, 'name' | 'stream'>, replicas: number): WantedStream {
  return {
    name: stream,
    subjects: [`$KV.${name}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msg_size: -1,
    discard: DiscardPolicy.New, // never drops an old entry for a new one
    allow_rollup_hdrs: true,
    deny_delete: true,
    deny_purge: false, // the log below a snapshot is purged
    allow_direct: true, // for the tools that show a bucket; we ask the stream's leader
  };
}

export type WantedStream = Partial<StreamConfig> & { readonly name: string };

/** A cluster that has just started answers 'no responders' or 'no suitable peers' for a while. */
export async function findOrCreate(manager: JetStreamManager, wanted: WantedStream): Promise<StreamConfig> {
  const deadline = performance.now() + createWaitMs;
  for (;;) {
    try {
      return (await findStream(manager, wanted.name))?.config ?? (await manager.streams.add(wanted)).config;
    } catch (error) {
      const exists = error instanceof JetStreamApiError && error.code === streamExists;
      if (!exists && performance.now() > deadline) throw cannotOpen(wanted.name, error);
      await new Promise((resolve) => setTimeout(resolve, createRetryMs));
    }
  }
}

/** What the server says of a stream; undefined if there is none. */
export async function findStream(manager: JetStreamManager, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(stream);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === streamNotFound) return undefined;
    throw error;
  }
}

function cannotOpen(stream: string, cause: unknown): Error {
  const off = (cause as Error).name === 'JetStreamNotEnabled';
  const why = off ? 'JetStream does not answer' : (cause as Error).message;
  const todo = 'start the NATS server with JetStream (`jetstream { store_dir: … }`), and as many servers as replicas';
  return new UnfitServerError(`Cannot open the stream '${stream}': ${why}; ${todo}`, { cause });
}

/** What must be as we would have made it: with another value, entries could be lost or counted wrongly. */
const essential = [
  'storage',
  'retention',
  'num_replicas',
  'max_msgs_per_subject',
  'max_msgs',
  'max_bytes',
  'max_age',
  'discard',
] as const;

/** @throws {UnfitServerError} a stream differs in one of the settings named */
export function requireSame(wanted: WantedStream, found: StreamConfig, keys: readonly (keyof StreamConfig)[]): void {
  const different = differencesOf(wanted, found, keys);
  if (different === '') return;
  const todo = `correct it with \`nats stream edit ${wanted.name}\`, or start with the --replicas that it has`;
  throw new UnfitServerError(`Cannot use the stream '${wanted.name}': ${different}; ${todo}`);
}

const differencesOf = (wanted: WantedStream, found: StreamConfig, keys: readonly (keyof StreamConfig)[]): string =>
  keys
    .filter((key) => found[key] !== wanted[key])
    .map((key) => `${key} is ${found[key]}, not ${wanted[key]}`)
    .join('; ');

/** How the stream of a bucket differs from what it must be, whatever its replicas; empty if it does not. */
export const bucketDifferences = (stream: string, found: StreamConfig): string =>
  differencesOf(bucketConfig({ name: stream.slice('KV_'.length), stream }, found.num_replicas), found, essential);

/** See LogStore. */
export function append(
  { name, client }: LogBucket,
  key: string,
  bytes: Uint8Array,
  expectedSequence: number,
): Promise<AppendOutcome> {
  const conditions = headers();
  conditions.set('Nats-Expected-Last-Sequence', String(expectedSequence));
  const options = { headers: conditions, timeout: appendTimeoutMs, retries: 1 };
  return outcomeOf(client.publish(`$KV.${name}.${key}`, bytes, options).then(({ seq }) => seq));
}

/** See LogStore. */
export function update(
  { kv }: LogBucket,
  key: string,
  bytes: Uint8Array,
  expectedRevision: number,
): Promise<AppendOutcome> {
  return outcomeOf(kv.put(key, bytes, { previousSeq: expectedRevision, timeout: appendTimeoutMs }));
}

async function outcomeOf(written: Promise<number>): Promise<AppendOutcome> {
  try {
    return { kind: 'appended', sequence: await written };
  } catch (error) {
    if (error instanceof JetStreamApiError && conflictCodes.includes(error.code)) return { kind: 'refused' };
    return { kind: 'unknown', why: whyUnknown(error as Error) };
  }
}

function whyUnknown(error: Error): string {
  if (!(error instanceof JetStreamApiError) || !noRoomCodes.includes(error.code)) return error.message;
  const todo = 'free the disks of the NATS servers, or raise max_file_store or the limits of the account';
  return `${error.message}: JetStream has no room for the log; ${todo}, and it goes on by itself`;
}

/** See LogStore; by the stream's leader. */
export function readAt(bucket: LogBucket, sequence: number): Promise<SequenceRead> {
  return firstAnswer(() => readOnce(bucket, sequence));
}

interface SequenceRead {
  readonly found: StoredRecord | undefined;
  readonly lastSequence: number;
}

async function readOnce(bucket: LogBucket, sequence: number): Promise<SequenceRead> {
  const lastSequence = await readLastSequence(bucket);
  if (lastSequence < sequence) return { found: undefined, lastSequence };
  const message = await bucket.manager.streams.getMessage(bucket.stream, { seq: sequence });
  if (message === null) return { found: undefined, lastSequence };
  return { found: { key: keyOf(bucket, message.subject), bytes: message.data }, lastSequence };
}

/**
 * Asks several times and takes the first answer. While JetStream elects, a question may get no answer at all: whoever
 * waited for its time-out would stand still for seconds after the election.
 */
async function firstAnswer<T>(ask: () => Promise<T>): Promise<T> {
  const asked: Promise<T>[] = [];
  while (asked.length < maxAsks) {
    const pause = sleep(askAgainMs, undefined);
    asked.push(ask());
    const answered = Promise.any(asked).then(
      (answer) => ({ answer }),
      () => pause,
    );
    const first = await Promise.race([answered, pause]);
    if (first !== undefined) return first.answer;
  }
  throw new Error(`JetStream has not answered within ${maxAsks * askAgainMs} ms`);
}

async function readLastSequence(bucket: LogBucket): Promise<number> {
  return (await bucket.manager.streams.info(bucket.stream)).state.last_seq;
}

/** The key that a subject of the bucket stands for. */
export const keyOf = ({ name }: LogBucket, subject: string): string => subject.slice(`$KV.${name}.`.length);
