import { mesos } from '@mesobus/protos';
import { type CommandedKill, killRecord, ownGraceMs } from './kills-of.ts';
import { makeUpdate } from './make-update.ts';
import { type DelegatedLaunch, isDelegated, isLive, type Launch } from './state.ts';
import { killedBeforeStart } from './task-outcome.ts';
import { tellExecutor } from './tell-executor.ts';
import { append, defer, type Turn } from './turn.ts';

const { TaskState } = mesos.v1;
const { KILL } = mesos.v1.executor.Event.Type;
const { REASON_CONTAINER_PREEMPTED } = mesos.v1.TaskStatus.Reason;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;
const killingState = mesos.v1.FrameworkInfo.Capability.Type.TASK_KILLING_STATE;

/** Journals and carries out kills that no numbered command asks for. */
export function askKills(turn: Turn, kills: readonly CommandedKill[]): void {
  for (const { launch, ...kill } of kills) {
    append(turn, { killAsked: killRecord(launch, kill) });
    carryOutKill(turn, launch);
  }
}

/** Ends a launch of which the journal says that it is to end. */
export function carryOutKill(turn: Turn, launch: Launch): void {
  if (!isLive(launch) || launch.kill === undefined) return;
  if (launch.phase === 'accepted') {
    makeUpdate(turn, launch, killedBeforeStart(launch));
    return;
  }
  if (isDelegated(launch)) {
    defer(turn, { kind: 'control', launch });
    return;
  }
  const announces = launch.framework?.capabilities?.some(({ type }) => type === killingState) ?? false;
  if (announces && launch.state !== TaskState.TASK_KILLING) {
    const reason = launch.kill.preempted === undefined ? undefined : REASON_CONTAINER_PREEMPTED;
    makeUpdate(turn, launch, { state: TaskState.TASK_KILLING, source: SOURCE_EXECUTOR, reason });
  }
  // One that is starting gives up what it may wait for; if it has begun nevertheless, 'started' brings it back here.
  defer(turn, { kind: 'control', launch });
}

/** Tells the supervisor, or the executor; one that is away is told when it comes back. */
export function sendKill(turn: Turn, launch: Launch): void {
  if (!isLive(launch) || launch.kill === undefined) return;
  if (isDelegated(launch)) {
    if (launch.phase !== 'accepted') tellExecutor(turn, launch.executor, { type: KILL, kill: killEvent(launch) });
    return;
  }
  if (launch.phase === 'accepted') return;
  const { containerId, kill } = launch;
  const control = kill.graceMs > 0 ? ({ kind: 'term', graceMs: kill.graceMs } as const) : ({ kind: 'kill' } as const);
  turn.effects.push({ kind: 'control', containerId, control });
}

/** The grace of the task itself goes without saying. */
function killEvent(launch: DelegatedLaunch): mesos.v1.executor.Event.Kill.$Properties {
  const graceMs = launch.kill?.graceMs ?? 0;
  const killPolicy = { gracePeriod: { nanoseconds: BigInt(graceMs) * 1_000_000n } };
  return { taskId: { value: launch.taskId }, ...(graceMs !== ownGraceMs(launch) && { killPolicy }) };
}
