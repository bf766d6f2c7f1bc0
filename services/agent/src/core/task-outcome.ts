import { mesos } from '@mesobus/protos';
import type { ContainerEnd } from './index.ts';
import type { Said } from './make-update.ts';
import type { Executor, Launch } from './state.ts';
import { isTerminal } from './task-state.ts';

const { TaskState } = mesos.v1;
const { Reason, Source } = mesos.v1.TaskStatus;

/** Linux' names of the signals by number; the real-time ones have none. */
const signalNames = (
  '- HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG ' +
  'XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ');

/** What a command's end means for its task. */
export function outcomeOf(launch: Launch, end: ContainerEnd): Said {
  if (end.kind === 'failed') return notStarted(launch, end.message);
  return { source: Source.SOURCE_EXECUTOR, ...outcomeOfExit(launch, end), atMs: end.exitedAtMs };
}

function outcomeOfExit(
  launch: Launch,
  end: Extract<ContainerEnd, { kind: 'exited' }>,
): Omit<Said, 'source'> & Partial<Said> {
  const message = describeStatus(end.status);
  const timed = launch.task?.maxCompletionTime ? launch.kill === undefined : false;
  // A supervisor that stopped the command unasked by anyone else did it for the time limit, perhaps before a restart.
  if (end.stopped && (launch.overtime || timed)) {
    const reason = Reason.REASON_MAX_COMPLETION_TIME_REACHED;
    return { state: TaskState.TASK_FAILED, reason, message: `The task ran longer than its limit: ${message}` };
  }
  if (end.stopped && launch.kill !== undefined) {
    const { unhealthy, overDisk } = launch.kill;
    if (overDisk !== undefined) {
      return { state: TaskState.TASK_FAILED, reason: Reason.REASON_CONTAINER_LIMITATION_DISK, message: overDisk };
    }
    const killed = { state: TaskState.TASK_KILLED, message: unhealthy ? `${unhealthy}: ${message}` : message };
    return outcomeOfPreempted(launch, message) ?? killed;
  }
  if (end.limitation !== undefined) return { state: TaskState.TASK_FAILED, ...end.limitation };
  if (end.status === 0) return { state: TaskState.TASK_FINISHED, message };
  return { state: TaskState.TASK_FAILED, reason: Reason.REASON_COMMAND_EXECUTOR_FAILED, message };
}

/** The end of a task whose resources were taken back; undefined if they were not. */
function outcomeOfPreempted(launch: Launch, how: string): Said | undefined {
  if (launch.kill?.preempted === undefined) return undefined;
  return {
    state: stateFor(launch, TaskState.TASK_GONE),
    source: Source.SOURCE_AGENT,
    reason: Reason.REASON_CONTAINER_PREEMPTED,
    message: `${launch.kill.preempted}: ${how}`,
  };
}

/** The command never ran: it could not. */
function notStarted(launch: Launch, why: string): Said {
  const source = Source.SOURCE_AGENT;
  if (launch.kill !== undefined) return killedBeforeStart(launch, `Killed; it could not start: ${why}`);
  const reason = Reason.REASON_CONTAINER_LAUNCH_FAILED;
  return { state: TaskState.TASK_FAILED, source, reason, message: `Failed to start the command: ${why}` };
}

/** What the end of an executor means for a task that it had not ended. */
export function outcomeOfExecutor(launch: Launch, { ending }: Executor, end: ExecutorEnded): Said {
  if (launch.phase === 'accepted' && launch.kill !== undefined) return killedBeforeStart(launch);
  const source = Source.SOURCE_AGENT;
  const { state, reason, message } = ending ?? {};
  if (state != null && isTerminal(state)) {
    return { state, source, reason: reason ?? undefined, message: message ?? '' };
  }
  if (end.kind === 'failed') return notStarted(launch, end.message);
  if (end.kind === 'exited' && end.limitation !== undefined && launch.kill === undefined) {
    return { state: TaskState.TASK_FAILED, source, ...end.limitation };
  }
  const how = end.kind === 'exited' ? describeStatus(end.status) : 'its supervisor was killed';
  return outcomeOfLost(launch, `The executor ended before the task: ${how}`);
}

export type ExecutorEnded = ContainerEnd | { readonly kind: 'lost'; readonly containerId: string };

/** Nobody can tell how the command ended. */
export function outcomeOfLost(launch: Launch, why: string): Said {
  const preempted = outcomeOfPreempted(launch, why);
  if (preempted !== undefined) return preempted;
  const state = launch.kill === undefined ? TaskState.TASK_FAILED : TaskState.TASK_KILLED;
  return { state, source: Source.SOURCE_AGENT, reason: Reason.REASON_EXECUTOR_TERMINATED, message: why };
}

/** The machine booted while the command ran, or may have run. */
export function outcomeOfReboot(launch: Launch): Said {
  const said = outcomeOfLost(launch, 'The machine of the agent restarted, and the task ended with it');
  return launch.kill === undefined ? { ...said, state: stateFor(launch, TaskState.TASK_GONE) } : said;
}

/** The command has never run, and will not. */
export function outcomeOfDropped(launch: Launch, reason: mesos.v1.TaskStatus.Reason, why: string): Said {
  if (launch.kill !== undefined) return killedBeforeStart(launch);
  return { state: stateFor(launch, TaskState.TASK_DROPPED), source: Source.SOURCE_AGENT, reason, message: why };
}

/** A state that only partition-aware frameworks know, or what the others get in its place. */
export function stateFor({ framework }: Pick<Launch, 'framework'>, state: mesos.v1.TaskState): mesos.v1.TaskState {
  const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
  return framework?.capabilities?.some(({ type }) => type === PARTITION_AWARE) ? state : TaskState.TASK_LOST;
}

export function killedBeforeStart(launch: Launch, message = 'The task was killed before it was started'): Said {
  const reason = Reason.REASON_TASK_KILLED_DURING_LAUNCH;
  const killed = { state: TaskState.TASK_KILLED, source: Source.SOURCE_AGENT, reason, message };
  const closed = launch.kill?.unlaunched;
  return outcomeOfPreempted(launch, message) ?? (closed ? { ...closed, source: Source.SOURCE_AGENT } : killed);
}

/** A raw wait status in Mesos' words. */
export function describeStatus(status: number): string {
  const signal = status & 0x7f;
  if (signal === 0) return `Command exited with status ${(status >> 8) & 0xff}`;
  return `Command terminated with signal SIG${signalNames[signal] ?? signal}`;
}
