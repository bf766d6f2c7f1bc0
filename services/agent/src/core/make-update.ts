import { mesos } from '@mesobus/protos';
import type { Launch, State } from './state.ts';
import { stateFor } from './task-outcome.ts';
import { append, defer, nextUuid, type Turn } from './turn.ts';

const { TaskState } = mesos.v1;
const { Source } = mesos.v1.TaskStatus;

/** What an update says beside what is known of the launch anyway. */
export interface Said {
  readonly state: mesos.v1.TaskState;
  readonly source: mesos.v1.TaskStatus.Source;
  readonly reason?: mesos.v1.TaskStatus.Reason | undefined;
  readonly message?: string | undefined;
  /** When it came to this, ms since 1970; now, unless given. */
  readonly atMs?: number | undefined;
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
          executorId: { value: taskId },
          timestamp: (said.atMs ?? at) / 1000,
          uuid: nextUuid(state),
          ...containerStatus(launch),
        },
        number,
        latestState: said.state,
        commandNumber,
        traceparent: state.config.mintTraceparent?.(launch.trace) ?? launch.trace,
      },
    },
  });
  defer(turn, { kind: 'update', launch, number });
}

/** While the agent drains, what is killed is killed by that: as Mesos says it, whoever asked first. */
function inDrain({ drain }: State, launch: Launch, said: Said): Said {
  if (!drain || launch.task === undefined) return said;
  const reason = mesos.v1.TaskStatus.Reason.REASON_AGENT_DRAINING;
  if (said.state === TaskState.TASK_KILLING) return { ...said, reason };
  if (said.state !== TaskState.TASK_KILLED) return said;
  return { ...said, reason, state: drain.markGone ? stateFor(launch, TaskState.TASK_GONE_BY_OPERATOR) : said.state };
}

function containerStatus(launch: Launch): { containerStatus?: mesos.v1.ContainerStatus.$Properties } {
  if (launch.containerId === '') return {};
  const pid = launch.started?.supervisorPid;
  return {
    containerStatus: {
      containerId: { value: launch.containerId },
      ...(pid === undefined || pid === null ? {} : { executorPid: pid }),
    },
  };
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
