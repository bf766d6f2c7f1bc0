import { has, type mesos } from '@mesobus/protos';

type Done = void | Promise<void>;

/** Where an executor finds itself. */
export interface ExecutorRegistration {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly agentId: string;
  /** Of the agent's machine. */
  readonly hostname: string;
  /** What the framework put into the executor's description. */
  readonly data: Uint8Array;
  /** As Mesos has it. */
  readonly raw: mesos.v1.executor.Event.Subscribed;
}

/** A task that an executor is to run. */
export interface LaunchedTask {
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** What the framework put into it. */
  readonly data: Uint8Array;
  /** As Mesos has it. */
  readonly raw: mesos.v1.TaskInfo;
}

/**
 * What an executor hears of. The callbacks begin in the order of the events, and none waits for the promise of another: a
 * `launchTask` may last as long as its task.
 */
export interface ExecutorCallbacks {
  /** The agent knows the executor. */
  registered?(registration: ExecutorRegistration): Done;
  /** The agent is back: it was started again, or the connection had broken. */
  reregistered?(registration: ExecutorRegistration): Done;
  /** The agent is away, and sought again. Tasks go on. */
  disconnected?(why: string): Done;
  /** Run a task. It has no state until one is sent. If this throws, the task has failed, and it is said so. */
  launchTask(task: LaunchedTask): Done;
  /** Tasks that were launched together; by default each goes to `launchTask`. */
  launchGroup?(tasks: readonly LaunchedTask[]): Done;
  /** End a task and say so; it may have ended already. @param graceMs - how long it may take, if that was said */
  killTask(taskId: string, graceMs: number | undefined): Done;
  /** The scheduler says something that only the framework understands. At most once. */
  frameworkMessage?(data: Uint8Array): Done;
  /**
   * End all tasks, and say so: the executor has to end. It ends when this is done and the agent has all updates, at the
   * latest after the grace that the agent allows. Also called when the agent stays away for too long, when nothing that is
   * said reaches anybody.
   */
  shutdown?(): Done;
  /** Something went wrong that no caller is told of: a callback threw, or the agent ended it all. Default: to stderr. */
  error?(error: Error): Done;
}

export function registrationOf(raw: mesos.v1.executor.Event.Subscribed): ExecutorRegistration {
  const { executorInfo, frameworkInfo, agentInfo } = raw;
  return {
    frameworkId: frameworkInfo.id?.value ?? executorInfo.frameworkId?.value ?? '',
    executorId: executorInfo.executorId.value,
    agentId: agentInfo.id?.value ?? '',
    hostname: agentInfo.hostname,
    data: executorInfo.data,
    raw,
  };
}

export const launchedTaskOf = (raw: mesos.v1.TaskInfo): LaunchedTask => ({
  id: raw.taskId.value,
  name: raw.name,
  data: raw.data,
  raw,
});

/** undefined: nothing was said of it. */
export function graceOf(policy: mesos.v1.KillPolicy | null): number | undefined {
  const grace = policy?.gracePeriod;
  return grace && has(grace, 'nanoseconds') ? Number(grace.nanoseconds / 1_000_000n) : undefined;
}
