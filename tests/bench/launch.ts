// From accept to the running command, from its exit to the next offer, and bursts of short tasks in one accept.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type LocalCluster, startLocalCluster } from '@mesobus/cli/local-cluster';
import { connectOperator } from '@mesobus/sdk/operator';
import { type Offer, Scheduler, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import { connect } from '@nats-io/transport-node';
import { clockCommand, clockMs, launchFloors, spawnsPerSecond, wallMs } from './floors.ts';
import { percentile, rounded } from './percentiles.ts';
import { cpuMsOf, peakRssMb } from './process-tree.ts';

const rounds = 100;
/** A cluster that has run for a while has compiled code; so has the process that measures the floor. */
const warmUps = 300;
const burstSizes = [500, 2_000, 5_000];
const terminal = new Set(['TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED', 'TASK_LOST', 'TASK_ERROR', 'TASK_DROPPED']);

type Cluster = LocalCluster;

export async function benchLaunch(): Promise<unknown> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-bench-'));
  try {
    const latency = await withCluster(path.join(dir, 'latency'), 'cpus:1;mem:1024', (cluster) =>
      measureLatency(cluster, dir),
    );
    const burst = await withCluster(path.join(dir, 'burst'), 'cpus:500;mem:500000', measureBursts);
    return { bench: 'launch', replicas: 1, sync: 'default', ...latency, ...burst };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function withCluster<T>(dir: string, resources: string, measure: (cluster: Cluster) => Promise<T>): Promise<T> {
  const cluster = await startLocalCluster({ dir, agents: 1, resources, logLevel: 'warn' });
  try {
    return await measure(cluster);
  } finally {
    await cluster.stop({ purge: true });
  }
}

function pidOf(cluster: Cluster, name: string): number {
  const pid = cluster.pidOf(name);
  if (pid === undefined) throw new Error(`${name} of the cluster does not run`);
  return pid;
}

/** One task at a time takes the whole agent, so that the next offer is what its end has freed. */
async function measureLatency(cluster: Cluster, dir: string) {
  const acceptedAt = new Map<string, number>();
  const freedToOffer: number[] = [];
  let exitedAt: number | undefined;
  const done = Promise.withResolvers<void>();
  let launched = 0;
  const scheduler = new Scheduler(
    { nats: cluster.nats, token: cluster.token, cluster: cluster.cluster, framework: { name: 'bench-latency' } },
    {
      resourceOffers(offers) {
        const [offer] = offers as [Offer];
        if (exitedAt !== undefined) freedToOffer.push(wallMs() - exitedAt);
        exitedAt = undefined;
        if (launched === rounds + warmUps) return done.resolve();
        const id = `latency-${launched}`;
        launched += 1;
        acceptedAt.set(id, wallMs());
        void scheduler.launch(offer, [{ id, command: { argv: clockCommand }, resources: offer.resources }]);
      },
      statusUpdate(status) {
        if (status.state === 'TASK_FINISHED') exitedAt = Number(status.raw.timestamp) * 1000;
        else if (terminal.has(status.state))
          done.reject(new Error(`${status.taskId}: ${status.state} ${status.message}`));
      },
      error: done.reject,
    },
  );
  await scheduler.start();
  await done.promise;
  const acceptToRunning = await readClocks(cluster, scheduler.frameworkId as string, acceptedAt);
  await scheduler.stop();
  const connection = await connect({ servers: cluster.nats, token: cluster.token });
  const floors = (await launchFloors(connection, dir, rounds + warmUps)).slice(warmUps);
  await connection.close();
  return {
    accept_to_running_ms: {
      p50: rounded(percentile(acceptToRunning, 0.5)),
      p99: rounded(percentile(acceptToRunning, 0.99)),
    },
    floor_ms: { p50: rounded(percentile(floors, 0.5)), p99: rounded(percentile(floors, 0.99)) },
    ratio_p50: rounded(percentile(acceptToRunning, 0.5) / percentile(floors, 0.5)),
    freed_to_offer_ms: {
      p50: rounded(percentile(freedToOffer.slice(warmUps), 0.5)),
      p99: rounded(percentile(freedToOffer.slice(warmUps), 0.99)),
    },
  };
}

/** What each command wrote, over the bus, less the time of its accept. */
async function readClocks(cluster: Cluster, frameworkId: string, acceptedAt: Map<string, number>): Promise<number[]> {
  const operator = await connectOperator({ nats: cluster.nats, token: cluster.token, cluster: cluster.cluster });
  try {
    const times: number[] = [];
    for (const [taskId, at] of [...acceptedAt].slice(warmUps)) {
      let text = '';
      for await (const piece of operator.files.follow({ frameworkId, taskId }, 'stdout'))
        text += Buffer.from(piece).toString();
      times.push(clockMs(text) - at);
    }
    return times;
  } finally {
    await operator.close();
  }
}

async function measureBursts(cluster: Cluster) {
  const sizes: Record<string, unknown> = {};
  let headline: object | undefined;
  const agent = cluster.agents[0];
  if (agent === undefined) throw new Error('the cluster has no agent');
  await burst(cluster, 50); // warms up what a real cluster has long done
  for (const tasks of burstSizes) {
    const floor = await spawnsPerSecond(tasks);
    const { seconds, cpuMs } = await burst(cluster, tasks);
    const figures = {
      tasks,
      tasks_per_second: rounded(tasks / seconds, 0),
      floor_per_second: rounded(floor, 0),
      ratio: rounded(tasks / seconds / floor),
      cpu_ms_per_task: rounded(cpuMs / tasks),
      agent_rss_mb: rounded(peakRssMb(pidOf(cluster, agent.name)), 0),
    };
    sizes[tasks] = figures;
    if (tasks === 2_000) headline = figures;
  }
  return { burst: headline, bursts: sizes };
}

/** So many `true` in one accept, until the last update of the last one is acknowledged. */
async function burst(cluster: Cluster, count: number): Promise<{ seconds: number; cpuMs: number }> {
  const roots = [process.pid, ...cluster.names.map((name) => pidOf(cluster, name))];
  const ended = new Set<string>();
  const done = Promise.withResolvers<void>();
  let began: { at: number; cpuMs: number } | undefined;
  const scheduler = new Scheduler(
    {
      nats: cluster.nats,
      token: cluster.token,
      cluster: cluster.cluster,
      framework: { name: `bench-burst-${count}` },
      acknowledge: 'manual',
    },
    {
      resourceOffers(offers) {
        const [offer] = offers as [Offer];
        if (began !== undefined) return void scheduler.decline(offer, { refuseSeconds: 3600 });
        began = { at: performance.now(), cpuMs: cpuMsOf(roots) };
        const tasks = Array.from(
          { length: count },
          (_, index): Task => ({
            id: `burst-${count}-${index}`,
            command: { argv: ['true'] },
            resources: { cpus: 0.01, mem: 1 },
          }),
        );
        scheduler.launch(offer, tasks, { refuseSeconds: 3600 }).catch(done.reject);
      },
      async statusUpdate(status: TaskStatus) {
        const acknowledged = scheduler.acknowledge(status);
        if (!terminal.has(status.state)) return void acknowledged.catch(done.reject);
        if (status.state !== 'TASK_FINISHED')
          done.reject(new Error(`${status.taskId}: ${status.state} ${status.message}`));
        acknowledged.then(() => {
          ended.add(status.taskId);
          if (ended.size === count) done.resolve();
        }, done.reject);
      },
      error: done.reject,
    },
  );
  await scheduler.start();
  await done.promise;
  if (began === undefined) throw new Error('the burst ended before it began');
  const result = { seconds: (performance.now() - began.at) / 1000, cpuMs: cpuMsOf(roots) - began.cpuMs };
  await scheduler.stop();
  return result;
}
