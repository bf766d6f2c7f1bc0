import { encode, mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, operationIdOf } from '@mesobus/registry/core';
import {
  type Conversion,
  checkpointedIn,
  conversionFromWire,
  equals,
  exchange,
  fromWire,
  type Resources,
  toWire,
  withCheckpointed,
} from '@mesobus/sdk/resources';
import { commandIssued } from './commands.ts';
import { findLiveFramework } from './frameworks.ts';
import type { SchedulerEvent } from './messages.ts';
import { rescindOffers } from './offers.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

const { OPERATION_PENDING, OPERATION_FINISHED } = mesos.v1.OperationState;
const EventType = mesos.v1.scheduler.Event.Type;

export type OperationRecord = mesobus.v1.OperationRecord;
type Status = mesos.v1.OperationStatus.$Properties;
type Records = mesobus.v1.Record.$Properties[];

/** The log holds an operation, its command, both sides of it and what the agent has then: all in one entry. */
export const maxOperationBytes: number = 32 * 1024;

/** What is recorded of an agent must fit in an entry of the log, with room to spare: it registers with all of it. */
export const maxAgentBytes: number = 128 * 1024;

/** Why an agent cannot have so much that is reserved and made. */
export function sizeProblem({ record }: AgentEntry, before: Resources, after: Resources): string | undefined {
  const bytesWith = (total: Resources): number =>
    encode(mesobus.v1.AgentRecord, { ...record, checkpointedResources: toWire(checkpointedIn(total)) }).length;
  const bytes = bytesWith(after);
  if (bytes <= maxAgentBytes || bytes <= bytesWith(before)) return undefined;
  const remedy = 'undo reservations or volumes that nobody needs, or use another agent';
  return `The reservations and volumes of the agent would make its record of ${bytes} bytes, of at most ${maxAgentBytes}; ${remedy}`;
}

/** Who wants an operation. */
export interface Asker {
  /** Empty: an operator. */
  readonly frameworkId: string;
  readonly principal: string;
  readonly callId: string;
  readonly traceparent: string;
}

const { AGENT_OPERATION_FEEDBACK } = mesos.v1.AgentInfo.Capability.Type;

/** Agents of before operations run tasks, and nothing else. */
export const canConvert = ({ record }: AgentEntry): boolean =>
  record.capabilities.some(({ type }) => type === AGENT_OPERATION_FEEDBACK);

/** Reads an operation that somebody sent. @returns what is wrong with it, if that fails */
export function readConversion(operation: mesos.v1.Offer.Operation.$Properties): Conversion | string {
  try {
    const bytes = encode(mesos.v1.Offer.Operation, operation).length;
    if (bytes > maxOperationBytes) return `it is of ${bytes} bytes: at most ${maxOperationBytes} are taken`;
    const conversion = conversionFromWire(operation);
    return conversion ?? `${mesos.v1.Offer.Operation.Type[operation.type ?? 0] ?? 'UNKNOWN'} is not supported`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * The records of an operation: it holds from now on, and the agent hears of it when they are committed.
 *
 * @param total - of the agent, after the operation
 */
export function operationRecords(
  turn: Turn,
  agent: AgentEntry,
  operation: mesos.v1.Offer.Operation.$Properties,
  made: { number: number; consumed: Resources; converted: Resources; total: Resources },
  { frameworkId, principal, callId, traceparent }: Asker,
): Records {
  const { number: commandNumber, consumed, converted, total } = made;
  const operationUuid = uuidOf(agent.id, commandNumber);
  const applyOperation = { frameworkId, operation, operationUuid };
  const pending = { state: OPERATION_PENDING, ...(operation.id && { operationId: operation.id }) };
  return [
    {
      operation: {
        frameworkId,
        agentId: agent.id,
        operationUuid,
        operation: {
          ...(frameworkId !== '' && { frameworkId: { value: frameworkId } }),
          agentId: { value: agent.id },
          info: operation,
          latestStatus: pending,
          uuid: { value: operationUuid },
        },
        callId,
        commandNumber,
        consumed: toWire(consumed),
        converted: toWire(converted),
        principal,
        issuedAtMs: turn.at,
        traceparent,
      },
    },
    commandIssued(agent, { number: commandNumber, traceparent, applyOperation }, turn.at),
    resourcesRecord(agent, checkpointedIn(total)),
  ];
}

const resourcesRecord = ({ id }: AgentEntry, checkpointed: Resources): mesobus.v1.Record.$Properties => ({
  agentResources: { agentId: id, checkpointedResources: toWire(checkpointed) },
});

/** 16 bytes that no other operation of the cluster has: of the agent's id a hash, then the number of the command. */
function uuidOf(agentId: string, commandNumber: number): Uint8Array {
  const uuid = new Uint8Array(16);
  const view = new DataView(uuid.buffer);
  for (const [word, seed] of [0x811c9dc5, 0x2545f491].entries()) {
    let hash = seed;
    for (let at = 0; at < agentId.length; at += 1) hash = Math.imul(hash ^ agentId.charCodeAt(at), 0x01000193);
    view.setUint32(4 * word, hash >>> 0);
  }
  view.setBigUint64(8, BigInt(commandNumber));
  return uuid;
}

/** The operation that an agent means. */
export function findOperation({ operations }: AgentEntry, uuid: Uint8Array): OperationRecord | undefined {
  if (uuid.length !== 16) return undefined;
  const number = Number(new DataView(uuid.buffer, uuid.byteOffset).getBigUint64(8));
  const found = operations.get(number);
  return found?.operationUuid.every((byte, at) => byte === uuid[at]) ? found : undefined;
}

// ---- what came of it

export const stateOf = ({ operation }: OperationRecord): mesos.v1.OperationState =>
  operation?.latestStatus.state ?? OPERATION_PENDING;

export const isPending = (record: OperationRecord): boolean => stateOf(record) === OPERATION_PENDING;

/** Whether its framework is to hear of it: it gave it an id, and is there. */
export function isHeardOf(state: State, record: OperationRecord): boolean {
  return operationIdOf(record) !== '' && findLiveFramework(state, record.frameworkId) !== undefined;
}

export const operationEvent = (status: Status): SchedulerEvent => ({
  event: { type: EventType.UPDATE_OPERATION_STATUS, updateOperationStatus: { status } },
});

/** A word of the master about an operation: nobody acknowledges it. */
export function masterWord(record: OperationRecord, state: mesos.v1.OperationState, message: string): Status {
  return { operationId: { value: operationIdOf(record) }, state, message, agentId: { value: record.agentId } };
}

/** Tells frameworks of their operations on an agent, once everything recorded so far is committed. */
export function tellOperations(
  turn: Turn,
  agent: AgentEntry,
  state: mesos.v1.OperationState,
  message: string,
  isMeant: (record: OperationRecord) => boolean = () => true,
): void {
  for (const record of agent.operations.values()) {
    if (!isHeardOf(turn.state, record) || !isMeant(record)) continue;
    turn.tell(record.frameworkId, [operationEvent(masterWord(record, state, message))], 'committed');
  }
}

/** What the framework has yet to acknowledge, as it was said before. */
export function unacknowledgedOperations({ ledger }: State, frameworkId: string): SchedulerEvent[] {
  const operations = ledger.frameworks.get(frameworkId)?.operations.values() ?? [];
  return [...operations].flatMap((record) => {
    const status = record.operation?.latestStatus;
    return status?.uuid ? [operationEvent(status)] : [];
  });
}

export const operationRemoved = ({ agentId, commandNumber }: OperationRecord): mesobus.v1.Record.$Properties => ({
  operation: { agentId, commandNumber, removed: true },
});

// ---- what an agent has

/**
 * The reservations and volumes of an agent: what it says that it has, with all commands up to its cursor applied, and what
 * operations above that will make of it. At or below its cursor the agent knows best, above it the log does.
 */
export function decidedResources(
  operations: AgentEntry['operations'],
  configured: Resources,
  said: { readonly checkpointed: Resources; readonly cursor: number },
): Resources {
  let total = withCheckpointed(configured, said.checkpointed);
  const numbers = [...operations.keys()].filter((number) => number > said.cursor).sort((a, b) => a - b);
  for (const number of numbers) {
    const record = operations.get(number) as OperationRecord;
    const isDecided = isPending(record) || stateOf(record) === OPERATION_FINISHED;
    if (isDecided) total = exchange(total, fromWire(record.consumed), fromWire(record.converted)) ?? total;
  }
  return checkpointedIn(total);
}

/** The record that sets right what the ledger says an agent has; none if it is right. */
export function resourcesSetRight(
  agent: AgentEntry,
  said: { readonly checkpointed: Resources; readonly cursor: number },
): Records {
  const configured = fromWire(agent.record.info?.resources ?? []);
  const decided = decidedResources(agent.operations, configured, said);
  return equals(decided, fromWire(agent.record.checkpointedResources)) ? [] : [resourcesRecord(agent, decided)];
}

/** Commits what was found of an agent's operations; offers of what it has no more are void. */
export function commitOperations(turn: Turn, agent: AgentEntry, records: Records): void {
  const before = agent.total;
  turn.transaction(records);
  if (agent.total === before || equals(agent.total, before)) return;
  rescindOffers(turn, turn.state.agents.get(agent.id)?.offers ?? [], 'rescinded');
}
