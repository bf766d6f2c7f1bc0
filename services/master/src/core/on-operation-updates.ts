import { encode, type mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, operationIdOf } from '@mesobus/registry/core';
import { fromWire, type Resources } from '@mesobus/sdk/resources';
import type { AgentTurn } from './agent-turn.ts';
import type { CallTurn } from './call-turn.ts';
import { sendLoose } from './commands.ts';
import { agentChanged } from './feed.ts';
import { equalBytes } from './on-acknowledge.ts';
import {
  commitOperations,
  findOperation,
  isHeardOf,
  isPending,
  type OperationRecord,
  operationEvent,
  operationRemoved,
  resourcesSetRight,
} from './operations.ts';
import { rescindAboveLimits } from './rescind-for-quotas.ts';
import type { AgentLink } from './state.ts';
import type { Turn } from './turn.ts';

const { OperationState } = mesos.v1;

type Update = mesobus.v1.OperationUpdate;
type Records = mesobus.v1.Record.$Properties[];

const maxStatusBytes = 64 * 1024;
const maxMessageLength = 4_096;

/**
 * An agent says what came of operations. They hold since they were decided: what was done changes nothing more; of what was
 * not done, nothing that it was to make is there, and the agent says what it has instead.
 */
export function onOperationUpdates(
  turn: AgentTurn,
  agent: AgentEntry,
  link: AgentLink,
  message: mesobus.v1.OperationUpdates,
): void {
  const records: Records = [];
  const unknown: Update[] = [];
  for (const update of message.updates) {
    const record = findOperation(agent, update.operationUuid);
    if (record === undefined) unknown.push(update);
    else records.push(...take(turn, record, update));
  }
  const checkpointed = readResources(message);
  if (checkpointed !== undefined && message.cursor >= link.resourcesCursor) {
    link.resourcesCursor = message.cursor;
    const setRight = resourcesSetRight(agent, { checkpointed, cursor: message.cursor });
    if (setRight.length > 0) {
      const text = message.updates.map(({ status }) => status?.message ?? '').find((said) => said !== '') ?? '';
      turn.log('warn', 'an agent has other reservations and volumes than were decided', { agent: agent.id, why: text });
      agentChanged(turn.state, agent.id);
    }
    records.push(...setRight);
  }
  commitOperations(turn, agent, records);
  rescindAboveLimits(turn, agent);
  // Nobody waits for them. Only a leader that still leads may say so: another may know them.
  relay(turn, link, unknown, 'barrier');
  turn.answer('committed', { taken: {} });
}

function readResources({ checkpointedResources }: mesobus.v1.OperationUpdates): Resources | undefined {
  try {
    return fromWire(checkpointedResources);
  } catch {
    return undefined;
  }
}

/** @returns what is to be recorded of it */
function take(turn: AgentTurn, record: OperationRecord, { status }: Update): Records {
  const { state } = turn;
  if (!status || !isOver(status.state)) {
    turn.log('warn', 'an update of an operation is malformed and dropped', { agent: record.agentId });
    return [];
  }
  if (status.state !== OperationState.OPERATION_FINISHED && isPending(record)) {
    const { agentId: agent, principal } = record;
    const fields = { agent, principal, state: OperationState[status.state] ?? '', why: status.message };
    turn.log('warn', 'an operation was not carried out', fields);
  }
  if (!isHeardOf(state, record)) return [operationRemoved(record)];
  if (status.uuid === null) return [];
  const told = statusOf(record, status);
  turn.tell(record.frameworkId, [{ ...operationEvent(told), traceparent: record.traceparent }]);
  const before = record.operation?.latestStatus.uuid?.value;
  if (before && equalBytes(before, status.uuid.value)) return [];
  const operation = { ...record.operation, latestStatus: told, statuses: [told] } as mesos.v1.Operation;
  return [{ operation: { ...record, operation } }];
}

function isOver(state: mesos.v1.OperationState): boolean {
  const { OPERATION_FINISHED, OPERATION_FAILED, OPERATION_ERROR, OPERATION_DROPPED, OPERATION_UNSUPPORTED } =
    OperationState;
  const over = [OPERATION_FINISHED, OPERATION_FAILED, OPERATION_ERROR, OPERATION_DROPPED, OPERATION_UNSUPPORTED];
  return over.some((one) => one === state);
}

/** As its framework is told, and the log keeps it. */
function statusOf(record: OperationRecord, status: mesos.v1.OperationStatus): mesos.v1.OperationStatus {
  const { state, message, uuid, convertedResources } = status;
  const isSmall = encode(mesos.v1.OperationStatus, status).length <= maxStatusBytes;
  return new mesos.v1.OperationStatus({
    operationId: new mesos.v1.OperationID({ value: operationIdOf(record) }),
    // Agents of before operations say so; the states that frameworks know do not have that.
    state: state === OperationState.OPERATION_UNSUPPORTED ? OperationState.OPERATION_DROPPED : state,
    message: message.slice(0, maxMessageLength),
    uuid,
    agentId: new mesos.v1.AgentID({ value: record.agentId }),
    convertedResources: isSmall ? convertedResources : [],
  } as mesos.v1.OperationStatus);
}

function relay(turn: Turn, link: AgentLink, updates: readonly Update[], when: 'committed' | 'barrier'): void {
  const commands = updates.map(({ operationUuid, status }) => ({
    number: 0,
    acknowledgeOperationUpdate: { operationUuid, statusUuid: status?.uuid?.value ?? new Uint8Array() },
  }));
  sendLoose(turn, link, commands, when);
}

/** A framework has taken in what came of an operation. Its agent hears of that once it is committed. */
export function onAcknowledgeOperation(
  turn: CallTurn,
  { operationId, uuid }: mesos.v1.scheduler.Call.AcknowledgeOperationStatus,
): void {
  const record = turn.framework.operations.get(operationId.value);
  const said = record?.operation?.latestStatus.uuid?.value;
  if (record === undefined || said === undefined || !equalBytes(said, uuid)) {
    const fields = { framework: turn.framework.id, operation: operationId.value };
    turn.log('debug', 'an acknowledgement fits no operation that waits for one', fields);
    turn.accept('barrier', false);
    return;
  }
  turn.commit([operationRemoved(record)], 'riding');
  turn.accept('barrier', true);
  acknowledgeToAgent(turn, record);
}

/** The agent need not say again what came of an operation. */
export function acknowledgeToAgent(turn: Turn, record: OperationRecord): void {
  const link = turn.state.agents.get(record.agentId);
  const { operationUuid, operation } = record;
  const statusUuid = operation?.latestStatus.uuid?.value ?? new Uint8Array();
  const command = { number: 0, acknowledgeOperationUpdate: { operationUuid, statusUuid } };
  if (link !== undefined) sendLoose(turn, link, [command], 'committed');
}
