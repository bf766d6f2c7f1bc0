import type { mesos } from '@mesobus/protos';
import { executorIdOf } from './make-update.ts';
import type { Launch, State } from './state.ts';
import { withDefaults } from './with-defaults.ts';

/** What a task finds in its environment, and a check of it as well. */
export interface TaskPlace {
  /** Below the folder of sandboxes. */
  readonly sandbox: string;
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agentId: string;
  /** Of a task without an executor: the task id. */
  readonly executorId: string;
  /** Whom the framework wants to be: the task's user, or else its own; ''. */
  readonly user: string;
  readonly command: mesos.v1.CommandInfo.$Properties;
}

export const placeOf = ({ identity }: State, launch: Launch): TaskPlace => ({
  sandbox: launch.sandbox,
  frameworkId: launch.frameworkId,
  taskId: launch.taskId,
  agentId: identity?.agentId ?? '',
  executorId: executorIdOf(launch),
  user: launch.task?.command?.user || launch.framework?.user || '',
  command: withDefaults(launch.task?.command ?? {}),
});
