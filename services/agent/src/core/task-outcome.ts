import { mesos } from '@mesobus/protos';
import type { ContainerEnd } from './index.ts';
import type { Said } from './make-update.ts';
import type { Launch } from './state.ts';

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
  return { ...outcomeOfExit(launch, end), source: Source.SOURCE_EXECUTOR, atMs: end.exitedAtMs };
}

function outcomeOfExit(launch: Launch, end: Extract<ContainerEnd, { kind: 'exited' }>): Omit<Said, 'source'> {
  const message = describeStatus(end.status);
  const timed = launch.task?.maxCompletionTime ? launch.kill === undefined : false;
  // A supervisor that stopped the command unasked by anyone else did it for the time limit, perhaps before a restart.
  if (end.stopped && (launch.overtime || timed)) {
    const reason = Reason.REASON_MAX_COMPLETION_TIME_REACHED;
    return { state: TaskState.TASK_FAILED, reason, message: `The task ran longer than its limit: ${message}` };
  }
  if (end.stopped && launch.kill !== undefined) {
    return { state: TaskState.TASK_KILLED, reason: launch.kill.reason, message };
  }
  if (end.status === 0) return { state: TaskState.TASK_FINISHED, message };
  return { state: TaskState.TASK_FAILED, reason: Reason.REASON_COMMAND_EXECUTOR_FAILED, message };
}

/** The command never ran. */
function notStarted(launch: Launch, why: string): Said {
  const source = Source.SOURCE_AGENT;
  if (launch.kill !== undefined) return { ...killedBeforeStart, source, message: `Killed; it could not start: ${why}` };
  const reason = Reason.REASON_CONTAINER_LAUNCH_FAILED;
  return { state: TaskState.TASK_FAILED, source, reason, message: `Failed to start the command: ${why}` };
}

/** Nobody can tell how the command ended. */
export function outcomeOfLost(launch: Launch, why: string): Said {
  const state = launch.kill === undefined ? TaskState.TASK_FAILED : TaskState.TASK_KILLED;
  return { state, source: Source.SOURCE_AGENT, reason: Reason.REASON_EXECUTOR_TERMINATED, message: why };
}

/** The command was taken by an earlier process and is not, and never will be, started. */
export function outcomeOfUnstarted(launch: Launch): Said {
  if (launch.kill !== undefined) return killedBeforeStart;
  return {
    state: TaskState.TASK_FAILED,
    source: Source.SOURCE_AGENT,
    reason: Reason.REASON_CONTAINER_LAUNCH_FAILED,
    message: 'The agent restarted before the command was started',
  };
}

export const killedBeforeStart: Said = {
  state: TaskState.TASK_KILLED,
  source: Source.SOURCE_AGENT,
  reason: Reason.REASON_TASK_KILLED_DURING_LAUNCH,
  message: 'The task was killed before it was started',
};

/** A raw wait status in Mesos' words. */
export function describeStatus(status: number): string {
  const signal = status & 0x7f;
  if (signal === 0) return `Command exited with status ${(status >> 8) & 0xff}`;
  return `Command terminated with signal SIG${signalNames[signal] ?? signal}`;
}
