import { rmSync } from 'node:fs';
import { RefusedError } from '@mesobus/sdk/errors';
import { connectOperator, type Operator, type TaskKey } from '@mesobus/sdk/operator';
import { atExit } from './at-exit.ts';
import type { ClusterEvent } from './cluster-event.ts';
import type { ClusterPaths } from './cluster-paths.ts';
import { type LocalContext, type RecordedProcess, writeLocalContext } from './context-file.ts';
import { identify, type ProcessIdentity } from './process-identity.ts';
import { type Program, Supervised } from './supervised.ts';
import { untilAgentsRegistered } from './until-agents-registered.ts';
import { type Leader, untilLed } from './who-leads.ts';

/** What a local cluster is made of. */
export interface LocalClusterPlan {
  readonly paths: ClusterPaths;
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
  readonly servers: readonly Program[];
  readonly control: readonly Program[];
  readonly agents: readonly Program[];
  readonly restart: boolean;
  readonly report: (event: ClusterEvent) => void;
  /** Gives the folder back. */
  readonly release: () => void;
  readonly purge: () => void;
}

/** An agent of a local cluster. */
export interface LocalAgent {
  readonly name: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  /** Its sandboxes are below. */
  readonly workDir: string;
}

/** A cluster of processes of this machine that this process started and watches over. */
export class LocalCluster implements AsyncDisposable {
  /** Of its NATS servers, with commas between: `nats://127.0.0.1:40123`. */
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
  /** The file that says how to reach it. */
  readonly context: string;
  readonly dir: string;
  private readonly plan: LocalClusterPlan;
  private readonly processes: ReadonlyMap<string, Supervised>;
  private readonly recorded = new Map<string, RecordedProcess>();
  private readonly owner: ProcessIdentity;
  private readonly startedAt = new Date().toISOString();
  private forgetExit: () => void = () => undefined;
  private stopping: Promise<void> | undefined;
  private ready = false;

  /** Made by `startLocalCluster`. */
  constructor(plan: LocalClusterPlan) {
    this.plan = plan;
    this.nats = plan.nats;
    this.token = plan.token;
    this.cluster = plan.cluster;
    this.context = plan.paths.context;
    this.dir = plan.paths.dir;
    const owner = identify(process.pid);
    if (owner === undefined) throw new Error(`Cannot find this process (pid ${process.pid}) in the list of processes`);
    this.owner = owner;
    const programs = [...plan.servers, ...plan.control, ...plan.agents];
    this.processes = new Map(programs.map((program) => [program.name, this.supervise(program)]));
  }

  get agents(): LocalAgent[] {
    return this.plan.agents.map(({ name }) => ({
      name,
      pid: this.processes.get(name)?.pid,
      workDir: this.plan.paths.workDirOf(name),
    }));
  }

  /**
   * All its processes: `nats-server`, `registry`, `master`, `allocator`, `agent-1` and so on; `nats-1`, `master-1` and so
   * on where there are several.
   */
  get names(): string[] {
    return [...this.processes.keys()];
  }

  /** Of all that run now. */
  get pids(): number[] {
    return this.names.flatMap((name) => this.pidOf(name) ?? []);
  }

  /** Undefined while it does not run. */
  pidOf(name: string): number | undefined {
    return this.find(name).pid;
  }

  /** Where its standard output and error go. */
  logOf(name: string): string {
    return this.find(name).program.log;
  }

  /** Sends a signal to one process. Waits for the end if it is one that ends it; it is started again as after any death. */
  kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    return this.find(name).kill(signal);
  }

  /** Waits until a process is ready, through restarts; gives its pid. */
  untilReady(name: string): Promise<number> {
    return this.find(name).untilReady();
  }

  /** The master that leads by the beats of the masters; waits for one. @throws {Error} nobody leads for `timeoutMs` */
  leader(timeoutMs = 60_000): Promise<Leader> {
    return untilLed(this, (instance) => this.names.find((name) => this.find(name).instance === instance), timeoutMs);
  }

  /** The allocator that the leader has appointed; undefined while there is none. */
  appointedAllocator(): Promise<string | undefined> {
    return this.ask(async (operator) => {
      const { allocators } = await operator.connections();
      return allocators.find(({ appointed }) => appointed)?.allocatorId;
    });
  }

  /** Ends one process in order, an agent without its tasks, and starts it again; resolves when it is ready. */
  async restart(name: string): Promise<void> {
    const one = this.find(name);
    await one.stop('SIGTERM');
    await one.start();
  }

  /** The agents as the cluster knows them. */
  registeredAgents(): Promise<{ readonly agentId: string; readonly agentName: string }[]> {
    return this.ask(async (operator) => {
      const agents = await operator.agents();
      return agents.map(({ id, name }) => ({ agentId: id, agentName: name }));
    });
  }

  /**
   * What is in a file of a sandbox now, as UTF-8; empty while it is not there.
   *
   * @param path - in the sandbox: `stdout`
   */
  readSandbox(task: TaskKey, path: string): Promise<string> {
    return this.ask((operator) => readWhole(operator, task, path));
  }

  /** @throws {StartError} a process did not start */
  async start(signal?: AbortSignal): Promise<void> {
    this.forgetExit = atExit(() => this.signalAll());
    const { servers, control, agents } = this.plan;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    aborted.catch(() => undefined); // heard where it is raced with; nobody listens between and after that
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    for (const programs of [servers, [...control, ...agents]]) {
      const starting = programs.map(({ name }) => this.find(name).start());
      await Promise.race([Promise.all(starting), aborted]);
    }
    await Promise.race([
      untilAgentsRegistered(
        this,
        agents.map(({ name }) => name),
      ),
      aborted,
    ]);
    this.ready = true;
    this.record();
  }

  /**
   * Ends everything in order: the agents kill their tasks and leave, then the services, NATS last. Each has its
   * deadline, then SIGKILL. Calling it again waits for the same end.
   *
   * @param options.purge - remove state, logs and sandboxes as well
   */
  async stop(options: { readonly purge?: boolean } = {}): Promise<void> {
    this.stopping ??= this.stopAll();
    await this.stopping;
    if (options.purge === true) this.plan.purge();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  private async ask<T>(question: (operator: Operator) => Promise<T>): Promise<T> {
    const { nats, token, cluster } = this;
    await using operator = await connectOperator({ nats, token, cluster });
    return await question(operator);
  }

  private async stopAll(): Promise<void> {
    const { servers, control, agents } = this.plan;
    await Promise.all(agents.map(({ name }) => this.stopAgent(name)));
    for (const { name } of [...control].reverse()) await this.find(name).stop();
    await Promise.all(servers.map(({ name }) => this.find(name).stop()));
    this.forgetExit();
    rmSync(this.context, { force: true });
    this.plan.release();
  }

  /** Only an agent that runs can end its tasks: one that is down, or about to come back, is started once more. */
  private async stopAgent(name: string): Promise<void> {
    const agent = this.find(name);
    try {
      if (agent.everReady) await agent.start();
    } catch (error) {
      this.plan.report({ kind: 'tasks_left', name, why: (error as Error).message });
    }
    await agent.stop();
  }

  /** This process ends without having stopped the cluster. Nothing can be waited for; each ends by itself. */
  private signalAll(): void {
    for (const one of this.processes.values()) one.signalNow();
  }

  private supervise(program: Program): Supervised {
    const { report, restart } = this.plan;
    return new Supervised(program, { report, restart, onSpawn: (pid) => this.recordPid(program.name, pid) });
  }

  private recordPid(name: string, pid: number): void {
    const identity = identify(pid);
    if (identity === undefined) return; // it has ended already
    const agent = this.plan.agents.some((one) => one.name === name);
    this.recorded.set(name, { name, agent, ...identity });
    this.record();
  }

  private record(): void {
    const { nats, token, cluster, startedAt, ready, owner } = this;
    const processes = this.names.flatMap((name) => this.recorded.get(name) ?? []);
    const content: LocalContext = { nats, token, cluster, startedAt, ready, owner, processes };
    writeLocalContext(this.context, content);
  }

  private find(name: string): Supervised {
    const found = this.processes.get(name);
    if (found !== undefined) return found;
    throw new Error(`Cannot find '${name}' in the cluster: it has ${this.names.join(', ')}`);
  }
}

async function readWhole(operator: Operator, task: TaskKey, path: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let offset = 0;
  try {
    for (;;) {
      const { data } = await operator.files.read(task, path, { offset });
      if (data.length === 0) return Buffer.concat(pieces).toString('utf8');
      pieces.push(data);
      offset += data.length;
    }
  } catch (error) {
    if (error instanceof RefusedError && error.code === 'path_unknown') return '';
    throw error;
  }
}
