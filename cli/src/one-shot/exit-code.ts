import { constants } from 'node:os';
import type { TaskStatus } from '@mesobus/sdk/scheduler';

type Outcome = Pick<TaskStatus, 'state' | 'message'>;

/**
 * What a shell would say of a task that has ended: its exit status, 128 + N when signal N ended it, 0 when it finished,
 * and 1 when it ended otherwise. The message carries it, in the words of Mesos' command executor.
 */
export function exitCodeOf({ state, message }: Outcome): number {
  if (state === 'TASK_FINISHED') return 0;
  const status = /Command exited with status (\d+)/.exec(message)?.[1];
  // Killed, yet it ended by itself and well: it was still not left to finish.
  if (status !== undefined) return Number(status) || 1;
  const signal = /Command terminated with signal (SIG[A-Z0-9]+)/.exec(message)?.[1];
  if (signal === undefined) return 1;
  const number = constants.signals[signal as NodeJS.Signals] ?? (Number(signal.slice(3)) || undefined);
  return number === undefined ? 1 : 128 + number;
}
