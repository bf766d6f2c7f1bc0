import { accessSync, constants, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

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
    const absolute = resolve(path);
    makeFolder(absolute, 0o777);
    if (!statSync(absolute).isDirectory()) throw new Error('it is no folder');
    accessSync(absolute, constants.W_OK | constants.X_OK);
    return makeFolders(realpathSync(absolute));
  } catch (cause) {
    throw new Error(`Cannot use the work directory '${path}': ${whyOf(cause)}, or give another --work-dir`, { cause });
  }
}

/** With the folders above it. Node's own recursion asks for ever where the kernel lets nobody make a folder, as in /proc. */
function makeFolder(path: string, mode: number): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path), mode);
  mkdirSync(path, mode);
}

/** What is wrong, and what to do about it. */
function whyOf(cause: unknown): string {
  const { code = '', message, path: where = '' } = cause as NodeJS.ErrnoException;
  const user = `the user with id ${process.getuid?.()}`;
  const known: Readonly<Record<string, string>> = {
    EROFS: `the file system of '${where}' is read-only; mount it for writing`,
    EACCES: `${user} may not write to it (${message}); give it to that user, start the agent as another`,
    ENOSPC: `the disk is full (${message}); make room`,
    EDQUOT: `the quota of ${user} is used up (${message}); make room`,
    ENOENT: `no folder can be made there (${message}); mend it`,
    ENOTDIR: `something above it is no folder (${message}); mend it`,
  };
  return known[code] ?? `${message}; mend it`;
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
  makeFolder(dir.sandboxes, 0o755);
  makeFolder(meta, 0o700);
  makeFolder(dir.containers, 0o700);
  return dir;
}
