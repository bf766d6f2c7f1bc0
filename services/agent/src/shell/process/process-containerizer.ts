import { statSync } from 'node:fs';
import { join } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import type { ContainerEnd, Control, FoundContainer } from '../../core/index.ts';
import type {
  Containerizer,
  ContainerizerEvent,
  ContainerSpec,
  ContainerUsage,
  InnerCommand,
  InnerProcess,
  Limits,
} from '../containerizer.ts';
import type { WorkDir } from '../work-dir.ts';
import {
  control,
  type ExitRecord,
  findExit,
  hasBegun,
  isSupervised,
  type LauncherEvent,
  type LaunchSpec,
  type Control as SupervisorControl,
  startLauncher,
} from './launcher.ts';

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

export interface ProcessContainerizerOptions {
  readonly supervision: Supervision;
  /** The folder of the control folders, each named by its container. */
  readonly containersDir: string;
}

/** Starts the launcher of an agent. */
export async function openProcessContainerizer({
  workDir,
  log,
}: {
  readonly workDir: WorkDir;
  readonly log: { warn(fields: object, message: string): void };
}): Promise<ProcessContainerizer> {
  const launcher = await startLauncher({ runDir: workDir.run, logger: log });
  const supervision = { launcher, findExit, isSupervised, hasBegun, control };
  return new ProcessContainerizer({ supervision, containersDir: workDir.containers });
}

/** Runs containers as processes of this machine: a supervisor watches over each. */
export class ProcessContainerizer implements Containerizer {
  readonly #options: ProcessContainerizerOptions;
  /** Given to the launcher that runs, and not heard of since: it may be about to start them. */
  readonly #given = new Set<string>();
  #handler: ((event: ContainerizerEvent) => void) | undefined;
  #closing = false;

  constructor(options: ProcessContainerizerOptions) {
    this.#options = options;
  }

  onEvent(handler: (event: ContainerizerEvent) => void): void {
    this.#handler = handler;
    this.#options.supervision.launcher.onEvent((event) => this.#onLauncherEvent(event));
  }

  start(spec: ContainerSpec): void {
    this.#options.supervision.launcher.start(spec);
    this.#given.add(spec.containerId);
  }

  control(containerId: string, control: Control): void {
    this.#options.supervision.control(this.#folder(containerId), control);
  }

  resize(_containerId: string, _limits: Limits): void {}

  probe(containerIds: readonly string[]): void {
    const { supervision } = this.#options;
    for (const containerId of containerIds) {
      const { supervised, end } = this.#look(containerId);
      if (end !== undefined) this.#handler?.(end);
      else if (supervised || this.#given.has(containerId)) continue;
      else if (supervision.hasBegun(this.#folder(containerId))) this.#handler?.({ kind: 'lost', containerId });
      else this.#handler?.({ kind: 'failed', containerId, message: 'the launcher ended before' });
    }
  }

  async find(prepared: readonly string[]): Promise<FoundContainer[]> {
    return prepared.map((containerId) => {
      const folder = this.#folder(containerId);
      const { birthtimeMs, mtimeMs } = statSync(folder);
      const begun = this.#options.supervision.hasBegun(folder);
      return { containerId, ...this.#look(containerId), begun, startedAtMs: birthtimeMs || mtimeMs };
    });
  }

  async remove(containerId: string): Promise<void> {
    this.#given.delete(containerId);
  }

  async usage(_containerIds: readonly string[]): Promise<ContainerUsage[]> {
    return [];
  }

  run(containerId: string, _command: InnerCommand): InnerProcess {
    throw new Error(`Cannot run a command in container '${containerId}': this is not built yet`);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#handler = undefined;
    await this.#options.supervision.launcher.close();
  }

  #folder(containerId: string): string {
    return join(this.#options.containersDir, containerId);
  }

  #look(containerId: string): { supervised: boolean; end: ContainerEnd | undefined } {
    const { supervision } = this.#options;
    const folder = this.#folder(containerId);
    const supervised = supervision.isSupervised(folder); // asked first: it may end between the two questions
    const record = supervision.findExit(folder);
    return { supervised: supervised && record === undefined, end: record && endOf(containerId, record) };
  }

  #onLauncherEvent(event: LauncherEvent): void {
    if (event.kind === 'launcher_exited') {
      this.#given.clear();
      void this.#restart();
      return;
    }
    const { containerId } = event;
    this.#given.delete(containerId);
    if (event.kind === 'started') {
      const { pid: commandPid, supervisorPid } = event;
      this.#handler?.({ kind: 'started', containerId, commandPid, supervisorPid });
    } else if (event.kind === 'lost') {
      // It may have written how the command ended, and failed only to say so.
      this.#handler?.(this.#look(containerId).end ?? { kind: 'lost', containerId });
    } else this.#handler?.(endOf(containerId, event));
  }

  async #restart(): Promise<void> {
    try {
      await this.#options.supervision.launcher.restart();
      this.#handler?.({ kind: 'restarted' });
    } catch (error) {
      if (this.#closing) return;
      this.#handler?.({ kind: 'broken', reason: `The launcher cannot be started again: ${String(error)}` });
    }
  }
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
