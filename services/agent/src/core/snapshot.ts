import type { mesobus } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { killRecord } from './kills-of.ts';
import type { State } from './state.ts';

/** One record that stands for every record so far. */
export function snapshot(state: State): mesobus.v1.JournalRecord.$Properties {
  const { identity, obeyed, cursor, drain } = state;
  return {
    snapshot: {
      ...(identity ? { identity } : {}),
      masterObeyed: { epoch: obeyed.epoch, clusterIncarnation: obeyed.incarnation },
      cursor,
      ...(drain ? { drain } : {}),
      checkpointedResources: toWire(state.checkpointed),
      tasks: [...tasks(state), ...[...state.operations.values()].map(({ taken }) => ({ launch: taken }))],
    },
  };
}

function tasks(state: State): mesobus.v1.JournalTask.$Properties[] {
  return [...state.launches.values()].map(
    ({ taken, started, kill, pending, latestNumber, state: now, containerId }) => ({
      launch: taken,
      ...(started ? { started } : {}),
      ...(kill ? { kill: killRecord(containerId, kill) } : {}),
      pendingUpdates: [...pending],
      latestUpdateNumber: latestNumber,
      state: now,
    }),
  );
}
