import { mesos } from '@mesobus/protos';
import { shutDown } from './executors.ts';
import type { ExecutorRefusal } from './index.ts';
import { makeExecutorUpdate, makeUpdate } from './make-update.ts';
import { sendRequest } from './send-request.ts';
import { shutAll } from './shut-by.ts';
import { type DelegatedLaunch, type Executor, findLatest, isDelegated, isLive, liveOf } from './state.ts';
import { killedBeforeStart } from './task-outcome.ts';
import { tellExecutor } from './tell-executor.ts';
import { append, defer, log, type Turn } from './turn.ts';
import { sameBytes, uuidText } from './uuid-text.ts';

type Call = mesos.v1.executor.Call.$Properties;
type Subscribe = mesos.v1.executor.Call.Subscribe.$Properties;
type Status = mesos.v1.TaskStatus.$Properties;

const { TaskState } = mesos.v1;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;
const CallType = mesos.v1.executor.Call.Type;
const { Type } = mesos.v1.executor.Event;

/** Messages of executors that are under way to the leader; more are lost, as they may be. */
const maxMessages = 256;

/** An executor opens its stream: for the first time, or again. */
export function onExecutorSubscribed(turn: Turn, containerId: string, subscribe: Subscribe): void {
  const { state } = turn;
  const executor = findExecutor(turn, containerId);
  if (executor === undefined) return;
  const isFirst = !executor.subscribed;
  executor.connected = true;
  executor.subscribeBy = undefined;
  if (isFirst) append(turn, { executorChanged: { containerId, subscribed: true } });
  const { info: executorInfo, framework: frameworkInfo } = executor;
  const agentInfo = { ...state.config.info, id: { value: state.identity?.agentId ?? '' } };
  tellExecutor(turn, executor, {
    type: Type.SUBSCRIBED,
    subscribed: { executorInfo, frameworkInfo, agentInfo, containerId: { value: containerId } },
  });
  for (const { status } of subscribe.unacknowledgedUpdates ?? []) {
    const problem = updateProblem(executor, status);
    if (problem === undefined) takeUpdate(turn, executor, status);
    else log(turn, 'warn', `An executor repeats an update that is not valid: ${problem}`, { container: containerId });
  }
  resume(turn, executor, new Set((subscribe.unacknowledgedTasks ?? []).map(({ taskId }) => taskId.value)));
  // All that it was started for was killed meanwhile.
  if (isFirst && liveOf(executor).length === 0) endIdle(turn, executor);
  else if (executor.ending !== undefined) shutDown(turn, executor);
}

function endIdle(turn: Turn, executor: Executor): void {
  for (const { ending } of shutAll(turn.state, [executor])) {
    append(turn, { executorChanged: { containerId: executor.containerId, ending } });
  }
  shutDown(turn, executor);
}

/** Its tasks, as far as it does not know of them, and the kills that it may not have heard of. */
function resume(turn: Turn, executor: Executor, known: ReadonlySet<string>): void {
  if (executor.ending !== undefined) return;
  const waiting: DelegatedLaunch[] = [];
  for (const launch of liveOf(executor).filter(isDelegated)) {
    if (launch.phase === 'starting') launch.phase = known.has(launch.taskId) ? 'running' : 'accepted';
    if (launch.phase !== 'accepted') {
      if (launch.kill !== undefined) defer(turn, { kind: 'control', launch });
    } else if (launch.kill === undefined) waiting.push(launch);
    else makeUpdate(turn, launch, killedBeforeStart(launch));
  }
  if (waiting.length > 0) defer(turn, { kind: 'deliver', launches: waiting });
}

function findExecutor(turn: Turn, containerId: string): Executor | undefined {
  const { state } = turn;
  const executor = state.executors.get(containerId);
  if (!state.recovered) refuse(turn, containerId, 'not_ready', 'The agent is starting; ask again');
  else if (executor === undefined || !isLive(executor)) {
    refuse(turn, containerId, 'unknown', 'The agent does not know the executor, or not any more');
  } else return executor;
  return undefined;
}

function refuse({ effects }: Turn, containerId: string, kind: ExecutorRefusal['kind'], message: string): void {
  effects.push({ kind: 'executor_refused', containerId, refusal: { kind, message } });
}

/** Its stream has ended. It may come back; if it does not, its container ends some day, or somebody ends it. */
export function onExecutorDisconnected(turn: Turn, containerId: string): void {
  const executor = turn.state.executors.get(containerId);
  if (executor !== undefined) executor.connected = false;
}

// ---- calls

export function onExecutorCall(turn: Turn, containerId: string, call: Call): void {
  const executor = findExecutor(turn, containerId);
  if (executor === undefined) return;
  if (!executor.connected) {
    refuse(turn, containerId, 'not_subscribed', 'The executor is not subscribed');
    return;
  }
  const problem = callProblem(executor, call);
  if (problem !== undefined) refuse(turn, containerId, 'invalid', problem);
  else if (call.update) takeUpdate(turn, executor, call.update.status);
  else if (call.message) carryMessage(turn, executor, call.message.data);
}

function callProblem(executor: Executor, { type, update, message, executorId, frameworkId }: Call): string | undefined {
  if (executorId.value !== executor.executorId || frameworkId.value !== executor.frameworkId) {
    return `The call is of executor '${executorId.value}' of '${frameworkId.value}', and comes from another`;
  }
  switch (type) {
    case CallType.UPDATE:
      return update ? updateProblem(executor, update.status) : "The call lacks its field 'update'";
    case CallType.MESSAGE:
      return message ? undefined : "The call lacks its field 'message'";
    case CallType.HEARTBEAT:
      return undefined;
    default:
      return 'The call is of an unknown type';
  }
}

/** What the leader alone may say of a task. */
const notForExecutors: ReadonlySet<mesos.v1.TaskState> = new Set([
  TaskState.TASK_STAGING,
  TaskState.TASK_UNREACHABLE,
  TaskState.TASK_UNKNOWN,
  TaskState.TASK_GONE_BY_OPERATOR,
]);

function updateProblem(executor: Executor, status: Status): string | undefined {
  const { uuid, executorId, source, state } = status;
  if (uuid?.length !== 16) return "The 'uuid' of the update is not 16 bytes long";
  if (executorId && executorId.value !== executor.executorId) {
    return `The update names executor '${executorId.value}', and '${executor.executorId}' says it`;
  }
  if (source !== SOURCE_EXECUTOR) return "The 'source' of the update is not SOURCE_EXECUTOR";
  return notForExecutors.has(state) ? `An executor cannot say ${TaskState[state] ?? state}` : undefined;
}

/** Each update is taken once; it is acknowledged once it is on the disk, and as often as it comes. */
function takeUpdate(turn: Turn, executor: Executor, status: Status): void {
  const { taskId } = status;
  const uuid = status.uuid ?? new Uint8Array();
  const launch = findLatest(turn.state, executor.frameworkId, taskId.value);
  const isTaken =
    executor.said.has(uuidText(uuid)) || (launch?.executorUpdates.some((one) => sameBytes(one, uuid)) ?? false);
  const isUntold = launch?.phase === 'accepted';
  if (launch === undefined || launch.executor !== executor || isUntold || (!isLive(launch) && !isTaken)) {
    // It was said before the task was forgotten, or after its end was; or of an earlier task of this id, and its
    // acknowledgement was lost, for of this one the executor has not heard yet. Nobody waits for it.
    log(turn, 'info', 'Dropped an update of an executor: its task is not there, or not any more', {
      executor: executor.executorId,
      task: taskId.value,
      state: TaskState[status.state] ?? status.state,
    });
  } else if (!isTaken) makeExecutorUpdate(turn, launch, status);
  defer(turn, { kind: 'executor_event', executor, event: { type: Type.ACKNOWLEDGED, acknowledged: { taskId, uuid } } });
}

/** A word to the scheduler: carried once, or lost. */
function carryMessage(turn: Turn, { frameworkId, executorId }: Executor, data: Uint8Array): void {
  const { state } = turn;
  if (state.registration.kind !== 'registered' || state.executorMessages >= maxMessages) {
    log(turn, 'info', 'Dropped a message of an executor: the leader is away, or too many wait for it', {
      framework: frameworkId,
      executor: executorId,
    });
    return;
  }
  state.executorMessages += 1;
  const messages = [{ frameworkId, executorId, data }];
  sendRequest(turn, { kind: 'executor_message' }, { executorMessages: { messages } });
}
