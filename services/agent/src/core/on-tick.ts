import { runChecks } from './checks.ts';
import { repeatExecutorEnds } from './executor-ends.ts';
import { watchExecutors } from './executors.ts';
import { repeatUpdates } from './flush-updates.ts';
import { measureUsage, tellEstimate } from './on-usage.ts';
import { repeatOperations } from './operations.ts';
import { register, scheduleRegistration } from './register.ts';
import { isLive } from './state.ts';
import { log, type Turn } from './turn.ts';

/**
 * How often it is made sure that what runs is still watched over, and of how many at a time: nobody reports the death of
 * a supervisor to a launcher that came later, and what is said to an agent that stood still for a minute is dropped.
 */
const probeIntervalMs = 5_000;
const maxProbed = 200;

/** Time has passed. */
export function onTick(turn: Turn): void {
  const { state, at } = turn;
  if (!state.recovered) return;
  if (state.registration.kind === 'registered') {
    if (at - state.heardAt >= state.silenceTimeoutMs) {
      log(turn, 'warn', 'Nothing was addressed to this agent for long: registering again', {
        silentMs: Math.round(at - state.heardAt),
      });
      state.heardAt = at;
      scheduleRegistration(turn, 0);
    } else if (at >= state.nextHeartbeatAt) heartbeat(turn);
    repeatUpdates(turn);
    repeatOperations(turn);
    repeatExecutorEnds(turn);
    if (at >= state.lending.repeatAt) tellEstimate(turn);
  }
  if (state.registration.kind === 'waiting' && at >= state.registration.nextAt) register(turn);
  watchExecutors(turn);
  endOvertime(turn);
  runChecks(turn);
  measureUsage(turn);
  if (at >= state.nextProbeAt) probe(turn);
}

function heartbeat({ state, at, effects }: Turn): void {
  state.nextHeartbeatAt = at + state.heartbeatIntervalMs;
  effects.push({
    kind: 'heartbeat',
    message: {
      agentId: state.identity?.agentId ?? '',
      incarnation: state.config.incarnation,
      highestEpoch: state.obeyed.epoch,
      highestClusterIncarnation: state.obeyed.incarnation,
      cursor: state.durableCursor,
    },
  });
}

/** Kills what has run longer than its task allows; without grace, as Mesos does. */
function endOvertime({ state, at, effects }: Turn): void {
  for (const launch of state.timed) {
    if (launch.endBy === undefined || launch.endBy > at) continue;
    state.timed.delete(launch);
    launch.overtime = launch.kill === undefined;
    effects.push({ kind: 'control', containerId: launch.containerId, control: { kind: 'kill' } });
  }
}

function probe({ state, at, effects }: Turn): void {
  state.nextProbeAt = at + probeIntervalMs;
  const containerIds: string[] = [];
  for (const launch of state.watched) {
    state.watched.delete(launch);
    if (!isLive(launch)) continue;
    state.watched.add(launch); // behind the others
    const { containerId } = launch;
    if (launch.phase === 'starting') effects.push({ kind: 'control', containerId, control: { kind: 'report' } });
    containerIds.push(containerId);
    if (containerIds.length >= Math.min(maxProbed, state.watched.size)) break;
  }
  if (containerIds.length > 0) effects.push({ kind: 'probe', containerIds });
}
