// One agent alone: how many short tasks it starts and ends a second, and what a thousand sleeping ones cost it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { findExit, startLauncher } from '@mesobus/agent/shell/launcher';
import { type mesobus, mesos } from '@mesobus/protos';
import { type Bus, connectNats, type Delivery, subjectsOf } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import { spawnsPerSecond } from './floors.ts';
import { rounded } from './percentiles.ts';
import { cpuMsOf } from './process-tree.ts';

export const agentKinds = ['plain', 'cgroup', 'namespaces'] as const;
export type AgentKind = (typeof agentKinds)[number];

const isolations: Readonly<Record<AgentKind, string>> = {
  plain: 'none',
  cgroup: 'cgroups',
  namespaces: 'cgroups,namespaces',
};
const warmUps = 300;
const shortTasks = 2_000;
const sleepers = 1_000;
const idleMs = 10_000;
const agentName = 'bench';
const subjects = subjectsOf('main');
const { TaskState } = mesos.v1;

export async function benchAgent({ kind }: { readonly kind: AgentKind }): Promise<unknown> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-bench-'));
  const server = await startNatsServer();
  const bus = await connectNats({ servers: server.url, name: 'leader' });
  const leader = new Leader(bus);
  const agent = await AgentProcess.start(path.join(dir, 'agent'), server.url, kind);
  try {
    await leader.registered;
    const rssMb = agent.rssMb();
    await leader.runToEnd('warm', warmUps, ['true']);
    const launcher = await launchesPerSecond(path.join(dir, 'floor'), shortTasks);
    const floor = await spawnsPerSecond(shortTasks);
    const before = agent.cpuMs();
    const seconds = await leader.runToEnd('short', shortTasks, ['true']);
    const cpuMs = agent.cpuMs() - before;
    return {
      bench: 'agent',
      kind,
      starts_per_second: rounded(shortTasks / seconds, 0),
      floor_per_second: rounded(floor, 0),
      launcher_per_second: rounded(launcher, 0),
      ratio: rounded(shortTasks / seconds / floor),
      cpu_ms_per_task: rounded(cpuMs / shortTasks),
      ...(await measureSleepers(leader, agent)),
      rss_mb: rounded(rssMb, 0),
    };
  } finally {
    await agent.stop();
    await bus.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function measureSleepers(leader: Leader, agent: AgentProcess) {
  const heapBefore = await agent.heapBytes();
  const upSeconds = await leader.start('sleep', sleepers, ['sleep', '100000']);
  const heapKb = ((await agent.heapBytes()) - heapBefore) / sleepers / 1024;
  await new Promise((wake) => setTimeout(wake, 2_000)); // what their start has left to do
  const before = agent.cpuMs();
  await new Promise((wake) => setTimeout(wake, idleMs));
  const idlePercent = ((agent.cpuMs() - before) / idleMs) * 100;
  const rssWithSleepers = agent.rssMb();
  const goneSeconds = await leader.kill('sleep', sleepers);
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

class AgentProcess {
  readonly #child: ChildProcess;
  readonly #metricsUrl: string;

  private constructor(child: ChildProcess, metricsUrl: string) {
    this.#child = child;
    this.#metricsUrl = metricsUrl;
  }

  static async start(workDir: string, nats: string, kind: AgentKind): Promise<AgentProcess> {
    // As it is installed: reading types away from the sources costs memory.
    const program = fileURLToPath(new URL('../../services/agent/dist/main.js', import.meta.url));
    if (!existsSync(program)) throw new Error('Cannot measure the agent: it is not built; run npm run build');
    const options = ['--name', agentName, '--work-dir', workDir, '--nats', nats, '--isolation', isolations[kind]];
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

type Command = mesobus.v1.AgentCommand.$Properties;
type Request = Delivery<mesobus.v1.AgentRequest, mesobus.v1.AgentReply.$Properties>;

/** What is garbage is no container's. */
const collectOnSignal = ['--expose-gc', '--import', 'data:text/javascript,process.on("SIGUSR2",()=>gc())'];

/** Commands sent at a time: each message stays below the limit of the server. */
const commandsAtOnce = 250;

/** What an agent needs of a leader. */
class Leader {
  readonly #bus: Bus;
  readonly #registered = Promise.withResolvers<void>();
  readonly registered = this.#registered.promise;
  #incarnation = '';
  #number = 0;
  #onUpdate: (update: mesobus.v1.TaskUpdate) => void = () => undefined;

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.setEpoch({ incarnation: 1, epoch: 1 });
    bus.serve(subjects.masterAgent.any, (delivery) => this.#onRequest(delivery));
    bus.serve(subjects.heartbeat.any, () => undefined);
  }

  /** Seconds until the last of so many tasks has ended, and the agent has heard that this is known. */
  async runToEnd(prefix: string, count: number, argv: readonly string[]): Promise<number> {
    const { TASK_FINISHED } = TaskState;
    return this.#measure(count, TASK_FINISHED, () => this.#launch(prefix, count, argv));
  }

  /** Seconds until the last of so many tasks runs. */
  async start(prefix: string, count: number, argv: readonly string[]): Promise<number> {
    const { TASK_RUNNING } = TaskState;
    return this.#measure(count, TASK_RUNNING, () => this.#launch(prefix, count, argv));
  }

  /** Seconds until the last of them is killed. */
  async kill(prefix: string, count: number): Promise<number> {
    const killPolicy = { gracePeriod: { nanoseconds: 60_000_000_000n } };
    return this.#measure(count, TaskState.TASK_KILLED, () =>
      this.#command(
        Array.from({ length: count }, (_, index) => ({
          killTask: { task: { frameworkId: 'F', taskId: `${prefix}-${index}` }, killPolicy },
        })),
      ),
    );
  }

  async #measure(count: number, state: mesos.v1.TaskState, act: () => Promise<void>): Promise<number> {
    const done = Promise.withResolvers<void>();
    const there = new Set<string>();
    this.#onUpdate = ({ status }) => {
      if (status === null || status === undefined) return;
      if (status.state === state) there.add(status.taskId.value);
      else if (status.state === TaskState.TASK_FAILED || status.state === TaskState.TASK_ERROR) {
        done.reject(new Error(`${status.taskId.value}: ${status.message}`));
      }
      if (there.size === count) done.resolve();
    };
    const began = performance.now();
    await act();
    await done.promise;
    return (performance.now() - began) / 1000;
  }

  #launch(prefix: string, count: number, [value = '', ...rest]: readonly string[]): Promise<void> {
    const framework = { user: 'root', name: 'bench', id: { value: 'F' } };
    const scalar = (name: string, amount: number) => ({
      name,
      type: mesos.v1.Value.Type.SCALAR,
      scalar: { value: amount },
    });
    const command = { shell: false, value, arguments: [value, ...rest] };
    return this.#command(
      Array.from({ length: count }, (_, index) => {
        const id = `${prefix}-${index}`;
        const resources = [scalar('cpus', 0.1), scalar('mem', 64)];
        const task = { name: id, taskId: { value: id }, agentId: { value: 'S0' }, command, resources };
        return { runTask: { framework, task } };
      }),
    );
  }

  async #command(commands: readonly Omit<Command, 'number'>[]): Promise<void> {
    for (let from = 0; from < commands.length; from += commandsAtOnce) {
      const some = commands.slice(from, from + commandsAtOnce).map((command): Command => {
        this.#number += 1;
        return { ...command, number: this.#number };
      });
      await this.#send(some);
    }
  }

  async #send(commands: Command[]): Promise<void> {
    const message = { agentId: 'S0', incarnation: this.#incarnation, commands };
    await this.#bus.request(subjects.agent.of(agentName), message, { timeoutMs: 60_000 });
  }

  #onRequest(delivery: Request): void {
    const { message } = delivery;
    if (message.register) {
      this.#incarnation = message.incarnation;
      delivery.reply({ registered: { agentId: 'S0', heartbeatIntervalMs: 5_000, silenceTimeoutMs: 600_000 } });
      this.#registered.resolve();
    } else if (message.taskUpdates) {
      const { updates } = message.taskUpdates;
      delivery.reply({ taskUpdatesTaken: {} });
      this.#send(updates.map(acknowledgement)).catch(() => undefined); // the last ones, when the agent has ended
      for (const update of updates) this.#onUpdate(update);
    } else delivery.reply({ taken: {} });
  }
}

const acknowledgement = ({ frameworkId, status }: mesobus.v1.TaskUpdate): Command => ({
  acknowledgeUpdate: {
    task: { frameworkId, taskId: status?.taskId.value ?? '' },
    uuid: status?.uuid ?? new Uint8Array(),
  },
});
