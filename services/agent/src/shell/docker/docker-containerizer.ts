import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { mesos } from '@mesobus/protos';
import type Docker from 'dockerode';
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
import { labels, limitsFor, nameOf, type RequestOptions, requestOf, sandboxInside } from './container-request.ts';
import { copyOutput, prepareOutput } from './copy-output.ts';
import { Daemon, messageOf, statusOf } from './daemon.ts';
import { runInside } from './inner-process.ts';
import { pullImage } from './pull-image.ts';
import * as records from './records.ts';
import { Remover } from './remover.ts';
import { usageOf } from './usage-of.ts';

const { REASON_CONTAINER_LIMITATION_MEMORY } = mesos.v1.TaskStatus.Reason;

export interface DockerContainerizerOptions extends RequestOptions {
  readonly socketPath: string;
  /** The folder of the control folders, each named by its container. */
  readonly containersDir: string;
  /** Containers that have ended stay so long. */
  readonly removeDelayMs: number;
  /** End containers of this work directory that the agent does not know any more. */
  readonly killOrphans: boolean;
  /** As of processes. */
  readonly logMaxBytes: number;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
  /** Ms since 1970. */
  readonly now?: () => number;
}

/** A container that is being prepared, or runs as far as is known. */
interface Held {
  readonly containerId: string;
  readonly folder: string;
  readonly record: records.DockerRecord;
  /** It is to end before it has begun. */
  readonly givenUp: AbortController;
  /** It may run. */
  begun: boolean;
  /** What it was told, one after the other. */
  controls: Promise<void>;
  killAtMs: number;
  killTimer: NodeJS.Timeout | undefined;
  done: Promise<void>;
}

const lookAgainMs = 200;
/** The output of a container that has ended may be unreadable. */
const maxCopies = 3;
const parallelStats = 8;

type State = Docker.ContainerInspectInfo['State'];

/**
 * Runs containers with Docker. Docker keeps their output; a container is watched over by reading that to its end, which
 * comes with the end of the container or of the connection. Then Docker is asked which of the two it was.
 */
export class DockerContainerizer implements Containerizer {
  readonly #options: DockerContainerizerOptions;
  readonly #daemon: Daemon;
  readonly #remover: Remover;
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();
  readonly #closing = new AbortController();
  #handler: ((event: ContainerizerEvent) => void) | undefined;
  #early: ContainerizerEvent[] = [];

  constructor(options: DockerContainerizerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#daemon = new Daemon(options.socketPath, options.log);
    this.#remover = new Remover(this.#daemon, options);
  }

  onEvent(handler: (event: ContainerizerEvent) => void): void {
    this.#handler = handler;
    for (const event of this.#early.splice(0)) handler(event);
  }

  start(spec: ContainerSpec): void {
    const { containerId, stdoutPath, stderrPath, user, limits, container } = spec;
    if (this.#held.has(containerId)) throw new Error(`container '${containerId}' has been started already`);
    const request = requestOf(spec, this.#options);
    const record = {
      stdoutPath,
      stderrPath,
      user,
      hasTerminal: container?.ttyInfo != null,
      memoryLimitBytes: Number.isFinite(limits.hardMemBytes) ? limits.hardMemBytes : undefined,
    };
    records.writeRecord(this.#folder(containerId), record);
    const held = this.#hold(containerId, record);
    held.done = this.#background(held, this.#begin(held, request, container?.docker?.forcePullImage ?? false));
  }

  control(containerId: string, control: Control): void {
    const held = this.#held.get(containerId);
    if (held === undefined) return;
    const ends = control.kind === 'term' || control.kind === 'kill';
    if (!held.begun) {
      if (ends) held.givenUp.abort(new Error('it was told to end while it was prepared'));
      return;
    }
    if (ends) records.noteStop(held.folder, this.#now());
    held.controls = held.controls.then(() => this.#carryOut(held, control));
  }

  resize(containerId: string, limits: Limits): void {
    const { CpuShares, NanoCpus, Memory } = limitsFor(limits, this.#options);
    const change = { CpuShares, ...(NanoCpus && { NanoCpus }), ...(Memory && { Memory, MemorySwap: Memory }) };
    this.#container(containerId)
      .update(change)
      .catch((error) => this.#warn(containerId, error, 'Cannot change what a container may use'));
  }

  probe(containerIds: readonly string[]): void {
    for (const containerId of containerIds) {
      if (this.#held.has(containerId)) continue;
      const folder = this.#folder(containerId);
      const end = records.readEnd(folder);
      if (end !== undefined) this.#emit(end);
      else if (records.hasBegun(folder)) this.#adopt(containerId);
      else this.#emit({ kind: 'failed', containerId, message: 'it was never begun' });
    }
  }

  async find(prepared: readonly string[]): Promise<FoundContainer[]> {
    const known = new Set(prepared);
    void this.#clearOthers(known);
    return await Promise.all(prepared.map((containerId) => this.#findOne(containerId)));
  }

  async remove(containerId: string): Promise<void> {
    clearTimeout(this.#held.get(containerId)?.killTimer);
    this.#held.delete(containerId);
  }

  async usage(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    const left = containerIds.filter((containerId) => this.#held.get(containerId)?.begun);
    const measured: ContainerUsage[] = [];
    const measure = async (): Promise<void> => {
      for (let containerId = left.pop(); containerId !== undefined; containerId = left.pop()) {
        const usage = await this.#measure(containerId).catch(() => undefined); // it ends, or Docker is away
        if (usage !== undefined) measured.push(usage);
      }
    };
    await Promise.all(Array.from({ length: parallelStats }, measure));
    return measured;
  }

  run(containerId: string, command: InnerCommand): InnerProcess {
    if (!this.#held.get(containerId)?.begun) {
      throw new Error(`Cannot run a command in container '${containerId}': it does not run`);
    }
    return runInside(this.#container(containerId), { cwd: sandboxInside, ...command });
  }

  async addressOf(containerId: string): Promise<string | undefined> {
    const { HostConfig, NetworkSettings } = await this.#container(containerId).inspect();
    if (HostConfig.NetworkMode === 'host') return undefined;
    const address = Object.values(NetworkSettings.Networks).find(({ IPAddress }) => IPAddress !== '')?.IPAddress;
    if (address === undefined) throw new Error('the container has no address');
    return address;
  }

  async close(): Promise<void> {
    this.#handler = undefined;
    this.#closing.abort(new Error('the agent ends'));
    this.#remover.close();
    const held = [...this.#held.values()];
    for (const { killTimer } of held) clearTimeout(killTimer);
    await Promise.all(held.flatMap(({ done, controls }) => [done, controls]));
  }

  #folder(containerId: string): string {
    return join(this.#options.containersDir, containerId);
  }

  #container(containerId: string): Docker.Container {
    return this.#daemon.docker.getContainer(nameOf(containerId));
  }

  #emit(event: ContainerizerEvent): void {
    if (this.#closing.signal.aborted) return;
    if (this.#handler === undefined) this.#early.push(event);
    else this.#handler(event);
  }

  #warn(containerId: string, error: unknown, message: string): void {
    this.#options.log.warn({ err: error, container: containerId }, message);
  }

  #hold(containerId: string, record: records.DockerRecord): Held {
    const held: Held = {
      containerId,
      folder: this.#folder(containerId),
      record,
      givenUp: new AbortController(),
      begun: false,
      controls: Promise.resolve(),
      killAtMs: Number.POSITIVE_INFINITY,
      killTimer: undefined,
      done: Promise.resolve(),
    };
    this.#held.set(containerId, held);
    return held;
  }

  async #background(held: Held, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (this.#closing.signal.aborted) return; // the next process finds it
      this.#warn(held.containerId, error, 'A container is not watched over any more; it is looked at again later');
      this.#held.delete(held.containerId);
    }
  }

  /** Prepares and starts a container that nobody else has started, and watches over it. */
  async #begin(held: Held, request: Docker.ContainerCreateOptions, force: boolean): Promise<void> {
    const { containerId, folder } = held;
    const signal = AbortSignal.any([held.givenUp.signal, this.#closing.signal]);
    try {
      await this.#pull(held, request.Image ?? '', force, signal);
      await this.#create(containerId, request);
      await prepareOutput(this.#outputsOf(held));
      signal.throwIfAborted();
      records.noteBegun(folder);
      held.begun = true;
      await this.#container(containerId).start();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (await this.#hasNeverRun(containerId, held.begun)) {
        this.#fail(held, messageOf(error));
        return;
      }
    }
    await this.#sayStarted(held);
    await this.#watch(held);
  }

  #pull(held: Held, image: string, force: boolean, signal: AbortSignal): Promise<void> {
    const { containerId } = held;
    const onProgress = (progress: object): void =>
      this.#options.log.info({ container: containerId, image, ...progress }, 'An image is being pulled');
    return pullImage(this.#daemon, { image, force, signal, onProgress });
  }

  /** What has the name already was made by a process that did not live to start it, or else it is in the way. */
  async #create(containerId: string, request: Docker.ContainerCreateOptions): Promise<void> {
    const { docker } = this.#daemon;
    try {
      await docker.createContainer(request);
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
      await this.#removeUnstarted(containerId);
      await docker.createContainer(request);
    }
  }

  /** Removes it if it was never started, and says so. */
  async #removeUnstarted(containerId: string): Promise<boolean> {
    const container = this.#container(containerId);
    const state = await this.#daemon.ask(async () => (await container.inspect()).State);
    if (state === undefined) return true;
    if (hasStarted(state)) return false;
    try {
      await this.#daemon.ask(() => container.remove({ v: true }));
    } catch (error) {
      const status = statusOf(error);
      if (status === 409) return false; // it runs by now
      if (status === undefined) throw error;
      this.#warn(containerId, error, 'Cannot remove a container that was never started');
    }
    return true;
  }

  /** Whether a start that failed left nothing that runs; then nothing of it stays. */
  async #hasNeverRun(containerId: string, asked: boolean): Promise<boolean> {
    if (asked) return await this.#untilAnswered(() => this.#removeUnstarted(containerId));
    // Nobody has started it: what stays of it is removed when it can be.
    await this.#removeUnstarted(containerId).catch(() => {});
    return true;
  }

  async #untilAnswered<T>(question: () => Promise<T>): Promise<T> {
    return (await this.#daemon.askUntilAnswered(question, this.#closing.signal)) as T;
  }

  async #inspect(containerId: string): Promise<State | undefined> {
    return await this.#daemon.askUntilAnswered(
      async () => (await this.#container(containerId).inspect()).State,
      this.#closing.signal,
    );
  }

  async #sayStarted({ containerId }: Held): Promise<void> {
    const state = await this.#inspect(containerId);
    if (state === undefined || !state.Running) return;
    this.#emit({ kind: 'started', containerId, commandPid: state.Pid, supervisorPid: state.Pid });
  }

  #fail(held: Held, message: string): void {
    this.#finish(held, { kind: 'failed', containerId: held.containerId, message });
  }

  #finish(held: Held, event: ContainerEnd): void {
    clearTimeout(held.killTimer);
    records.writeEnd(held.folder, event);
    this.#held.delete(held.containerId);
    if (event.kind === 'exited') this.#remover.removeAt(held.containerId, event.exitedAtMs);
    this.#emit(event);
  }

  /** Reads its output until it ends. */
  async #watch(held: Held): Promise<void> {
    const { containerId } = held;
    for (let copies = 1; ; copies += 1) {
      const problem = await this.#copyOutput(held);
      const state = await this.#inspect(containerId);
      if (state === undefined) {
        this.#held.delete(containerId);
        clearTimeout(held.killTimer);
        this.#emit({ kind: 'lost', containerId, message: 'Its container was removed from Docker' });
        return;
      }
      if (!state.Running && !state.Restarting) {
        if (problem === undefined || copies >= maxCopies) {
          if (problem !== undefined) this.#warn(containerId, problem, 'Not all output of a container could be read');
          this.#finish(held, this.#endOf(held, state));
          return;
        }
      } else copies = 0;
      await wait(lookAgainMs, undefined, { signal: this.#closing.signal });
    }
  }

  #outputsOf({ folder, record }: Held): Parameters<typeof prepareOutput>[0] {
    return { ...record, folder, logMaxBytes: this.#options.logMaxBytes };
  }

  async #copyOutput(held: Held): Promise<unknown> {
    try {
      await copyOutput(this.#container(held.containerId), this.#outputsOf(held), this.#closing.signal);
      return undefined;
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      return error;
    }
  }

  #endOf({ containerId, folder, record }: Held, state: State): ContainerEnd {
    if (!hasStarted(state)) return { kind: 'failed', containerId, message: state.Error || 'it was never started' };
    const exitedAtMs = Date.parse(state.FinishedAt) || this.#now();
    const stoppedAtMs = records.stopOf(folder) ?? Number.POSITIVE_INFINITY;
    const stopped = stoppedAtMs <= exitedAtMs;
    const killed = state.OOMKilled && state.ExitCode !== 0 && !stopped;
    return {
      kind: 'exited',
      containerId,
      status: (state.ExitCode & 0xff) << 8,
      stopped,
      exitedAtMs,
      ...(killed && {
        limitation: { reason: REASON_CONTAINER_LIMITATION_MEMORY, message: memoryMessage(record.memoryLimitBytes) },
      }),
    };
  }

  /** Watches over a container that an earlier process has started. */
  #adopt(containerId: string): void {
    const record = records.readRecord(this.#folder(containerId));
    if (record === undefined) {
      this.#emit({ kind: 'lost', containerId });
      return;
    }
    const held = this.#hold(containerId, record);
    held.begun = true;
    held.done = this.#background(held, this.#watch(held));
  }

  async #carryOut(held: Held, control: Control): Promise<void> {
    const { containerId } = held;
    try {
      await this.#daemon.askUntilAnswered(async () => {
        if (this.#held.get(containerId) !== held) return;
        await this.#tell(held, control).catch((error) => {
          const status = statusOf(error);
          if (status === undefined) throw error;
          // 304 and 409: it is so already, or it has ended.
          if (status >= 500) this.#warn(containerId, error, `Docker does not carry out '${control.kind}'`);
        });
      }, this.#closing.signal);
    } catch {
      // the agent ends; the next process says it again
    }
  }

  async #tell(held: Held, control: Control): Promise<void> {
    const container = this.#container(held.containerId);
    const goOn = async (): Promise<void> => {
      const { State: state } = await container.inspect();
      if (state.Paused) await container.unpause();
    };
    switch (control.kind) {
      case 'pause':
        await container.pause();
        break;
      case 'resume':
        await container.unpause();
        break;
      case 'term':
        await goOn();
        await container.kill({ signal: await this.#stopSignalOf(container) });
        this.#killAfter(held, control.graceMs);
        break;
      case 'kill':
        await goOn();
        await container.kill({ signal: 'SIGKILL' });
        break;
      case 'report':
        await this.#sayStarted(held);
        break;
    }
  }

  /** The image may name another signal than Docker does. */
  async #stopSignalOf(container: Docker.Container): Promise<string> {
    const { Config: config } = await container.inspect();
    return (config as { readonly StopSignal?: string }).StopSignal || 'SIGTERM';
  }

  /** The shortest grace that it was given counts. */
  #killAfter(held: Held, graceMs: number): void {
    const atMs = this.#now() + graceMs;
    if (atMs >= held.killAtMs) return;
    held.killAtMs = atMs;
    clearTimeout(held.killTimer);
    held.killTimer = setTimeout(() => this.control(held.containerId, { kind: 'kill' }), graceMs);
    held.killTimer.unref();
  }

  async #measure(containerId: string): Promise<ContainerUsage | undefined> {
    const said = await this.#container(containerId).stats({ stream: false, 'one-shot': true });
    return usageOf(containerId, said, this.#now());
  }

  /** Clears away what is this agent's and not known, once Docker says what there is. */
  async #clearOthers(known: ReadonlySet<string>): Promise<void> {
    const filters = { label: [`${labels.owner}=${this.#options.owner}`] };
    try {
      const all = await this.#untilAnswered(() => this.#daemon.docker.listContainers({ all: true, filters }));
      const ids = all.map(({ Labels: given }) => given[labels.container] ?? '');
      for (const id of ids) if (!known.has(id) && !this.#held.has(id)) await this.#clear(id);
    } catch {
      // the agent ends
    }
  }

  async #findOne(containerId: string): Promise<FoundContainer> {
    const folder = this.#folder(containerId);
    const begun = records.hasBegun(folder);
    const end = records.readEnd(folder);
    if (end !== undefined) {
      if (end.kind === 'exited') this.#remover.removeAt(containerId, end.exitedAtMs);
      return { containerId, supervised: false, begun, end };
    }
    if (!begun) return { containerId, supervised: false, begun };
    const state = await this.#daemon
      .ask(async () => (await this.#container(containerId).inspect()).State)
      .catch(() => undefined);
    const isUnstarted = state !== undefined && !hasStarted(state);
    if (isUnstarted && (await this.#removeUnstarted(containerId).catch(() => false))) {
      records.forgetBegun(folder);
      return { containerId, supervised: false, begun: false };
    }
    // If it has ended, or is not there, that is said soon.
    this.#adopt(containerId);
    const startedAtMs = state && Date.parse(state.StartedAt);
    return {
      containerId,
      supervised: true,
      begun,
      paused: state?.Paused ?? false,
      ...(startedAtMs && { startedAtMs }),
    };
  }

  /** One of this agent's that it has forgotten, or never knew. */
  async #clear(containerId: string): Promise<void> {
    try {
      const state = await this.#inspect(containerId);
      if (state === undefined) return;
      if (!state.Running) {
        this.#remover.removeAt(containerId, Date.parse(state.FinishedAt) || 0);
        return;
      }
      const { killOrphans, log } = this.#options;
      const what = killOrphans ? 'Killing' : 'Leaving alone';
      log.warn({ container: containerId }, `${what} a container of Docker that the journal does not know`);
      if (killOrphans) await this.#container(containerId).remove({ force: true, v: true });
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#warn(containerId, error, 'Cannot clear a container that is not known');
    }
  }
}

/** Docker's zero time is of the year 1. */
const hasStarted = ({ StartedAt: at }: State): boolean => Date.parse(at) > 0;

function memoryMessage(limitBytes: number | undefined): string {
  const limit = limitBytes === undefined ? 'of the machine' : `${Math.round(limitBytes / 2 ** 20)}MB`;
  return `Memory limit exceeded: Limit: ${limit}`;
}
