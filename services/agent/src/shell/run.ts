import { randomBytes } from 'node:crypto';
import type { mesobus } from '@mesobus/protos';
import { type Bus, type Clock, compareEpochs, type Delivery, type Subjects, systemClock } from '@mesobus/sdk/bus';
import { DisconnectedError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import { childTraceparent, startSpan, tracingEnabled } from '@mesobus/sdk/service';
import {
  type Config,
  type ContainerEvent,
  disksOf,
  type Effect,
  type FailedVolume,
  type Input,
  initialState,
  type RequestFailure,
  type State,
  snapshot,
  step,
  volumesToMake,
} from '../core/index.ts';
import type { SandboxCare } from '../sandbox-options.ts';
import type { AgentSight } from './agent-metrics.ts';
import { runCheck } from './checks/run-check.ts';
import type { Containerizers, ContainerUsage } from './containerizer.ts';
import { Containers, type ContainersOptions } from './containers.ts';
import { DiskMeter } from './disk-meter.ts';
import { type Executors, type ExecutorsOptions, openExecutors } from './executors/endpoint.ts';
import type { Fetcher } from './fetcher/fetcher.ts';
import { type Journal, type JournalOptions, openJournal } from './journal.ts';
import { SandboxKeeper } from './sandbox-keeper.ts';
import type { Secrets } from './secrets.ts';
import { ProcessUsage, type Usage } from './usage.ts';
import { Users } from './users.ts';
import { serveVisitors, type VisitorsOptions } from './visitors.ts';
import { VolumeFolders, type Volumes } from './volumes.ts';
import type { WorkDir } from './work-dir.ts';

export interface AgentLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What an agent needs of its machine. */
export interface Machine {
  readonly clock: Clock;
  /** Ms since 1970, never going back. */
  now(): number;
  randomBytes(size: number): Uint8Array;
  openJournal(options: JournalOptions): Promise<Journal>;
  createContainers(options: ContainersOptions): Pick<Containers, keyof Containers>;
  openExecutors(options: ExecutorsOptions): Promise<Executors>;
  openVolumes(workDir: string, disks: readonly string[], onFailure: (error: unknown) => void): Volumes;
  /** @param supervisorOf - the process that watches over a container */
  openUsage(supervisorOf: (containerId: string) => number | undefined): Usage;
}

/** What the journal may still write when the disk is full: the ends of thousands of tasks. */
const reserveBytes = 1 << 20;

const realMachine: Machine = {
  clock: systemClock,
  now: () => performance.timeOrigin + performance.now(),
  randomBytes,
  openJournal: (options) => openJournal({ ...options, reserveBytes }),
  createContainers: (options) => new Containers(options),
  openExecutors,
  openVolumes: (workDir, disks, onFailure) => new VolumeFolders(workDir, disks, onFailure),
  openUsage: (supervisorOf) => new ProcessUsage(supervisorOf, realMachine.now),
};

export interface AgentOptions {
  readonly facts: Pick<
    Config,
    'agentName' | 'version' | 'incarnation' | 'bootId' | 'info' | 'reconfiguration' | 'oversubscription' | 'executors'
  >;
  readonly bus: Bus;
  readonly subjects: Subjects;
  /** Locked by the caller. */
  readonly workDir: WorkDir;
  readonly containerizers: Containerizers;
  readonly switchUser: boolean;
  /** Brings what commands need; absent: one that needs something fails. */
  readonly fetcher?: Fetcher;
  /** Absent: what refers to a secret fails. */
  readonly secrets?: Secrets | undefined;
  /** Who may look into what; absent: everybody into everything. */
  readonly acls?: VisitorsOptions['acls'];
  /** Where executors reach the agent on the loopback address; 0 or absent: any port, the same one after a restart. */
  readonly executorPort?: number;
  /** Absent: sandboxes are kept for ever, and nothing is held to the disk that it was given. */
  readonly sandboxCare?: SandboxCare;
  readonly log: AgentLogger;
  /** The agent has come to its end and wants the process to end. Its tasks that are alive live on. */
  readonly onStop: (reason: string, exitCode: number) => void;
  /** The real one unless given. */
  readonly machine?: Machine;
}

const tickMs = 100;
const diskWatchMs = 15_000;
const requestTimeoutMs = 5_000;

type Reply = Delivery<mesobus.v1.AgentCommands, mesobus.v1.AgentCommandsReply.$Properties>;

/** Starts an agent: what an earlier process left is taken up, then it registers. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const agent = new Agent(options);
  await agent.start();
  return agent;
}

/** Carries inputs to the core and its effects to disk, containers and bus. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #machine: Machine;
  readonly #state: State;
  readonly #containers: ReturnType<Machine['createContainers']>;
  #executors: Executors | undefined;
  readonly #volumes: Volumes;
  readonly #usage: Usage;
  readonly #disk: DiskMeter;
  readonly #keeper: SandboxKeeper;
  #measuring = false;
  readonly #deliveries = new Map<number, Reply>();
  #deliveryCount = 0;
  #journal: Journal | undefined;
  #events: ContainerEvent[] = [];
  #recovered = false;
  #recoveryMs = 0;
  readonly #undo: (() => void)[] = [];
  #closed = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { facts, workDir, containerizers, switchUser, machine = realMachine } = options;
    this.#machine = machine;
    this.#state = initialState(configOf(facts, machine));
    this.#volumes = machine.openVolumes(workDir.root, disksOf(facts.info), (error) =>
      options.log.warn({ err: error }, 'Cannot delete a volume that was destroyed'),
    );
    this.#usage = machine.openUsage((containerId) => {
      const { byContainer, executors } = this.#state;
      return (byContainer.get(containerId) ?? executors.get(containerId))?.started?.supervisorPid ?? undefined;
    });
    this.#disk = new DiskMeter(options.sandboxCare?.containerDiskWatchIntervalMs ?? diskWatchMs, () => machine.now());
    this.#keeper = new SandboxKeeper({
      ...{ care: options.sandboxCare, sandboxes: workDir.sandboxes, state: this.#state, disk: this.#disk },
      ...{ clock: machine.clock, now: () => machine.now(), log: options.log },
      onDiskUsage: (samples) => this.#input({ kind: 'disk_usage', samples }),
    });
    this.#containers = machine.createContainers({
      workDir,
      containerizers,
      switchUser,
      users: new Users(),
      volumes: this.#volumes,
      hostname: facts.info.hostname,
      fetcher: options.fetcher,
      secrets: options.secrets,
      executorEnvironment: (start) => this.#executors?.environmentOf(start) ?? {},
      onEvent: (event) => this.#onContainerEvent(event),
      onRestarted: () => this.#input({ kind: 'launcher_restarted' }),
      onBroken: (reason) => this.#stop(reason, 1),
    });
  }

  /** Tasks that are alive, and updates that nobody has acknowledged. */
  get counts(): { readonly tasks: number; readonly unacknowledged: number } {
    let tasks = 0;
    for (const { phase } of this.#state.launches.values()) if (phase !== 'ended') tasks += 1;
    return { tasks, unacknowledged: this.#state.unacknowledged.size };
  }

  /** What tasks hold and leave idle, in cpus and MB, as the leader was told last. */
  get idle(): { readonly cpus: number; readonly mem: number } {
    const { cpus, mem } = this.#state.lending.told;
    return { cpus: cpus / 1_000, mem: mem / 1_000 };
  }

  /** What metrics are read from. */
  get sight(): AgentSight {
    const { facts, fetcher, workDir } = this.#options;
    const keeper = this.#keeper;
    return {
      state: this.#state,
      recoveryMs: this.#recoveryMs,
      resources: facts.info.resources ?? [],
      workDir: workDir.root,
      get sandboxes() {
        return keeper.counts;
      },
      get fetched() {
        return fetcher?.counts;
      },
    };
  }

  get registered(): boolean {
    return this.#state.registration.kind === 'registered';
  }

  /** Reads the journal, looks for containers, then listens. */
  async start(): Promise<void> {
    const { workDir, log } = this.#options;
    const began = this.#machine.clock.now();
    const found = await this.#containers.find();
    this.#journal = await this.#machine.openJournal({
      path: workDir.journal,
      onDurable: (position) => this.#input({ kind: 'durable', position }),
      takeSnapshot: () => snapshot(this.#state),
      onFailure: (error) => this.#stop(error.message, 1),
      onRoom: (room) => {
        this.#input({ kind: 'disk', room });
        if (room !== 'roomy') this.#keeper.hurry();
      },
      clock: this.#machine.clock,
    });
    const { records, tornBytes } = this.#journal;
    if (tornBytes > 0) log.warn({ tornBytes }, 'Cut off what a crash had left at the end of the journal');
    this.#executors = await this.#machine.openExecutors({
      workDir,
      port: this.#options.executorPort ?? 0,
      onInput: (input) => this.#input(input),
      log,
      clock: this.#machine.clock,
    });
    this.#input({ kind: 'recovered', records, found });
    this.#recoveryMs = this.#machine.clock.now() - began;
    this.#recovered = true;
    this.#giveEvents();
    if (this.#closed) return; // it may not be this agent
    this.#keeper.start();
    this.#tickForEver();
    this.#listen();
  }

  #tickForEver(): void {
    let cancel = (): void => {};
    const arm = (): void => {
      cancel = this.#machine.clock.after(tickMs, () => {
        arm();
        this.#input({ kind: 'tick' });
      });
    };
    arm();
    this.#undo.push(() => cancel());
  }

  /** Kills all tasks, says what came of them, unregisters, and then asks for the end of the process. */
  shutdown(why: string): void {
    this.#input({ kind: 'shutdown_asked', why });
  }

  /** Stops listening and closes the journal. Tasks live on. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const undo of this.#undo.splice(0)) undo();
    await this.#keeper.close();
    await this.#executors?.close();
    await this.#containers.close();
    await this.#journal?.close();
  }

  #listen(): void {
    const { bus, subjects, facts } = this.#options;
    const commands = bus.serve(subjects.agent.of(facts.agentName), (delivery) => this.#onCommands(delivery));
    const beats = bus.serve(subjects.leader, ({ epoch, message }) => this.#input({ kind: 'beat', epoch, message }));
    for (const subscription of [commands, beats]) this.#undo.push(() => subscription.stop());
    this.#undo.push(this.#serveVisitors());
    let connected = bus.connected;
    this.#undo.push(
      bus.onConnection((now) => {
        if (now && !connected) this.#input({ kind: 'connected' });
        connected = now;
      }),
    );
  }

  #serveVisitors(): () => void {
    const { bus, subjects, facts, workDir } = this.#options;
    return serveVisitors({
      ...{ bus, subjects, agentName: facts.agentName, sandboxes: workDir.sandboxes, acls: this.#options.acls },
      ...{ state: this.#state, containers: this.#containers, disk: this.#disk },
      ...{ clock: this.#machine.clock, now: () => this.#machine.now() },
      usage: (containerIds) => this.#usageOf(containerIds),
    });
  }

  #onCommands(delivery: Reply): void {
    this.#deliveryCount += 1;
    this.#deliveries.set(this.#deliveryCount, delivery);
    const { epoch, message } = delivery;
    const failedVolumes = this.#prepareVolumes(message.commands ?? []);
    this.#input({ kind: 'commands', deliveryId: this.#deliveryCount, epoch, message, failedVolumes });
  }

  /** Whether a volume can be made is found out before the command that makes it is taken: then it is done, or it is not. */
  #prepareVolumes(commands: readonly mesobus.v1.AgentCommand.$Properties[]): FailedVolume[] {
    const failed: FailedVolume[] = [];
    for (const { number, place } of volumesToMake(this.#state, commands)) {
      try {
        this.#volumes.prepare(place);
      } catch (error) {
        failed.push({ number, why: `Volume '${place.id}' cannot be made: ${messageOf(error)}` });
      }
    }
    return failed;
  }

  /** What fails here is seen by the next task that uses the volume. */
  #onVolumes(what: string, change: () => void): void {
    try {
      change();
    } catch (error) {
      this.#options.log.error({ err: error }, `Cannot ${what} a volume`);
    }
  }

  /** Gathers what is said of containers at one time into one input. Before the state is recovered it waits. */
  #onContainerEvent(event: ContainerEvent): void {
    if (this.#events.push(event) === 1 && this.#recovered) setImmediate(() => this.#giveEvents());
  }

  #giveEvents(): void {
    const events = this.#events;
    this.#events = [];
    if (events.length > 0) this.#input({ kind: 'container_events', events });
  }

  #input(input: Input): void {
    if (this.#closed) return;
    for (const effect of step(this.#state, this.#machine.now(), input)) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    const { bus, subjects, facts, log } = this.#options;
    switch (effect.kind) {
      case 'append':
        this.#journal?.append(effect.records);
        break;
      case 'start':
        this.#containers.start(effect);
        break;
      case 'control':
        this.#onContainer(effect.containerId, () => this.#containers.control(effect.containerId, effect.control));
        break;
      case 'resize':
        this.#onContainer(effect.containerId, () => this.#containers.resize(effect.containerId, effect.resources));
        break;
      case 'executor_event':
        this.#executors?.send(effect.containerId, effect.event);
        break;
      case 'executor_refused':
        this.#executors?.refuse(effect.refusal);
        break;
      case 'probe':
        this.#containers.probe(effect.containerIds);
        break;
      case 'run_check':
        this.#track(this.#check(effect));
        break;
      case 'measure':
        this.#track(this.#measure(effect.containerIds));
        break;
      case 'make_volume':
        this.#onVolumes('make', () => this.#volumes.make(effect.place));
        break;
      case 'remove_volume':
        this.#onVolumes('remove', () => this.#volumes.remove(effect.place));
        break;
      case 'move_volume':
        this.#onVolumes('move', () => this.#volumes.move(effect.from, effect.to));
        break;
      case 'remove':
        this.#track(this.#containers.remove(effect.containerId));
        this.#keeper.add(effect.sandbox);
        break;
      case 'send':
        this.#track(this.#send(effect));
        break;
      case 'heartbeat':
        bus.publish(subjects.heartbeat.of(facts.agentName), effect.message);
        break;
      case 'reply':
        this.#answer(effect.deliveryId)?.reply(effect.message);
        break;
      case 'refuse':
        this.#answer(effect.deliveryId)?.refuse(new RefusedError(effect.code, effect.subject, effect.why));
        break;
      case 'span':
        writeSpan(effect);
        break;
      case 'log':
        log[effect.level](effect.fields, effect.message);
        break;
      case 'stop':
        this.#stop(effect.reason, effect.exitCode);
        break;
    }
  }

  /** A container that does not take it may have ended just now. */
  #onContainer(containerId: string, tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#options.log.warn({ err: error, container: containerId }, 'Cannot tell a container what to do');
    }
  }

  async #check(effect: Extract<Effect, { kind: 'run_check' }>): Promise<void> {
    const { containerId, check, run } = effect;
    this.#input({ kind: 'check_result', containerId, check, run, result: await runCheck(effect, this.#containers) });
  }

  /** A machine that is slow to say is not asked again meanwhile. */
  async #measure(containerIds: readonly string[]): Promise<void> {
    if (this.#measuring) return;
    this.#measuring = true;
    try {
      this.#input({ kind: 'usage', samples: await this.#usageOf(containerIds) });
    } finally {
      this.#measuring = false;
    }
  }

  /** Of those whose containerizer does not know, by their processes. */
  async #usageOf(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    const samples = await this.#containers.usage(containerIds);
    const measured = new Set(samples.map(({ containerId }) => containerId));
    return [...samples, ...(await this.#usage.of(containerIds.filter((containerId) => !measured.has(containerId))))];
  }

  #answer(deliveryId: number): Reply | undefined {
    const delivery = this.#deliveries.get(deliveryId);
    this.#deliveries.delete(deliveryId);
    return delivery;
  }

  async #send({ requestId, request }: Extract<Effect, { kind: 'send' }>): Promise<void> {
    const { bus, subjects, facts } = this.#options;
    try {
      const { epoch, message } = await bus.request(subjects.masterAgent.of(facts.agentName), request, {
        timeoutMs: requestTimeoutMs,
        accepts: (epoch) => compareEpochs(epoch, this.#state.obeyed) >= 0,
      });
      this.#input({ kind: 'reply', requestId, epoch, message });
    } catch (error) {
      const failure = failureOf(error);
      this.#options.log.debug({ err: error }, 'A request to the leader failed');
      // A closed bus fails at once, and so would the next request.
      if (!(error instanceof DisconnectedError)) this.#input({ kind: 'request_failed', requestId, failure });
    }
  }

  #track(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.log.error({ err: error }, 'Something failed in the background'));
  }

  #stop(reason: string, exitCode: number): void {
    if (this.#closed) return;
    this.#closed = true;
    if (exitCode !== 0) this.#options.log.error({ exitCode }, reason);
    this.#options.onStop(reason, exitCode);
  }
}

function configOf(facts: AgentOptions['facts'], { randomBytes }: Machine): Config {
  return {
    ...facts,
    registrationKey: Buffer.from(randomBytes(16)).toString('hex'),
    uuid: uuidsFrom(randomBytes),
    childTraceparent: tracingEnabled() ? childTraceparent : undefined,
    seed: Buffer.from(randomBytes(4)).readUInt32LE(),
  };
}

/** Gives 16 bytes of version 4 at each call; the dice are thrown for many at once. */
function uuidsFrom(randomBytes: Machine['randomBytes']): () => Uint8Array {
  let pool: Uint8Array = new Uint8Array();
  let at = 0;
  return () => {
    if (at === pool.length) {
      pool = randomBytes(4096);
      at = 0;
    }
    const uuid = Uint8Array.from(pool.subarray(at, at + 16));
    at += 16;
    uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x40;
    uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
    return uuid;
  };
}

function writeSpan({
  name,
  identity,
  parent,
  link,
  startMs,
  endMs,
  attributes,
}: Extract<Effect, { kind: 'span' }>): void {
  startSpan(name, { identity, traceparent: parent, link, startTime: startMs, attributes }).end(endMs);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function failureOf(error: unknown): RequestFailure {
  if (error instanceof NoRespondersError) return { kind: 'no_responders' };
  if (error instanceof RefusedError) return { kind: 'refused', code: error.code, message: error.message };
  return { kind: 'no_answer', message: messageOf(error) };
}
