import { mesos } from '@mesobus/protos';
import { delegate } from './executors.ts';
import { makeStarting, makeUpdate } from './make-update.ts';
import { isDelegated, type Launch, liveOf } from './state.ts';
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
    if (isDelegated(launch)) {
      delegate(turn, launch);
      return;
    }
    if (launch.latestNumber === 0) makeStarting(turn, launch);
    defer(turn, { kind: 'start', launch });
  }
}

/** Starts what an earlier process had taken, once this one has all that may have given it up meanwhile. */
export function startUnbegun(turn: Turn): void {
  const { state } = turn;
  if (state.cursor < state.beginAtCursor) return;
  for (const one of state.unbegun) {
    if (one.phase !== 'accepted') continue;
    if ('taskId' in one) startLaunch(turn, one);
    else for (const launch of liveOf(one)) startLaunch(turn, launch);
  }
  state.unbegun.clear();
}
