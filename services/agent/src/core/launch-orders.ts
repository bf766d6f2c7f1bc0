import { type mesobus, mesos } from '@mesobus/protos';
import { executorKey, type State } from './state.ts';

type Taken = mesobus.v1.CommandTaken.$Properties;

/** What a command says of one launch. */
export interface LaunchOrder {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly framework: mesos.v1.FrameworkInfo.$Properties;
  readonly task: mesos.v1.TaskInfo.$Properties;
  /** Absent: the task has a command of its own, and nothing else. */
  readonly executor: mesos.v1.ExecutorInfo.$Properties | undefined;
  readonly run: mesobus.v1.ExecutorRun.$Properties | undefined;
  /** It is launched together with others, or not at all. */
  readonly isGrouped: boolean;
  /** Why it must not start. */
  readonly unlaunched: mesobus.v1.Unlaunched.$Properties | undefined;
  /** The command as if it launched this task alone. */
  readonly taken: Taken;
}

/** The launches of a command, in its order. */
export function ordersIn(taken: Taken): LaunchOrder[] {
  const { runTask, runTaskGroup } = taken.command ?? {};
  if (runTask?.task && runTask.framework) {
    const { framework, task, run, unlaunched } = runTask;
    return [orderOf({ framework, task, executor: task.executor, run, unlaunched, isGrouped: false, taken })];
  }
  if (!runTaskGroup?.group || !runTaskGroup.framework) return [];
  const { framework, executor, run, unlaunched } = runTaskGroup;
  return (runTaskGroup.group.tasks ?? []).map((task, index) => {
    const { containerId = '', sandbox = '' } = taken.group?.[index] ?? {};
    const command = { ...taken.command, runTaskGroup: { ...runTaskGroup, group: { tasks: [task] } } };
    const own = { command, containerId, sandbox, ...(containerId !== '' && { group: [{ containerId, sandbox }] }) };
    return orderOf({ framework, task, executor, run, unlaunched, isGrouped: true, taken: own });
  });
}

type Said = Pick<LaunchOrder, 'framework' | 'task' | 'isGrouped' | 'taken'> & {
  readonly executor: mesos.v1.ExecutorInfo.$Properties | null | undefined;
  readonly run: mesobus.v1.ExecutorRun.$Properties | null | undefined;
  readonly unlaunched: mesobus.v1.Unlaunched.$Properties | null | undefined;
};

const orderOf = ({ executor, run, unlaunched, ...rest }: Said): LaunchOrder => ({
  ...rest,
  frameworkId: rest.framework.id?.value ?? '',
  taskId: rest.task.taskId.value,
  executor: executor ?? undefined,
  run: run ?? undefined,
  unlaunched: unlaunched ?? undefined,
});

/**
 * How a launch finds its executor: it needs none; it joins one that is there; it starts one; or it comes too late for a
 * run that is over or ends, while the leader did not know.
 */
export function standingOf(
  { byExecutor }: State,
  { frameworkId, executor, run }: LaunchOrder,
): 'none' | 'joins' | 'starts' | 'too_late' {
  if (executor === undefined) return 'none';
  const before = byExecutor.get(executorKey(frameworkId, executor.executorId.value));
  if (before === undefined) return 'starts';
  const isThis = before.run.number === run?.number;
  if (before.end !== undefined) return isThis && !before.end.asOf ? 'too_late' : 'starts';
  return isThis && before.ending === undefined ? 'joins' : 'too_late';
}

/** Whether the tasks of a launch get containers of their own. */
export const runsHere = ({ executor }: Pick<LaunchOrder, 'executor'>): boolean =>
  executor === undefined || executor.type === mesos.v1.ExecutorInfo.Type.DEFAULT;
