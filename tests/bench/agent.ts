// One agent alone: how many short tasks it starts and ends a second, and what many sleeping ones cost it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { findExit, startLauncher } from '@mesobus/agent/shell/launcher';
import { mesos } from '@mesobus/protos';
import { connectNats } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import { image, runsPerSecond, shortCommand, startDockerd } from './agent-docker.ts';
import { agentName, Leader } from './agent-leader.ts';
import { spawnsPerSecond } from './floors.ts';
import { rounded } from './percentiles.ts';
import { cpuMsOf } from './process-tree.ts';

export const agentKinds = ['plain', 'cgroup', 'namespaces', 'docker'] as const;
export type AgentKind = (typeof agentKinds)[number];

/** What is started, how, and how much of it. */
interface Plan {
  readonly options: readonly string[];
  readonly container?: mesos.v1.ContainerInfo.$Properties;
  readonly command: readonly [string, ...string[]];
  readonly warmUps: number;
  readonly shortTasks: number;
  readonly sleepers: number;
  readonly graceSeconds: number;
  /** What the same machine does without an agent, a second. */
  floors(count: number, dir: string): Promise<{ readonly floor: number; readonly launcher?: number }>;
  close(): Promise<void>;
}

const isolations: Readonly<Record<Exclude<AgentKind, 'docker'>, string>> = {
  plain: 'none',
  cgroup: 'cgroups',
  namespaces: 'cgroups,namespaces',
};
const idleMs = 10_000;

const planFor = (kind: AgentKind): Plan | Promise<Plan> =>
  kind === 'docker' ? dockerPlan() : processPlan(isolations[kind]);

const processPlan = (isolation: string): Plan => ({
  ...{ options: ['--isolation', isolation], command: ['true'], graceSeconds: 60 },
  ...{ warmUps: 300, shortTasks: 2_000, sleepers: 1_000 },
  async floors(count, dir) {
    const launcher = await launchesPerSecond(dir, count);
    return { floor: await spawnsPerSecond(count), launcher };
  },
  close: async () => {},
});

/** Fewer: Docker keeps a process of 10 MB for each, and starts them a hundred times slower. */
async function dockerPlan(): Promise<Plan> {
  const dockerd = await startDockerd();
  return {
    options: ['--containerizers', 'process,docker', '--docker-socket', dockerd.socketPath],
    container: { type: mesos.v1.ContainerInfo.Type.DOCKER, docker: { image } },
    command: shortCommand,
    graceSeconds: 0, // the first process of a container does not hear SIGTERM unless it asks to
    ...{ warmUps: 10, shortTasks: 100, sleepers: 100 },
    floors: async (count) => ({ floor: await runsPerSecond(dockerd, count) }),
    close: () => dockerd.stop(),
  };
}

export async function benchAgent({ kind }: { readonly kind: AgentKind }): Promise<unknown> {
  const plan = await planFor(kind);
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-bench-'));
  const server = await startNatsServer();
  const bus = await connectNats({ servers: server.url, name: 'leader' });
  const leader = new Leader(bus, plan.container);
  const agent = await AgentProcess.start(path.join(dir, 'agent'), server.url, plan.options);
  const { command, warmUps, shortTasks } = plan;
  try {
    await leader.registered;
    const rssMb = agent.rssMb();
    await leader.runToEnd('warm', warmUps, command);
    const { floor, launcher } = await plan.floors(shortTasks, path.join(dir, 'floor'));
    const before = agent.cpuMs();
    const seconds = await leader.runToEnd('short', shortTasks, command);
    const cpuMs = agent.cpuMs() - before;
    const digits = kind === 'docker' ? 1 : 0;
    return {
      bench: 'agent',
      kind,
      starts_per_second: rounded(shortTasks / seconds, digits),
      floor_per_second: rounded(floor, digits),
      ...(launcher && { launcher_per_second: rounded(launcher, 0) }),
      ratio: rounded(shortTasks / seconds / floor),
      cpu_ms_per_task: rounded(cpuMs / shortTasks),
      ...(await measureSleepers(leader, agent, plan)),
      rss_mb: rounded(rssMb, 0),
    };
  } finally {
    await agent.stop();
    await bus.close();
    await server.stop();
    await plan.close();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function measureSleepers(leader: Leader, agent: AgentProcess, { sleepers, graceSeconds }: Plan) {
  const heapBefore = await agent.heapBytes();
  const upSeconds = await leader.start('sleep', sleepers, ['sleep', '100000']);
  const heapKb = ((await agent.heapBytes()) - heapBefore) / sleepers / 1024;
  await new Promise((wake) => setTimeout(wake, 2_000)); // what their start has left to do
  const before = agent.cpuMs();
  await new Promise((wake) => setTimeout(wake, idleMs));
  const idlePercent = ((agent.cpuMs() - before) / idleMs) * 100;
  const rssWithSleepers = agent.rssMb();
  const goneSeconds = await leader.kill('sleep', sleepers, graceSeconds);
  return {
    sleepers,
    sleepers_up_s: rounded(upSeconds),
    sleepers_gone_s: rounded(goneSeconds),
    heap_kb_per_container: rounded(heapKb, 1),
    idle_cpu_percent: rounded(idlePercent),
    rss_mb_with_sleepers: rounded(rssWithSleepers, 0),
  };
}

/** The same with the launcher alone: no agent, no bus, no journal. */
async function launchesPerSecond(dir: string, count: number): Promise<number> {
  mkdirSync(dir, { recursive: true });
  const launcher = await startLauncher({ runDir: path.join(dir, 'run') });
  const done = Promise.withResolvers<void>();
  let ended = 0;
  launcher.onEvent((event) => {
    if (event.kind !== 'exited') return;
    ended += 1;
    if (ended === count) done.resolve();
  });
  const began = performance.now();
  for (let index = 0; index < count; index += 1) {
    const controlDir = path.join(dir, String(index));
    mkdirSync(controlDir);
    const outputs = { stdoutPath: path.join(controlDir, 'stdout'), stderrPath: path.join(controlDir, 'stderr') };
    const env = { PATH: '/usr/bin:/bin' };
    launcher.start({ containerId: `f${index}`, controlDir, sandboxDir: controlDir, ...outputs, argv: ['true'], env });
  }
  await done.promise;
  const perSecond = (count * 1000) / (performance.now() - began);
  if (findExit(path.join(dir, '0'))?.kind !== 'exited') throw new Error('the floor was not measured: nothing ran');
  await launcher.close();
  return perSecond;
}

/** What is garbage is no container's. */
const collectOnSignal = ['--expose-gc', '--import', 'data:text/javascript,process.on("SIGUSR2",()=>gc())'];

class AgentProcess {
  readonly #child: ChildProcess;
  readonly #metricsUrl: string;

  private constructor(child: ChildProcess, metricsUrl: string) {
    this.#child = child;
    this.#metricsUrl = metricsUrl;
  }

  static async start(workDir: string, nats: string, more: readonly string[]): Promise<AgentProcess> {
    // As it is installed: reading types away from the sources costs memory.
    const program = fileURLToPath(new URL('../../services/agent/dist/main.js', import.meta.url));
    if (!existsSync(program)) throw new Error('Cannot measure the agent: it is not built; run npm run build');
    const options = ['--name', agentName, '--work-dir', workDir, '--nats', nats, ...more];
    const args = [...collectOnSignal, program, ...options, '--resources', 'cpus:4000;mem:4000000'];
    const child = spawn(process.execPath, [...args, '--http', '127.0.0.1:0'], { stdio: ['ignore', 'ignore', 'pipe'] });
    const found = Promise.withResolvers<string>();
    createInterface({ input: child.stderr as Readable }).on('line', (line) => {
      const { url, level } = JSON.parse(line) as { url?: string; level?: string | number };
      if (url?.startsWith('http')) found.resolve(url);
      else if (level === 'error' || level === 'fatal') process.stderr.write(`${line}\n`);
    });
    child.once('exit', () => found.reject(new Error('the agent has ended; its log says why')));
    return new AgentProcess(child, await found.promise);
  }

  get #pid(): number {
    return this.#child.pid as number;
  }

  /** Of the agent, its launcher, and all that they have waited for. */
  cpuMs(): number {
    return cpuMsOf([this.#pid]);
  }

  rssMb(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8'))?.[1]) / 1024;
  }

  /** Of what is in use. */
  async heapBytes(): Promise<number> {
    this.#child.kill('SIGUSR2');
    const text = await (await fetch(new URL('/metrics', this.#metricsUrl))).text();
    return Number(/^nodejs_heap_size_used_bytes(?:\{.*\})? (\S+)$/m.exec(text)?.[1]);
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGUSR1'); // its tasks end with it
    await ended;
  }
}
