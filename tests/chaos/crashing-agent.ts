import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LocalCluster } from '@mesobus/cli/local-cluster';

const program = fileURLToPath(import.meta.resolve('@mesobus/agent/main'));

/** An agent beside a cluster: started again at once however often it is killed, which a cluster would not do. */
export class CrashingAgent {
  /** That of the next run too, but of no other agent on this machine. */
  readonly name: string;
  readonly workDir: string;
  readonly #cluster: LocalCluster;
  readonly #resources: string;
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(
    cluster: LocalCluster,
    { name, workDir, resources }: { name: string; workDir: string; resources: string },
  ) {
    this.name = name;
    this.#cluster = cluster;
    this.#resources = resources;
    this.workDir = workDir;
    this.#log = path.join(cluster.dir, 'agents', 'crashing.log');
  }

  /** Its program begins; resolves when the agent is ready. Rejects if it ends before. */
  start(): Promise<void> {
    mkdirSync(this.workDir, { recursive: true });
    const { nats, token, cluster, dir } = this.#cluster;
    const output = openSync(this.#log, 'a', 0o600);
    const child = spawn(
      process.execPath,
      [
        ...['-C', 'mesobus-source', program, '--name', this.name, '--work-dir', this.workDir],
        ...['--resources', this.#resources, '--reconfiguration-policy', 'any'],
        ...['--nats-reconnect-wait', '100ms', '--nats-reconnect-jitter', '100ms'],
      ],
      {
        env: {
          PATH: process.env['PATH'],
          NODE_COMPILE_CACHE: path.join(dir, 'agents', 'compiled'),
          MALLOC_ARENA_MAX: '2',
          MESOBUS_NATS: nats,
          MESOBUS_NATS_TOKEN: token,
          MESOBUS_CLUSTER: cluster,
          MESOBUS_READY_FD: '3',
          MESOBUS_EXECUTOR_REREGISTRATION_TIMEOUT: '60secs', // a machine with other work on it takes its time
        },
        stdio: ['ignore', output, output, 'pipe'],
      },
    );
    closeSync(output);
    this.#child = child;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => undefined); // whoever kills it early does not wait for it
    child.stdio[3]?.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      reject(new Error(`the agent ended by itself before it was ready (${signal ?? code}): see ${this.#log}`));
    });
    return promise;
  }

  /** Ends it, and waits for that. @throws {Error} it had ended by itself */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the agent has ended by itself (${child.signalCode ?? child.exitCode}): see ${this.#log}`);
    }
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}
