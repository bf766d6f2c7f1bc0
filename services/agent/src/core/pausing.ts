import { mesos } from '@mesobus/protos';
import { makeUpdate } from './make-update.ts';
import type { Launch } from './state.ts';
import { defer, type Turn } from './turn.ts';

const { TASK_RUNNING } = mesos.v1.TaskState;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;

/** Has a task stand still or go on, as the journal has it. One that does not run yet is brought back here when it does. */
export function carryOutPause(turn: Turn, launch: Launch): void {
  if (!canPause(launch)) return;
  defer(turn, { kind: 'pause', launch });
  const message = launch.paused ? 'The task is paused' : 'The task goes on';
  makeUpdate(turn, launch, { state: TASK_RUNNING, source: SOURCE_EXECUTOR, message });
}

export function sendPause(turn: Turn, launch: Launch): void {
  if (!canPause(launch)) return;
  const control = { kind: launch.paused ? 'pause' : 'resume' } as const;
  turn.effects.push({ kind: 'control', containerId: launch.containerId, control });
}

/** A task that is to end goes on by that. */
const canPause = ({ phase, kill }: Launch): boolean => phase === 'running' && kill === undefined;
