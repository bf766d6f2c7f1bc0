import { mesos } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import { agentChanged } from './feed.ts';
import { rescindOffers } from './offers.ts';
import { failureEvent, masterStatus, type Reason, stateFor, updateEvent } from './statuses.ts';
import type { Turn } from './turn.ts';

const { TASK_GONE } = mesos.v1.TaskState;
const { REASON_AGENT_REMOVED } = mesos.v1.TaskStatus.Reason;

/** An agent id is over: its tasks have ended, its offers are void, every framework hears of it. */
export function endAgent(turn: Turn, agent: AgentEntry, why: string): void {
  const { state } = turn;
  closeAgent(turn, agent, why);
  turn.commit([{ agentRemoved: { agentId: agent.id, removedAtMs: turn.at } }]);
  state.agents.delete(agent.id);
  agentChanged(state, agent.id);
}

/** As {@link endAgent}, but the removal of the agent itself is the caller's to record. */
export function closeAgent(turn: Turn, agent: AgentEntry, why: string): void {
  const { state } = turn;
  rescindOffers(turn, state.agents.get(agent.id)?.offers ?? [], 'rescinded');
  const lost = [...agent.tasks].filter((task) => !isTerminal(task.state));
  endTasks(turn, lost, { reason: REASON_AGENT_REMOVED, message: `The agent was removed: ${why}` });
  for (const frameworkId of state.frameworks.keys()) turn.tell(frameworkId, [failureEvent(agent.id)], 'committed');
  turn.log('info', 'agent removed', { agent: agent.id, name: agent.record.agentName, why });
}

/**
 * Tasks that the master finds to have ended. Their updates carry no uuid: nobody has to acknowledge them. They are told
 * once they are committed.
 */
export function endTasks(turn: Turn, tasks: readonly TaskEntry[], about: { reason: Reason; message: string }): void {
  const ends = tasks.map((task) => {
    const { frameworkId, taskId, agentId, commandNumber, updateNumber, launched } = task;
    const state = stateFor(turn.state.ledger.frameworks.get(frameworkId), TASK_GONE);
    const status = masterStatus({ taskId, state, agentId, ...about }, turn.at);
    const change = { commandNumber, state, status, updateNumber, acknowledgedNumber: updateNumber };
    const record = { taskChanged: { task: { frameworkId, taskId }, ...change, changedAtMs: turn.at } };
    return { frameworkId, record, status, traceparent: launched.traceparent };
  });
  turn.commit(ends.map(({ record }) => record));
  for (const { frameworkId, status, traceparent } of ends) {
    turn.tell(frameworkId, [updateEvent(status, traceparent)], 'committed');
  }
}
