import { encode, mesos } from '@mesobus/protos';
import { isPersistentVolume, toWire } from '@mesobus/sdk/resources';
import { firstRepeatMs, maxRepeatMs } from './flush-updates.ts';
import type { Effect } from './index.ts';
import { sendRequest } from './send-request.ts';
import type { State, TakenOperation } from './state.ts';
import { readOperation } from './take-operation.ts';
import type { Turn } from './turn.ts';
import { placeKey, placeOf, type VolumePlace } from './volumes.ts';

const { OPERATION_FINISHED, OPERATION_UNSUPPORTED } = mesos.v1.OperationState;

/** Operations answered in one request: so many, and about so many bytes. */
const maxOperationsPerRequest = 100;
const maxBytesPerRequest = 128 * 1024;

/** Says what came of operations; repeated until somebody acknowledges. */
export function sendOperations(turn: Turn, operations: readonly TakenOperation[]): void {
  const { state } = turn;
  if (state.registration.kind !== 'registered' || operations.length === 0) return;
  for (const operation of operations) {
    operation.repeatMs = Math.min(operation.repeatMs * 2 || firstRepeatMs, maxRepeatMs);
    operation.repeatAt = turn.at + operation.repeatMs;
  }
  const updates = operations.map((operation) => {
    const { frameworkId, operationUuid } = operation.taken.command?.applyOperation ?? {};
    const status = statusOf(operation);
    return { frameworkId: frameworkId ?? '', status, operationUuid: operationUuid ?? new Uint8Array() };
  });
  const numbers = operations.map(({ commandNumber }) => commandNumber);
  const made = { checkpointedResources: toWire(state.durableCheckpointed), cursor: state.durableCursor };
  sendRequest(turn, { kind: 'operations', numbers }, { operationUpdates: { updates, ...made } });
}

export function repeatOperations(turn: Turn): void {
  const late = durableOperations(turn.state).filter(({ repeatAt }) => repeatAt <= turn.at);
  sendOperations(turn, fitting(late.slice(0, maxOperationsPerRequest)));
}

/** Of some operations as many as fit in one request, one at least: the others follow with the next tick. */
function fitting(operations: readonly TakenOperation[]): readonly TakenOperation[] {
  let bytes = 0;
  const end = operations.findIndex((operation) => {
    bytes += encode(mesos.v1.OperationStatus, statusOf(operation)).length;
    return bytes > maxBytesPerRequest;
  });
  return end < 0 ? operations : operations.slice(0, Math.max(1, end));
}

export const durableOperations = ({ operations }: State): TakenOperation[] =>
  [...operations.values()].filter(({ durable }) => durable);

/** What came of it. One that was taken by a version without operations was not done. */
const statusOf = ({ taken }: TakenOperation): mesos.v1.OperationStatus.$Properties =>
  taken.operationStatus ?? {
    state: OPERATION_UNSUPPORTED,
    message: 'The operation came to a version of the agent that did not support it',
    ...(taken.command?.applyOperation?.operation?.id && { operationId: taken.command.applyOperation.operation.id }),
  };

/** For the leader, when the agent registers: that it knows the operation, of which it tells the rest apart. */
export function describeOperation(operation: TakenOperation): mesos.v1.Operation.$Properties {
  const { frameworkId, operation: info, operationUuid } = operation.taken.command?.applyOperation ?? {};
  return {
    ...(frameworkId && { frameworkId: { value: frameworkId } }),
    info: { type: info?.type ?? mesos.v1.Offer.Operation.Type.UNKNOWN },
    latestStatus: { state: statusOf(operation).state },
    uuid: { value: operationUuid ?? new Uint8Array() },
  };
}

// ---- on the disk

/** What an operation that was done changes on the disk. */
export function effectsOfOperation({ taken }: TakenOperation): Effect[] {
  const conversion = readOperation(taken.command?.applyOperation);
  if (taken.operationStatus?.state !== OPERATION_FINISHED || conversion === undefined) return [];
  if (conversion.kind === 'create')
    return conversion.volumes.map((one) => ({ kind: 'make_volume', place: placeOf(one) }));
  if (conversion.kind === 'destroy') {
    return conversion.volumes.map((one) => ({ kind: 'remove_volume', place: placeOf(one) }));
  }
  if (conversion.kind !== 'reserve') return [];
  // A volume that is reserved to another role has another place.
  const sources = new Map<string, VolumePlace>();
  for (const one of (conversion.source ?? []).filter(isPersistentVolume)) {
    sources.set(one.disk?.persistence?.id ?? '', placeOf(one));
  }
  return conversion.resources.filter(isPersistentVolume).flatMap((one): Effect[] => {
    const to = placeOf(one);
    const from = sources.get(to.id);
    return from === undefined || from.role === to.role ? [] : [{ kind: 'move_volume', from, to }];
  });
}

/**
 * The process before may have died between writing an operation down and doing it. What was done since with the same place
 * stands: only what has no volume in it is removed, and only into what has one something is moved.
 */
export function effectsLeft(state: State): Effect[] {
  const places = new Set(state.checkpointed.filter(isPersistentVolume).map((volume) => placeKey(placeOf(volume))));
  return [...state.operations.values()].flatMap(effectsOfOperation).filter((effect) => {
    if (effect.kind === 'make_volume') return places.has(placeKey(effect.place));
    if (effect.kind === 'remove_volume') return !places.has(placeKey(effect.place));
    return effect.kind === 'move_volume' && places.has(placeKey(effect.to)) && !places.has(placeKey(effect.from));
  });
}
