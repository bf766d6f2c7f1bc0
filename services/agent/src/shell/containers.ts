import { chownSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import type { mesos } from '@mesobus/protos';
import type { ContainerEnd, ContainerEvent, Control, Effect, FoundContainer } from '../core/index.ts';
import type { ExitRecord, LauncherEvent, LaunchSpec, Control as SupervisorControl } from './launcher.ts';
import type { User, Users } from './users.ts';
import type { Volumes } from './volumes.ts';
import type { WorkDir } from './work-dir.ts';

type Start = Extract<Effect, { kind: 'start' }>;

/** What is needed of the launcher. */
export interface Supervision {
  readonly launcher: {
    start(spec: LaunchSpec): void;
    onEvent(handler: (event: LauncherEvent) => void): void;
    restart(): Promise<void>;
    close(): Promise<void>;
  };
  findExit(controlDir: string): ExitRecord | undefined;
  isSupervised(controlDir: string): boolean;
  hasBegun(controlDir: string): boolean;
  control(controlDir: string, command: SupervisorControl): boolean;
}

export interface ContainersOptions {
  readonly workDir: WorkDir;
  readonly supervision: Supervision;
  readonly users: Users;
  readonly volumes: Pick<Volumes, 'show'>;
  /** Become the task's user; otherwise commands run as the agent does. */
  readonly switchUser: boolean;
  readonly hostname: string;
  readonly onEvent: (event: ContainerEvent) => void;
  readonly onLauncherExited: (reason: string) => void;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Starts, watches and ends the containers of an agent: their folders, users and environments. */
export class Containers {
  readonly #options: ContainersOptions;
  /** Given to the launcher that runs, and not heard of since: it may be about to start them. */
  readonly #given = new Set<string>();

  constructor(options: ContainersOptions) {
    this.#options = options;
    options.supervision.launcher.onEvent((event) => this.#onEvent(event));
  }

  /** Starts a command; what comes of it comes as events. */
  start(start: Start): void {
    const { containerId } = start;
    try {
      this.#options.supervision.launcher.start(this.#prepare(start));
      this.#given.add(containerId);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#options.onEvent({ kind: 'failed', containerId, message });
    }
  }

  control(containerId: string, control: Control): void {
    this.#options.supervision.control(this.#folder(containerId), control);
  }

  /** Says of those without a supervisor how they ended. */
  probe(containerIds: readonly string[]): void {
    const { onEvent, supervision } = this.#options;
    for (const containerId of containerIds) {
      const { supervised, end } = this.#look(containerId);
      if (end !== undefined) onEvent(end);
      else if (supervised || this.#given.has(containerId)) continue;
      else if (supervision.hasBegun(this.#folder(containerId))) onEvent({ kind: 'lost', containerId });
      else onEvent({ kind: 'failed', containerId, message: 'the launcher ended before' });
    }
  }

  /** What earlier processes left. */
  find(): FoundContainer[] {
    const { supervision, workDir } = this.#options;
    return readdirSync(workDir.containers).map((containerId) => {
      const folder = this.#folder(containerId);
      const { birthtimeMs, mtimeMs } = statSync(folder);
      const begun = supervision.hasBegun(folder);
      return { containerId, ...this.#look(containerId), begun, startedAtMs: birthtimeMs || mtimeMs };
    });
  }

  /** Removes what the supervisor wrote. The sandbox stays. */
  async remove(containerId: string): Promise<void> {
    this.#given.delete(containerId);
    await rm(this.#folder(containerId), { recursive: true, force: true });
  }

  #folder(containerId: string): string {
    return join(this.#options.workDir.containers, containerId);
  }

  #look(containerId: string): { supervised: boolean; end: ContainerEnd | undefined } {
    const { supervision } = this.#options;
    const folder = this.#folder(containerId);
    const supervised = supervision.isSupervised(folder); // asked first: it may end between the two questions
    const record = supervision.findExit(folder);
    return { supervised: supervised && record === undefined, end: record && endOf(containerId, record) };
  }

  #onEvent(event: LauncherEvent): void {
    const { onEvent, onLauncherExited } = this.#options;
    if (event.kind === 'launcher_exited') this.#given.clear();
    else this.#given.delete(event.containerId);
    switch (event.kind) {
      case 'started': {
        const { containerId, pid: commandPid, supervisorPid } = event;
        onEvent({ kind: 'started', containerId, commandPid, supervisorPid });
        break;
      }
      case 'lost':
        // It may have written how the command ended, and failed only to say so.
        onEvent(this.#look(event.containerId).end ?? { kind: 'lost', containerId: event.containerId });
        break;
      case 'launcher_exited':
        onLauncherExited(event.reason);
        break;
      default:
        onEvent(endOf(event.containerId, event));
    }
  }

  #prepare(start: Start): LaunchSpec {
    const { workDir } = this.#options;
    const user = this.#userOf(start.user);
    const sandboxDir = join(workDir.sandboxes, start.sandbox);
    const controlDir = this.#folder(start.containerId);
    // They may be there, made by a process that did not live to start anything: what starts once is the supervisor.
    mkdirSync(dirname(sandboxDir), { recursive: true, mode: 0o755 });
    mkdirSync(sandboxDir, { recursive: true, mode: 0o750 });
    if (user !== undefined) chownSync(sandboxDir, user.uid, user.gid);
    for (const volume of start.volumes) this.#options.volumes.show(volume, sandboxDir, user);
    mkdirSync(controlDir, { recursive: true, mode: 0o700 });
    return {
      containerId: start.containerId,
      controlDir,
      sandboxDir,
      stdoutPath: join(sandboxDir, 'stdout'),
      stderrPath: join(sandboxDir, 'stderr'),
      env: this.#environment(start, sandboxDir),
      ...commandLine(start.command),
      ...(user === undefined ? {} : { user }),
    };
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
      MESOS_TASK_ID: start.taskId,
      MESOS_FRAMEWORK_ID: start.frameworkId,
      MESOS_AGENT_ID: start.agentId,
      MESOS_EXECUTOR_ID: start.taskId,
    };
    for (const { name, value } of start.command.environment?.variables ?? []) env[name] = value ?? '';
    return env;
  }
}

/** With a shell the value is a line for it; without, it is the file to execute, and the arguments begin with argv[0]. */
function commandLine(command: mesos.v1.CommandInfo.$Properties): Pick<LaunchSpec, 'argv' | 'file'> {
  const value = command.value ?? '';
  if (command.shell ?? true) return { file: '/bin/sh', argv: ['sh', '-c', value] };
  const [first = value, ...rest] = command.arguments ?? [];
  return { file: value, argv: [first, ...rest] };
}

function endOf(containerId: string, record: ExitRecord): ContainerEnd {
  return record.kind === 'failed'
    ? {
        kind: 'failed',
        containerId,
        message: `${getSystemErrorMessage(-record.errno)} (${record.code} at ${record.stage})`,
      }
    : {
        kind: 'exited',
        containerId,
        status: record.status,
        stopped: record.stop !== 'none',
        exitedAtMs: record.exitedAtMs,
      };
}
