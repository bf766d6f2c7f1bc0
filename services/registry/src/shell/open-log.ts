import { type BusLogger, type Clock, type NatsBus, type Subjects, silentLogger, systemClock } from '@mesobus/sdk/bus';
import type { NatsConnection } from '@nats-io/transport-node';
import { checkServers } from './check-servers.ts';
import { type FollowOptions, follow, type LogFollower } from './follow.ts';
import { openHistory, openSnapshots } from './jetstream-snapshots.ts';
import { jetStreamStore } from './jetstream-store.ts';
import { type LeadOptions, lead } from './lead.ts';
import type { Leadership } from './leadership.ts';
import { openLogBucket } from './log-bucket.ts';
import type { LogTools } from './reading.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface OpenLogOptions {
  readonly connection: NatsConnection;
  /** Of its bus: then a large snapshot is read by a thread of its own, over a connection of its own. */
  readonly connectedBy?: NatsBus['connectedBy'];
  readonly subjects: Subjects;
  /** How many NATS servers keep it: 1 or 3. It counts when the bucket is created, and must be what an existing one has. */
  readonly replicas: number;
  /** It is known and accepted what a power cut can cost where the servers do not sync with every write. */
  readonly acceptLazyFsync?: boolean;
  readonly log?: BusLogger;
  /** Measures leases and pauses. */
  readonly clock?: Clock;
  /** Told how long each append of a leader took, in ms, whatever came of it. */
  readonly onAppended?: ((ms: number) => void) | undefined;
}

/** The replicated log of one cluster. */
export interface Log {
  /**
   * Follows the log as a standby until this master leads.
   *
   * @throws {UnfitLogError} the log cannot be followed, or a newer version wrote what this one may not lead over
   * @throws {DisconnectedError} the connection was closed
   * @throws the reason of `signal`, once it is aborted
   */
  lead(options: LeadOptions): Promise<Leadership>;
  /** Keeps a ledger up to date with the log, for ever. */
  follow(options?: FollowOptions): LogFollower;
}

/**
 * Opens the log, and creates its bucket if there is none.
 *
 * @throws {UnfitServerError} the server or the bucket would lose data
 */
export const openLog = async (options: OpenLogOptions): Promise<Log> => logOn(await openLogTools(options));

/** Also creates the history of the log, if it is said how long that keeps an entry. */
export async function openLogTools(
  options: OpenLogOptions & { readonly historyMaxAgeMs?: number },
): Promise<LogTools & { readonly snapshots: SnapshotStore }> {
  const {
    connection,
    connectedBy,
    subjects,
    replicas,
    acceptLazyFsync = false,
    log = silentLogger,
    clock = systemClock,
    historyMaxAgeMs: maxAgeMs,
    onAppended,
  } = options;
  await checkServers(connection, { replicas, acceptLazyFsync, log });
  const bucket = await openLogBucket(connection, subjects.logBucket, replicas);
  const threads = connectedBy && { connectedBy, log };
  const snapshots = await openSnapshots(connection, subjects, bucket, replicas, threads);
  if (maxAgeMs !== undefined) await openHistory(connection, subjects.historyStream, bucket, { replicas, maxAgeMs });
  return { store: jetStreamStore(bucket), snapshots, log, clock, wallMs: Date.now, random: Math.random, onAppended };
}

/** The log that stands in a store, whatever the store is. */
export const logOn = (tools: LogTools): Log => ({
  lead: (options) => lead(tools, options),
  follow: (options = {}) => follow(tools, options),
});

/** Opens the log and follows it: for whoever never leads. */
export async function followLog(options: OpenLogOptions & FollowOptions): Promise<LogFollower> {
  return (await openLog(options)).follow(options);
}
