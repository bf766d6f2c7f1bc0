import { accessSync, constants, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** Where an agent keeps what. All paths are absolute and without symbolic links. */
export interface WorkDir {
  readonly root: string;
  readonly sandboxes: string;
  /** One folder per container, in which its supervisor writes how it ended. */
  readonly containers: string;
  readonly journal: string;
  readonly lock: string;
  /** Where executors find the agent over its restarts. */
  readonly executorContact: string;
  /** The domain socket for executors; they are let into its folder. */
  readonly executorSocket: string;
  /** Of the fetcher. */
  readonly cache: string;
  /** Of the launcher. */
  readonly run: string;
}

/**
 * Makes the folders that are missing.
 *
 * @throws {Error} the folder cannot be written to
 */
export function openWorkDir(path: string): WorkDir {
  try {
    mkdirSync(path, { recursive: true });
    accessSync(path, constants.W_OK | constants.X_OK);
    return makeFolders(realpathSync(path));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot use the work directory '${path}': ${why}; mend it, or give another --work-dir`, { cause });
  }
}

function makeFolders(root: string): WorkDir {
  const meta = join(root, 'meta');
  const dir: WorkDir = {
    root,
    sandboxes: join(root, 'sandboxes'),
    containers: join(meta, 'containers'),
    journal: join(meta, 'journal'),
    lock: join(meta, 'lock'),
    executorContact: join(meta, 'executor-contact'),
    executorSocket: join(root, 'executors', 'agent.sock'),
    cache: join(meta, 'fetched'),
    run: join(root, 'run'),
  };
  // Tasks of any user reach their sandboxes; what the agent keeps for itself nobody else reads.
  mkdirSync(dir.sandboxes, { recursive: true, mode: 0o755 });
  mkdirSync(meta, { recursive: true, mode: 0o700 });
  mkdirSync(dir.containers, { recursive: true, mode: 0o700 });
  return dir;
}
