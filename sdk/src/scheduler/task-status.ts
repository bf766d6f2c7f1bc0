import { has, mesos } from '@mesobus/protos';

/** The states of a task, by Mesos' names. */
export type TaskState = keyof typeof mesos.v1.TaskState;
/** Why a task is in its state, by Mesos' names. */
export type TaskReason = keyof typeof mesos.v1.TaskStatus.Reason;
/** Who made the status. */
export type TaskStatusSource = keyof typeof mesos.v1.TaskStatus.Source;

/** What became of a task. */
export interface TaskStatus {
  readonly taskId: string;
  readonly state: TaskState;
  /** For people; may be empty. */
  readonly message: string;
  readonly reason?: TaskReason;
  readonly source?: TaskStatusSource;
  readonly agentId?: string;
  readonly executorId?: string;
  readonly containerId?: string;
  /** When it came to this, by the clock of who says so. */
  readonly at?: Date;
  /** What the executor has to say. */
  readonly data?: Uint8Array;
  /** The outcome of the latest health check. */
  readonly healthy?: boolean;
  /** In hex; it is there if the update must be acknowledged. */
  readonly uuid?: string;
  /** The task stands still, at somebody's wish. */
  readonly paused: boolean;
  /** The task has ended and will not come back. */
  readonly ended: boolean;
  /** As Mesos has it. */
  readonly raw: mesos.v1.TaskStatus;
}

const endStates: ReadonlySet<TaskState> = new Set<TaskState>([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
]);

/** Whether a task in this state has ended. `TASK_UNREACHABLE` has not: it may come back. */
export const isEndState = (state: TaskState): boolean => endStates.has(state);

/** A state by its number on the wire; one that this version does not know is `TASK_UNKNOWN`. */
export function taskStateOf(state: mesos.v1.TaskState): TaskState {
  return (mesos.v1.TaskState[state] as TaskState | undefined) ?? 'TASK_UNKNOWN';
}

export function taskStatusOf(raw: mesos.v1.TaskStatus): TaskStatus {
  const state = taskStateOf(raw.state);
  const reason = has(raw, 'reason') ? (mesos.v1.TaskStatus.Reason[raw.reason] as TaskReason | undefined) : undefined;
  const source = has(raw, 'source')
    ? (mesos.v1.TaskStatus.Source[raw.source] as TaskStatusSource | undefined)
    : undefined;
  return {
    taskId: raw.taskId.value,
    state,
    message: raw.message,
    ...(reason !== undefined && { reason }),
    ...(source !== undefined && { source }),
    ...(raw.agentId !== null && { agentId: raw.agentId.value }),
    ...(raw.executorId !== null && { executorId: raw.executorId.value }),
    ...(raw.containerStatus?.containerId && { containerId: raw.containerStatus.containerId.value }),
    ...(has(raw, 'timestamp') && { at: new Date(raw.timestamp * 1000) }),
    ...(has(raw, 'data') && { data: raw.data }),
    ...(has(raw, 'healthy') && { healthy: raw.healthy }),
    ...(raw.uuid.length > 0 && { uuid: Buffer.from(raw.uuid).toString('hex') }),
    paused: raw.labels?.labels.some(({ key, value }) => key === 'mesobus.paused' && value === 'true') ?? false,
    ended: endStates.has(state),
    raw,
  };
}

/** What became of an operation on resources (RESERVE, CREATE and so on) that was given an id. */
export interface OperationStatus {
  readonly operationId?: string;
  /** `OPERATION_FINISHED`, `OPERATION_FAILED` and so on. */
  readonly state: keyof typeof mesos.v1.OperationState;
  readonly message: string;
  readonly agentId?: string;
  /** In hex; it is there if the update must be acknowledged. */
  readonly uuid?: string;
  readonly raw: mesos.v1.OperationStatus;
}

export function operationStatusOf(raw: mesos.v1.OperationStatus): OperationStatus {
  const state = mesos.v1.OperationState[raw.state] as OperationStatus['state'] | undefined;
  const uuid = raw.uuid?.value ?? new Uint8Array();
  return {
    ...(raw.operationId !== null && { operationId: raw.operationId.value }),
    state: state ?? 'OPERATION_UNKNOWN',
    message: raw.message,
    ...(raw.agentId !== null && { agentId: raw.agentId.value }),
    ...(uuid.length > 0 && { uuid: Buffer.from(uuid).toString('hex') }),
    raw,
  };
}
