import { mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import { agentLinkOf, agentRecord } from './agents.ts';
import { announceCommands, commandIssued, decideEnd } from './commands.ts';
import { tellAgentLost } from './end-agent.ts';
import { executorsEnded } from './executors.ts';
import { agentChanged } from './feed.ts';
import { isPending, tellOperations } from './operations.ts';
import type { AgentLink } from './state.ts';
import { masterStatus, stateFor, tellStatuses } from './statuses.ts';
import type { Turn } from './turn.ts';

const { UNREACHABLE } = mesobus.v1.AgentRecord.Lifecycle;
const { TASK_UNREACHABLE, TASK_STAGING, TASK_DROPPED } = mesos.v1.TaskState;
const { OPERATION_UNREACHABLE } = mesos.v1.OperationState;
const { REASON_AGENT_REMOVED } = mesos.v1.TaskStatus.Reason;

/**
 * An agent is out of reach: its tasks are too, and their resources leave the books. Launches that it has not confirmed
 * are closed: should it come back, it gets a kill in their place and reports them as dropped, or after them if it has them
 * after all.
 *
 * The record of the agent comes last: should the log end within, the agent counts as admitted, and both its return and
 * the next mark set right what was said of its tasks.
 */
export function markUnreachable(turn: Turn, agent: AgentEntry, why: string): void {
  const { state, at } = turn;
  const link = agentLinkOf(state, agent);
  link.connected = false;
  link.registered = false;
  state.recovered.delete(agent.id);
  const live = [...agent.tasks].filter((task) => !isTerminal(task.state) && task.state !== TASK_UNREACHABLE);
  turn.commit([
    ...closeUnconfirmed(turn, agent, link, live),
    ...live.map((task) => ({ taskChanged: unreachableChange(task, at) })),
    ...executorsEnded(agent),
    { agent: agentRecord(agent, { lifecycle: UNREACHABLE, unreachableAtMs: at }) },
  ]);
  announceCommands(turn, agent, link);
  const words = live.map((task) => ({ task, status: unreachableStatus(turn, task, why) }));
  tellStatuses(turn, words);
  // What came of those that it has done is said again when it is back; it may be what came of the others.
  tellOperations(turn, agent, OPERATION_UNREACHABLE, `The agent is unreachable: ${why}`, isPending);
  tellAgentLost(turn, agent);
  agentChanged(state, agent.id);
  turn.log('warn', 'agent unreachable', { agent: agent.id, name: agent.record.agentName, why, tasks: live.length });
}

/** A task that has said something was started, whatever is known of the cursor. */
function closeUnconfirmed(
  turn: Turn,
  agent: AgentEntry,
  link: AgentLink,
  live: readonly TaskEntry[],
): mesobus.v1.Record.$Properties[] {
  const started = new Set(live.filter(({ state }) => state !== TASK_STAGING).map(({ commandNumber }) => commandNumber));
  const unconfirmed = live.filter(
    ({ commandNumber, killIssued }) => commandNumber > link.cursor && !started.has(commandNumber) && !killIssued,
  );
  return unconfirmed.map((task, index) => {
    const { frameworkId, taskId } = task;
    const number = agent.lastCommand + 1 + index;
    decideEnd(turn.state, task, number, 0n);
    const killTask = { task: { frameworkId, taskId }, unlaunched: unlaunched(turn, task) };
    return commandIssued(agent, { number, killTask }, turn.at);
  });
}

/** Nobody wanted it killed: it was never carried out. */
function unlaunched({ state }: Turn, { frameworkId }: TaskEntry): mesobus.v1.Unlaunched.$Properties {
  const told = stateFor(state.ledger.frameworks.get(frameworkId), TASK_DROPPED);
  const message = 'The agent became unreachable before it had the launch';
  return { state: told, reason: REASON_AGENT_REMOVED, message };
}

/** The status stays the agent's own: its uuid is still to be acknowledged. */
function unreachableChange(task: TaskEntry, at: number): mesobus.v1.TaskChanged.$Properties {
  const { frameworkId, taskId, commandNumber, updateNumber, acknowledgedNumber } = task;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber };
  return { task: { frameworkId, taskId }, ...numbers, state: TASK_UNREACHABLE, changedAtMs: at };
}

function unreachableStatus({ state, at }: Turn, task: TaskEntry, why: string): mesos.v1.TaskStatus {
  const { frameworkId, taskId, agentId } = task;
  const told = stateFor(state.ledger.frameworks.get(frameworkId), TASK_UNREACHABLE);
  const message = `The agent is unreachable: ${why}`;
  const status = { taskId, state: told, reason: REASON_AGENT_REMOVED, message, agentId, unreachableAtMs: at };
  return masterStatus(status, at);
}
