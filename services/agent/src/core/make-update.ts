import { mesos } from '@mesobus/protos';
import { select, toWire } from '@mesobus/sdk/resources';
import { emptyStatus } from './check-status.ts';
import { spanOfRun } from './spans.ts';
import { isDelegated, type Launch, type State } from './state.ts';
import { stateFor } from './task-outcome.ts';
import { isTerminal } from './task-state.ts';
import { append, defer, nextUuid, type Turn } from './turn.ts';
import { resourcesOfTask } from './volumes.ts';

const { TaskState } = mesos.v1;
const { Source } = mesos.v1.TaskStatus;

type Status = mesos.v1.TaskStatus.$Properties;

/** What an update says beside what is known of the launch anyway. */
export interface Said {
  readonly state: mesos.v1.TaskState;
  readonly source: mesos.v1.TaskStatus.Source;
  readonly reason?: mesos.v1.TaskStatus.Reason | undefined;
  readonly message?: string | undefined;
  /** When it came to this, ms since 1970; now, unless given. */
  readonly atMs?: number | undefined;
  readonly more?: Partial<mesos.v1.TaskStatus.$Properties> | undefined;
}

/** Makes an update of what an executor says of its task; its uuid stays, for it tells one update from another. */
export function makeExecutorUpdate(turn: Turn, launch: Launch, status: mesos.v1.TaskStatus.$Properties): void {
  const { timestamp } = status;
  // What it does not say has a default in a message that was decoded.
  const own = <Key extends keyof Status>(...keys: readonly Key[]): Partial<Pick<Status, Key>> => {
    const said: Partial<Pick<Status, Key>> = {};
    for (const key of keys) if (Object.hasOwn(status, key)) said[key] = status[key];
    return said;
  };
  const { reason, message } = own('reason', 'message');
  makeUpdate(turn, launch, {
    state: status.state,
    source: Source.SOURCE_EXECUTOR,
    reason: reason ?? undefined,
    message: message ?? undefined,
    ...(timestamp && { atMs: timestamp * 1000 }),
    more: own('uuid', 'data', 'healthy', 'labels', 'checkStatus', 'limitation'),
  });
}

/** Makes the next update of a launch: journaled now, sent once it is durable. */
export function makeUpdate(turn: Turn, launch: Launch, what: Said): void {
  const { state, at } = turn;
  const said = inDrain(state, launch, what);
  const number = launch.latestNumber + 1;
  const { frameworkId, taskId, commandNumber } = launch;
  append(turn, {
    updateMade: {
      update: {
        frameworkId,
        status: {
          taskId: { value: taskId },
          state: said.state,
          source: said.source,
          ...(said.reason === undefined ? {} : { reason: said.reason }),
          ...(said.message === undefined ? {} : { message: said.message }),
          agentId: { value: state.identity?.agentId ?? '' },
          executorId: { value: executorIdOf(launch) },
          timestamp: (said.atMs ?? at) / 1000,
          uuid: nextUuid(state),
          ...containerStatus(launch),
          ...checkedStatus(launch, said),
          ...limitedStatus(launch, said),
          ...(launch.paused && said.state === TaskState.TASK_RUNNING && pausedStatus),
          ...said.more,
        },
        number,
        latestState: said.state,
        commandNumber,
        traceparent: state.config.childTraceparent?.(launch.trace, `update ${number}`) ?? launch.trace,
      },
    },
  });
  defer(turn, { kind: 'update', launch, number });
  spanOfRun(turn, launch);
  if (isTerminal(said.state)) {
    const end = `${said.state} ${said.reason ?? 0}`;
    state.ends.set(end, (state.ends.get(end) ?? 0) + 1);
  }
}

/** Mesos has no word for it. */
const pausedStatus = { labels: { labels: [{ key: 'mesobus.paused', value: 'true' }] } };

/** While the agent drains, what is killed is killed by that: as Mesos says it, whoever asked first. */
function inDrain({ drain }: State, launch: Launch, said: Said): Said {
  if (!drain || launch.task === undefined) return said;
  const reason = mesos.v1.TaskStatus.Reason.REASON_AGENT_DRAINING;
  if (said.state === TaskState.TASK_KILLING) return { ...said, reason };
  if (said.state !== TaskState.TASK_KILLED) return said;
  return { ...said, reason, state: drain.markGone ? stateFor(launch, TaskState.TASK_GONE_BY_OPERATOR) : said.state };
}

/** A task without an executor counts as its own. */
export const executorIdOf = ({ executor, task, taskId }: Launch): string =>
  executor?.executorId ?? task?.executor?.executorId.value ?? taskId;

function containerStatus(launch: Launch): { containerStatus?: mesos.v1.ContainerStatus.$Properties } {
  const { containerId, started } = isDelegated(launch) ? launch.executor : launch;
  if (containerId === '') return {};
  const pid = started?.supervisorPid;
  return {
    containerStatus: {
      containerId: { value: containerId },
      ...(pid === undefined || pid === null ? {} : { executorPid: pid }),
    },
  };
}

/** What the checks of a task have to say; of one with an executor of its framework's, that has. */
function checkedStatus(launch: Launch, { state, source }: Said): Partial<mesos.v1.TaskStatus.$Properties> {
  if (isDelegated(launch) || source !== Source.SOURCE_EXECUTOR) return {};
  const { task, kill, checkStatus = emptyStatus(launch) } = launch;
  const healthy = kill?.unhealthy === undefined ? launch.healthy : false;
  const saysHealth = state === TaskState.TASK_RUNNING || kill?.unhealthy !== undefined;
  return {
    ...(saysHealth && healthy !== undefined && { healthy }),
    ...(task?.check && { checkStatus }),
  };
}

const limited: ReadonlyMap<mesos.v1.TaskStatus.Reason | undefined, string> = new Map([
  [mesos.v1.TaskStatus.Reason.REASON_CONTAINER_LIMITATION_MEMORY, 'mem'],
  [mesos.v1.TaskStatus.Reason.REASON_CONTAINER_LIMITATION_DISK, 'disk'],
]);

/** What the task had been given of that of which its container took too much. */
function limitedStatus({ task }: Launch, { reason }: Said): Pick<Status, 'limitation'> {
  const kind = limited.get(reason);
  if (kind === undefined || task === undefined) return {};
  const given = select(resourcesOfTask(task), ({ name, disk }) => name === kind && disk === undefined);
  return { limitation: { resources: toWire(given) } };
}

export function makeStarting(turn: Turn, launch: Launch): void {
  makeUpdate(turn, launch, { state: TaskState.TASK_STARTING, source: Source.SOURCE_EXECUTOR });
}

export function makeRunning(turn: Turn, launch: Launch): void {
  makeUpdate(turn, launch, { state: TaskState.TASK_RUNNING, source: Source.SOURCE_EXECUTOR });
}

/** Ends a launch that has nothing to run. */
export function makeRefusal(turn: Turn, launch: Launch): void {
  if (launch.refusal === undefined) return;
  makeUpdate(turn, launch, { ...launch.refusal, source: Source.SOURCE_AGENT });
}
