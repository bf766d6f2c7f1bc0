import type { Subjects } from '@mesobus/sdk/bus';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { type BackupSummary, backUp as backUpFrom } from './back-up.ts';
import { UnfitServerError } from './fit-server.ts';
import { findStream } from './log-bucket.ts';
import { openLogTools } from './open-log.ts';
import { type RestoreSummary, restore as restoreInto } from './restore.ts';

export interface BackupOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  /** Its name, for the file and for messages. */
  readonly cluster: string;
  readonly file: string;
}

/**
 * Copies the state of a cluster, running or not, into a file.
 *
 * @throws {UnfitServerError} there is no such cluster on this NATS server
 * @throws {UnfitLogError} its log cannot be followed, or holds nothing
 */
export async function backUp({ connection, subjects, cluster, file }: BackupOptions): Promise<BackupSummary> {
  const replicas = await replicasOf(connection, subjects);
  if (replicas === undefined) {
    const why = `NATS has no log of a cluster '${cluster}'; correct --cluster or --nats`;
    throw new UnfitServerError(`Cannot back up: ${why}`);
  }
  return backUpFrom(await openLogTools({ connection, subjects, replicas }), cluster, file);
}

/**
 * Makes a backup the state of a cluster.
 *
 * @param options.replicas - counts when the buckets are not there yet
 * @param options.force - destroys what its log holds
 * @throws {DamagedBackupError} before anything was written
 * @throws {RestoreRefusedError} its log is not empty, or somebody writes it
 */
export async function restore(
  options: BackupOptions & { readonly replicas: number; readonly force: boolean },
): Promise<RestoreSummary> {
  const { connection, subjects, file, force } = options;
  const replicas = (await replicasOf(connection, subjects)) ?? options.replicas;
  return restoreInto(await openLogTools({ connection, subjects, replicas }), file, { force });
}

async function replicasOf(connection: NatsConnection, subjects: Subjects): Promise<number | undefined> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  return (await findStream(manager, `KV_${subjects.logBucket}`))?.config.num_replicas;
}
