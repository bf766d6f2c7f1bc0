import { randomBytes } from 'node:crypto';
import { mesos } from '@mesobus/protos';
import { labelsOf } from '../scheduler/command.ts';
import type { TaskReason, TaskState } from '../scheduler/task-status.ts';
import type { ExecutorEnvironment } from './environment.ts';

/** What an executor says of a task. */
export interface StatusUpdate {
  readonly taskId: string;
  readonly state: TaskState;
  /** For people. */
  readonly message?: string;
  readonly reason?: TaskReason;
  /** For the scheduler. At most 64 KB with all the rest. */
  readonly data?: Uint8Array;
  readonly healthy?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  /** Anything else of Mesos' TaskStatus; it goes over what is made of the fields above. */
  readonly raw?: Partial<mesos.v1.TaskStatus.$Properties>;
}

/** @param atMs - since 1970 */
export function wireStatusOf(
  { taskId, state, message, reason, data, healthy, labels, raw }: StatusUpdate,
  { executorId, agentId }: ExecutorEnvironment,
  atMs: number,
): mesos.v1.TaskStatus.$Properties & { readonly uuid: Uint8Array } {
  return {
    taskId: { value: taskId },
    state: mesos.v1.TaskState[state],
    executorId: { value: executorId },
    ...(agentId !== '' && { agentId: { value: agentId } }),
    timestamp: atMs / 1000,
    ...(message !== undefined && { message }),
    ...(reason !== undefined && { reason: mesos.v1.TaskStatus.Reason[reason] }),
    ...(data !== undefined && { data }),
    ...(healthy !== undefined && { healthy }),
    ...(labels !== undefined && { labels: labelsOf(labels) }),
    ...raw,
    source: mesos.v1.TaskStatus.Source.SOURCE_EXECUTOR,
    uuid: uuid(),
  };
}

function uuid(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes;
}
