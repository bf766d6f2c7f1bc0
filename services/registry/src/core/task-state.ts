import { mesos } from '@mesobus/protos';

export type TaskState = mesos.v1.TaskState;

const {
  TASK_STAGING,
  TASK_STARTING,
  TASK_RUNNING,
  TASK_KILLING,
  TASK_FINISHED,
  TASK_FAILED,
  TASK_KILLED,
  TASK_ERROR,
  TASK_LOST,
  TASK_DROPPED,
  TASK_GONE,
  TASK_GONE_BY_OPERATOR,
  TASK_UNREACHABLE,
} = mesos.v1.TaskState;

const ended = [
  TASK_FINISHED,
  TASK_FAILED,
  TASK_KILLED,
  TASK_ERROR,
  TASK_LOST,
  TASK_DROPPED,
  TASK_GONE,
  TASK_GONE_BY_OPERATOR,
] as const;

/** Every legal move of a task, but for staying where it is. Any other move is void. Unknown states have none. */
const moves: ReadonlyMap<TaskState, readonly TaskState[]> = new Map<TaskState, readonly TaskState[]>([
  [TASK_STAGING, [TASK_STARTING, TASK_RUNNING, TASK_KILLING, ...ended, TASK_UNREACHABLE]],
  [TASK_STARTING, [TASK_RUNNING, TASK_KILLING, ...ended, TASK_UNREACHABLE]],
  [TASK_RUNNING, [TASK_KILLING, ...ended, TASK_UNREACHABLE]],
  [TASK_KILLING, [...ended, TASK_UNREACHABLE]],
  [TASK_UNREACHABLE, [TASK_STAGING, TASK_STARTING, TASK_RUNNING, TASK_KILLING, ...ended]], // may come back
]);
const terminal: ReadonlySet<TaskState> = new Set<TaskState>(ended);

/** Whether a task may go from one state to another. Staying is no move: false. */
export const canMove = (from: TaskState, to: TaskState): boolean => moves.get(from)?.includes(to) ?? false;

/** Whether nothing comes after this state. UNREACHABLE is not terminal: the task may come back. */
export const isTerminal = (state: TaskState): boolean => terminal.has(state);

/** Whether a task in this state is accounted for what it was launched with. */
export const holdsResources = (state: TaskState): boolean => !terminal.has(state) && state !== TASK_UNREACHABLE;
