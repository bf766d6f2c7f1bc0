import { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { hear } from './agent-presence.ts';
import { type AgentSender, AgentTurn } from './agent-turn.ts';
import { endAgent } from './end-agent.ts';
import { onExecutorExits } from './executors.ts';
import type { Effect } from './messages.ts';
import { onOperationUpdates } from './on-operation-updates.ts';
import { onRegister } from './on-register.ts';
import { onRevocableEstimate } from './on-revocable-estimate.ts';
import { onTaskUpdates } from './on-task-updates.ts';
import type { AgentLink, State } from './state.ts';

const EventType = mesos.v1.scheduler.Event.Type;
const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

/** An agent asks or tells. Whoever is not registered with this leader is told to register first. */
export function onAgentRequest(state: State, at: number, sender: AgentSender): Effect[] {
  const turn = new AgentTurn(state, at, sender);
  const { register } = sender.request;
  if (register) {
    onRegister(turn, register);
    return turn.effects;
  }
  const known = findRegistered(turn);
  if (known === undefined) turn.answer('now', { reregisterNeeded: {} });
  else onRegisteredRequest(turn, known.agent, known.link);
  return turn.effects;
}

function findRegistered({ state, agentName, request }: AgentTurn): { agent: AgentEntry; link: AgentLink } | undefined {
  const agent = state.ledger.agentsByName.get(agentName);
  const link = agent && state.agents.get(agent.id);
  if (agent === undefined || link === undefined || agent.id !== request.agentId) return undefined;
  if (agent.record.lifecycle !== ADMITTED || link.incarnation !== request.incarnation) return undefined;
  return { agent, link };
}

function onRegisteredRequest(turn: AgentTurn, agent: AgentEntry, link: AgentLink): void {
  const { taskUpdates, executorExits, executorMessages, operationUpdates, revocableEstimate, unregister } =
    turn.request;
  hear(turn, link);
  if (taskUpdates) onTaskUpdates(turn, agent, taskUpdates.updates);
  else if (executorExits) onExecutorExits(turn, agent, executorExits.exits);
  else if (executorMessages) onExecutorMessages(turn, agent, executorMessages.messages);
  else if (operationUpdates) onOperationUpdates(turn, agent, link, operationUpdates);
  else if (revocableEstimate) onRevocableEstimate(turn, agent, link, revocableEstimate);
  else if (unregister) {
    endAgent(turn, agent, 'it unregistered');
    turn.answer('committed', { taken: {} });
  } else turn.refuse('malformed_message', turn.agentName, 'the request is empty or of an unknown kind');
}

function onExecutorMessages(turn: AgentTurn, agent: AgentEntry, messages: readonly mesobus.v1.ExecutorMessage[]): void {
  for (const { frameworkId, executorId, data } of messages) {
    const message = { agentId: { value: agent.id }, executorId: { value: executorId }, data };
    turn.tell(frameworkId, [{ event: { type: EventType.MESSAGE, message } }]);
  }
  turn.answer('now', { taken: {} });
}
