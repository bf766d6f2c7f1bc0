import { type mesobus, mesos } from '@mesobus/protos';
import {
  type Conversion,
  type Converted,
  checkpointedIn,
  conversionFromWire,
  convert,
  exchange,
  fromWire,
  isPersistentVolume,
  type Resources,
  toWire,
  withCheckpointed,
} from '@mesobus/sdk/resources';
import type { State } from './state.ts';
import { placeKey, placeOf, usedVolumes, type VolumePlace } from './volumes.ts';

const { OPERATION_FINISHED, OPERATION_FAILED, OPERATION_DROPPED } = mesos.v1.OperationState;

type ApplyOperation = mesobus.v1.ApplyOperation.$Properties;

/** All that this agent has: what it was started with, and what conversions have made of it. */
export const totalOf = (state: State): Resources =>
  withCheckpointed(fromWire(state.config.info.resources ?? []), state.checkpointed);

/** A volume whose folder could not be made. */
export interface FailedVolume {
  /** Of the command. */
  readonly number: number;
  readonly why: string;
}

/**
 * The volumes that some commands will make, so that their folders can be made before: a command that cannot be carried out
 * is taken as failed. Those whose place the agent knows need no look: there is, or was, a volume of its own.
 */
export function volumesToMake(
  state: State,
  commands: readonly mesobus.v1.AgentCommand.$Properties[],
): { readonly number: number; readonly place: VolumePlace }[] {
  const known = new Set(state.checkpointed.filter(isPersistentVolume).map((volume) => placeKey(placeOf(volume))));
  for (const { taken } of state.operations.values()) {
    for (const place of placesLeft(taken.command?.applyOperation)) known.add(placeKey(place));
  }
  return commands.flatMap(({ number, applyOperation }) => {
    const conversion = readOperation(applyOperation);
    if (!number || number <= state.cursor || conversion?.kind !== 'create') return [];
    return conversion.volumes
      .map(placeOf)
      .filter((place) => !known.has(placeKey(place)))
      .map((place) => ({ number, place }));
  });
}

function placesLeft(operation: ApplyOperation | null | undefined): VolumePlace[] {
  const conversion = readOperation(operation);
  return conversion?.kind === 'destroy' ? conversion.volumes.map(placeOf) : [];
}

/** Undefined where there is nothing that this agent understands. */
export function readOperation(operation: ApplyOperation | null | undefined): Conversion | undefined {
  try {
    return operation?.operation ? conversionFromWire(operation.operation) : undefined;
  } catch {
    return undefined; // malformed: the leader would not have let it pass
  }
}

/**
 * What comes of an operation that is taken now.
 *
 * @param uuid - of what is said of it
 */
export function judgeOperation(
  state: State,
  apply: ApplyOperation,
  uuid: Uint8Array,
  failed: FailedVolume | undefined,
): mesos.v1.OperationStatus.$Properties {
  const { id } = apply.operation ?? {};
  const of = {
    ...(id && { operationId: id }),
    uuid: { value: uuid },
    agentId: { value: state.identity?.agentId ?? '' },
  };
  const made = convertHere(state, apply);
  if (made === undefined) {
    return { ...of, state: OPERATION_DROPPED, message: 'The operation is not supported by this agent' };
  }
  if (!made.ok) return { ...of, state: OPERATION_DROPPED, message: made.error.message };
  if (failed !== undefined) return { ...of, state: OPERATION_FAILED, message: failed.why };
  return { ...of, state: OPERATION_FINISHED, convertedResources: toWire(made.converted) };
}

function convertHere(state: State, apply: ApplyOperation): Converted | undefined {
  const conversion = readOperation(apply);
  const total = totalOf(state);
  return conversion && convert(conversion, { total, available: total, used: usedVolumes(state) });
}

/** What is to be checkpointed after an operation that was done, whatever else the agent has by then. */
export function checkpointedAfter(checkpointed: Resources, apply: ApplyOperation): Resources {
  const conversion = readOperation(apply);
  const made = conversion && convert(conversion);
  if (!made?.ok) return checkpointed;
  return exchange(checkpointed, checkpointedIn(made.consumed), checkpointedIn(made.converted)) ?? checkpointed;
}
