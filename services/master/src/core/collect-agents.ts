import { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { agentRemoved } from './end-agent.ts';
import { agentChanged } from './feed.ts';
import type { Turn } from './turn.ts';

const { UNREACHABLE, GONE } = mesobus.v1.AgentRecord.Lifecycle;
const { TASK_UNREACHABLE } = mesos.v1.TaskState;

/** Unreachable and gone agents leave the ledger when they are old, and the oldest of each when they are many. */
export function collectAgents(turn: Turn): void {
  const agents = [...turn.state.ledger.agents.values()];
  collect(
    turn,
    agents.filter(({ record }) => record.lifecycle === UNREACHABLE),
    ({ record }) => record.unreachableAtMs,
  );
  collect(
    turn,
    agents.filter(({ record }) => record.lifecycle === GONE),
    ({ record }) => record.goneAtMs,
  );
}

function collect(turn: Turn, agents: readonly AgentEntry[], sinceMs: (agent: AgentEntry) => number): void {
  const { registryMaxAgentAgeMs, registryMaxAgentCount } = turn.state.config;
  const oldestFirst = agents.toSorted((a, b) => sinceMs(a) - sinceMs(b));
  for (const [index, agent] of oldestFirst.entries()) {
    const tooMany = oldestFirst.length - index > registryMaxAgentCount;
    if (!tooMany && turn.at - sinceMs(agent) <= registryMaxAgentAgeMs) return;
    forget(turn, agent);
  }
}

/** The tasks that were lost sight of go with it: nobody will ever say how they ended. */
function forget(turn: Turn, agent: AgentEntry): void {
  const { state } = turn;
  const tasks = [...agent.tasks].filter((task) => task.state === TASK_UNREACHABLE);
  for (const { frameworkId, taskId } of tasks) state.frameworks.get(frameworkId)?.pending.delete(taskId);
  const removals = tasks.map(({ frameworkId, taskId, commandNumber }) => ({
    taskRemoved: { task: { frameworkId, taskId }, commandNumber },
  }));
  turn.commit([...removals, agentRemoved(turn, agent)]);
  state.agents.delete(agent.id);
  state.draining.delete(agent.id);
  state.machines.agents.delete(agent.id);
  state.filters.liftOn(agent.id);
  if (state.goneKeys.get(agent.record.registrationKey) === agent.id)
    state.goneKeys.delete(agent.record.registrationKey);
  agentChanged(state, agent.id);
  turn.log('info', 'agent forgotten', { agent: agent.id, name: agent.record.agentName });
}
