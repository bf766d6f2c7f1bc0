import { type mesobus, mesos } from '@mesobus/protos';
import { fitsName } from './sandbox-path.ts';
import type { Refusal } from './state.ts';
import { isTerminal } from './task-state.ts';

const { TaskState } = mesos.v1;
const { Reason } = mesos.v1.TaskStatus;

/** Why this agent cannot run a task; undefined if it can. What it lacks is said, never left out in silence. */
export function refusalOf(task: mesos.v1.TaskInfo.$Properties, frameworkId: string): Refusal | undefined {
  const wrong = wrongWith(task, frameworkId);
  return wrong === undefined
    ? undefined
    : { state: TaskState.TASK_ERROR, reason: Reason.REASON_TASK_INVALID, message: wrong };
}

function wrongWith(task: mesos.v1.TaskInfo.$Properties, frameworkId: string): string | undefined {
  const { command, container, executor } = task;
  if (!fitsName(task.taskId.value) || !fitsName(frameworkId)) return 'The task id or framework id is empty or too long';
  if (executor) return unsupported('a custom executor');
  if (!command) return 'The task has neither a command nor an executor';
  if (command.value === undefined || command.value === null || command.value === '') return 'The command has no value';
  if (command.uris && command.uris.length > 0) return unsupported('fetching URIs');
  if (command.environment?.variables?.some((variable) => variable.secret)) return unsupported('secrets');
  if (container?.docker || container?.mesos?.image) return unsupported('container images');
  if (container?.volumes && container.volumes.length > 0) return unsupported('volumes');
  if (container?.networkInfos && container.networkInfos.length > 0) return unsupported('container networks');
  if (container?.linuxInfo || container?.rlimitInfo || container?.ttyInfo) return unsupported('container settings');
  if (task.healthCheck || task.check) return unsupported('checks');
  return undefined;
}

const unsupported = (what: string): string => `The task needs what is not supported by this agent: ${what}`;

export const groupUnsupported: Refusal = {
  state: TaskState.TASK_ERROR,
  reason: Reason.REASON_TASK_GROUP_INVALID,
  message: 'Task groups are not supported by this agent',
};

export const duplicateTask = (taskId: string): Refusal => ({
  state: TaskState.TASK_ERROR,
  reason: Reason.REASON_TASK_INVALID,
  message: `A task with the id '${taskId}' is alive; use another id`,
});

/** What came too late to be started; `mark_gone` makes the state another one when it is said. */
export const draining: Refusal = {
  state: TaskState.TASK_KILLED,
  reason: Reason.REASON_AGENT_DRAINING,
  message: 'The agent is draining and starts no task',
};

const killedDuringLaunch: Refusal = {
  state: TaskState.TASK_KILLED,
  reason: Reason.REASON_TASK_KILLED_DURING_LAUNCH,
  message: 'The task was killed before it was started',
};

/** The end of a launch that never came: killed, unless the leader says what else became of it. */
export function neverLaunched(unlaunched: mesobus.v1.Unlaunched.$Properties | null | undefined): Refusal {
  const { state, reason, message } = unlaunched ?? {};
  if (state == null || reason == null || !isTerminal(state)) return killedDuringLaunch;
  return { state, reason, message: message ?? '' };
}
