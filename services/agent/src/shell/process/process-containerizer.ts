import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { getSystemErrorMessage } from 'node:util';
import { mesos } from '@mesobus/protos';
import type { ContainerEnd, ContainerLimitation, Control, FoundContainer } from '../../core/index.ts';
import type {
  Containerizer,
  ContainerizerEvent,
  ContainerSpec,
  ContainerUsage,
  InnerCommand,
  InnerProcess,
  Limits,
  Terminal,
} from '../containerizer.ts';
import type { WorkDir } from '../work-dir.ts';
import { InnerProcesses } from './inner-processes.ts';
import { type Isolation, type IsolationOptions, openIsolation } from './isolation.ts';
import {
  control,
  type Ended,
  type ExitRecord,
  findExit,
  hasBegun,
  isPaused,
  isSupervised,
  type LauncherEvent,
  type LaunchSpec,
  type Control as SupervisorControl,
  startLauncher,
} from './launcher.ts';
import { settingsOf } from './settings.ts';
import { hasTerminal, typeInto } from './terminal.ts';

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
  readonly isolation?: Isolation;
  /** An output that grows beyond this is renamed and begun anew, so that twice as much is kept; 0: it grows for ever. */
  readonly logMaxBytes?: number;
  /** Ms since 1970. */
  readonly now?: () => number;
}

/** How long the agent waits at its start for what earlier ones have left to be gone. */
const sweepWaitMs = 5_000;

const plain: Isolation = { always: false, noNewPrivileges: false, isRoot: process.getuid?.() === 0 };

/**
 * Starts the launcher of an agent.
 *
 * @throws {Error} an isolation that was named is not possible here
 */
export async function openProcessContainerizer({
  workDir,
  logMaxBytes,
  ...options
}: Omit<IsolationOptions, 'workDir'> & {
  readonly workDir: WorkDir;
  readonly logMaxBytes: number;
}): Promise<ProcessContainerizer> {
  const isolation = await openIsolation({ ...options, workDir: workDir.root });
  const launcher = await startLauncher({ runDir: workDir.run, logger: options.log });
  const supervision = { launcher, findExit, isSupervised, hasBegun, control };
  return new ProcessContainerizer({ supervision, containersDir: workDir.containers, isolation, logMaxBytes });
}

/** Runs containers as processes of this machine: a supervisor watches over each. */
export class ProcessContainerizer implements Containerizer {
  readonly #options: ProcessContainerizerOptions;
  readonly #isolation: Isolation;
  readonly #inner: InnerProcesses;
  /** Given to the launcher that runs, and not heard of since: it may be about to start them. */
  readonly #given = new Set<string>();
  #handler: ((event: ContainerizerEvent) => void) | undefined;
  #closing = false;

  constructor(options: ProcessContainerizerOptions) {
    this.#options = options;
    this.#isolation = options.isolation ?? plain;
    this.#inner = new InnerProcesses(this.#isolation);
  }

  onEvent(handler: (event: ContainerizerEvent) => void): void {
    this.#handler = handler;
    this.#options.supervision.launcher.onEvent((event) => this.#onLauncherEvent(event));
  }

  start(spec: ContainerSpec): void {
    const settings = settingsOf(spec, this.#isolation, this.#options.logMaxBytes ?? 0);
    this.#options.supervision.launcher.start({ ...spec, settings });
    this.#given.add(spec.containerId);
  }

  control(containerId: string, control: Control): void {
    this.#options.supervision.control(this.#folder(containerId), control);
  }

  resize(containerId: string, limits: Limits): void {
    const { cgroups } = this.#isolation;
    if (cgroups?.has(containerId)) cgroups.resize(containerId, limits);
  }

  probe(containerIds: readonly string[]): void {
    const { supervision } = this.#options;
    for (const containerId of containerIds) {
      // One whose supervisor lives says its end itself, or is asked again when that has gone.
      if (supervision.isSupervised(this.#folder(containerId))) continue;
      const { end } = this.#look(containerId);
      if (end !== undefined) this.#handler?.(end);
      else if (this.#given.has(containerId)) continue;
      else if (supervision.hasBegun(this.#folder(containerId))) this.#handler?.({ kind: 'lost', containerId });
      else this.#handler?.({ kind: 'failed', containerId, message: 'the launcher ended before' });
    }
  }

  async find(prepared: readonly string[]): Promise<FoundContainer[]> {
    const { supervision } = this.#options;
    const found = prepared.map((containerId) => {
      const folder = this.#folder(containerId);
      const { birthtimeMs, mtimeMs } = statSync(folder);
      const begun = supervision.hasBegun(folder);
      const look = this.#look(containerId);
      // Its processes are needed to run commands beside them.
      if (look.supervised) supervision.control(folder, { kind: 'report' });
      return { containerId, ...look, begun, startedAtMs: birthtimeMs || mtimeMs, paused: isPaused(folder) };
    });
    const alive = found.filter(({ supervised }) => supervised).map(({ containerId }) => containerId);
    // What does not die, as it waits for a disk, must not keep the agent from the others.
    const swept = this.#isolation.cgroups?.sweep(new Set(alive));
    await Promise.race([swept, wait(sweepWaitMs, undefined, { ref: false })]);
    return found;
  }

  async remove(containerId: string): Promise<void> {
    this.#given.delete(containerId);
    this.#inner.onEnded(containerId);
  }

  async usage(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    return (await this.#isolation.cgroups?.usage(containerIds, this.#options.now ?? Date.now)) ?? [];
  }

  run(containerId: string, command: InnerCommand): InnerProcess {
    return this.#inner.run(containerId, command);
  }

  terminal(containerId: string): Terminal | undefined {
    const folder = this.#folder(containerId);
    if (!hasTerminal(folder)) return undefined;
    return {
      type: (bytes, signal) => typeInto(folder, bytes, signal),
      resize: ({ rows, columns }) => void this.#options.supervision.control(folder, { kind: 'resize', rows, columns }),
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#handler = undefined;
    await this.#inner.close();
    await this.#options.supervision.launcher.close();
    if (readdirSync(this.#options.containersDir).length === 0) this.#isolation.cgroups?.close();
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
      this.#inner.onStarted(containerId, commandPid);
      this.#handler?.({ kind: 'started', containerId, commandPid, supervisorPid });
    } else if (event.kind === 'lost') {
      this.#inner.onEnded(containerId);
      void this.#isolation.cgroups?.destroy(containerId);
      // It may have written how the command ended, and failed only to say so.
      this.#handler?.(this.#look(containerId).end ?? { kind: 'lost', containerId });
    } else {
      this.#inner.onEnded(containerId);
      this.#handler?.(endOf(containerId, event));
    }
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
        ...(record.oom && { limitation: memoryLimitation(record.oom) }),
      };
}

function memoryLimitation({ limitBytes, peakBytes }: NonNullable<Ended['oom']>): ContainerLimitation {
  const inMegabytes = (bytes: number): string => (bytes < 0 ? 'unknown' : `${Math.round(bytes / 2 ** 20)}MB`);
  return {
    reason: mesos.v1.TaskStatus.Reason.REASON_CONTAINER_LIMITATION_MEMORY,
    message: `Memory limit exceeded: Limit: ${inMegabytes(limitBytes)} Maximum Used: ${inMegabytes(peakBytes)}`,
  };
}
