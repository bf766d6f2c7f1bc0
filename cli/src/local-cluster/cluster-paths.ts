import { mkdirSync } from 'node:fs';
import path from 'node:path';

/** Where a local cluster keeps what. */
export interface ClusterPaths {
  readonly dir: string;
  /** How to reach the cluster, and what runs; there while it runs. Holds the token: mode 0600. */
  readonly context: string;
  readonly logs: string;
  /** What is of use while the cluster runs: the lock, the configuration of the nats-server, caches. */
  readonly run: string;
  readonly lock: string;
  readonly natsConfig: string;
  readonly compileCache: string;
  /** The log of the cluster: JetStream's store. */
  readonly nats: string;
  readonly agents: string;
  /** The same for one nats-server of several. */
  natsOf(name: string): { readonly config: string; readonly store: string };
  logOf(name: string): string;
  workDirOf(agent: string): string;
}

export function clusterPaths(dir: string): ClusterPaths {
  const root = path.resolve(dir);
  const run = path.join(root, 'run');
  const logs = path.join(root, 'logs');
  const agents = path.join(root, 'agents');
  return {
    dir: root,
    context: path.join(root, 'context.json'),
    logs,
    run,
    lock: path.join(run, 'lock.json'),
    natsConfig: path.join(run, 'nats.conf'),
    compileCache: path.join(run, 'compile-cache'),
    nats: path.join(root, 'nats'),
    agents,
    natsOf: (name) => ({ config: path.join(run, `${name}.conf`), store: path.join(root, 'nats', name) }),
    logOf: (name) => path.join(logs, `${name}.log`),
    workDirOf: (agent) => path.join(agents, agent),
  };
}

/**
 * Tasks may run as other users, and must reach their sandboxes; nobody else needs the rest.
 *
 * @throws {Error} a folder cannot be made
 */
export function makeFolders(paths: ClusterPaths): void {
  try {
    for (const folder of [paths.dir, paths.agents]) mkdirSync(folder, { recursive: true });
    for (const folder of [paths.run, paths.logs, paths.nats]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const why = (error as Error).message;
    throw new Error(`Cannot keep a cluster in '${paths.dir}': ${why}; choose a folder that this user may write to`, {
      cause: error,
    });
  }
}
