import { chownSync, mkdirSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mesos } from '@mesobus/protos';
import { quantitiesOf } from '@mesobus/sdk/resources';
import type { ContainerEvent, Control, Effect, FoundContainer, TaskPlace } from '../core/index.ts';
import type {
  Containerizer,
  Containerizers,
  ContainerSpec,
  ContainerUsage,
  InnerProcess,
  Limits,
  Mount,
  Terminal,
  TerminalSize,
} from './containerizer.ts';
import { nameOf, sandboxInside } from './docker/container-request.ts';
import { isDockerContainer } from './docker/records.ts';
import type { StartOfExecutor } from './executors/environment.ts';
import type { Fetcher } from './fetcher/fetcher.ts';
import { type MountedFile, mountsOf } from './mounts.ts';
import type { Secrets } from './secrets.ts';
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
  /** Brings what commands need; absent: one that needs something fails. */
  readonly fetcher?: Pick<Fetcher, 'fetch'> | undefined;
  /** Absent: what refers to a secret fails. */
  readonly secrets?: Secrets | undefined;
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
  readonly #docker: Containerizer | undefined;
  /** Containers of Docker. */
  readonly #inDocker = new Set<string>();
  /** Containers that are prepared and wait for what they need: how to give them up. */
  readonly #fetching = new Map<string, { readonly gone: AbortController; readonly done: Promise<void> }>();

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.#process = options.containerizers.process;
    this.#docker = options.containerizers.docker;
    const { onRestarted, onBroken } = options;
    for (const containerizer of [this.#process, this.#docker]) {
      containerizer?.onEvent((event) => {
        if (event.kind === 'restarted') onRestarted();
        else if (event.kind === 'broken') onBroken(event.reason);
        else this.#tell(event);
      });
    }
  }

  /** Starts a command; what comes of it comes as events. */
  start(start: Start): void {
    try {
      if (isOfDocker(start.container)) {
        if (this.#docker === undefined) throw new Error(withoutDocker);
        this.#inDocker.add(start.containerId);
      }
      const spec = this.#prepare(start);
      const { uris } = start.command;
      if (!uris || uris.length === 0) this.#of(spec.containerId).start(spec);
      else this.#fetch(spec, uris);
    } catch (error) {
      this.#fail(start.containerId, error);
    }
  }

  /** Starts the container once it has what it needs. */
  #fetch(spec: ContainerSpec, uris: readonly mesos.v1.CommandInfo.URI.$Properties[]): void {
    const { containerId, sandboxDir, user } = spec;
    const { fetcher } = this.#options;
    if (fetcher === undefined) throw new Error('this agent fetches nothing; start the task without URIs');
    const gone = new AbortController();
    const fetchAndStart = async (): Promise<void> => {
      try {
        await fetcher.fetch({ uris, sandboxDir, user, signal: gone.signal });
        gone.signal.throwIfAborted();
        this.#of(containerId).start(spec);
      } catch (error) {
        this.#fail(containerId, error);
      } finally {
        this.#fetching.delete(containerId);
      }
    };
    this.#fetching.set(containerId, { gone, done: fetchAndStart() });
  }

  #fail(containerId: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#tell({ kind: 'failed', containerId, message });
  }

  #tell(event: ContainerEvent): void {
    if (event.kind !== 'started') this.#options.secrets?.remove(event.containerId);
    this.#options.onEvent(event);
  }

  control(containerId: string, control: Control): void {
    const fetching = this.#fetching.get(containerId);
    if (fetching === undefined) this.#of(containerId).control(containerId, control);
    else if (control.kind === 'term' || control.kind === 'kill') {
      fetching.gone.abort(new Error('what it needs was still being fetched'));
    }
  }

  resize(containerId: string, resources: Start['resources']): void {
    this.#of(containerId).resize(containerId, limitsOf(resources, {}));
  }

  /** Says of those that run no more how they ended. */
  probe(containerIds: readonly string[]): void {
    const { process, docker } = this.#byKind(containerIds.filter((containerId) => !this.#fetching.has(containerId)));
    this.#process.probe(process);
    this.#docker?.probe(docker);
  }

  /** What earlier processes left. */
  async find(): Promise<FoundContainer[]> {
    const names = readdirSync(this.#options.workDir.containers);
    if (this.#docker !== undefined) {
      for (const name of names) if (isDockerContainer(this.#folder(name))) this.#inDocker.add(name);
    }
    const { process, docker } = this.#byKind(names);
    const found = (await Promise.all([this.#process.find(process), this.#docker?.find(docker) ?? []])).flat();
    const alive = found.filter(({ end }) => end === undefined);
    this.#options.secrets?.sweep(new Set(alive.map(({ containerId }) => containerId)));
    return found;
  }

  async usage(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    const { process, docker } = this.#byKind(containerIds);
    const measured = await Promise.all([this.#process.usage(process), this.#docker?.usage(docker) ?? []]);
    return measured.flat();
  }

  #of(containerId: string): Containerizer {
    return this.#docker !== undefined && this.#inDocker.has(containerId) ? this.#docker : this.#process;
  }

  #byKind(containerIds: readonly string[]): { readonly process: string[]; readonly docker: string[] } {
    const isDockers = (containerId: string): boolean => this.#inDocker.has(containerId);
    return { process: containerIds.filter((id) => !isDockers(id)), docker: containerIds.filter(isDockers) };
  }

  /**
   * Runs a command in a running container, in the environment of its task and with its own on top.
   *
   * @param terminal - give it one of this size
   * @throws {Error} the container does not run, or its user is not known any more
   */
  runInside(
    containerId: string,
    task: TaskPlace,
    command: mesos.v1.CommandInfo.$Properties,
    terminal?: TerminalSize,
  ): InnerProcess {
    const sandboxDir = join(this.#options.workDir.sandboxes, task.sandbox);
    const env = { ...this.#environment(task, containerId, sandboxDir), ...this.#variablesOf(command) };
    // Docker knows by itself who its containers are, and where their sandbox is.
    const user = this.#inDocker.has(containerId) ? undefined : this.#userOf(task.user);
    const cwd = this.#inDocker.has(containerId) ? undefined : sandboxDir;
    return this.#of(containerId).run(containerId, {
      ...commandLine(command),
      env,
      ...(user && { user }),
      ...(cwd && { cwd }),
      ...(terminal && { tty: terminal }),
    });
  }

  /** Where what listens in a container with a network of its own is reached; undefined: it has that of the machine. */
  async addressOf(containerId: string): Promise<string | undefined> {
    return await this.#of(containerId).addressOf?.(containerId);
  }

  /** What types on the terminal of a container; undefined if it has none. */
  terminal(containerId: string): Terminal | undefined {
    return this.#of(containerId).terminal?.(containerId);
  }

  /** Removes what was kept for a container. The sandbox stays. */
  async remove(containerId: string): Promise<void> {
    await this.#of(containerId).remove(containerId);
    this.#options.secrets?.remove(containerId);
    this.#inDocker.delete(containerId);
    await rm(this.#folder(containerId), { recursive: true, force: true });
  }

  /** Containers live on. No event comes any more. */
  async close(): Promise<void> {
    const fetching = [...this.#fetching.values()];
    for (const { gone } of fetching) gone.abort();
    await Promise.all(fetching.map(({ done }) => done));
    await Promise.all([this.#process.close(), this.#docker?.close()]);
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
    // What tasks of a group share belongs to the first of them, and lets the others pass.
    const isNew = parent !== undefined && mkdirSync(parent, { recursive: true, mode: 0o755 }) !== undefined;
    if (isNew && user !== undefined) chownSync(parent, user.uid, user.gid);
    mkdirSync(controlDir, { recursive: true, mode: 0o700 });
    this.#options.secrets?.remove(start.containerId);
    return {
      containerId: start.containerId,
      controlDir,
      sandboxDir,
      stdoutPath: join(sandboxDir, 'stdout'),
      stderrPath: join(sandboxDir, 'stderr'),
      env: this.#environment(start, start.containerId, sandboxDir),
      volumes: [
        ...this.#volumesOf(start, user),
        ...this.#wayToAgent(start),
        ...mountsOf(start.container, { own: sandboxDir, parent }, user, (secret) =>
          this.#secretFile(start, secret, user),
        ),
      ],
      limits: limitsOf(start.resources, start.limits),
      ...commandLine(start.command),
      ...(user && { user }),
      ...(start.container && { container: start.container, command: start.command }),
      ...(start.parent && parent && { parent: { containerId: start.parent.containerId, sandboxDir: parent } }),
    };
  }

  #volumesOf({ volumes }: Start, user: User | undefined): Mount[] {
    return volumes.map((volume) => {
      const hostPath = this.#options.volumes.open(volume, user);
      return { hostPath, containerPath: volume.containerPath, readOnly: false };
    });
  }

  /** Elsewhere than in an image it is not mounted read-only, which needs namespaces: by its mode only root could write to it. */
  #secretFile(
    start: Start,
    secret: mesos.v1.Secret.$Properties | null | undefined,
    user: User | undefined,
  ): MountedFile {
    const readOnly = this.#inDocker.has(start.containerId);
    return { hostPath: this.#secrets().place(start.containerId, secret, user, readOnly), readOnly };
  }

  #secrets(): Secrets {
    const { secrets } = this.#options;
    if (secrets === undefined) throw new Error('this agent knows no secrets; start it with --secrets-dir');
    return secrets;
  }

  #variablesOf({ environment }: mesos.v1.CommandInfo.$Properties): Record<string, string> {
    const { SECRET } = mesos.v1.Environment.Variable.Type;
    const textOf = ({ type, value, secret }: mesos.v1.Environment.Variable.$Properties): string =>
      type === SECRET ? this.#secrets().readText(secret) : (value ?? '');
    return Object.fromEntries((environment?.variables ?? []).map((variable) => [variable.name, textOf(variable)]));
  }

  /** An executor with files or a network of its own has only this. The socket is another at each start, its folder is not. */
  #wayToAgent(start: Start): Mount[] {
    if (!isExecutor(start) || !start.container?.docker) return [];
    const folder = dirname(this.#options.workDir.executorSocket);
    return [{ hostPath: folder, containerPath: folder, readOnly: true }];
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

  /** An image has a path of its own, and sees the sandbox elsewhere. */
  #environment(start: Start | TaskPlace, containerId: string, sandboxDir: string): Record<string, string> {
    const inDocker = this.#inDocker.has(containerId);
    const sandbox = inDocker ? sandboxInside : sandboxDir;
    return {
      ...(inDocker ? { MESOS_CONTAINER_NAME: nameOf(containerId) } : { PATH: defaultPath }),
      MESOS_SANDBOX: sandbox,
      MESOS_DIRECTORY: sandbox,
      MESOS_FRAMEWORK_ID: start.frameworkId,
      MESOS_AGENT_ID: start.agentId,
      MESOS_EXECUTOR_ID: start.executorId,
      ...(isExecutor(start) ? this.#options.executorEnvironment(start) : { MESOS_TASK_ID: start.taskId }),
      ...this.#variablesOf(start.command),
    };
  }
}

const withoutDocker =
  'this agent runs no containers of Docker; start it with --containerizers process,docker, or the task elsewhere';

const isOfDocker = (container: Start['container']): boolean => container?.type === mesos.v1.ContainerInfo.Type.DOCKER;

const isExecutor = (start: Start | TaskPlace): start is StartOfExecutor =>
  'executor' in start && start.executor !== undefined;

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
