import { mesos } from '@mesobus/protos';
import { makeStarting, makeUpdate } from './make-update.ts';
import type { Launch } from './state.ts';
import { killedBeforeStart, outcomeOfDropped } from './task-outcome.ts';
import { defer, type Turn } from './turn.ts';

const { REASON_GC_ERROR } = mesos.v1.TaskStatus.Reason;

/** Starts a launch once it is on the disk, unless this agent starts none now. */
export function startLaunch(turn: Turn, launch: Launch): void {
  const { shutdown, room } = turn.state;
  if (shutdown !== undefined) {
    makeUpdate(turn, launch, killedBeforeStart(launch, 'The agent is shutting down'));
  } else if (room !== 'roomy') {
    const why = 'The disk of the agent is full: no task is started';
    makeUpdate(turn, launch, outcomeOfDropped(launch, REASON_GC_ERROR, why));
  } else {
    if (launch.latestNumber === 0) makeStarting(turn, launch);
    defer(turn, { kind: 'start', launch });
  }
}

/** Starts what an earlier process had taken, once this one has all that may have given it up meanwhile. */
export function startUnbegun(turn: Turn): void {
  const { state } = turn;
  if (state.cursor < state.beginAtCursor) return;
  for (const launch of state.unbegun) if (launch.phase === 'accepted') startLaunch(turn, launch);
  state.unbegun.clear();
}
