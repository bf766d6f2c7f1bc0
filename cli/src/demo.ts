import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type LocalCluster, logTail, startLocalCluster } from './local-cluster/index.ts';
import { nodeFlags } from './local-cluster/service-programs.ts';

/*
 * `npm run demo`: a cluster of two agents on this machine, and the framework of the tutorial on it.
 */

const dir = path.resolve('.mesobus', 'demo');
const startedAtMs = performance.now();

function say(line: string): void {
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1).padStart(5);
  process.stdout.write(`${seconds} s  ${line}\n`);
}

/** Runs the framework as anyone would run theirs: a process of its own that finds the cluster by its environment. */
async function runHello(cluster: LocalCluster, signal: AbortSignal): Promise<number | null> {
  const main = fileURLToPath(import.meta.resolve('@mesobus/framework-hello/main'));
  const child = spawn(process.execPath, [...nodeFlags(process.execArgv), main], {
    env: {
      ...process.env,
      MESOBUS_NATS: cluster.nats,
      MESOBUS_NATS_TOKEN: cluster.token,
      MESOBUS_CLUSTER: cluster.cluster,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream as Readable }).on('line', (line) => say(`hello: ${line}`));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  signal.removeEventListener('abort', stop);
  return code;
}

function showLogs(cluster: LocalCluster): void {
  for (const name of cluster.names)
    process.stderr.write(`\n--- the end of ${cluster.logOf(name)}\n${logTail(cluster.logOf(name))}\n`);
}

async function demo(signal: AbortSignal): Promise<number> {
  say('starting a cluster: nats-server, registry, master, allocator, agent-1, agent-2');
  await using cluster = await startLocalCluster({ dir, agents: 2, signal });
  say(`the cluster is ready at ${cluster.nats}; running the hello framework on it`);
  const code = await runHello(cluster, signal);
  if (code !== 0) showLogs(cluster);
  for (const { name, workDir } of cluster.agents) say(`sandboxes of ${name}: ${path.join(workDir, 'sandboxes')}`);
  say('stopping the cluster');
  await cluster.stop();
  say(code === 0 ? 'all is well, and nothing is left running' : `the hello framework has failed (${code})`);
  return code ?? 1;
}

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => controller.abort(new Error(`the demo was stopped by ${signal}`)));
}
try {
  process.exitCode = await demo(controller.signal);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
