import { sendKill } from './carry-out-kill.ts';
import { beginChecks } from './checks.ts';
import { onExecutorContainer } from './executors.ts';
import type { ContainerEvent } from './index.ts';
import { durationMs } from './kills-of.ts';
import { makeRunning, makeUpdate } from './make-update.ts';
import { reviewEstimate } from './on-usage.ts';
import { carryOutPause } from './pausing.ts';
import { idsIn, spanOfStart } from './spans.ts';
import { isLive, type Launch } from './state.ts';
import { outcomeOf, outcomeOfLost } from './task-outcome.ts';
import { append, log, type Turn } from './turn.ts';

/** What the supervisors say. */
export function onContainerEvents(turn: Turn, events: readonly ContainerEvent[]): void {
  for (const event of events) {
    const executor = turn.state.executors.get(event.containerId);
    if (executor !== undefined) onExecutorContainer(turn, executor, event);
    const launch = turn.state.byContainer.get(event.containerId);
    if (launch === undefined || !isLive(launch)) continue; // said twice, or forgotten meanwhile
    if (event.kind === 'started') onStarted(turn, launch, event);
    else if (event.kind === 'lost') {
      const why = event.message ?? 'The supervisor of the task was killed, and the task with it';
      const { containerId: container, taskId: task, frameworkId: framework } = launch;
      log(turn, 'warn', why, { container, task, framework, ...idsIn(launch) });
      makeUpdate(turn, launch, outcomeOfLost(launch, why));
    } else {
      // It has run, for it has an end; that it had started may be lost, or come later than the end was found on the disk.
      if (event.kind === 'exited' && launch.phase === 'starting' && launch.kill === undefined)
        makeRunning(turn, launch);
      makeUpdate(turn, launch, outcomeOf(launch, event));
    }
  }
  reviewEstimate(turn); // what an ended task left idle is not its any more
}

function onStarted(turn: Turn, launch: Launch, event: Extract<ContainerEvent, { kind: 'started' }>): void {
  if (launch.phase === 'running') return;
  const { containerId, commandPid, supervisorPid } = event;
  append(turn, { containerStarted: { containerId, commandPid, supervisorPid } });
  spanOfStart(turn, launch);
  limitTime(turn.state.timed, launch, turn.at);
  if (launch.kill !== undefined) sendKill(turn, launch);
  else {
    if (launch.paused) carryOutPause(turn, launch);
    else makeRunning(turn, launch);
    beginChecks(turn, launch, launch.adopted);
  }
}

/** Remembers when a running task must end, if it says so. */
export function limitTime(timed: Set<Launch>, launch: Launch, startedAt: number): void {
  const limit = launch.task?.maxCompletionTime;
  if (!limit || launch.endBy !== undefined) return;
  launch.endBy = startedAt + durationMs(limit);
  timed.add(launch);
}
