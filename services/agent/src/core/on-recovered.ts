import { type mesobus, mesos } from '@mesobus/protos';
import { apply } from './apply.ts';
import { carryOutKill } from './carry-out-kill.ts';
import { beginChecks } from './checks.ts';
import { adoptExecutor, endExecutor, noStatus, noteEnd, shutDown } from './executors.ts';
import { forgetIfDone } from './forget.ts';
import type { FoundContainer } from './index.ts';
import { makeRefusal, makeRunning, makeUpdate } from './make-update.ts';
import { limitTime } from './on-container-events.ts';
import { effectsLeft } from './operations.ts';
import { carryOutPause } from './pausing.ts';
import { sameInfo, whyNotStart } from './reconfiguration.ts';
import { spanOfRunAgain } from './spans.ts';
import { type Executor, isBuiltIn, isDelegated, isLive, type Launch, liveOf } from './state.ts';
import { killedBeforeStart, outcomeOf, outcomeOfLost, outcomeOfReboot } from './task-outcome.ts';
import { append, defer, log, type Turn } from './turn.ts';

/** The process has started: what an earlier one left is taken up again. */
export function onRecovered(
  turn: Turn,
  records: readonly mesobus.v1.JournalRecord.$Properties[],
  found: readonly FoundContainer[],
): void {
  const { state } = turn;
  for (const record of records) apply(state, record);
  state.registration = { kind: 'waiting', nextAt: Number.POSITIVE_INFINITY, attempts: 0, absences: 0 };
  const reason = whyNotStart(state);
  if (reason !== undefined) {
    turn.effects.push({ kind: 'stop', exitCode: 2, reason });
    return;
  }
  state.recovered = true;
  state.heardAt = turn.at;
  const rebooted = identify(turn);
  state.durableCursor = state.cursor;
  state.durableCheckpointed = state.checkpointed;

  const containers = new Map(found.map((container) => [container.containerId, container]));
  for (const launch of [...state.launches.values()]) {
    launch.durable = launch.latestNumber;
    spanOfRunAgain(turn, launch);
    if (isLive(launch)) recover(turn, launch, containers.get(launch.containerId), rebooted);
    else forgetIfDone(turn, launch);
  }
  for (const executor of [...state.executors.values()]) {
    if (isBuiltIn(executor) || !isLive(executor)) executor.durable = true;
    else recoverExecutor(turn, executor, containers.get(executor.containerId), rebooted);
  }
  for (const operation of state.operations.values()) {
    operation.durable = true;
    operation.repeatAt = turn.at;
  }
  turn.effects.push(...effectsLeft(state));
  for (const container of found) {
    const { containerId } = container;
    if (!state.byContainer.has(containerId) && !state.executors.has(containerId)) clear(turn, container);
  }
}

/** Settles who this agent is. Says whether the machine has booted since. */
function identify(turn: Turn): boolean {
  const { identity, config } = turn.state;
  const { agentName, bootId, info, registrationKey } = config;
  const rebooted = identity !== undefined && identity.bootId !== bootId;
  if (!identity || identity.retired)
    append(turn, { identity: { agentName, registrationKey, agentId: '', bootId, info } });
  else if (rebooted || !sameInfo(identity.info, info)) append(turn, { identity: { ...identity, bootId, info } });
  // The key is on the disk before anybody hears of it.
  defer(turn, { kind: 'register' });
  return rebooted;
}

function recover(turn: Turn, launch: Launch, found: FoundContainer | undefined, rebooted: boolean): void {
  if (launch.refusal !== undefined) makeRefusal(turn, launch);
  else if (isDelegated(launch))
    return; // it fares as its executor does
  else if (found?.end !== undefined) makeUpdate(turn, launch, outcomeOf(launch, found.end));
  else if (rebooted) afterBoot(turn, launch, found);
  else if (found?.supervised === true) adopt(turn, launch, found);
  else if (!found?.begun && launch.started === undefined) takeUpUnbegun(turn, launch);
  else {
    const why = 'The supervisor of the task was killed while the agent was down, and the task with it';
    makeUpdate(turn, launch, outcomeOfLost(launch, why));
  }
}

/** An executor of its framework's, with its tasks. */
function recoverExecutor(turn: Turn, executor: Executor, found: FoundContainer | undefined, rebooted: boolean): void {
  const { state } = turn;
  const { containerId } = executor;
  if (found?.end !== undefined) endExecutor(turn, executor, found.end);
  else if (rebooted) {
    if (found?.supervised) turn.effects.push({ kind: 'control', containerId, control: { kind: 'kill' } });
    for (const launch of liveOf(executor)) makeUpdate(turn, launch, outcomeOfReboot(launch));
    noteEnd(turn, executor, { status: noStatus });
  } else if (found?.supervised === true) adoptExecutor(turn, executor);
  else if (!found?.begun && executor.started === undefined && !executor.subscribed) {
    if (executor.ending === undefined) state.unbegun.add(executor);
    else shutDown(turn, executor);
  } else endExecutor(turn, executor, { kind: 'lost', containerId });
}

/**
 * Nothing of before is alive: what looks like it is something else, and is not adopted. Nor is anything started late: a
 * power cut may have taken the trace of a command that ran.
 */
function afterBoot(turn: Turn, launch: Launch, found: FoundContainer | undefined): void {
  const { containerId } = launch;
  if (found?.supervised) turn.effects.push({ kind: 'control', containerId, control: { kind: 'kill' } });
  makeUpdate(turn, launch, outcomeOfReboot(launch));
}

/**
 * Taken, and proven never to have begun: no supervisor has claimed its container, and no launcher that might still do
 * so is left. It is started now, for the first time, unless the leader has given it up meanwhile.
 */
function takeUpUnbegun(turn: Turn, launch: Launch): void {
  if (launch.kill !== undefined) makeUpdate(turn, launch, killedBeforeStart(launch));
  else turn.state.unbegun.add(launch);
}

/** The task outlived the process that started it. */
function adopt(turn: Turn, launch: Launch, { containerId, startedAtMs, paused }: FoundContainer): void {
  const { state } = turn;
  launch.adopted = true;
  state.watched.add(launch);
  limitTime(state.timed, launch, startedAtMs ?? turn.at);
  if (launch.started === undefined) {
    // It runs, but its 'started' was never heard: that brings TASK_RUNNING, or the kill.
    launch.phase = 'starting';
    launch.startedAt = launch.taken.takenAtMs ?? 0;
    turn.effects.push({ kind: 'control', containerId, control: { kind: 'report' } });
  } else if (launch.kill !== undefined) carryOutKill(turn, launch);
  else {
    if (launch.paused !== (paused ?? false))
      carryOutPause(turn, launch); // its supervisor has not heard of it
    else if (launch.state !== mesos.v1.TaskState.TASK_RUNNING) makeRunning(turn, launch);
    beginChecks(turn, launch, true);
  }
}

/** A container that the journal does not know, or not any more. */
function clear(turn: Turn, { containerId, supervised }: FoundContainer): void {
  if (supervised) {
    log(turn, 'warn', 'Killing a container that the journal does not know', { container: containerId });
    turn.effects.push({ kind: 'control', containerId, control: { kind: 'kill' } });
  } else turn.effects.push({ kind: 'remove', containerId, sandbox: '' });
}
