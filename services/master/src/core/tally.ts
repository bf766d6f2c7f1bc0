import { mesobus, mesos } from '@mesobus/protos';
import { isTerminal } from '@mesobus/registry/core';
import type { Input, RecordProperties } from './messages.ts';
import type { State } from './state.ts';

const { ADMITTED, UNREACHABLE, GONE } = mesobus.v1.AgentRecord.Lifecycle;
const { TaskState } = mesos.v1;
const { Source, Reason } = mesos.v1.TaskStatus;

/** How often something has happened since this leadership began: what metrics say as counters. */
export interface Tally {
  /** Tasks that have ended, or were marked unreachable, by `<state> <source> <reason>`, as Mesos writes them in metrics. */
  readonly tasks: Map<string, number>;
  /** Agents, by what became of them. */
  readonly agents: { registrations: number; reregistrations: number; unreachable: number; removals: number };
  /** What has come, by Mesos' names of its messages. */
  readonly messages: Map<string, number>;
  readonly validStatusUpdates: { count: number };
  readonly invalidStatusUpdates: { count: number };
  readonly validAcknowledgements: { count: number };
  readonly invalidAcknowledgements: { count: number };
}

export const createTally = (): Tally => ({
  tasks: new Map(),
  agents: { registrations: 0, reregistrations: 0, unreachable: 0, removals: 0 },
  messages: new Map(),
  validStatusUpdates: { count: 0 },
  invalidStatusUpdates: { count: 0 },
  validAcknowledgements: { count: 0 },
  invalidAcknowledgements: { count: 0 },
});

/** Counts what a record changes. To be called before it is applied. */
export function countRecord({ tally, ledger }: State, { taskChanged, agent, agentRemoved }: RecordProperties): void {
  if (taskChanged?.task) {
    const { task, state, status } = taskChanged;
    if (!isTerminal(state) && state !== TaskState.TASK_UNREACHABLE) return;
    const before = ledger.frameworks.get(task.frameworkId)?.tasks.get(task.taskId);
    if (before === undefined || before.state === state || isTerminal(before.state)) return;
    const source = wordOf(Source[status?.source ?? -1], 'SOURCE_');
    const reason = status && Object.hasOwn(status, 'reason') ? wordOf(Reason[status.reason], 'REASON_') : '';
    const key = `${wordOf(TaskState[state], 'TASK_')} ${source} ${reason}`;
    tally.tasks.set(key, (tally.tasks.get(key) ?? 0) + 1);
  } else if (agent) {
    const before = ledger.agents.get(agent.agentId)?.record;
    if (before === undefined) tally.agents.registrations += 1;
    else if (agent.lifecycle === UNREACHABLE && before.lifecycle !== UNREACHABLE) tally.agents.unreachable += 1;
    else if (agent.lifecycle === GONE && before.lifecycle !== GONE) tally.agents.removals += 1;
    else if (agent.lifecycle === ADMITTED && agent.reregisteredAtMs > before.reregisteredAtMs)
      tally.agents.reregistrations += 1;
  } else if (agentRemoved) tally.agents.removals += 1;
}

const { Type } = mesos.v1.scheduler.Call;
/** Calls of schedulers that Mesos' metrics call otherwise than its API does. */
const mesosNames: Readonly<Record<number, string>> = {
  [Type.SUBSCRIBE]: 'register_framework',
  [Type.TEARDOWN]: 'unregister_framework',
  [Type.ACCEPT]: 'launch_tasks',
  [Type.DECLINE]: 'decline_offers',
  [Type.REVIVE]: 'revive_offers',
  [Type.SUPPRESS]: 'suppress_offers',
  [Type.KILL]: 'kill_task',
  [Type.ACKNOWLEDGE]: 'status_update_acknowledgement',
  [Type.ACKNOWLEDGE_OPERATION_STATUS]: 'operation_status_update_acknowledgement',
  [Type.RECONCILE]: 'reconcile_tasks',
  [Type.MESSAGE]: 'framework_to_executor',
  [Type.REQUEST]: 'resource_request',
};

/** Counts what comes from others. */
export function countMessage({ tally: { messages } }: State, input: Input): void {
  const kind = kindOf(input);
  if (kind !== '') messages.set(kind, (messages.get(kind) ?? 0) + 1);
}

function kindOf(input: Input): string {
  if (input.kind === 'heartbeat') return 'heartbeat';
  if (input.kind === 'operator_call') return 'operator_call';
  if (input.kind === 'allocator_request') return 'allocator_request';
  if (input.kind === 'agent_request') {
    const { register, agentId, taskUpdates, operationUpdates, executorExits, unregister } = input.request;
    if (register) return agentId === '' ? 'register_slave' : 'reregister_slave';
    if (taskUpdates) return 'status_update';
    if (operationUpdates) return 'operation_status_update';
    if (executorExits) return 'exited_executor';
    return unregister ? 'unregister_slave' : 'update_slave';
  }
  if (input.kind !== 'scheduler_call') return '';
  const { call } = input.call;
  if (call === null) return 'mesobus_call';
  if (call.subscribe?.frameworkInfo.id?.value) return 'reregister_framework';
  return mesosNames[call.type] ?? (Type[call.type] ?? 'unknown').toLowerCase();
}

const wordOf = (name: string | undefined, prefix: string): string =>
  (name ?? '').slice((name ?? '').startsWith(prefix) ? prefix.length : 0).toLowerCase();
