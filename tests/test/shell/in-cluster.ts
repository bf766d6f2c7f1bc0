import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LocalCluster, startLocalCluster } from '@mesobus/cli/local-cluster';
import { connectOperator, type Operator, type TaskKey } from '@mesobus/sdk/operator';
import {
  type FrameworkSettings,
  type Offer,
  Scheduler,
  type SchedulerCallbacks,
  type Task,
  type TaskStatus,
} from '@mesobus/sdk/scheduler';
import type { ExecutionContext } from 'ava';

export type ClusterSettings = Partial<Parameters<typeof startLocalCluster>[0]>;

/** A real cluster for one test: real processes and a real nats-server. Ends with it, tasks and folders included. */
export async function clusterFor(t: ExecutionContext, settings: ClusterSettings = {}): Promise<LocalCluster> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-e2e-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const cluster = await startLocalCluster({ dir: path.join(dir, 'cluster'), agents: 1, logLevel: 'info', ...settings });
  t.teardown(() => cluster.stop());
  return cluster;
}

export const connectionOf = (cluster: LocalCluster): { nats: string; token: string; cluster: string } => ({
  nats: cluster.nats,
  token: cluster.token,
  cluster: cluster.cluster,
});

/** A scheduler in the test's own process; what it is told can be awaited in order. */
export async function schedulerFor(
  t: ExecutionContext,
  cluster: LocalCluster,
  framework: FrameworkSettings,
  callbacks: SchedulerCallbacks = {},
): Promise<Scheduler> {
  const scheduler = new Scheduler({ ...connectionOf(cluster), framework }, callbacks);
  await scheduler.start();
  t.teardown(() => scheduler.stop());
  return scheduler;
}

export async function operatorFor(t: ExecutionContext, cluster: LocalCluster): Promise<Operator> {
  const operator = await connectOperator(connectionOf(cluster));
  t.teardown(() => operator.close());
  return operator;
}

/** The first line of a file in the sandbox of a task, as soon as it is there. */
export async function firstLine(operator: Operator, task: TaskKey, file: string): Promise<string> {
  let text = '';
  for await (const piece of operator.files.follow(task, file)) {
    text += Buffer.from(piece).toString();
    if (text.includes('\n')) break;
  }
  return text.split('\n')[0] as string;
}

/** Who runs: the same before and after means that no service has died. */
export const pidsOf = (cluster: LocalCluster): Record<string, number | undefined> =>
  Object.fromEntries(cluster.names.map((name) => [name, cluster.pidOf(name)]));

/**
 * What can only be asked for, as soon as it is so: nobody tells when an allocator has heard of something.
 *
 * @returns what was read last, so or not, if it does not come to that within `timeoutMs`
 */
export async function eventually<T>(
  read: () => Promise<T>,
  isSo: (value: T) => boolean,
  timeoutMs = 30_000,
): Promise<T> {
  for (const deadline = performance.now() + timeoutMs; ; ) {
    const value = await read();
    if (isSo(value) || performance.now() > deadline) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Everything of one kind that happens, to be awaited: never sleep, wait for the event itself. */
export class Happenings<T> {
  readonly seen: T[] = [];
  #waiting: { test: (item: T) => boolean; resolve: (item: T) => void }[] = [];

  readonly note = (item: T): void => {
    this.seen.push(item);
    this.#waiting = this.#waiting.filter(({ test, resolve }) => {
      if (!test(item)) return true;
      resolve(item);
      return false;
    });
  };

  /** The first that passes, of those seen and those to come. */
  find(test: (item: T) => boolean): Promise<T> {
    const known = this.seen.find(test);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiting.push({ test, resolve }));
  }
}

/** Launches one task on the first offer that comes, declines the rest, and tells what becomes of it. */
export async function runOne(
  t: ExecutionContext,
  cluster: LocalCluster,
  task: Omit<Task, 'resources'> & { resources?: Task['resources'] },
): Promise<{ scheduler: Scheduler; statuses: Happenings<TaskStatus>; offers: Happenings<Offer> }> {
  const statuses = new Happenings<TaskStatus>();
  const offers = new Happenings<Offer>();
  let launched = false;
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: t.title },
    {
      async resourceOffers(list) {
        for (const offer of list) {
          offers.note(offer);
          if (launched) await scheduler.decline(offer, { refuseSeconds: 3600 });
          else {
            launched = true;
            await scheduler.launch(offer, [{ resources: { cpus: 0.1, mem: 32 }, ...task }], { refuseSeconds: 3600 });
          }
        }
      },
      statusUpdate: statuses.note,
    },
  );
  return { scheduler, statuses, offers };
}

/** Tasks that each say their id into a file and end soon after, and what became of them. */
export interface Burst {
  /** Waits until so many have ended. */
  untilEnded(count: number): Promise<void>;
  /** How each has ended. */
  readonly states: ReadonlyMap<string, string>;
  /** What the file says, sorted: which of them ran, however often. */
  ran(): string[];
  /** What it says if each ran once. */
  readonly once: readonly string[];
}

/** Keeps launching until that many tasks have run, at most ten on an offer. */
export async function burst(
  t: ExecutionContext,
  cluster: LocalCluster,
  { count, ...callbacks }: { readonly count: number } & Pick<SchedulerCallbacks, 'reregistered'>,
): Promise<Burst> {
  const file = path.join(cluster.dir, 'ran');
  const ids = Array.from({ length: count }, (_, index) => `task-${index}`);
  const waiting = [...ids];
  const states = new Map<string, string>();
  const ended = new Happenings<number>();
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'burst' },
    {
      ...callbacks,
      async resourceOffers(offers) {
        for (const offer of offers) {
          const chosen = waiting.splice(0, Math.min(10, Math.floor((offer.amounts.cpus ?? 0) / 0.5)));
          const command = (id: string): string => `echo ${id} >> ${file}; sleep 0.2`;
          const tasks = chosen.map((id) => ({ id, command: command(id), resources: { cpus: 0.5, mem: 10 } }));
          await scheduler.launch(offer, tasks, { refuseSeconds: 0.1 });
        }
      },
      statusUpdate(status) {
        if (!status.ended) return;
        // An offer of whoever was killed is void, and what was to run on it has not run: it is launched again.
        if (status.state === 'TASK_DROPPED') waiting.push(status.taskId);
        else states.set(status.taskId, status.state);
        ended.note(states.size);
      },
    },
  );
  return {
    untilEnded: async (wanted) => void (await ended.find((size) => size >= wanted)),
    states,
    ran: () => readFileSync(file, 'utf8').trim().split('\n').sort(),
    once: [...ids].sort(),
  };
}

const cliMain = fileURLToPath(import.meta.resolve('@mesobus/cli/main'));

/** Runs the `mesobus` command to its end. */
export function mesobus(
  t: ExecutionContext,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
  const child = spawn(process.execPath, ['--conditions=mesobus-source', cliMain, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => void child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (exitCode) => resolve({ stdout, stderr, exitCode }));
  });
}

export const envOf = (cluster: LocalCluster): Record<string, string> => ({
  MESOBUS_NATS: cluster.nats,
  MESOBUS_NATS_TOKEN: cluster.token,
  MESOBUS_CLUSTER: cluster.cluster,
});

/** Alive, and not a zombie that nobody has reaped yet. */
export function isAlive(pid: number, stat: (pid: number) => string): boolean {
  try {
    return !/\) [ZX] /.test(stat(pid));
  } catch {
    return false;
  }
}
