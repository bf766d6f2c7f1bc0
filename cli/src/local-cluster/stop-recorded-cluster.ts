import { existsSync, rmSync } from 'node:fs';
import { claimFolder, lockOwner } from './claim-folder.ts';
import type { ClusterEvent } from './cluster-event.ts';
import { clusterPaths } from './cluster-paths.ts';
import { readLocalContext } from './context-file.ts';
import { endRecorded } from './end-recorded.ts';
import { isRunning, signalProcess, untilGone } from './process-identity.ts';
import { purgeFolder } from './purge-folder.ts';

export interface StopRecordedOptions {
  readonly dir: string;
  /** Remove state, logs and sandboxes as well. */
  readonly purge?: boolean | undefined;
  readonly report?: ((event: ClusterEvent) => void) | undefined;
}

/** All deadlines of an orderly end, one after the other, and a little more. */
const ownerDeadlineMs = 160_000;

/**
 * Stops the cluster of a folder from another process: asks the process that watches over it, and does it itself if that
 * one is gone. Nothing but the very processes recorded in the folder gets a signal.
 *
 * @returns whether anything was running
 * @throws {Error} a process cannot be ended
 */
export async function stopRecordedCluster(options: StopRecordedOptions): Promise<boolean> {
  const { report = () => undefined } = options;
  const paths = clusterPaths(options.dir);
  if (!existsSync(paths.run)) return false;
  const owner = lockOwner(paths.lock);
  const isOwned = owner !== undefined && isRunning(owner);
  if (isOwned) {
    signalProcess(owner, 'SIGTERM');
    if (!(await untilGone(owner, ownerDeadlineMs))) signalProcess(owner, 'SIGKILL');
    await untilGone(owner, ownerDeadlineMs);
  }
  const release = claimFolder(paths.lock);
  try {
    const processes = readLocalContext(paths.context)?.processes ?? [];
    const orphans = processes.filter(isRunning);
    await endRecorded(orphans, report);
    rmSync(paths.context, { force: true });
    if (options.purge === true) purgeFolder(paths);
    return isOwned || orphans.length > 0;
  } finally {
    release();
  }
}
