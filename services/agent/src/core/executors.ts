import { mesos } from '@mesobus/protos';
import { add, equals, sum } from '@mesobus/sdk/resources';
import { askKills } from './carry-out-kill.ts';
import type { ContainerEvent } from './index.ts';
import { killsOfGroup } from './kills-of.ts';
import { makeUpdate } from './make-update.ts';
import { type ShutExecutor, shutdownGraceMs } from './shut-by.ts';
import {
  type DelegatedLaunch,
  type Executor,
  type ExecutorTimes,
  isBuiltIn,
  isDelegated,
  isLive,
  type Launch,
  liveOf,
  type State,
} from './state.ts';
import { type ExecutorEnded, killedBeforeStart, outcomeOfExecutor, stateFor } from './task-outcome.ts';
import { isTerminal } from './task-state.ts';
import { tellExecutor } from './tell-executor.ts';
import { append, defer, log, type Turn } from './turn.ts';
import { resourcesOfTask, volumesOfTask } from './volumes.ts';
import { withDefaults } from './with-defaults.ts';

const { TaskState } = mesos.v1;
const { Type } = mesos.v1.executor.Event;
const { REASON_EXECUTOR_REGISTRATION_TIMEOUT, REASON_EXECUTOR_REREGISTRATION_TIMEOUT } = mesos.v1.TaskStatus.Reason;

/** Of Mesos. */
const defaultTimes: ExecutorTimes = {
  registrationTimeoutMs: 60_000,
  reregistrationTimeoutMs: 2_000,
  shutdownGraceMs: 5_000,
  recoveryTimeoutMs: 15 * 60_000,
};
/** A container that was killed and says nothing is killed again. */
const killAgainMs = 5_000;
/** As an exit status: it has none. */
export const noStatus = -1;

export const executorTimes = ({ config }: State): ExecutorTimes => ({ ...defaultTimes, ...config.executors });

// ---- its container

/** Starts the container of an executor, which its tasks wait for. */
export function startExecutor(turn: Turn, executor: Executor): void {
  const { state, effects } = turn;
  const { info, containerId, sandbox, frameworkId, executorId } = executor;
  if (executor.phase !== 'accepted' || executor.ending !== undefined || !info.command) return;
  if (liveOf(executor).length === 0) return; // killed before it was started
  executor.phase = 'starting';
  executor.given = neededBy(executor);
  state.watched.add(executor);
  const { reregistrationTimeoutMs: maxBackoffMs, recoveryTimeoutMs } = executorTimes(state);
  effects.push({
    kind: 'start',
    containerId,
    sandbox,
    frameworkId,
    taskId: '',
    agentId: state.identity?.agentId ?? '',
    command: withDefaults(info.command),
    user: userOf(executor),
    volumes: volumesOfTask(info),
    executorId,
    executor: { shutdownGraceMs: shutdownGraceMs(state, executor), recoveryTimeoutMs, maxBackoffMs },
    resources: executor.given,
    limits: {},
    container: info.container ?? undefined,
  });
}

/** Whom its framework wants it to be. */
export const userOf = ({ info, framework }: Executor): string => info.command?.user || framework.user || '';

/** Its own, and those of its tasks. */
export const neededBy = (executor: Executor): ReturnType<typeof sum> =>
  add(resourcesOfTask(executor.info), sum(liveOf(executor).map(({ task }) => resourcesOfTask(task ?? {}))));

/**
 * It outlived the process that started it: it has to subscribe again, and says then which of its tasks it knows. One that
 * has not subscribed before has all of its time again.
 */
export function adoptExecutor(turn: Turn, executor: Executor): void {
  const { state, at } = turn;
  const { registrationTimeoutMs, reregistrationTimeoutMs } = executorTimes(state);
  executor.given = neededBy(executor);
  state.watched.add(executor);
  if (executor.started === undefined) {
    executor.phase = 'starting';
    const { containerId } = executor;
    turn.effects.push({ kind: 'control', containerId, control: { kind: 'report' } });
  }
  executor.subscribeBy = at + (executor.subscribed ? reregistrationTimeoutMs : registrationTimeoutMs);
  for (const launch of liveOf(executor)) {
    if (launch.phase === 'accepted' && executor.subscribed) launch.phase = 'starting'; // it may know of it
  }
  if (executor.ending !== undefined) shutDown(turn, executor);
}

export function onExecutorContainer(turn: Turn, executor: Executor, event: ContainerEvent): void {
  if (!isLive(executor)) return;
  if (event.kind === 'started') onStarted(turn, executor, event);
  else endExecutor(turn, executor, event);
}

function onStarted(turn: Turn, executor: Executor, event: Extract<ContainerEvent, { kind: 'started' }>): void {
  if (executor.phase === 'running') return;
  const { containerId, commandPid, supervisorPid } = event;
  append(turn, { containerStarted: { containerId, commandPid, supervisorPid } });
  if (!executor.connected) executor.subscribeBy ??= turn.at + executorTimes(turn.state).registrationTimeoutMs;
  if (executor.killAt !== undefined && executor.killAt <= turn.at) kill(turn, executor);
}

/** Its container is gone, and with it the tasks that it has not ended itself. The end comes last: it stands for all of it. */
export function endExecutor(turn: Turn, executor: Executor, end: ExecutorEnded): void {
  const { executorId, frameworkId: framework, containerId: container } = executor;
  if (executor.ending === undefined) {
    log(turn, 'info', 'An executor has ended', { executor: executorId, framework, container, how: end.kind });
  }
  for (const launch of liveOf(executor)) makeUpdate(turn, launch, outcomeOfExecutor(launch, executor, end));
  noteEnd(turn, executor, { status: end.kind === 'exited' ? end.status : noStatus });
}

/** @param end - what the leader is told */
export function noteEnd(turn: Turn, executor: Executor, end: NonNullable<Executor['end']>): void {
  append(turn, { executorChanged: { containerId: executor.containerId, end } });
  executor.connected = false;
  executor.subscribeBy = undefined;
  executor.killAt = undefined;
  defer(turn, { kind: 'executor_end', executor });
}

// ---- its tasks

/** Tells an executor of a task once both are ready for it. */
export function delegate(turn: Turn, launch: DelegatedLaunch): void {
  const { executor } = launch;
  if (executor.connected) defer(turn, { kind: 'deliver', launches: [launch] });
  else if (executor.phase === 'accepted') defer(turn, { kind: 'start_executor', executor });
}

/** What is launched together is told together. */
export function deliver(turn: Turn, launches: readonly Launch[]): void {
  const waiting = launches
    .filter(isDelegated)
    .filter(({ phase, executor }) => phase === 'accepted' && executor.connected);
  for (const together of Map.groupBy(waiting, ({ commandNumber }) => commandNumber).values()) {
    const [first] = together;
    const tasks = together.flatMap(({ task }) => task ?? []);
    if (first === undefined || tasks[0] === undefined) continue;
    for (const launch of together) launch.phase = 'starting';
    const event = first.isGrouped
      ? { type: Type.LAUNCH_GROUP, launchGroup: { taskGroup: { tasks } } }
      : { type: Type.LAUNCH, launch: { task: tasks[0] } };
    tellExecutor(turn, first.executor, event);
  }
}

// ---- its end

/** Has executors end that the journal does not know of yet as ending. */
export function askShutdown(turn: Turn, shut: readonly ShutExecutor[]): void {
  for (const { executor, ending } of shut) {
    append(turn, { executorChanged: { containerId: executor.containerId, ending } });
    shutDown(turn, executor);
  }
}

/** Carries out what the journal says: the executor has its grace, and then its container is killed. */
export function shutDown(turn: Turn, executor: Executor): void {
  const { ending, phase } = executor;
  if (ending === undefined || !isLive(executor)) return;
  // Where it is said what becomes of its tasks, that holds for these too.
  const isSaid = ending.state != null && isTerminal(ending.state);
  const unstarted = isSaid && phase !== 'accepted' ? [] : liveOf(executor);
  for (const launch of unstarted) {
    if (launch.phase === 'accepted') makeUpdate(turn, launch, killedBeforeStart(launch));
  }
  executor.subscribeBy = undefined;
  if (phase === 'accepted') return; // there is nothing to end: it is settled
  tellExecutor(turn, executor, { type: Type.SHUTDOWN });
  executor.killAt ??= turn.at + (ending.graceMs ?? 0);
  if (executor.killAt <= turn.at) kill(turn, executor);
}

function kill({ at, effects }: Turn, executor: Executor): void {
  executor.killAt = at + killAgainMs;
  effects.push({ kind: 'control', containerId: executor.containerId, control: { kind: 'kill' } });
}

/** Time has passed. */
export function watchExecutors(turn: Turn): void {
  for (const executor of turn.state.executors.values()) {
    if (executor.subscribeBy !== undefined && executor.subscribeBy <= turn.at) giveUp(turn, executor);
    else if (executor.killAt !== undefined && executor.killAt <= turn.at) kill(turn, executor);
  }
}

/** It has not subscribed in time: it is killed, with its tasks. */
function giveUp(turn: Turn, executor: Executor): void {
  const { subscribed, containerId, executorId, framework } = executor;
  executor.subscribeBy = undefined;
  const { registrationTimeoutMs, reregistrationTimeoutMs } = executorTimes(turn.state);
  const outcome = subscribed
    ? {
        state: stateFor({ framework }, TaskState.TASK_GONE),
        reason: REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
        message: `The executor did not subscribe within ${reregistrationTimeoutMs} ms after a restart of the agent`,
      }
    : {
        state: TaskState.TASK_FAILED,
        reason: REASON_EXECUTOR_REGISTRATION_TIMEOUT,
        message: `The executor did not subscribe within ${registrationTimeoutMs} ms after its start`,
      };
  log(turn, 'warn', outcome.message, { executor: executorId, container: containerId });
  askShutdown(turn, [{ executor, ending: { graceMs: 0, ...outcome } }]);
}

// ---- after each turn

/** One task of a group has failed or was killed: so are the others. */
function endBrokenGroups(turn: Turn, { launches }: Executor): void {
  for (const launch of launches) {
    if (isLive(launch) || launch.state === TaskState.TASK_FINISHED) continue;
    const others = killsOfGroup(launch).filter(({ launch: other }) => other.kill === undefined);
    askKills(turn, others);
  }
}

/** What follows from tasks that came or went: the container has more or less, or is not needed. */
export function settleExecutors(turn: Turn): void {
  const { state, effects } = turn;
  for (const executor of state.unsettled) {
    state.unsettled.delete(executor);
    if (!isLive(executor)) continue;
    if (isBuiltIn(executor)) endBrokenGroups(turn, executor);
    const live = liveOf(executor);
    const unstarted = executor.phase === 'accepted';
    if (live.length === 0 && (unstarted || isBuiltIn(executor))) {
      noteEnd(turn, executor, { status: 0, asOf: state.cursor, unstarted });
    } else if (executor.given !== undefined) {
      const needed = neededBy(executor);
      if (equals(needed, executor.given)) continue;
      executor.given = needed;
      effects.push({ kind: 'resize', containerId: executor.containerId, resources: needed });
    }
  }
}
