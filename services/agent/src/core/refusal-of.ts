import { type mesobus, mesos } from '@mesobus/protos';
import { checkpointedIn, describeResources, select, tryUse } from '@mesobus/sdk/resources';
import { fitsName } from './sandbox-path.ts';
import type { Refusal, State } from './state.ts';
import { stateFor } from './task-outcome.ts';
import { isTerminal } from './task-state.ts';
import { resourcesOfTask, volumesOfTask } from './volumes.ts';

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
  return volumesProblem(task);
}

/** Sandboxes are not file systems of their own: a volume is shown by a link in them. */
function volumesProblem(task: mesos.v1.TaskInfo.$Properties): string | undefined {
  for (const { place, containerPath } of volumesOfTask(task)) {
    if (taken.has(containerPath) || containerPath.includes('/') || !fitsName(containerPath)) {
      const where = `Volume '${place.id}' has the container path '${containerPath}'`;
      return `${where}: this agent shows it in the sandbox only; give a single name such as 'data'`;
    }
  }
  return undefined;
}

const taken: ReadonlySet<string> = new Set(['', '.', '..', 'stdout', 'stderr']);

/** Why a task that needs reservations or volumes that this agent does not have is not started; undefined if it has them. */
export function resourcesUnknown(
  { checkpointed }: State,
  task: mesos.v1.TaskInfo.$Properties,
  framework: mesos.v1.FrameworkInfo.$Properties | undefined,
): Refusal | undefined {
  const needed = checkpointedIn(resourcesOfTask(task));
  if (tryUse(checkpointed, needed) !== undefined) return undefined;
  const text = describeResources(select(needed, (one) => checkpointed.every(({ key }) => key !== one.key)));
  return {
    state: stateFor({ framework }, TaskState.TASK_DROPPED),
    reason: Reason.REASON_RESOURCES_UNKNOWN,
    message: `The agent lacks reservations or volumes that the task needs (${text || 'too little'}): they were not made, or undone`,
  };
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
