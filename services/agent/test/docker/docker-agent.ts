import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { mesos } from '@mesobus/protos';
import type { ExecutionContext } from 'ava';
import type Docker from 'dockerode';
import { tempWorkDir } from '../shell/bench.ts';
import { type AgentProcess, Cluster } from '../shell/cluster.ts';
import { run } from '../world.ts';

type Task = Partial<mesos.v1.TaskInfo.$Properties>;
type DockerInfo = Partial<mesos.v1.ContainerInfo.DockerInfo.$Properties>;

/** An agent with containers of Docker, as a process, and its leader. */
export class DockerAgent {
  readonly workDir: string;
  readonly cluster: Cluster;
  process: AgentProcess;
  readonly #options: readonly string[];

  private constructor(t: ExecutionContext, cluster: Cluster, socketPath: string, options: readonly string[]) {
    this.workDir = tempWorkDir(t);
    this.cluster = cluster;
    this.#options = ['--containerizers', 'process,docker', '--docker-socket', socketPath, ...options];
    this.process = this.#start();
  }

  static async start(t: ExecutionContext, socketPath: string, ...options: string[]): Promise<DockerAgent> {
    const agent = new DockerAgent(t, await Cluster.start(t), socketPath, options);
    await agent.cluster.registrations(1);
    return agent;
  }

  get leader(): Cluster['leader'] {
    return this.cluster.leader;
  }

  #start(): AgentProcess {
    return this.cluster.agent(this.workDir, 'cpus:4;mem:1024;ports:[31000-31009]', ...this.#options);
  }

  async kill(): Promise<void> {
    this.process.child.kill('SIGKILL');
    await this.process.exited;
  }

  async restart(): Promise<void> {
    const before = this.leader.registrations.length;
    this.process = this.#start();
    await this.cluster.registrations(before + 1);
  }

  async launch(taskId: string, command: mesos.v1.CommandInfo.$Properties, docker: DockerInfo = {}, task: Task = {}) {
    const container = { type: 1, docker: { image: 'base', ...docker }, ...task.container };
    await this.leader.command((number) => run(number, taskId, { task: { command, ...task, container } }));
  }

  /** The first of its tasks is running: its container. */
  async running(taskId: string, docker: Docker): Promise<Docker.Container> {
    const { status } = await this.leader.update(taskId, 'TASK_RUNNING');
    return docker.getContainer(`mesobus-${status?.containerStatus?.containerId?.value}`);
  }

  sandbox(taskId: string): string {
    const folder = join(this.workDir, 'sandboxes/F', taskId);
    return join(folder, readdirSync(folder)[0] ?? '');
  }

  read(taskId: string, name: string): string {
    return readFileSync(join(this.sandbox(taskId), name), 'utf8');
  }
}
