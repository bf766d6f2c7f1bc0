import { forgetExecutorIfDone } from './executor-ends.ts';
import type { Launch, TakenOperation } from './state.ts';
import { append, defer, type Turn } from './turn.ts';

/** Forgets a launch that has ended and of which nothing is left to say. */
export function forgetIfDone(turn: Turn, launch: Launch): void {
  if (launch.phase !== 'ended' || launch.pending.length > 0) return;
  const { frameworkId, taskId, commandNumber, containerId, sandbox } = launch;
  append(turn, { taskForgotten: { task: { frameworkId, taskId }, commandNumber } });
  if (containerId !== '') defer(turn, { kind: 'remove', containerId, sandbox });
  if (launch.executor !== undefined) forgetExecutorIfDone(turn, launch.executor);
}

export function forgetOperation(turn: Turn, operation: TakenOperation): void {
  append(turn, { taskForgotten: { commandNumber: operation.commandNumber } });
}
