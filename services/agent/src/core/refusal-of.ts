import { type mesobus, mesos } from '@mesobus/protos';
import { checkpointedIn, describeResources, select, sum, tryUse } from '@mesobus/sdk/resources';
import { containerProblem, unsupported } from './container-problem.ts';
import { closedAs } from './kills-of.ts';
import { type LaunchOrder, runsHere, standingOf } from './launch-orders.ts';
import { fitsName } from './sandbox-path.ts';
import { findLatest, isLive, type Refusal, type State } from './state.ts';
import { stateFor } from './task-outcome.ts';
import { type ResourceHolder, resourcesOfTask, volumesOfTask } from './volumes.ts';

const { TaskState } = mesos.v1;
const { Reason } = mesos.v1.TaskStatus;

/** Why each launch of a command is not begun; undefined for one that is. A group is begun as a whole, or not at all. */
export function refusalsOf(state: State, orders: readonly LaunchOrder[]): (Refusal | undefined)[] {
  const refusals = orders.map((order) => refusalOf(state, order));
  if (orders[0]?.isGrouped !== true) return refusals;
  const first = refusals.findIndex((refusal) => refusal !== undefined);
  const refusal = refusals[first];
  if (refusal === undefined) return refusals;
  const invalid = refusal.state === TaskState.TASK_ERROR;
  const message = `Task '${orders[first]?.taskId}' of its group: ${refusal.message}`;
  return orders.map(() => (invalid ? { ...refusal, reason: Reason.REASON_TASK_GROUP_INVALID, message } : refusal));
}

function refusalOf(state: State, order: LaunchOrder): Refusal | undefined {
  if (order.unlaunched !== undefined) return neverLaunched(order.unlaunched);
  const latest = findLatest(state, order.frameworkId, order.taskId);
  if (latest !== undefined && isLive(latest)) return duplicateTask(order.taskId);
  const wrong = wrongWith(order);
  if (wrong !== undefined) {
    return { state: TaskState.TASK_ERROR, reason: Reason.REASON_TASK_INVALID, message: wrong };
  }
  const standing = standingOf(state, order);
  if (standing === 'too_late') return executorOver(order);
  return resourcesUnknown(state, order, standing === 'starts') ?? (state.drain ? draining : undefined);
}

/** What it lacks is said, never left out in silence. */
function wrongWith(order: LaunchOrder): string | undefined {
  const { task, executor, frameworkId, taskId } = order;
  if (!fitsName(taskId) || !fitsName(frameworkId)) return 'The task id or framework id is empty or too long';
  if (executor !== undefined && !fitsName(executor.executorId.value)) return 'The executor id is empty or too long';
  // What a task of its framework's own executor says is that executor's business.
  if (executor !== undefined && !runsHere(order)) {
    return executor.command ? (commandProblem(executor) ?? volumesProblem(executor)) : 'The executor has no command';
  }
  if (order.isGrouped && isOfDocker(task)) return unsupported('containers of Docker in a task group');
  return (
    commandProblem(task) ??
    volumesProblem(task) ??
    (executor && (containerProblem(executor) ?? volumesProblem(executor)))
  );
}

type Runs = Pick<mesos.v1.TaskInfo.$Properties, 'command' | 'container' | 'resources'>;

const isOfDocker = ({ container }: Runs): boolean => container?.type === mesos.v1.ContainerInfo.Type.DOCKER;

function commandProblem(runs: Runs): string | undefined {
  const { command } = runs;
  if (!command) return 'The task has neither a command nor an executor';
  // An image has a command of its own.
  if (!command.value && !isOfDocker(runs)) return 'The command has no value';
  return containerProblem(runs);
}

/** Sandboxes are not file systems of their own: a volume is shown by a link in them. */
function volumesProblem(holder: ResourceHolder): string | undefined {
  for (const { place, containerPath } of volumesOfTask(holder)) {
    if (taken.has(containerPath) || containerPath.includes('/') || !fitsName(containerPath)) {
      const where = `Volume '${place.id}' has the container path '${containerPath}'`;
      return `${where}: this agent shows it in the sandbox only; give a single name such as 'data'`;
    }
  }
  return undefined;
}

const taken: ReadonlySet<string> = new Set(['', '.', '..', 'stdout', 'stderr']);

/** Why a task that needs reservations or volumes that this agent does not have is not started; undefined if it has them. */
function resourcesUnknown(
  { checkpointed }: State,
  { task, executor, framework }: LaunchOrder,
  startsExecutor: boolean,
): Refusal | undefined {
  const holders = startsExecutor && executor !== undefined ? [task, executor] : [task];
  const needed = checkpointedIn(sum(holders.map(resourcesOfTask)));
  if (tryUse(checkpointed, needed) !== undefined) return undefined;
  const text = describeResources(select(needed, (one) => checkpointed.every(({ key }) => key !== one.key)));
  return {
    state: stateFor({ framework }, TaskState.TASK_DROPPED),
    reason: Reason.REASON_RESOURCES_UNKNOWN,
    message: `The agent lacks reservations or volumes that the task needs (${text || 'too little'}): they were not made, or undone`,
  };
}

const executorOver = ({ framework, executor }: LaunchOrder): Refusal => ({
  state: stateFor({ framework }, TaskState.TASK_DROPPED),
  reason: Reason.REASON_EXECUTOR_TERMINATED,
  message: `Executor '${executor?.executorId.value}' has ended, or is about to; launch the task again`,
});

const duplicateTask = (taskId: string): Refusal => ({
  state: TaskState.TASK_ERROR,
  reason: Reason.REASON_TASK_INVALID,
  message: `A task with the id '${taskId}' is alive; use another id`,
});

/** What came too late to be started; `mark_gone` makes the state another one when it is said. */
const draining: Refusal = {
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
  return closedAs(unlaunched) ?? killedDuringLaunch;
}
