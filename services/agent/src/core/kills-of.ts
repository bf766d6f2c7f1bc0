import type { mesobus, mesos } from '@mesobus/protos';
import { findLatest, isLive, type Kill, type Launch, type State } from './state.ts';

/** From SIGTERM to SIGKILL where neither the kill nor the task says. ms. */
const defaultGraceMs = 3_000;

/** A launch that is to end, and how. */
export interface CommandedKill extends Kill {
  readonly launch: Launch;
}

/** As the journal has it. */
export const killRecord = (
  containerId: string,
  { graceMs, preempted }: Kill,
): mesobus.v1.KillAsked.$Properties => ({ containerId, graceMs, ...(preempted !== undefined && { preempted }) });

/** The launches that a command ends. */
export function killsOf(state: State, command: mesobus.v1.AgentCommand.$Properties): CommandedKill[] {
  if (command.killTask?.task) {
    const { task, killPolicy, preempted } = command.killTask;
    const launch = findLatest(state, task.frameworkId ?? '', task.taskId ?? '');
    if (launch === undefined || !isLive(launch)) return [];
    return [{ launch, graceMs: graceOf(killPolicy) ?? ownGraceMs(launch), preempted: preempted || undefined }];
  }
  const { shutdownExecutor: executor, shutdownFramework: framework, drainAgent: drain } = command;
  if (executor) {
    // The executor of a command task is named after the task.
    const launch = findLatest(state, executor.frameworkId ?? '', executor.executorId ?? '');
    return launch !== undefined && isLive(launch) ? [{ launch, graceMs: ownGraceMs(launch) }] : [];
  }
  if (framework) return killsOfAll(state, (launch) => launch.frameworkId === framework.frameworkId);
  if (drain) {
    const limit = drain.maxGracePeriodMs || Number.POSITIVE_INFINITY;
    return killsOfAll(state, () => true).map((kill) => ({ ...kill, graceMs: Math.min(kill.graceMs, limit) }));
  }
  return [];
}

/** All live launches that match, each with the grace of its own task. */
export function killsOfAll(state: State, matches: (launch: Launch) => boolean): CommandedKill[] {
  return [...state.launches.values()]
    .filter((launch) => isLive(launch) && matches(launch))
    .map((launch) => ({ launch, graceMs: ownGraceMs(launch) }));
}

export const ownGraceMs = (launch: Launch): number => graceOf(launch.task?.killPolicy) ?? defaultGraceMs;

function graceOf(policy: mesos.v1.KillPolicy.$Properties | null | undefined): number | undefined {
  return policy?.gracePeriod ? durationMs(policy.gracePeriod) : undefined;
}

/** A duration of Mesos, which counts nanoseconds, in whole ms; never negative. */
export const durationMs = (duration: mesos.v1.DurationInfo.$Properties): number =>
  Math.max(0, Math.ceil(Number(duration.nanoseconds) / 1e6));
