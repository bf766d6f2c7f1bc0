import { mesobus } from '@mesobus/protos';
import { type AgentEntry, isCompleted } from '@mesobus/registry/core';
import { agentLinkOf, agentRecord } from './agents.ts';
import { announceCommands, commandIssued } from './commands.ts';
import { markGone } from './end-agent.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework } from './frameworks.ts';
import { rescindOffers } from './offers.ts';
import { isHeardOf, isPending } from './operations.ts';
import type { Turn } from './turn.ts';

export interface DrainWanted {
  /** The longest a task may take to end; 0 leaves it to the tasks. */
  readonly maxGracePeriodMs: number;
  readonly markGone: boolean;
}

/** The agent takes no new tasks; those that it has go on. */
export function deactivate(turn: Turn, agent: AgentEntry): void {
  if (agent.record.deactivated) return;
  change(turn, agent, { deactivated: true });
}

/** The agent takes no new tasks, and those that it has are killed. Asked again, it may be told to do it otherwise. */
export function drain(turn: Turn, agent: AgentEntry, wanted: DrainWanted): void {
  const { drain: before, drained, drainStartedAtMs } = agent.record;
  const isSame = before?.maxGracePeriodMs === wanted.maxGracePeriodMs && before.markGone === wanted.markGone;
  if (isSame) return;
  const drain = new mesobus.v1.DrainAgent(wanted);
  // Of a drain that is over only the end is still to be decided: it has no tasks.
  const startedAtMs = before ? drainStartedAtMs : turn.at;
  turn.state.draining.add(agent.id);
  const changes = { deactivated: true, drain, drained: false, drainStartedAtMs: startedAtMs };
  change(turn, agent, changes, drained ? undefined : { drainAgent: drain });
  progress(turn, agent);
}

/** The agent takes tasks again, whether it was deactivated, is draining or has been drained. */
export function reactivate(turn: Turn, agent: AgentEntry): void {
  const { deactivated, drain } = agent.record;
  if (!deactivated && !drain) return;
  turn.state.draining.delete(agent.id);
  const changes = { deactivated: false, drain: null, drained: false, drainStartedAtMs: 0 };
  change(turn, agent, changes, drain ? { reactivateAgent: {} } : undefined);
}

function change(
  turn: Turn,
  agent: AgentEntry,
  changes: mesobus.v1.AgentRecord.$Properties,
  command?: mesobus.v1.AgentCommand.$Properties,
): void {
  const records: mesobus.v1.Record.$Properties[] = [{ agent: agentRecord(agent, changes) }];
  if (command) records.push(commandIssued(agent, { ...command, number: agent.lastCommand + 1 }, turn.at));
  turn.transaction(records);
  const link = agentLinkOf(turn.state, agent);
  announceCommands(turn, agent, link);
  if (changes.deactivated) rescindOffers(turn, link.offers, 'rescinded');
  agentChanged(turn.state, agent.id);
  const { deactivated, drain } = agent.record;
  turn.log('info', 'agent changed by an operator', { agent: agent.id, deactivated, draining: drain !== null });
}

/** Looks which drains are over. */
export function progressDrains(turn: Turn): void {
  for (const agentId of turn.state.draining) {
    const agent = turn.state.ledger.agents.get(agentId);
    if (agent === undefined) turn.state.draining.delete(agentId);
    else progress(turn, agent);
  }
}

/**
 * A drain is over when all tasks have ended, all operations are done, and whoever wants to hear of either has acknowledged
 * it or was removed; then the agent is gone, if that was asked.
 */
function progress(turn: Turn, agent: AgentEntry): void {
  for (const task of agent.tasks) {
    if (!isCompleted(task) && findLiveFramework(turn.state, task.frameworkId) !== undefined) return;
  }
  for (const operation of agent.operations.values()) {
    if (isPending(operation) || isHeardOf(turn.state, operation)) return;
  }
  turn.state.draining.delete(agent.id);
  turn.log('info', 'agent drained', { agent: agent.id, name: agent.record.agentName });
  if (agent.record.drain?.markGone) markGone(turn, agent, 'it was drained');
  else turn.commit([{ agent: agentRecord(agent, { drained: true }) }]);
}
