import type { mesobus } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { killRecord } from './kills-of.ts';
import type { Executor, State } from './state.ts';

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
      executors: [...state.executors.values()].map(savedExecutor),
      tasks: [...tasks(state), ...[...state.operations.values()].map(({ taken }) => ({ launch: taken }))],
    },
  };
}

function tasks(state: State): mesobus.v1.JournalTask.$Properties[] {
  return [...state.launches.values()].map((launch) => ({
    launch: launch.taken,
    ...(launch.started ? { started: launch.started } : {}),
    ...(launch.kill ? { kill: killRecord(launch, launch.kill) } : {}),
    ...(launch.paused ? { paused: true } : {}),
    pendingUpdates: [...launch.pending],
    latestUpdateNumber: launch.latestNumber,
    state: launch.state,
    executorUpdates: launch.executorUpdates,
  }));
}

function savedExecutor(executor: Executor): mesobus.v1.JournalExecutor.$Properties {
  const { frameworkId, info, framework, run, containerId, sandbox, started, subscribed, ending, end } = executor;
  return {
    ...{ frameworkId, info, framework, run, container: { containerId, sandbox } },
    ...(started && { started }),
    changed: {
      ...{ containerId, subscribed },
      ...(ending && { ending }),
      ...(end && { end }),
      ...(executor.toldUntil && { toldUntil: executor.toldUntil }),
    },
  };
}
