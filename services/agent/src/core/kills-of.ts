import type { mesobus, mesos } from '@mesobus/protos';
import { findLatest, isDelegated, isLive, type Kill, type Launch, liveOf, type Refusal, type State } from './state.ts';
import { isTerminal } from './task-state.ts';

/** From SIGTERM to SIGKILL where neither the kill nor the task says. ms. */
const defaultGraceMs = 3_000;

/** A launch that is to end, and how. */
export interface CommandedKill extends Kill {
  readonly launch: Launch;
}

/** As the journal has it. */
export function killRecord(
  launch: Launch,
  { graceMs, preempted, unhealthy, overDisk }: Kill,
): mesobus.v1.KillAsked.$Properties {
  const { containerId, frameworkId, taskId, commandNumber } = launch;
  const which = containerId === '' ? { launch: { frameworkId, taskId, commandNumber } } : { containerId };
  return {
    ...{ ...which, graceMs },
    ...(preempted !== undefined && { preempted }),
    ...(unhealthy !== undefined && { unhealthy }),
    ...(overDisk !== undefined && { overDisk }),
  };
}

/** The launches that a command ends. */
export function killsOf(state: State, command: mesobus.v1.AgentCommand.$Properties): CommandedKill[] {
  if (command.killTask?.task) {
    const { task, killPolicy, preempted } = command.killTask;
    const unlaunched = closedAs(command.killTask.unlaunched);
    const launch = findLatest(state, task.frameworkId ?? '', task.taskId ?? '');
    if (launch === undefined || !isLive(launch)) return [];
    const graceMs = graceOf(killPolicy) ?? ownGraceMs(launch);
    const kill = { launch, graceMs, preempted: preempted || undefined, unlaunched };
    return [kill, ...killsOfGroup(launch).map((other) => ({ ...other, unlaunched }))];
  }
  const { shutdownExecutor: executor, shutdownFramework: framework, drainAgent: drain } = command;
  if (executor) {
    // The executor of a task without one is named after the task.
    const named = (launch: Launch): boolean => (launch.executor?.executorId ?? launch.taskId) === executor.executorId;
    return killsHere(state, (launch) => launch.frameworkId === executor.frameworkId && named(launch));
  }
  if (framework) return killsHere(state, (launch) => launch.frameworkId === framework.frameworkId);
  if (drain) {
    const limit = drain.maxGracePeriodMs || Number.POSITIVE_INFINITY;
    return killsOfAll(state, () => true).map((kill) => ({ ...kill, graceMs: Math.min(kill.graceMs, limit) }));
  }
  return [];
}

/** What the leader says of a launch that it has closed. */
export function closedAs(unlaunched: mesobus.v1.Unlaunched.$Properties | null | undefined): Refusal | undefined {
  const { state, reason, message } = unlaunched ?? {};
  if (state == null || reason == null || !isTerminal(state)) return undefined;
  return { state, reason, message: message ?? '' };
}

/** All live launches that match, each with the grace of its own task. */
export function killsOfAll(state: State, matches: (launch: Launch) => boolean): CommandedKill[] {
  return [...state.launches.values()]
    .filter((launch) => isLive(launch) && matches(launch))
    .map((launch) => ({ launch, graceMs: ownGraceMs(launch) }));
}

/** As {@link killsOfAll}, but for tasks that go with their executors. */
export const killsHere = (state: State, matches: (launch: Launch) => boolean): CommandedKill[] =>
  killsOfAll(state, (launch) => !isDelegated(launch) && matches(launch));

/** The other tasks of a group that the agent runs: none lives on without one that failed or was killed. */
export function killsOfGroup(launch: Launch): CommandedKill[] {
  const { executor, isGrouped, commandNumber } = launch;
  if (executor === undefined || !isGrouped || isDelegated(launch)) return [];
  return liveOf(executor)
    .filter((other) => other !== launch && other.commandNumber === commandNumber)
    .map((other) => ({ launch: other, graceMs: ownGraceMs(other) }));
}

export const ownGraceMs = (launch: Launch): number => graceOf(launch.task?.killPolicy) ?? defaultGraceMs;

function graceOf(policy: mesos.v1.KillPolicy.$Properties | null | undefined): number | undefined {
  return policy?.gracePeriod ? durationMs(policy.gracePeriod) : undefined;
}

/** A duration of Mesos, which counts nanoseconds, in whole ms; never negative. */
export const durationMs = (duration: mesos.v1.DurationInfo.$Properties): number =>
  Math.max(0, Math.ceil(Number(duration.nanoseconds) / 1e6));
