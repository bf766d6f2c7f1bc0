import assert from 'node:assert/strict';
import { mesobus, mesos } from '@mesobus/protos';
import {
  type Config,
  type ContainerEnd,
  type ContainerLimitation,
  type Effect,
  type Epoch,
  type FoundContainer,
  type Input,
  initialState,
  type State,
  snapshot,
  step,
} from '../src/core/index.ts';

export type Command = mesobus.v1.AgentCommand.$Properties;
export const { TaskState } = mesos.v1;
export const { Reason, Source } = mesos.v1.TaskStatus;
export const agentId = 'm1-S0';

/** What the kernel ends a container for. */
export const overMemory: ContainerLimitation = {
  reason: Reason.REASON_CONTAINER_LIMITATION_MEMORY,
  message: 'Memory limit exceeded: Requested: 64MB Limit: 64MB Maximum Used: 64MB',
};

export interface RunOptions {
  readonly framework?: string;
  readonly capabilities?: readonly mesos.v1.FrameworkInfo.Capability.Type[];
  readonly task?: Partial<mesos.v1.TaskInfo.$Properties>;
  readonly traceparent?: string;
}

/** A command that launches `sleep 60`. */
export function run(number: number, taskId: string, options: RunOptions = {}): Command {
  return {
    number,
    traceparent: options.traceparent ?? '',
    runTask: {
      framework: {
        user: 'root',
        name: 'test',
        id: { value: options.framework ?? 'F' },
        capabilities: (options.capabilities ?? []).map((type) => ({ type })),
      },
      task: {
        name: taskId,
        taskId: { value: taskId },
        agentId: { value: agentId },
        command: { value: 'sleep 60' },
        ...options.task,
      },
    },
  };
}

export const kill = (number: number, taskId: string, graceMs?: number): Command => ({
  number,
  killTask: {
    task: { frameworkId: 'F', taskId },
    ...(graceMs === undefined ? {} : { killPolicy: { gracePeriod: { nanoseconds: BigInt(graceMs) * 1_000_000n } } }),
  },
});

export const acknowledge = (taskId: string, uuid: Uint8Array | null | undefined): Command => ({
  acknowledgeUpdate: { task: { frameworkId: 'F', taskId }, uuid: uuid ?? new Uint8Array() },
});

interface Container {
  running: boolean;
  stopped: boolean;
  paused?: boolean;
  end: ContainerEnd | undefined;
}

interface Sent {
  readonly requestId: number;
  readonly request: mesobus.v1.AgentRequest.$Properties;
}

/** One agent's core with a disk, containers and a leader that the test plays. */
export class World {
  at = 1_000_000;
  epoch: Epoch = { incarnation: 1, epoch: 1 };
  state: State;
  incarnation = 0;
  bootId = 'boot-1';
  /** On the disk, and on the way to it. */
  disk: mesobus.v1.JournalRecord.$Properties[] = [];
  volatile: mesobus.v1.JournalRecord.$Properties[] = [];
  appended = 0;
  readonly containers = new Map<string, Container>();
  readonly removed = new Set<string>();
  /** Made for a command that its process did not live to start. */
  readonly unbegun = new Set<string>();
  /** Told to start by this process, and not heard of since: the task of each. */
  readonly unheard = new Map<string, string>();
  /** The task of every container that was started. */
  readonly startedTasks: string[] = [];
  /** Requests that nobody has answered. */
  sent: Sent[] = [];
  effects: Effect[] = [];
  #deliveries = 0;

  constructor() {
    this.state = initialState(this.config());
  }

  config(extra: Partial<Config> = {}): Config {
    const incarnation = this.incarnation;
    return {
      agentName: 'a',
      version: '1',
      incarnation: `i${incarnation}`,
      bootId: this.bootId,
      info: { hostname: 'a' },
      registrationKey: `key-${incarnation}`,
      uuid: (count) => uuidOf(incarnation, count),
      seed: 7,
      ...extra,
    };
  }

  /** A new process: what was not on the disk is gone. Records may be cut off within a write. */
  start(extra: Partial<Config> = {}, survivors = 0): Effect[] {
    this.disk.push(...this.volatile.slice(0, survivors));
    this.volatile = [];
    this.appended = 0;
    this.sent = [];
    this.unheard.clear();
    this.incarnation += 1;
    this.state = initialState(this.config(extra));
    return this.input({ kind: 'recovered', records: this.disk.map(copy), found: this.found() });
  }

  found(): FoundContainer[] {
    return [...this.containers].map(([containerId, { running, end, paused }]) => ({
      paused,
      containerId,
      supervised: running,
      begun: !this.unbegun.has(containerId),
      end,
    }));
  }

  input(input: Input): Effect[] {
    if (input.kind === 'container_events') for (const { containerId } of input.events) this.unheard.delete(containerId);
    const effects = step(this.state, this.at, input);
    for (const effect of effects) this.carryOut(effect);
    this.effects.push(...effects);
    return effects;
  }

  carryOut(effect: Effect): void {
    if (effect.kind === 'append') {
      this.volatile.push(...effect.records.map(copy));
      this.appended += effect.records.length;
    } else if (effect.kind === 'send') this.sent.push(effect);
    else if (effect.kind === 'start') {
      const fresh = !this.containers.has(effect.containerId) || this.unbegun.delete(effect.containerId);
      assert(fresh, 'a container is started once');
      assert(this.state.drain === undefined, 'nothing is started while the agent drains');
      this.startedTasks.push(effect.taskId);
      this.unheard.set(effect.containerId, effect.taskId);
      this.containers.set(effect.containerId, { running: true, stopped: false, end: undefined });
    } else if (effect.kind === 'control' && effect.control.kind !== 'report') {
      const container = this.containers.get(effect.containerId);
      const { kind } = effect.control;
      if (!container?.running) return;
      container.paused = kind === 'pause';
      if (kind === 'term' || kind === 'kill') container.stopped = true;
    } else if (effect.kind === 'remove') {
      this.containers.delete(effect.containerId);
      this.removed.add(effect.containerId);
    }
  }

  /** The process dies before the last starts leave it: their folders may be there, and nothing has claimed them. */
  loseStarts(count: number, withFolder: boolean): void {
    for (const [containerId, taskId] of [...this.unheard].slice(Math.max(0, this.unheard.size - count))) {
      this.startedTasks.splice(this.startedTasks.lastIndexOf(taskId), 1);
      this.unheard.delete(containerId);
      if (withFolder) {
        this.unbegun.add(containerId);
        this.containers.set(containerId, { running: false, stopped: false, end: undefined });
      } else this.containers.delete(containerId);
    }
  }

  /** The disk has everything. */
  sync(): Effect[] {
    this.disk.push(...this.volatile);
    this.volatile = [];
    return this.input({ kind: 'durable', position: this.appended });
  }

  /** Compacts the journal to one record, as the shell does. */
  compact(): Effect[] {
    this.disk = [copy(snapshot(this.state))];
    this.volatile = [];
    return this.input({ kind: 'durable', position: this.appended });
  }

  tick(ms: number): Effect[] {
    this.at += ms;
    return this.input({ kind: 'tick' });
  }

  commands(commands: readonly Command[], extra: Partial<mesobus.v1.AgentCommands.$Properties> = {}): Effect[] {
    this.#deliveries += 1;
    const message = { agentId, incarnation: `i${this.incarnation}`, commands: commands.map(copyCommand), ...extra };
    return this.input({ kind: 'commands', deliveryId: this.#deliveries, epoch: this.epoch, message });
  }

  /** Answers the oldest request of a kind. */
  answer(message: mesobus.v1.AgentReply.$Properties, epoch = this.epoch): Effect[] {
    const next = this.sent.shift();
    assert(next !== undefined, 'no request waits for an answer');
    return this.input({ kind: 'reply', requestId: next.requestId, epoch, message });
  }

  registered(extra: Partial<mesobus.v1.AgentRegistered.$Properties> = {}): Effect[] {
    const registered = { agentId, heartbeatIntervalMs: 5_000, silenceTimeoutMs: 75_000, ...extra };
    return this.answer({ registered });
  }

  /** The next process, until it asks to be registered. */
  restart(extra: Partial<Config> = {}): Effect[] {
    return [...this.start(extra), ...this.sync(), ...this.tick(0)];
  }

  /** Started, on the disk and registered. */
  ready(extra: Partial<Config> = {}): this {
    this.restart(extra);
    this.registered();
    this.sync();
    return this;
  }

  /** Takes commands, all the way to the disk. */
  taken(...commands: Command[]): Effect[] {
    return [...this.commands(commands), ...this.sync()];
  }

  /** A container says that it runs. */
  started(containerId: string): Effect[] {
    const event = { kind: 'started', containerId, commandPid: 10, supervisorPid: 9 } as const;
    return [...this.input({ kind: 'container_events', events: [event] }), ...this.sync()];
  }

  exited(containerId: string, status: number, stopped = false, limitation?: ContainerLimitation): Effect[] {
    const end: ContainerEnd = { kind: 'exited', containerId, status, stopped, exitedAtMs: this.at, limitation };
    this.containers.set(containerId, { running: false, stopped, end });
    return [...this.input({ kind: 'container_events', events: [end] }), ...this.sync()];
  }

  get containerId(): string {
    return [...this.containers.keys()].at(-1) ?? '';
  }
}

/** The updates in some effects, as they leave the agent. */
export const updatesIn = (effects: readonly Effect[]): mesobus.v1.TaskUpdate.$Properties[] =>
  effects.flatMap((effect) => (effect.kind === 'send' ? (effect.request.taskUpdates?.updates ?? []) : []));

/** `TASK_RUNNING 2` for every update in some effects. */
export const statesIn = (effects: readonly Effect[]): string[] =>
  updatesIn(effects).map(({ status, number }) => `${TaskState[status?.state ?? 0]} ${number}`);

export const kindsIn = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

export const ofKind = <Kind extends Effect['kind']>(
  effects: readonly Effect[],
  kind: Kind,
): Extract<Effect, { kind: Kind }>[] =>
  effects.filter((effect): effect is Extract<Effect, { kind: Kind }> => effect.kind === kind);

function uuidOf(incarnation: number, count: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, incarnation);
  new DataView(bytes.buffer).setUint32(12, count);
  return bytes;
}

/** As it comes back from the disk. */
const copy = (record: mesobus.v1.JournalRecord.$Properties): mesobus.v1.JournalRecord =>
  mesobus.v1.JournalRecord.decode(mesobus.v1.JournalRecord.encode(record).finish());

const copyCommand = (command: Command): mesobus.v1.AgentCommand =>
  mesobus.v1.AgentCommand.decode(mesobus.v1.AgentCommand.encode(command).finish());
