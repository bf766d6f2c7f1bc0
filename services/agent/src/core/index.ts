import type { mesobus, mesos } from '@mesobus/protos';
import type { RefusalCode } from '@mesobus/sdk/errors';
import type { Resources } from '@mesobus/sdk/resources';
import { type CheckKind, type CheckResult, onCheckResult, type Probe } from './checks.ts';
import { settleExecutors } from './executors.ts';
import { flushUpdates } from './flush-updates.ts';
import { onBeat } from './on-beat.ts';
import { onCommands } from './on-commands.ts';
import { onConnected } from './on-connected.ts';
import { onContainerEvents } from './on-container-events.ts';
import { onDisk } from './on-disk.ts';
import { type DiskUsage, onDiskUsage } from './on-disk-usage.ts';
import { onDurable, release } from './on-durable.ts';
import { onExecutorCall, onExecutorDisconnected, onExecutorSubscribed } from './on-executor.ts';
import { onLauncherRestarted } from './on-launcher-restarted.ts';
import { onRecovered } from './on-recovered.ts';
import { onReply } from './on-reply.ts';
import { onRequestFailed } from './on-request-failed.ts';
import { onShutdownAsked, progressShutdown } from './on-shutdown-asked.ts';
import { onTick } from './on-tick.ts';
import { onUsage } from './on-usage.ts';
import type { DiskRoom, Epoch, Millis, State } from './state.ts';
import type { FailedVolume } from './take-operation.ts';
import type { TaskPlace } from './task-place.ts';
import type { Turn } from './turn.ts';
import type { ContainerUsage } from './usage.ts';
import type { TaskVolume, VolumePlace } from './volumes.ts';

export type { CheckKind, CheckResult, Probe } from './checks.ts';
export type { DiskUsage } from './on-disk-usage.ts';
export {
  type ContainerFacts,
  findRunning,
  isContainerAlive,
  ownerOf,
  type RunningContainer,
  runningContainers,
} from './running-containers.ts';
export { fitsName, sandboxPath, taskFolder } from './sandbox-path.ts';
export { snapshot } from './snapshot.ts';
export {
  type Config,
  type DiskRoom,
  type Epoch,
  findLatest,
  initialState,
  type Launch,
  type Millis,
  type Oversubscription,
  type Reconfiguration,
  type State,
} from './state.ts';
export { type FailedVolume, volumesToMake } from './take-operation.ts';
export { describeStatus } from './task-outcome.ts';
export type { TaskPlace } from './task-place.ts';
export type { ContainerUsage } from './usage.ts';
export { disksOf, type TaskVolume, type VolumePlace } from './volumes.ts';

/** What a container was ended for: it took more of something than it was given. */
export interface ContainerLimitation {
  readonly reason: mesos.v1.TaskStatus.Reason;
  readonly message: string;
}

/** How a container ended, as its supervisor says. */
export type ContainerEnd =
  | {
      readonly kind: 'exited';
      readonly containerId: string;
      /** Raw wait status. */
      readonly status: number;
      /** Its supervisor had been told to end it. */
      readonly stopped: boolean;
      /** When the kernel told its supervisor, ms since 1970. */
      readonly exitedAtMs: number;
      readonly limitation?: ContainerLimitation | undefined;
    }
  | {
      readonly kind: 'failed';
      readonly containerId: string;
      /** Why the command never ran. */
      readonly message: string;
    };

export type ContainerEvent =
  | {
      readonly kind: 'started';
      readonly containerId: string;
      readonly commandPid: number;
      readonly supervisorPid: number;
    }
  | ContainerEnd
  /** Its supervisor is gone without a word, unless `message` says what became of it; so is the command. */
  | { readonly kind: 'lost'; readonly containerId: string; readonly message?: string };

/** A container that an earlier process left behind. */
export interface FoundContainer {
  readonly containerId: string;
  /** A supervisor watches over it now. */
  readonly supervised: boolean;
  /** A supervisor had taken it up. If not, its command has never run, and never will. */
  readonly begun: boolean;
  /** What its supervisor wrote down. */
  readonly end?: ContainerEnd | undefined;
  readonly startedAtMs?: number | undefined;
  /** It has been stopped with 'pause', and not gone on with 'resume'. */
  readonly paused?: boolean | undefined;
}

export type RequestFailure =
  | { readonly kind: 'no_responders' }
  | { readonly kind: 'no_answer'; readonly message: string }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly message: string };

export type Input =
  /** First of all: what the journal holds and which containers there are. */
  | {
      readonly kind: 'recovered';
      readonly records: readonly mesobus.v1.JournalRecord.$Properties[];
      readonly found: readonly FoundContainer[];
    }
  | {
      readonly kind: 'commands';
      /** Names the delivery that `reply` and `refuse` answer. */
      readonly deliveryId: number;
      readonly epoch: Epoch;
      readonly message: mesobus.v1.AgentCommands.$Properties;
      /** Of {@link volumesToMake}, those that could not be made. */
      readonly failedVolumes?: readonly FailedVolume[];
    }
  | {
      readonly kind: 'reply';
      readonly requestId: number;
      readonly epoch: Epoch;
      readonly message: mesobus.v1.AgentReply.$Properties;
    }
  | { readonly kind: 'request_failed'; readonly requestId: number; readonly failure: RequestFailure }
  | { readonly kind: 'container_events'; readonly events: readonly ContainerEvent[] }
  /** The launcher died and another one runs: starts may be lost, and it knows nothing of the supervisors before it. */
  | { readonly kind: 'launcher_restarted' }
  /** The first `position` records of this process are on the disk. */
  | { readonly kind: 'durable'; readonly position: number }
  | { readonly kind: 'beat'; readonly epoch: Epoch; readonly message: mesobus.v1.LeaderBeat.$Properties }
  /** Whether the journal has room. */
  | { readonly kind: 'disk'; readonly room: DiskRoom }
  /**
   * An executor, known by the token of its container, opens its stream of events. It takes the place of an earlier stream,
   * of whose end nothing need be said. The first effect for it is SUBSCRIBED, or `executor_refused`.
   */
  | {
      readonly kind: 'executor_subscribed';
      readonly containerId: string;
      readonly subscribe: mesos.v1.executor.Call.Subscribe.$Properties;
    }
  /** Any other call of an executor. It is taken, unless an effect of this very step is `executor_refused`. */
  | {
      readonly kind: 'executor_call';
      readonly containerId: string;
      readonly call: mesos.v1.executor.Call.$Properties;
    }
  /** The latest stream of an executor has ended. */
  | { readonly kind: 'executor_disconnected'; readonly containerId: string }
  /** What came of a `run_check`. */
  | {
      readonly kind: 'check_result';
      readonly containerId: string;
      readonly check: CheckKind;
      readonly run: number;
      readonly result: CheckResult;
    }
  /** What the containers of a `measure` use, as far as they could be measured. */
  | { readonly kind: 'usage'; readonly samples: readonly ContainerUsage[] }
  /** What sandboxes take that must not take more than they were given. */
  | { readonly kind: 'disk_usage'; readonly samples: readonly DiskUsage[] }
  /** The bus is back after it was cut off. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'shutdown_asked'; readonly why: string }
  | { readonly kind: 'tick' };

export type Control =
  | { readonly kind: 'term'; readonly graceMs: number }
  | { readonly kind: 'kill' }
  /** Stop it where it is; 'resume', 'term' and 'kill' have it go on. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** Have the supervisor say 'started' again. */
  | { readonly kind: 'report' };

/** What an executor is told by its environment. */
export interface ExecutorStart {
  /** From SHUTDOWN to the end of its container. */
  readonly shutdownGraceMs: number;
  /** It lives on without its agent: for so long it tries to subscribe again. Absent: it has to end itself. */
  readonly recoveryTimeoutMs?: number | undefined;
  /** At least so often it tries to. */
  readonly maxBackoffMs: number;
}

/** `invalid`: HTTP 400; `not_subscribed`: 403; `unknown`: 403, no such executor any more; `not_ready`: 503, ask again. */
export interface ExecutorRefusal {
  readonly kind: 'invalid' | 'not_subscribed' | 'unknown' | 'not_ready';
  readonly message: string;
}

export type Effect =
  | { readonly kind: 'append'; readonly records: readonly mesobus.v1.JournalRecord.$Properties[] }
  | ({
      readonly kind: 'start';
      readonly containerId: string;
      readonly volumes: readonly TaskVolume[];
      /** Set if what starts is the executor itself; `taskId` is then empty. */
      readonly executor?: ExecutorStart | undefined;
      /** Set for a task of a group: what it shares with the others. It has no process, and goes with its `remove`. */
      readonly parent?: { readonly containerId: string; readonly sandbox: string } | undefined;
      /** Given to the container; of an executor with what is given to its first tasks. */
      readonly resources: Resources;
      /** By resource name: up to where it may go beyond its resources. */
      readonly limits: Readonly<Record<string, mesos.v1.Value.Scalar.$Properties>>;
      readonly container: mesos.v1.ContainerInfo.$Properties | undefined;
    } & TaskPlace)
  /** Tasks of an executor have come or gone: its container has this from now on. */
  | { readonly kind: 'resize'; readonly containerId: string; readonly resources: Resources }
  /** For the latest stream of an executor; the stream ends after one of type ERROR. Lost if there is none. */
  | {
      readonly kind: 'executor_event';
      readonly containerId: string;
      readonly event: mesos.v1.executor.Event.$Properties;
    }
  /** Nothing comes of the call, or the stream, that this step is about. */
  | { readonly kind: 'executor_refused'; readonly containerId: string; readonly refusal: ExecutorRefusal }
  /** See that the folder of a volume is there. */
  | { readonly kind: 'make_volume'; readonly place: VolumePlace }
  /** With all that is in it, if it is there. */
  | { readonly kind: 'remove_volume'; readonly place: VolumePlace }
  /** If it is still where it was. */
  | { readonly kind: 'move_volume'; readonly from: VolumePlace; readonly to: VolumePlace }
  | { readonly kind: 'control'; readonly containerId: string; readonly control: Control }
  /** Say 'lost', 'exited' or 'failed' of those that are not supervised any more. */
  | { readonly kind: 'probe'; readonly containerIds: readonly string[] }
  /** Look at a task that runs, and say as 'check_result' what there is to see, whatever that is. */
  | {
      readonly kind: 'run_check';
      readonly containerId: string;
      readonly check: CheckKind;
      readonly run: number;
      readonly probe: Probe;
      /** 0: for as long as it takes. */
      readonly timeoutMs: number;
      readonly task: TaskPlace;
    }
  /** Say what they use, as 'usage'; one at a time. */
  | { readonly kind: 'measure'; readonly containerIds: readonly string[] }
  | {
      readonly kind: 'send';
      readonly requestId: number;
      readonly request: mesobus.v1.AgentRequest.$Properties;
    }
  | { readonly kind: 'heartbeat'; readonly message: mesobus.v1.Heartbeat.$Properties }
  | { readonly kind: 'reply'; readonly deliveryId: number; readonly message: mesobus.v1.AgentCommandsReply.$Properties }
  | {
      readonly kind: 'refuse';
      readonly deliveryId: number;
      readonly code: RefusalCode;
      readonly subject: string;
      readonly why: string;
    }
  /** The container is forgotten: what its supervisor wrote is not needed any more. Its sandbox stays, for a while. */
  | {
      readonly kind: 'remove';
      readonly containerId: string;
      /** Empty: not known. */
      readonly sandbox: string;
    }
  | {
      readonly kind: 'span';
      readonly name: string;
      /** Ids given out before; empty: any. */
      readonly identity: string;
      readonly parent: string;
      /** A span that has to do with it and is no parent; may be empty. */
      readonly link?: string;
      readonly startMs: Millis;
      readonly endMs: Millis;
      readonly attributes: Readonly<Record<string, string | number>>;
    }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number>>;
    }
  /** The process ends. Tasks that are alive live on. */
  | { readonly kind: 'stop'; readonly exitCode: number; readonly reason: string };

/** Applies one input. The same state, time and input always give the same effects. */
export function step(state: State, at: Millis, input: Input): Effect[] {
  const turn: Turn = { state, at, effects: [], records: [] };
  handle(turn, input);
  if (state.recovered) settleExecutors(turn);
  release(turn);
  flushUpdates(turn);
  if (state.shutdown !== undefined) progressShutdown(turn);
  if (turn.records.length > 0) turn.effects.unshift({ kind: 'append', records: turn.records });
  return turn.effects;
}

function handle(turn: Turn, input: Input): void {
  switch (input.kind) {
    case 'recovered':
      onRecovered(turn, input.records, input.found);
      break;
    case 'commands':
      onCommands(turn, input);
      break;
    case 'reply':
      onReply(turn, input.requestId, input.epoch, input.message);
      break;
    case 'request_failed':
      onRequestFailed(turn, input.requestId, input.failure);
      break;
    case 'container_events':
      onContainerEvents(turn, input.events);
      break;
    case 'durable':
      onDurable(turn, input.position);
      break;
    case 'beat':
      onBeat(turn, input.epoch, input.message);
      break;
    case 'disk':
      onDisk(turn, input.room);
      break;
    case 'executor_subscribed':
      onExecutorSubscribed(turn, input.containerId, input.subscribe);
      break;
    case 'executor_call':
      onExecutorCall(turn, input.containerId, input.call);
      break;
    case 'executor_disconnected':
      onExecutorDisconnected(turn, input.containerId);
      break;
    case 'check_result':
      onCheckResult(turn, input);
      break;
    case 'usage':
      onUsage(turn, input.samples);
      break;
    case 'disk_usage':
      onDiskUsage(turn, input.samples);
      break;
    case 'connected':
      onConnected(turn);
      break;
    case 'shutdown_asked':
      onShutdownAsked(turn, input.why);
      break;
    case 'launcher_restarted':
      onLauncherRestarted(turn);
      break;
    case 'tick':
      onTick(turn);
      break;
  }
}
