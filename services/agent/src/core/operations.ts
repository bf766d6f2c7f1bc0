import { mesos } from '@mesobus/protos';
import { firstRepeatMs, maxRepeatMs } from './flush-updates.ts';
import { sendRequest } from './send-request.ts';
import type { RefusedOperation } from './state.ts';
import { nextUuid, type Turn } from './turn.ts';

/** Operations answered in one request. */
const maxOperationsPerRequest = 100;

/** Says that operations cannot be done here; repeated until somebody acknowledges. */
export function sendOperations(turn: Turn, operations: readonly RefusedOperation[]): void {
  if (turn.state.registration.kind !== 'registered' || operations.length === 0) return;
  for (const operation of operations) {
    operation.repeatMs = Math.min(operation.repeatMs * 2 || firstRepeatMs, maxRepeatMs);
    operation.repeatAt = turn.at + operation.repeatMs;
  }
  const updates = operations.map((operation) => {
    const apply = operation.taken.command?.applyOperation;
    const status = {
      ...(apply?.operation?.id ? { operationId: apply.operation.id } : {}),
      state: mesos.v1.OperationState.OPERATION_UNSUPPORTED,
      message: 'Operations are not supported by this agent',
      uuid: { value: nextUuid(turn.state) },
      agentId: { value: turn.state.identity?.agentId ?? '' },
    };
    const operationUuid = apply?.operationUuid ?? new Uint8Array();
    return { frameworkId: apply?.frameworkId ?? '', status, operationUuid, latestStatus: status };
  });
  const numbers = operations.map(({ commandNumber }) => commandNumber);
  sendRequest(turn, { kind: 'operations', numbers }, { operationUpdates: { updates } });
}

export function repeatOperations(turn: Turn): void {
  const all = [...turn.state.operations.values()];
  const late = all.filter(({ durable, repeatAt }) => durable && repeatAt <= turn.at);
  sendOperations(turn, late.slice(0, maxOperationsPerRequest));
}
