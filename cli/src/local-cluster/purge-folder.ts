import { rmdirSync, rmSync } from 'node:fs';
import type { ClusterPaths } from './cluster-paths.ts';

/** Removes what a cluster keeps in its folder, sandboxes included; the folder too, unless there is something else in it. */
export function purgeFolder(paths: ClusterPaths): void {
  for (const one of [paths.context, paths.nats, paths.agents, paths.logs, paths.run]) {
    rmSync(one, { recursive: true, force: true, maxRetries: 3 });
  }
  try {
    rmdirSync(paths.dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error;
  }
}
