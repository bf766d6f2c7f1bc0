import { type mesobus, mesos } from '@mesobus/protos';
import { noResources, type Resources } from '@mesobus/sdk/resources';
import type { Check } from './checks.ts';
import { type Amounts, type Measured, nothing } from './usage.ts';

/** Since 1970, in ms; taken from a clock that never goes back. */
export type Millis = number;

/** What stays the same for the life of the process. */
export interface Config {
  /** The last token of the agent's subjects. */
  readonly agentName: string;
  readonly version: string;
  /** New at each start of the process. */
  readonly incarnation: string;
  /** Of the host; another one than in the journal means that no task of before is alive. */
  readonly bootId: string;
  readonly info: mesos.v1.AgentInfo.$Properties;
  /** What may differ from what the agent registered with, as long as its id is to stay the same; `any` unless given. */
  readonly reconfiguration?: Reconfiguration | undefined;
  /** Made by the shell; counts only if the journal holds none. */
  readonly registrationKey: string;
  /** Mesos' defaults unless given. */
  readonly executors?: Partial<ExecutorTimes> | undefined;
  /** Absent: what is allocated and idle is not lent once more. */
  readonly oversubscription?: Oversubscription | undefined;
  /** 16 bytes, different for every count and every process. */
  readonly uuid: (count: number) => Uint8Array;
  /** Ids of a span below another, always the same for a key. Absent: nothing is traced. */
  readonly childTraceparent?: ((parent: string, key: string) => string) | undefined;
  /** Any number: what the dice of the backoff start from. */
  readonly seed: number;
}

/** Of executors that frameworks bring. */
export interface ExecutorTimes {
  /** From the start of its container to its first subscription. */
  readonly registrationTimeoutMs: number;
  /** From the start of the agent to its next one. */
  readonly reregistrationTimeoutMs: number;
  /** From SHUTDOWN to the end of its container, where it does not say itself. */
  readonly shutdownGraceMs: number;
  /** So long it waits for an agent that is away. */
  readonly recoveryTimeoutMs: number;
}

/** How what is allocated and idle is lent once more, as revocable resources. */
export interface Oversubscription {
  /** How often the use of tasks is measured. */
  readonly intervalMs: number;
  /** Of what the agent has, this part stays idle: from 0 to 1. */
  readonly margin: number;
  /** After so long 63 % of a change of use counts. */
  readonly smoothingMs: number;
}

/** Nothing; more of it (resources, attributes, a domain); anything. The first two are Mesos'. */
export type Reconfiguration = 'equal' | 'additive' | 'any';

/** Who leads, as far as this agent has heard. A higher incarnation outranks every epoch of a lower one. */
export interface Epoch {
  readonly incarnation: number;
  readonly epoch: number;
}

export const compareEpochs = (a: Epoch, b: Epoch): number => a.incarnation - b.incarnation || a.epoch - b.epoch;

/** Why a launch ends without a container. */
export interface Refusal {
  readonly state: mesos.v1.TaskState;
  readonly reason: mesos.v1.TaskStatus.Reason;
  readonly message: string;
}

export type Phase =
  | 'accepted' // journaled, its container not asked for
  | 'starting' // its container is asked for
  | 'running'
  | 'ended'; // its terminal update is made

export interface Kill {
  /** From SIGTERM to SIGKILL; the shortest that was asked for. */
  readonly graceMs: number;
  /** Its resources are taken back for others: why. */
  readonly preempted?: string | undefined;
  /** The leader has closed the launch, which nobody wanted killed: what it says unless the command has begun. */
  readonly unlaunched?: Refusal | undefined;
  /** Its health check has failed too often: how. */
  readonly unhealthy?: string | undefined;
  /** It has taken more disk than it was given: how much. */
  readonly overDisk?: string | undefined;
}

/** What has a container of its own: a launch, or an executor. */
export interface Contained {
  readonly containerId: string;
  phase: Phase;
}

/** A run of an executor: one that its framework brings, or what the tasks of groups have in common, which has no process. */
export interface Executor extends Contained {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly run: mesobus.v1.ExecutorRun.$Properties;
  readonly info: mesos.v1.ExecutorInfo.$Properties;
  readonly framework: mesos.v1.FrameworkInfo.$Properties;
  /** Below the folder of sandboxes. */
  readonly sandbox: string;
  /** Those that are not forgotten. */
  readonly launches: Set<Launch>;

  started: mesobus.v1.ContainerStarted.$Properties | undefined;
  /** It has subscribed, once at least. */
  subscribed: boolean;
  /** It has to end, and what becomes of the tasks that it leaves. */
  ending: mesobus.v1.ExecutorEnding.$Properties | undefined;
  end: mesobus.v1.ExecutorEnd.$Properties | undefined;
  /** The leader knows of its end: no command after this number names it. */
  toldUntil: number | undefined;

  // What follows is lost with the process and made anew.

  /**
   * The latest updates that it has said, by their UUIDs. One that it says again is not of a later task of the same id, which
   * it may not have heard of. (A journal that was compacted knows of the tasks that are not forgotten alone.)
   */
  readonly said: Set<string>;
  /** It has a stream of events. */
  connected: boolean;
  /** Without a subscription by then it is ended. */
  subscribeBy: Millis | undefined;
  /** Its container is killed then. */
  killAt: Millis | undefined;
  /** What its container has. */
  given: Resources | undefined;
  /** Its end is durable. */
  durable: boolean;
  repeatAt: Millis;
  repeatMs: number;
}

/** One launch of one task: a task id that is used again is another launch. */
export interface Launch extends Contained {
  readonly key: string;
  /** Of the command that asked for it. */
  readonly commandNumber: number;
  readonly frameworkId: string;
  readonly taskId: string;
  readonly taken: mesobus.v1.CommandTaken.$Properties;
  /** Absent where there is nothing to run. */
  readonly task: mesos.v1.TaskInfo.$Properties | undefined;
  readonly framework: mesos.v1.FrameworkInfo.$Properties | undefined;
  /** Empty where there is nothing to run, and where an executor runs it. */
  readonly containerId: string;
  /** Below the folder of sandboxes. */
  readonly sandbox: string;
  readonly traceparent: string;
  /** Of a task of its own there is none. */
  readonly executor: Executor | undefined;
  /** It was launched together with others. */
  readonly isGrouped: boolean;
  /** The task is never started and this is why. */
  readonly refusal: Refusal | undefined;

  started: mesobus.v1.ContainerStarted.$Properties | undefined;
  kill: Kill | undefined;
  /** It is to stand still. */
  paused: boolean;
  /** Uuids of the latest updates that its executor has made. */
  executorUpdates: Uint8Array[];
  /** Not yet acknowledged, in order. */
  pending: Update[];
  latestNumber: number;
  state: mesos.v1.TaskState;

  // What follows is lost with the process and made anew.

  /** Number of the last update that the journal holds durably. */
  durable: number;
  /** Number of the last update that was sent since the repeat before. */
  sent: number;
  repeatAt: Millis;
  repeatMs: number;
  /** Where the leader's last gap began: the same gap twice waits for the repeat. */
  lastGap: number;
  /** The leader does not know the framework any more: nobody will acknowledge. */
  orphan: boolean;
  /** Started by an earlier process: nobody reports the death of its supervisor. */
  adopted: boolean;
  /** Ids of the span of this launch; the command's where there is none. */
  readonly trace: string;
  /** Its span is written. */
  runTraced: boolean;
  /** Number of the last update that has its span. */
  traced: number;
  startedAt: Millis;
  /** When the task's max_completion_time is over. */
  endBy: Millis | undefined;
  overtime: boolean;
  /** What was said last of its health check, and of its check. */
  healthy: boolean | undefined;
  checkStatus: mesos.v1.CheckStatusInfo.$Properties | undefined;
}

/** An update of a task as it is journaled and sent. */
export type Update = mesobus.v1.TaskUpdate.$Properties & {
  readonly number: number;
  readonly status: mesos.v1.TaskStatus.$Properties;
};

/** An operation, done or not, until what came of it is acknowledged. */
export interface TakenOperation {
  readonly commandNumber: number;
  /** With what came of it. */
  readonly taken: mesobus.v1.CommandTaken.$Properties;
  durable: boolean;
  repeatAt: Millis;
  repeatMs: number;
}

/** `low`: no room for new tasks, but for what is known of the others; `full`: nothing more can be written down. */
export type DiskRoom = 'roomy' | 'low' | 'full';

export type Registration =
  | { kind: 'waiting'; nextAt: Millis; attempts: number; absences: number }
  | { kind: 'asked'; requestId: number; attempts: number; absences: number }
  | { kind: 'registered'; epoch: Epoch };

/** What waits for its records to be durable. */
export type Deferred =
  | { readonly kind: 'start'; readonly launch: Launch }
  | { readonly kind: 'start_executor'; readonly executor: Executor }
  /** Tells an executor of tasks. */
  | { readonly kind: 'deliver'; readonly launches: readonly Launch[] }
  | {
      readonly kind: 'executor_event';
      readonly executor: Executor;
      readonly event: mesos.v1.executor.Event.$Properties;
    }
  | { readonly kind: 'executor_end'; readonly executor: Executor }
  | { readonly kind: 'control'; readonly launch: Launch }
  | { readonly kind: 'pause'; readonly launch: Launch }
  | { readonly kind: 'update'; readonly launch: Launch; readonly number: number }
  | { readonly kind: 'operation'; readonly operation: TakenOperation }
  | { readonly kind: 'cursor'; readonly cursor: number; readonly checkpointed: Resources }
  | { readonly kind: 'reply'; readonly deliveryId: number; readonly cursor: number }
  | { readonly kind: 'remove'; readonly containerId: string; readonly sandbox: string }
  | { readonly kind: 'register' };

export type SentRequest =
  | { readonly kind: 'register' }
  | { readonly kind: 'updates'; readonly launches: readonly { readonly key: string; readonly upTo: number }[] }
  | { readonly kind: 'operations'; readonly numbers: readonly number[] }
  | { readonly kind: 'executor_ends'; readonly containerIds: readonly string[] }
  | { readonly kind: 'executor_message' }
  | { readonly kind: 'estimate'; readonly number: number }
  | { readonly kind: 'unregister' };

export interface ShuttingDown {
  readonly why: string;
  readonly exitCode: number;
  /** Once all tasks have ended: until when the leader may take the last updates. */
  updatesBy: Millis | undefined;
  /** When to go even if tasks or acknowledgements are missing. */
  deadline: Millis;
  phase: 'ending_tasks' | 'unregistering' | 'stopped';
}

/** What is known of what tasks use, and was told of what they leave idle. Made anew by each process. */
export interface Lending {
  /** By container id, as measured last. */
  readonly containers: Map<string, Measured>;
  nextMeasureAt: Millis;
  /** The last estimate, and how many there were. */
  told: Amounts;
  number: number;
  /** When it is told again; the leader that has it need not hear it again. */
  repeatAt: Millis;
}

export interface State {
  readonly config: Config;
  recovered: boolean;
  identity: mesobus.v1.AgentIdentity.$Properties | undefined;
  /** The highest that was obeyed. */
  obeyed: Epoch;
  /** Set while the agent drains: no task is started, and those that are killed say so. */
  drain: mesobus.v1.DrainAgent.$Properties | undefined;
  /** Number of the last command that was taken. */
  cursor: number;
  /** The part of it that the journal holds durably. */
  durableCursor: number;
  /** How many records were journaled by this process, and how many of them are durable. */
  appended: number;
  durable: number;
  /** The record that an answer to commands waits for: the last that moved the cursor or said whom to obey. */
  answerPosition: number;
  readonly launches: Map<string, Launch>;
  /** The launches of a task, oldest first, by `taskKey`. */
  readonly byTask: Map<string, Launch[]>;
  readonly byContainer: Map<string, Launch>;
  /** By container id, oldest first: those that have ended too, until the leader knows. */
  readonly executors: Map<string, Executor>;
  /** The latest run of each, by `executorKey`. */
  readonly byExecutor: Map<string, Executor>;
  /** By the number of their command, in its order. */
  readonly operations: Map<number, TakenOperation>;
  /** Reservations and volumes, with all commands up to the cursor applied. */
  checkpointed: Resources;
  /** The same up to the durable cursor. */
  durableCheckpointed: Resources;

  registration: Registration;
  heartbeatIntervalMs: number;
  silenceTimeoutMs: number;
  /** When something was last addressed to this agent. */
  heardAt: Millis;
  nextHeartbeatAt: Millis;
  nextProbeAt: Millis;
  /** How many agents the leader expects: they spread what they do at the same time. */
  expectedAgents: number;
  room: DiskRoom;
  deferred: { readonly position: number; readonly what: Deferred }[];
  readonly requests: Map<number, SentRequest>;
  requestCount: number;
  uuidCount: number;
  dice: number;
  /** Launches with updates to send now. */
  readonly due: Set<Launch>;
  /** Launches with updates that nobody has acknowledged. */
  readonly unacknowledged: Set<Launch>;
  /** How often tasks have ended since the process started, by `<state> <reason>`: the numbers of both, 0 for no reason. */
  readonly ends: Map<string, number>;
  updateRequests: number;
  /** Started launches: their supervisors are asked after from time to time, for what they say may get lost. */
  readonly watched: Set<Contained>;
  /** Taken by an earlier process and never begun: started once it is known that the leader still wants them. */
  readonly unbegun: Set<Launch | Executor>;
  /** The command after which that is known. */
  beginAtCursor: number;
  /** Launches with a max_completion_time that is not over. */
  readonly timed: Set<Launch>;
  /** Of tasks that run, by their kind and container; those that ran last come last. */
  readonly checks: Map<string, Check>;
  /** Executors of whose end the leader knows: forgotten once no command can name them. */
  readonly told: Set<Executor>;
  /** Executors whose tasks have come or gone in this turn. */
  readonly unsettled: Set<Executor>;
  /** Messages of executors that are under way to the leader. */
  executorMessages: number;
  readonly lending: Lending;
  shutdown: ShuttingDown | undefined;
}

export function initialState(config: Config): State {
  return {
    config,
    recovered: false,
    identity: undefined,
    obeyed: { incarnation: 0, epoch: 0 },
    drain: undefined,
    cursor: 0,
    durableCursor: 0,
    appended: 0,
    durable: 0,
    answerPosition: 0,
    launches: new Map(),
    byTask: new Map(),
    byContainer: new Map(),
    executors: new Map(),
    byExecutor: new Map(),
    operations: new Map(),
    checkpointed: noResources,
    durableCheckpointed: noResources,
    registration: { kind: 'waiting', nextAt: 0, attempts: 0, absences: 0 },
    heartbeatIntervalMs: 5_000,
    silenceTimeoutMs: 75_000,
    heardAt: 0,
    nextHeartbeatAt: 0,
    nextProbeAt: 0,
    expectedAgents: 0,
    room: 'roomy',
    deferred: [],
    requests: new Map(),
    requestCount: 0,
    uuidCount: 0,
    dice: config.seed >>> 0 || 1,
    due: new Set(),
    unacknowledged: new Set(),
    ends: new Map(),
    updateRequests: 0,
    watched: new Set(),
    unbegun: new Set(),
    beginAtCursor: Number.POSITIVE_INFINITY,
    timed: new Set(),
    checks: new Map(),
    told: new Set(),
    unsettled: new Set(),
    executorMessages: 0,
    lending: {
      containers: new Map(),
      nextMeasureAt: 0,
      told: nothing,
      number: 0,
      repeatAt: Number.POSITIVE_INFINITY,
    },
    shutdown: undefined,
  };
}

export const taskKey = (frameworkId: string, taskId: string): string => `${frameworkId}\0${taskId}`;
export const launchKey = (commandNumber: number, frameworkId: string, taskId: string): string =>
  `${commandNumber}\0${frameworkId}\0${taskId}`;

export const executorKey = (frameworkId: string, executorId: string): string => `${frameworkId}\0${executorId}`;

/** The newest launch of a task; undefined for a task that is not known or already forgotten. */
export const findLatest = (state: State, frameworkId: string, taskId: string): Launch | undefined =>
  state.byTask.get(taskKey(frameworkId, taskId))?.at(-1);

/** Not ended: its container runs, or may come to run. */
export const isLive = ({ phase }: Contained): boolean => phase !== 'ended';

/** Whether the agent itself runs its tasks, each in a container of its own. */
export const isBuiltIn = ({ info }: Pick<Executor, 'info'>): boolean =>
  info.type === mesos.v1.ExecutorInfo.Type.DEFAULT;

/** A task that an executor of its framework's runs. */
export type DelegatedLaunch = Launch & { readonly executor: Executor };

export const isDelegated = (launch: Launch): launch is DelegatedLaunch =>
  launch.executor !== undefined && !isBuiltIn(launch.executor);

export const liveOf = ({ launches }: Executor): Launch[] => [...launches].filter(isLive);
