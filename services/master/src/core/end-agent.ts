import { mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import { agentRecord } from './agents.ts';
import { sendLoose } from './commands.ts';
import { executorsEnded } from './executors.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework, isPartitionAware } from './frameworks.ts';
import { rescindOffers } from './offers.ts';
import { trimCompleted } from './on-acknowledge.ts';
import { operationRemoved, tellOperations } from './operations.ts';
import { failureEvent, latestStatus, masterStatus, type Reason, type TaskWord, tellStatuses } from './statuses.ts';
import type { Turn } from './turn.ts';

const { TASK_GONE, TASK_GONE_BY_OPERATOR, TASK_LOST } = mesos.v1.TaskState;
const { OPERATION_GONE_BY_OPERATOR } = mesos.v1.OperationState;
const { REASON_AGENT_REMOVED, REASON_AGENT_REMOVED_BY_OPERATOR } = mesos.v1.TaskStatus.Reason;
const { GONE } = mesobus.v1.AgentRecord.Lifecycle;

type Records = readonly mesobus.v1.Record.$Properties[];

/** Why tasks have ended, as the master finds. */
export interface Ending {
  readonly state: mesos.v1.TaskState;
  readonly reason: Reason;
  /** What frameworks that are not partition-aware are told instead, with TASK_LOST. */
  readonly reasonOfLost?: Reason;
  readonly message: string;
}

/** An agent id is over: its tasks have ended, its offers are void, every framework hears of it. */
export function endAgent(turn: Turn, agent: AgentEntry, why: string): void {
  retireAgent(turn, agent, why, [agentRemoved(turn, agent)]);
}

export const agentRemoved = (turn: Turn, { id }: AgentEntry): mesobus.v1.Record.$Properties => ({
  agentRemoved: { agentId: id, removedAtMs: turn.at },
});

/** As {@link endAgent}, with the records that remove it: they come last, as far as possible in the same entry. */
export function retireAgent(turn: Turn, agent: AgentEntry, why: string, records: Records): void {
  const ending = { state: TASK_GONE, reason: REASON_AGENT_REMOVED, message: `The agent was removed: ${why}` };
  closeAgent(turn, agent, ending, records);
  turn.log('info', 'agent removed', { agent: agent.id, name: agent.record.agentName, why });
}

/** An operator says that an agent will not come back. Its id is remembered, and refused for good. */
export function markGone(turn: Turn, agent: AgentEntry, why: string): void {
  const { state, at } = turn;
  const ending = {
    state: TASK_GONE_BY_OPERATOR,
    reason: REASON_AGENT_REMOVED_BY_OPERATOR,
    reasonOfLost: REASON_AGENT_REMOVED,
    message: `The agent is gone: ${why}`,
  };
  const link = state.agents.get(agent.id);
  const { drain } = agent.record;
  const record = agentRecord(agent, { lifecycle: GONE, goneAtMs: at, deactivated: true, drained: !!drain });
  state.goneKeys.set(record.registrationKey, agent.id);
  closeAgent(turn, agent, ending, [{ agent: record }]);
  if (link !== undefined) {
    sendLoose(turn, link, [{ number: 0, shutdownAgent: { message: `it was marked gone: ${why}` } }], 'committed');
  }
  turn.log('info', 'agent gone', { agent: agent.id, name: agent.record.agentName, why });
}

function closeAgent(turn: Turn, agent: AgentEntry, ending: Ending, records: Records): void {
  const { state } = turn;
  rescindOffers(turn, state.agents.get(agent.id)?.offers ?? [], 'rescinded');
  tellOperations(turn, agent, OPERATION_GONE_BY_OPERATOR, ending.message);
  const over = [...[...agent.operations.values()].map(operationRemoved), ...executorsEnded(agent)];
  const open = [...agent.tasks].filter((task) => findLiveFramework(state, task.frameworkId) && isOpen(task));
  endTasks(turn, open, ending, { after: [...over, ...records] });
  tellEndsAgain(turn, agent);
  tellAgentLost(turn, agent);
  for (const set of [state.agents, state.recovered, state.draining, state.machines.agents]) set.delete(agent.id);
  state.filters.liftOn(agent.id);
  agentChanged(state, agent.id);
}

/** It lives, or the agent told that it ended ahead of the update that says so, which will not come any more. */
const isOpen = ({ state, status }: TaskEntry): boolean =>
  !isTerminal(state) || (status !== undefined && !isTerminal(status.state));

/**
 * Ends that wait for acknowledgement are told once more, from the log: their agent repeats them no more. The updates before
 * them need not be acknowledged, so that an acknowledgement of the end is good in whatever order they come.
 */
function tellEndsAgain(turn: Turn, agent: AgentEntry): void {
  const words: TaskWord[] = [];
  for (const task of agent.tasks) {
    const link = turn.state.frameworks.get(task.frameworkId);
    if (!link?.ended.has(task) || !task.status) continue;
    link.pending.delete(task.taskId);
    words.push({ task, status: task.status });
  }
  tellStatuses(turn, words);
}

/** Every framework that is connected hears that an agent is not there any more. */
export function tellAgentLost(turn: Turn, agent: AgentEntry): void {
  for (const frameworkId of turn.state.frameworks.keys()) {
    turn.tell(frameworkId, [failureEvent(agent.id)], 'committed');
  }
}

/**
 * Tasks that the master finds to have ended. Their updates carry no uuid: nobody has to acknowledge them. They are told
 * once they are committed.
 *
 * @param beside - committed in front of them and behind them, as far as possible in one transaction
 */
export function endTasks(
  turn: Turn,
  tasks: readonly TaskEntry[],
  ending: Ending,
  beside: { readonly before?: Records; readonly after?: Records },
): void {
  const words = tasks.map((task) => ({ task, status: endStatus(turn, task, ending) }));
  const ends = words.map((word) => ({ taskChanged: endChange(word, turn.at) }));
  turn.commit([...(beside.before ?? []), ...ends, ...(beside.after ?? [])]);
  tellStatuses(turn, words);
  for (const [frameworkId, own] of Map.groupBy(tasks, (task) => task.frameworkId)) {
    const link = turn.state.frameworks.get(frameworkId);
    for (const task of own) {
      link?.ended.delete(task);
      link?.pending.delete(task.taskId); // nothing is to follow what was told now
    }
    const framework = turn.state.ledger.frameworks.get(frameworkId);
    if (framework !== undefined) trimCompleted(turn, framework);
  }
}

function endStatus(turn: Turn, task: TaskEntry, ending: Ending): mesos.v1.TaskStatus {
  const { frameworkId, taskId, agentId } = task;
  const { message } = ending;
  const framework = turn.state.ledger.frameworks.get(frameworkId);
  if (framework !== undefined && isTerminal(task.state)) return latestStatus(framework, task, turn.at);
  const aware = isPartitionAware(framework);
  const reason = aware ? ending.reason : (ending.reasonOfLost ?? ending.reason);
  return masterStatus({ taskId, state: aware ? ending.state : TASK_LOST, agentId, reason, message }, turn.at);
}

function endChange({ task, status }: TaskWord, at: number): mesobus.v1.TaskChanged.$Properties {
  const { frameworkId, taskId, commandNumber, updateNumber } = task;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber: updateNumber };
  return { task: { frameworkId, taskId }, ...numbers, state: status.state, status, changedAtMs: at };
}
