import type { mesobus } from '@mesobus/protos';
import { findByHead } from './apply.ts';
import { firstRepeatMs } from './flush-updates.ts';
import { forgetIfDone, forgetOperation } from './forget.ts';
import { spanOfWord, spansOfUpdates } from './spans.ts';
import type { Launch } from './state.ts';
import { append, type Turn } from './turn.ts';
import { sameBytes } from './uuid-text.ts';

/** The framework has an update. Only the oldest one can be acknowledged; any other uuid is a repetition. */
export function acknowledge(turn: Turn, { task, uuid }: mesobus.v1.AcknowledgeUpdate.$Properties): void {
  const launch = task && uuid ? findByHead(turn.state, task, uuid) : undefined;
  if (launch === undefined) return;
  const [first] = launch.pending;
  spansOfUpdates(turn, launch, first?.number ?? 0);
  spanOfWord(turn, 'acknowledge update', launch, { parent: first?.traceparent ?? '' });
  append(turn, { updateAcknowledged: { task, uuid } });
  advance(turn, launch);
}

/** After an update less is pending: repeats start afresh, and the last one ends the launch. */
export function advance(turn: Turn, launch: Launch): void {
  launch.repeatMs = firstRepeatMs;
  launch.repeatAt = launch.pending.length > 0 ? turn.at + firstRepeatMs : Number.POSITIVE_INFINITY;
  forgetIfDone(turn, launch);
}

export function acknowledgeOperation(
  turn: Turn,
  { operationUuid }: mesobus.v1.AcknowledgeOperationUpdate.$Properties,
): void {
  for (const operation of turn.state.operations.values()) {
    const uuid = operation.taken.command?.applyOperation?.operationUuid;
    if (uuid && operationUuid && sameBytes(uuid, operationUuid)) forgetOperation(turn, operation);
  }
}
