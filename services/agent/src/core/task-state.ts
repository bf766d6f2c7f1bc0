import { mesos } from '@mesobus/protos';

const { TaskState } = mesos.v1;

const terminal: ReadonlySet<mesos.v1.TaskState> = new Set([
  TaskState.TASK_FINISHED,
  TaskState.TASK_FAILED,
  TaskState.TASK_KILLED,
  TaskState.TASK_ERROR,
  TaskState.TASK_LOST,
  TaskState.TASK_DROPPED,
  TaskState.TASK_GONE,
  TaskState.TASK_GONE_BY_OPERATOR,
]);

/** No update of a task may follow one with such a state. */
export const isTerminal = (state: mesos.v1.TaskState): boolean => terminal.has(state);
