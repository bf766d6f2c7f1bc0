import { chownSync, mkdirSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { mesos } from '@mesobus/protos';
import { quantitiesOf } from '@mesobus/sdk/resources';
import type { ContainerEvent, Control, Effect, FoundContainer } from '../core/index.ts';
import type { Containerizer, Containerizers, ContainerSpec, ContainerUsage, Limits, Mount } from './containerizer.ts';
import type { StartOfExecutor } from './executors/environment.ts';
import { mountsOf } from './mounts.ts';
import type { User, Users } from './users.ts';
import type { Volumes } from './volumes.ts';
import type { WorkDir } from './work-dir.ts';

type Start = Extract<Effect, { kind: 'start' }>;

export interface ContainersOptions {
  readonly workDir: WorkDir;
  readonly containerizers: Containerizers;
  readonly users: Users;
  readonly volumes: Pick<Volumes, 'open'>;
  /** Become the task's user; otherwise commands run as the agent does. */
  readonly switchUser: boolean;
  readonly hostname: string;
  /** What tells an executor where its agent is. */
  readonly executorEnvironment: (start: StartOfExecutor) => Record<string, string>;
  readonly onEvent: (event: ContainerEvent) => void;
  /** Of the containers that start, whatever was not heard of may have happened. */
  readonly onRestarted: () => void;
  readonly onBroken: (reason: string) => void;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Prepares containers, their folders, users and environments, and hands them to the containerizer of their kind. */
export class Containers {
  readonly #options: ContainersOptions;
  readonly #process: Containerizer;

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.#process = options.containerizers.process;
    const { onEvent, onRestarted, onBroken } = options;
    this.#process.onEvent((event) => {
      if (event.kind === 'restarted') onRestarted();
      else if (event.kind === 'broken') onBroken(event.reason);
      else onEvent(event);
    });
  }

  /** Starts a command; what comes of it comes as events. */
  start(start: Start): void {
    const { containerId } = start;
    try {
      this.#process.start(this.#prepare(start));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#options.onEvent({ kind: 'failed', containerId, message });
    }
  }

  control(containerId: string, control: Control): void {
    this.#process.control(containerId, control);
  }

  resize(containerId: string, resources: Start['resources']): void {
    this.#process.resize(containerId, limitsOf(resources, {}));
  }

  /** Says of those that run no more how they ended. */
  probe(containerIds: readonly string[]): void {
    this.#process.probe(containerIds);
  }

  /** What earlier processes left. */
  find(): Promise<FoundContainer[]> {
    return this.#process.find(readdirSync(this.#options.workDir.containers));
  }

  usage(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    return this.#process.usage(containerIds);
  }

  /** Removes what was kept for a container. The sandbox stays. */
  async remove(containerId: string): Promise<void> {
    await this.#process.remove(containerId);
    await rm(this.#folder(containerId), { recursive: true, force: true });
  }

  /** Containers live on. No event comes any more. */
  close(): Promise<void> {
    return this.#process.close();
  }

  #folder(containerId: string): string {
    return join(this.#options.workDir.containers, containerId);
  }

  #prepare(start: Start): ContainerSpec {
    const { workDir } = this.#options;
    const user = this.#userOf(start.user);
    const sandboxDir = join(workDir.sandboxes, start.sandbox);
    const controlDir = this.#folder(start.containerId);
    const parent = start.parent && join(workDir.sandboxes, start.parent.sandbox);
    // They may be there, made by a process that did not live to start anything: what starts once is the supervisor.
    mkdirSync(dirname(sandboxDir), { recursive: true, mode: 0o755 });
    mkdirSync(sandboxDir, { recursive: true, mode: 0o750 });
    if (user !== undefined) chownSync(sandboxDir, user.uid, user.gid);
    mkdirSync(controlDir, { recursive: true, mode: 0o700 });
    return {
      containerId: start.containerId,
      controlDir,
      sandboxDir,
      stdoutPath: join(sandboxDir, 'stdout'),
      stderrPath: join(sandboxDir, 'stderr'),
      env: this.#environment(start, sandboxDir),
      volumes: [...this.#volumesOf(start, user), ...mountsOf(start.container, { own: sandboxDir, parent }, user)],
      limits: limitsOf(start.resources, start.limits),
      ...commandLine(start.command),
      ...(user && { user }),
      ...(start.container && { container: start.container }),
      ...(start.parent && parent && { parent: { containerId: start.parent.containerId, sandboxDir: parent } }),
    };
  }

  #volumesOf({ volumes }: Start, user: User | undefined): Mount[] {
    return volumes.map((volume) => {
      const hostPath = this.#options.volumes.open(volume, user);
      return { hostPath, containerPath: volume.containerPath, readOnly: false };
    });
  }

  #userOf(name: string): User | undefined {
    if (!this.#options.switchUser || name === '') return undefined;
    const user = this.#options.users.find(name);
    if (user === undefined) {
      throw new Error(
        `there is no user '${name}' on '${this.#options.hostname}'; create it, or name another in the task`,
      );
    }
    return user;
  }

  #environment(start: Start, sandboxDir: string): Record<string, string> {
    const env: Record<string, string> = {
      PATH: defaultPath,
      MESOS_SANDBOX: sandboxDir,
      MESOS_DIRECTORY: sandboxDir,
      MESOS_FRAMEWORK_ID: start.frameworkId,
      MESOS_AGENT_ID: start.agentId,
      MESOS_EXECUTOR_ID: start.executorId,
      ...(isExecutor(start) ? this.#options.executorEnvironment(start) : { MESOS_TASK_ID: start.taskId }),
    };
    for (const { name, value } of start.command.environment?.variables ?? []) env[name] = value ?? '';
    return env;
  }
}

const isExecutor = (start: Start): start is StartOfExecutor => start.executor !== undefined;

/** With a shell the value is a line for it; without, it is the file to execute, and the arguments begin with argv[0]. */
function commandLine(command: mesos.v1.CommandInfo.$Properties): Pick<ContainerSpec, 'argv' | 'file'> {
  const value = command.value ?? '';
  if (command.shell ?? true) return { file: '/bin/sh', argv: ['sh', '-c', value] };
  const [first = value, ...rest] = command.arguments ?? [];
  return { file: value, argv: [first, ...rest] };
}

/** What a container may use: as much as it has been given, or up to the limit that its task names. */
function limitsOf(resources: Start['resources'], limits: Start['limits']): Limits {
  const { cpus = 0, mem = 0 } = quantitiesOf(resources);
  const memBytes = Math.round((mem / 1000) * 2 ** 20);
  const hardMem = limits['mem']?.value;
  return {
    cpus: cpus / 1000,
    memBytes,
    hardMemBytes: hardMem === undefined || hardMem === null ? memBytes : Math.round(hardMem * 2 ** 20),
    ...(limits['cpus'] && { hardCpus: limits['cpus'].value ?? cpus / 1000 }),
  };
}
