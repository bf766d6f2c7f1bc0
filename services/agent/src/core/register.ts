import { type mesobus, mesos } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { describeExecutors } from './executor-ends.ts';
import { executorIdOf } from './make-update.ts';
import { describeOperation, durableOperations } from './operations.ts';
import { sendRequest } from './send-request.ts';
import { isDelegated, type Launch } from './state.ts';
import { roll, type Turn } from './turn.ts';

const { Type } = mesos.v1.AgentInfo.Capability;
const capabilities = [
  { type: Type.MULTI_ROLE },
  { type: Type.HIERARCHICAL_ROLE },
  { type: Type.RESERVATION_REFINEMENT },
  { type: Type.RESIZE_VOLUME },
  { type: Type.AGENT_OPERATION_FEEDBACK },
  { type: Type.AGENT_DRAINING },
];

/** After a refusal or silence: random up to 1 s, doubling to 1 min. */
const firstBackoffMs = 1_000;
const maxBackoffMs = 60_000;
/** While nobody leads, which is cheap to find out: 200 to 500 ms at first, growing to 5 s. */
const firstAbsenceMs = 200;
const maxAbsenceMs = 5_000;
/**
 * Over how long the agents of a cluster spread what they all do at once: so that no more than 2,500 a second come to a
 * leader, which takes twice as many. 50,000 agents need the longest.
 */
const spreadPerAgentMs = 0.4;
const minSpreadMs = 500;
const maxSpreadMs = 20_000;

/** Asks the leader to take this agent as active. */
export function register(turn: Turn): void {
  const { state } = turn;
  const { attempts, absences } = counts(turn);
  const { identity, config, obeyed } = state;
  if (!identity) return;
  const agentId = identity.agentId ?? '';
  const requestId = sendRequest(
    turn,
    { kind: 'register' },
    {
      register: {
        agentName: config.agentName,
        registrationKey: identity.registrationKey ?? '',
        info: { ...config.info, ...(agentId === '' ? {} : { id: { value: agentId } }) },
        version: config.version,
        capabilities,
        bootId: config.bootId,
        cursor: state.durableCursor,
        highestEpoch: obeyed.epoch,
        highestClusterIncarnation: obeyed.incarnation,
        tasks: [...state.launches.values()].map(describe),
        executors: describeExecutors(state),
        operations: durableOperations(state).map(describeOperation),
        checkpointedResources: toWire(state.durableCheckpointed),
      },
    },
  );
  state.registration = { kind: 'asked', requestId, attempts, absences };
}

function describe(launch: Launch): mesobus.v1.AgentTask.$Properties {
  const { frameworkId, taskId, state, latestNumber: updateNumber, commandNumber } = launch;
  const { containerId } = isDelegated(launch) ? launch.executor : launch;
  return { frameworkId, taskId, state, containerId, executorId: executorIdOf(launch), updateNumber, commandNumber };
}

/** A moment of this agent's own within the time that all agents share. */
export function ownDelayMs({ state }: Turn): number {
  return roll(state) * Math.min(maxSpreadMs, Math.max(minSpreadMs, state.expectedAgents * spreadPerAgentMs));
}

/** The leader asks for it. Whoever has chosen its moment keeps it; one that was refused need not wait any more. */
export function registerAsAsked(turn: Turn): void {
  const { registration } = turn.state;
  if (registration.kind !== 'waiting' || registration.attempts > 0) scheduleRegistration(turn, 0);
}

/** Registers again after a delay, unless that is about to happen anyway. */
export function scheduleRegistration(turn: Turn, delayMs: number): void {
  const { registration } = turn.state;
  const nextAt = turn.at + delayMs;
  if (registration.kind === 'waiting' && registration.nextAt <= nextAt) return;
  turn.state.registration = { kind: 'waiting', nextAt, ...counts(turn) };
}

/** Tries once more, later each time. */
export function backOff(turn: Turn, why: 'no_responders' | 'refused'): void {
  const { attempts, absences } = counts(turn);
  if (why === 'no_responders') {
    const most = Math.min(maxAbsenceMs, (firstAbsenceMs + 300) * 2 ** absences);
    const delayMs = firstAbsenceMs + roll(turn.state) * (most - firstAbsenceMs);
    wait(turn, delayMs, attempts, absences + 1);
  } else {
    const most = Math.min(maxBackoffMs, firstBackoffMs * 2 ** attempts);
    wait(turn, roll(turn.state) * most, attempts + 1, 0);
  }
}

function wait(turn: Turn, delayMs: number, attempts: number, absences: number): void {
  turn.state.registration = { kind: 'waiting', nextAt: turn.at + delayMs, attempts, absences };
}

function counts({ state: { registration } }: Turn): { attempts: number; absences: number } {
  if (registration.kind === 'registered') return { attempts: 0, absences: 0 };
  return { attempts: Math.min(registration.attempts, 16), absences: Math.min(registration.absences, 16) };
}
