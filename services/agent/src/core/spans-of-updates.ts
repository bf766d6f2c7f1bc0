import { mesos } from '@mesobus/protos';
import type { Launch } from './state.ts';
import type { Turn } from './turn.ts';

/**
 * Writes the spans of the updates up to a number that the leader is known to have: it has answered, or the framework's
 * acknowledgement has overtaken the answer.
 */
export function spansOfUpdates(turn: Turn, launch: Launch, upTo: number): void {
  if (turn.state.config.mintTraceparent === undefined) return;
  for (const update of launch.pending) {
    // Only the first time: an update that is repeated has its span.
    if (update.number > upTo || update.number <= launch.traced) continue;
    launch.traced = update.number;
    turn.effects.push({
      kind: 'span',
      name: 'status update',
      identity: update.traceparent ?? '',
      parent: launch.trace,
      startMs: (update.status.timestamp ?? turn.at / 1000) * 1000,
      endMs: turn.at,
      attributes: {
        'mesobus.task_id': launch.taskId,
        'mesobus.task_state': mesos.v1.TaskState[update.status.state] ?? '',
      },
    });
  }
}
