import type { mesos } from '@mesobus/protos';
import type { Executor } from './state.ts';
import type { Turn } from './turn.ts';

/** An event for an executor, if it has a stream. */
export function tellExecutor(
  { effects }: Turn,
  { containerId, connected }: Executor,
  event: mesos.v1.executor.Event.$Properties,
): void {
  if (connected) effects.push({ kind: 'executor_event', containerId, event });
}
