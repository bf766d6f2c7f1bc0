import type { mesobus } from '@mesobus/protos';
import { quantitiesOf } from '@mesobus/sdk/resources';
import { neededBy, userOf } from './executors.ts';
import { diskLimitBytes } from './on-disk-usage.ts';
import { type Executor, findLatest, isBuiltIn, isDelegated, type Launch, liveOf, type State } from './state.ts';
import { placeOf, type TaskPlace } from './task-place.ts';
import { resourcesOfTask } from './volumes.ts';

/** A container in which somebody may look around. */
export interface RunningContainer {
  readonly containerId: string;
  readonly task: TaskPlace;
  /** It stands still: a command in it would, too. */
  readonly paused: boolean;
}

/** That of a task, or of the executor that runs it; undefined if there is none, or none that runs. */
export function findRunning(state: State, { frameworkId, taskId }: mesobus.v1.TaskKey): RunningContainer | undefined {
  const launch = findLatest(state, frameworkId, taskId);
  if (launch?.phase !== 'running') return undefined;
  const { containerId, paused } = launch;
  const task = placeOf(state, launch);
  if (!isDelegated(launch)) return { containerId, task, paused };
  const { executor } = launch;
  const place = { ...task, user: userOf(executor), command: executor.info.command ?? {} };
  return { containerId: executor.containerId, task: place, paused };
}

/** Whether what runs in a container has not ended yet. */
export function isContainerAlive({ byContainer, executors }: State, containerId: string): boolean {
  const phase = (byContainer.get(containerId) ?? executors.get(containerId))?.phase;
  return phase !== undefined && phase !== 'ended';
}

/** Whom a container runs as, as its framework wants it; undefined: it is not known, or forgotten. */
export function ownerOf({ byContainer, executors }: State, containerId: string): string | undefined {
  const executor = executors.get(containerId);
  if (executor !== undefined) return userOf(executor);
  const launch = byContainer.get(containerId);
  return launch && (launch.task?.command?.user || launch.framework?.user || '');
}

/** What a container is, and what it was given. */
export interface ContainerFacts
  extends Required<
      Pick<mesobus.v1.ContainerUsage, 'containerId' | 'frameworkId' | 'executorId' | 'taskIds' | 'paused'>
    >,
    Required<Pick<mesobus.v1.ContainerUsage, 'cpus' | 'memoryLimitBytes' | 'diskLimitBytes'>> {
  /** Below the folder of sandboxes. */
  readonly sandbox: string;
}

/** All that run a process. */
export function runningContainers({ byContainer, executors }: State): ContainerFacts[] {
  const own = [...byContainer.values()].filter(({ phase }) => phase === 'running').map(factsOf);
  const others = [...executors.values()].filter((one) => one.phase === 'running' && !isBuiltIn(one)).map(factsOf);
  return [...own, ...others];
}

function factsOf(owner: Launch | Executor): ContainerFacts {
  const { containerId, frameworkId, sandbox } = owner;
  const isExecutor = 'launches' in owner;
  const { cpus = 0, mem = 0 } = quantitiesOf(isExecutor ? neededBy(owner) : resourcesOfTask(owner.task ?? {}));
  const limit = isExecutor ? undefined : owner.task?.limits?.['mem']?.value;
  const megabytes = limit ?? mem / 1000;
  return {
    ...{ containerId, frameworkId, sandbox },
    executorId: isExecutor ? owner.executorId : (owner.executor?.executorId ?? owner.taskId),
    taskIds: isExecutor ? liveOf(owner).map(({ taskId }) => taskId) : [owner.taskId],
    paused: !isExecutor && owner.paused,
    cpus: cpus / 1000,
    memoryLimitBytes: Number.isFinite(megabytes) ? Math.round(megabytes * 2 ** 20) : 0,
    diskLimitBytes: diskLimitBytes(owner),
  };
}
