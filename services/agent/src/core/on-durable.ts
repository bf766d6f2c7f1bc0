import { sendKill } from './carry-out-kill.ts';
import { sendExecutorEnds } from './executor-ends.ts';
import { deliver, startExecutor } from './executors.ts';
import { effectsOfOperation, sendOperations } from './operations.ts';
import { sendPause } from './pausing.ts';
import { scheduleRegistration } from './register.ts';
import type { Deferred, Launch } from './state.ts';
import { placeOf } from './task-place.ts';
import { tellExecutor } from './tell-executor.ts';
import type { Turn } from './turn.ts';
import { resourcesOfTask, volumesOfTask } from './volumes.ts';

/** So many of this process' records are on the disk. */
export function onDurable({ state }: Turn, position: number): void {
  state.durable = Math.max(state.durable, position);
}

/** Does what waited only for records that are durable now. */
export function release(turn: Turn): void {
  const { state } = turn;
  const waiting = state.deferred;
  let count = 0;
  for (; count < waiting.length; count += 1) {
    const next = waiting[count];
    if (next === undefined || next.position > state.durable) break;
    carryOut(turn, next.what);
  }
  if (count > 0) state.deferred = state.deferred.slice(count);
}

function carryOut(turn: Turn, what: Deferred): void {
  const { state, effects } = turn;
  switch (what.kind) {
    case 'start':
      start(turn, what.launch);
      break;
    case 'start_executor':
      startExecutor(turn, what.executor);
      break;
    case 'deliver':
      deliver(turn, what.launches);
      break;
    case 'executor_event':
      tellExecutor(turn, what.executor, what.event);
      break;
    case 'executor_end':
      what.executor.durable = true;
      sendExecutorEnds(turn, [what.executor]);
      break;
    case 'control':
      sendKill(turn, what.launch);
      break;
    case 'pause':
      sendPause(turn, what.launch);
      break;
    case 'update':
      what.launch.durable = what.number;
      if (what.launch.pending.length > 0) state.due.add(what.launch);
      break;
    case 'operation':
      what.operation.durable = true;
      effects.push(...effectsOfOperation(what.operation));
      sendOperations(turn, [what.operation]);
      break;
    case 'cursor':
      state.durableCursor = what.cursor;
      state.durableCheckpointed = what.checkpointed;
      break;
    case 'reply':
      effects.push({ kind: 'reply', deliveryId: what.deliveryId, message: { cursor: what.cursor } });
      break;
    case 'remove':
      effects.push({ kind: 'remove', containerId: what.containerId, sandbox: what.sandbox });
      break;
    case 'register':
      scheduleRegistration(turn, 0);
      break;
  }
}

function start(turn: Turn, launch: Launch): void {
  if (launch.phase !== 'accepted') return; // killed before it was started
  const { task, containerId, executor } = launch;
  if (!task?.command) return;
  launch.phase = 'starting';
  if (executor !== undefined) executor.phase = 'running';
  launch.startedAt = turn.at;
  turn.state.watched.add(launch);
  turn.effects.push({
    kind: 'start',
    containerId,
    ...placeOf(turn.state, launch),
    volumes: volumesOfTask(task),
    ...(executor && { parent: { containerId: executor.containerId, sandbox: executor.sandbox } }),
    resources: resourcesOfTask(task),
    limits: task.limits ?? {},
    container: task.container ?? undefined,
  });
}
