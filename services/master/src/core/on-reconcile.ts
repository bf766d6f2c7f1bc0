import { mesobus, mesos } from '@mesobus/protos';
import type { CallTurn } from './call-turn.ts';
import type { SchedulerEvent } from './messages.ts';
import type { State } from './state.ts';
import { latestStatus, type MasterStatus, masterStatus, stateFor, updateEvent } from './statuses.ts';

const { TaskState, OperationState } = mesos.v1;
const { REASON_RECONCILIATION } = mesos.v1.TaskStatus.Reason;
const { UNREACHABLE, GONE } = mesobus.v1.AgentRecord.Lifecycle;
const EventType = mesos.v1.scheduler.Event.Type;

/** A framework asks how its tasks are: those it names, or (none named) all that it has. */
export function onReconcile(turn: CallTurn, { tasks }: mesos.v1.scheduler.Call.Reconcile): void {
  const { framework } = turn;
  const statuses =
    tasks.length > 0
      ? tasks.map(({ taskId, agentId }) => answerAbout(turn, taskId.value, agentId?.value ?? ''))
      : [...framework.tasks.values()]
          .filter((task) => !framework.completed.has(task) && task.state !== TaskState.TASK_UNREACHABLE)
          .map((task) => latestStatus(framework, task, turn.at));
  const known = statuses.filter((status) => status !== undefined);
  const events = known.map((status) => updateEvent(status));
  // A deposed leader must not say that a task is gone of which it has never heard.
  turn.tell(framework.id, events, 'barrier');
  turn.accept('barrier', false);
}

/**
 * What is known of a task. The log knows every task that was ever launched and is not long done. Of another nothing is
 * said, as in Mesos, while the agent that may have it has not registered with this leader.
 */
export function answerAbout(turn: CallTurn, taskId: string, agentId: string): mesos.v1.TaskStatus | undefined {
  const { framework, state, at } = turn;
  const task = framework.tasks.get(taskId);
  if (task !== undefined) return latestStatus(framework, task, at);
  if (agentId === '' ? state.recovered.size > 0 : state.recovered.has(agentId)) return undefined;
  const agent = state.ledger.agents.get(agentId)?.record;
  const status = (what: Omit<MasterStatus, 'taskId' | 'reason' | 'agentId'>): mesos.v1.TaskStatus =>
    masterStatus(
      { ...what, state: stateFor(framework, what.state), taskId, agentId, reason: REASON_RECONCILIATION },
      at,
    );
  if (agent === undefined) {
    return status({ state: TaskState.TASK_UNKNOWN, message: 'Reconciliation: task is unknown' });
  }
  if (agent.lifecycle === GONE) {
    const message = 'Reconciliation: task is unknown, its agent is gone';
    return status({ state: TaskState.TASK_GONE_BY_OPERATOR, message });
  }
  if (agent.lifecycle === UNREACHABLE) {
    const message = 'Reconciliation: task is unknown, its agent is unreachable';
    return status({ state: TaskState.TASK_UNREACHABLE, message, unreachableAtMs: agent.unreachableAtMs });
  }
  return status({ state: TaskState.TASK_GONE, message: 'Reconciliation: task is unknown to its agent' });
}

/** A framework asks how its operations are. */
export function onReconcileOperations(turn: CallTurn, asked: mesos.v1.scheduler.Call.ReconcileOperations): void {
  const { framework, state } = turn;
  const events = asked.operations.map(({ operationId, agentId }): SchedulerEvent => {
    const status = {
      operationId: { value: operationId.value },
      state: operationStateOn(state, agentId?.value ?? ''),
      message: 'Reconciliation: operation is unknown',
      ...(agentId && { agentId: { value: agentId.value } }),
    };
    return { event: { type: EventType.UPDATE_OPERATION_STATUS, updateOperationStatus: { status } } };
  });
  turn.tell(framework.id, events, 'barrier');
  turn.accept('barrier', false);
}

function operationStateOn({ ledger, recovered }: State, agentId: string): mesos.v1.OperationState {
  if (recovered.has(agentId)) return OperationState.OPERATION_RECOVERING;
  const lifecycle = ledger.agents.get(agentId)?.record.lifecycle;
  if (lifecycle === UNREACHABLE) return OperationState.OPERATION_UNREACHABLE;
  return lifecycle === GONE ? OperationState.OPERATION_GONE_BY_OPERATOR : OperationState.OPERATION_UNKNOWN;
}
