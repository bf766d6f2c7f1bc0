import { mesos } from '@mesobus/protos';
import type { FrameworkEntry, TaskEntry } from '@mesobus/registry/core';
import { isPartitionAware } from './frameworks.ts';
import type { SchedulerEvent } from './messages.ts';
import type { Turn } from './turn.ts';

const { TaskState, TaskStatus } = mesos.v1;
const { SOURCE_MASTER } = TaskStatus.Source;
const EventType = mesos.v1.scheduler.Event.Type;

export type Reason = mesos.v1.TaskStatus.Reason;

/** A status that the master makes. It carries no uuid: nobody acknowledges it. */
export interface MasterStatus {
  readonly taskId: string;
  readonly state: mesos.v1.TaskState;
  readonly reason?: Reason;
  readonly message: string;
  readonly agentId?: string | undefined;
  readonly unreachableAtMs?: number;
}

export function masterStatus(status: MasterStatus, at: number): mesos.v1.TaskStatus {
  const { taskId, state, reason, message, agentId, unreachableAtMs } = status;
  return new TaskStatus({
    taskId: new mesos.v1.TaskID({ value: taskId }),
    state,
    source: SOURCE_MASTER,
    message,
    timestamp: at / 1000,
    ...(reason !== undefined && { reason }),
    ...(agentId && { agentId: new mesos.v1.AgentID({ value: agentId }) }),
    ...(unreachableAtMs !== undefined && { unreachableTime: timeInfo(unreachableAtMs) }),
  });
}

const timeInfo = (ms: number): mesos.v1.TimeInfo =>
  new mesos.v1.TimeInfo({ nanoseconds: BigInt(Math.round(ms)) * 1_000_000n });

/** A word about a task to its framework. */
export interface TaskWord {
  readonly task: TaskEntry;
  readonly status: mesos.v1.TaskStatus;
}

/** Tells frameworks of their tasks, once everything recorded so far is committed. */
export function tellStatuses(turn: Turn, words: readonly TaskWord[]): void {
  const byFramework = Map.groupBy(words, ({ task }) => task.frameworkId);
  for (const [frameworkId, own] of byFramework) {
    const events = own.map(({ task, status }) => updateEvent(status, task.launched.traceparent));
    turn.tell(frameworkId, events, 'committed');
  }
}

export function updateEvent(status: mesos.v1.TaskStatus.$Properties, traceparent = ''): SchedulerEvent {
  return { event: { type: EventType.UPDATE, update: { status } }, traceparent };
}

export function errorEvent(message: string): SchedulerEvent {
  return { event: { type: EventType.ERROR, error: { message } } };
}

export function failureEvent(agentId: string, executor?: { executorId: string; status: number }): SchedulerEvent {
  return {
    event: {
      type: EventType.FAILURE,
      failure: {
        agentId: { value: agentId },
        ...(executor !== undefined && { executorId: { value: executor.executorId }, status: executor.status }),
      },
    },
  };
}

/** A state that only partition-aware frameworks know, or what the others get in its place. */
export function stateFor(framework: FrameworkEntry | undefined, state: mesos.v1.TaskState): mesos.v1.TaskState {
  return isPartitionAware(framework) ? state : TaskState.TASK_LOST;
}

/** The latest that is known of a task, for a scheduler that asks. */
export function latestStatus(framework: FrameworkEntry, task: TaskEntry, at: number): mesos.v1.TaskStatus {
  const { TASK_UNREACHABLE, TASK_LOST } = TaskState;
  const state = task.state === TASK_UNREACHABLE && !isPartitionAware(framework) ? TASK_LOST : task.state;
  const { healthy, checkStatus, labels, containerStatus, executorId } = task.status ?? {};
  const said = task.status !== undefined && Object.hasOwn(task.status, 'healthy');
  return new TaskStatus({
    taskId: new mesos.v1.TaskID({ value: task.taskId }),
    state,
    source: SOURCE_MASTER,
    reason: TaskStatus.Reason.REASON_RECONCILIATION,
    message: 'Reconciliation: latest task state',
    agentId: new mesos.v1.AgentID({ value: task.agentId }),
    timestamp: at / 1000,
    ...(said && { healthy }),
    ...(checkStatus && { checkStatus }),
    ...(labels && { labels }),
    ...(containerStatus && { containerStatus }),
    ...(executorId && { executorId }),
    ...(task.state === TASK_UNREACHABLE && { unreachableTime: timeInfo(task.changedAtMs) }),
  });
}
