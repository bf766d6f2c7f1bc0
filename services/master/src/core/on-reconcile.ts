import { mesobus, mesos } from '@mesobus/protos';
import type { CallTurn } from './call-turn.ts';
import { findLiveFramework } from './frameworks.ts';
import type { TaskAnswer } from './messages.ts';
import { masterWord, type OperationRecord, operationEvent, stateOf } from './operations.ts';
import type { State } from './state.ts';
import { latestStatus, type MasterStatus, masterStatus, stateFor, updateEvent } from './statuses.ts';
import type { Turn } from './turn.ts';

const { TaskState, OperationState } = mesos.v1;
const { REASON_RECONCILIATION } = mesos.v1.TaskStatus.Reason;
const { UNREACHABLE, GONE } = mesobus.v1.AgentRecord.Lifecycle;

/** A framework asks how its tasks are: those it names, or (none named) all that it has. */
export function onReconcile(turn: CallTurn, { tasks }: mesos.v1.scheduler.Call.Reconcile): void {
  const { framework } = turn;
  const answers =
    tasks.length > 0
      ? tasks.map(({ taskId, agentId }) => answerAbout(turn, taskId.value, agentId?.value ?? ''))
      : [...framework.tasks.values()]
          .filter((task) => !framework.completed.has(task) && task.state !== TaskState.TASK_UNREACHABLE)
          .map((task): TaskAnswer => ({ status: latestStatus(framework, task, turn.at), state: task.state }));
  tellAnswers(turn, answers);
  turn.accept('barrier', false);
}

/** Answers once it is sure who leads: a deposed leader must not say that a task is gone of which it has never heard. */
export function tellAnswers(turn: CallTurn, all: readonly (TaskAnswer | undefined)[], traceparent = ''): void {
  const answers = all.filter((answer) => answer !== undefined);
  const input = { kind: 'answers_confirmed', frameworkId: turn.framework.id, answers, traceparent } as const;
  turn.emit({ kind: 'committed', when: 'barrier', input });
}

/** What a task has come to since was told by itself, and may be its end: an older word must not come after it. */
export function onAnswersConfirmed(
  turn: Turn,
  frameworkId: string,
  answers: readonly TaskAnswer[],
  traceparent: string,
): void {
  const tasks = findLiveFramework(turn.state, frameworkId)?.tasks;
  const current = answers.filter(({ status, state }) => tasks?.get(status.taskId.value)?.state === state);
  const events = current.map(({ status }) => updateEvent(status, traceparent));
  turn.tell(frameworkId, events);
}

/**
 * What is known of a task. The log knows every task that was ever launched and is not long done. Of another nothing is
 * said, as in Mesos, while the agent that may have it has not registered with this leader.
 */
export function answerAbout(turn: CallTurn, taskId: string, agentId: string): TaskAnswer | undefined {
  const { framework, state, at } = turn;
  const task = framework.tasks.get(taskId);
  if (task !== undefined) return { status: latestStatus(framework, task, at), state: task.state };
  if (agentId === '' ? state.recovered.size > 0 : state.recovered.has(agentId)) return undefined;
  const agent = state.ledger.agents.get(agentId)?.record;
  const unknown = (what: Omit<MasterStatus, 'taskId' | 'reason' | 'agentId'>): TaskAnswer => {
    const told = { ...what, state: stateFor(framework, what.state), taskId, agentId, reason: REASON_RECONCILIATION };
    return { status: masterStatus(told, at), state: undefined };
  };
  if (agent === undefined) {
    return unknown({ state: TaskState.TASK_UNKNOWN, message: 'Reconciliation: task is unknown' });
  }
  if (agent.lifecycle === GONE) {
    const message = 'Reconciliation: task is unknown, its agent is gone';
    return unknown({ state: TaskState.TASK_GONE_BY_OPERATOR, message });
  }
  if (agent.lifecycle === UNREACHABLE) {
    const message = 'Reconciliation: task is unknown, its agent is unreachable';
    return unknown({ state: TaskState.TASK_UNREACHABLE, message, unreachableAtMs: agent.unreachableAtMs });
  }
  return unknown({ state: TaskState.TASK_GONE, message: 'Reconciliation: task is unknown to its agent' });
}

/** A framework asks how its operations are: those it names, or (none named) all that it has yet to acknowledge. */
export function onReconcileOperations(turn: CallTurn, asked: mesos.v1.scheduler.Call.ReconcileOperations): void {
  const { framework, state } = turn;
  const words =
    asked.operations.length === 0
      ? [...framework.operations.values()].map((record) => latestWord(state, record))
      : asked.operations.map(({ operationId, agentId }) => {
          const record = framework.operations.get(operationId.value);
          return record ? latestWord(state, record) : unknownWord(state, operationId.value, agentId?.value ?? '');
        });
  turn.tell(framework.id, words.map(operationEvent), 'barrier');
  turn.accept('barrier', false);
}

/** The latest that is known of an operation. Without a uuid: nobody acknowledges it. */
function latestWord({ ledger }: State, record: OperationRecord): mesos.v1.OperationStatus.$Properties {
  const isAway = ledger.agents.get(record.agentId)?.record.lifecycle === UNREACHABLE;
  const known = stateOf(record);
  const isUnreachable = isAway && known === OperationState.OPERATION_PENDING;
  const message = record.operation?.latestStatus.message || 'Reconciliation: latest operation state';
  return {
    ...masterWord(record, isUnreachable ? OperationState.OPERATION_UNREACHABLE : known, message),
    convertedResources: record.operation?.latestStatus.convertedResources ?? [],
  };
}

function unknownWord(state: State, operationId: string, agentId: string): mesos.v1.OperationStatus.$Properties {
  return {
    operationId: { value: operationId },
    state: operationStateOn(state, agentId),
    message: 'Reconciliation: operation is unknown',
    ...(agentId !== '' && { agentId: { value: agentId } }),
  };
}

function operationStateOn({ ledger, recovered }: State, agentId: string): mesos.v1.OperationState {
  if (recovered.has(agentId)) return OperationState.OPERATION_RECOVERING;
  const lifecycle = ledger.agents.get(agentId)?.record.lifecycle;
  if (lifecycle === UNREACHABLE) return OperationState.OPERATION_UNREACHABLE;
  return lifecycle === GONE ? OperationState.OPERATION_GONE_BY_OPERATOR : OperationState.OPERATION_UNKNOWN;
}
