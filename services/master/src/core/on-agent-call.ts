import { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import type { RefusalCode } from '@mesobus/sdk/errors';
import { type DrainWanted, deactivate, drain, reactivate } from './drain.ts';
import { markGone } from './end-agent.ts';
import type { Turn } from './turn.ts';

const { GONE } = mesobus.v1.AgentRecord.Lifecycle;
const { AGENT_DRAINING } = mesos.v1.AgentInfo.Capability.Type;

export interface CallRefused {
  readonly code: RefusalCode;
  readonly subject: string;
  readonly why?: string;
}

/**
 * An operator's call about one agent. It says what shall be: repeated, it changes nothing more.
 *
 * @returns why it is refused; undefined if it is carried out
 */
export function onAgentCall(turn: Turn, call: mesos.v1.master.Call): CallRefused | undefined {
  const { drainAgent, deactivateAgent, reactivateAgent, markAgentGone } = call;
  const id = (drainAgent ?? deactivateAgent ?? reactivateAgent ?? markAgentGone)?.agentId.value ?? '';
  const agent = turn.state.ledger.agents.get(id);
  if (agent === undefined) return { code: 'agent_unknown', subject: id, why: 'no agent has this id, or not any more' };
  const isGone = agent.record.lifecycle === GONE;
  if (markAgentGone) {
    if (!isGone) markGone(turn, agent, 'an operator says so');
    return undefined;
  }
  if (isGone) {
    if (drainAgent?.markGone) return undefined; // all that it asks for, perhaps by an earlier try whose answer was lost
    return { code: 'call_invalid', subject: id, why: 'the agent is gone and will not come back' };
  }
  if (drainAgent) return onDrain(turn, agent, drainAgent);
  if (deactivateAgent) deactivate(turn, agent);
  else reactivate(turn, agent);
  return undefined;
}

function onDrain(turn: Turn, agent: AgentEntry, call: mesos.v1.master.Call.DrainAgent): CallRefused | undefined {
  if (turn.state.machines.agents.has(agent.id)) {
    const why =
      'its machine is in the maintenance schedule; start the maintenance, or take it out of the schedule first';
    return { code: 'call_invalid', subject: agent.id, why };
  }
  const wanted = drainWanted(call);
  const isCapable = agent.record.capabilities.some(({ type }) => type === AGENT_DRAINING);
  if (!isCapable) return { code: 'call_invalid', subject: agent.id, why: 'the agent has not the capability to drain' };
  if (!Number.isSafeInteger(wanted.maxGracePeriodMs) || wanted.maxGracePeriodMs < 0) {
    return { code: 'call_invalid', subject: agent.id, why: "'max_grace_period' is negative or too long" };
  }
  drain(turn, agent, wanted);
  return undefined;
}

/** The agent counts whole ms and takes 0 for no limit: no time at all is 1 ms. */
function drainWanted({ maxGracePeriod, markGone: gone }: mesos.v1.master.Call.DrainAgent): DrainWanted {
  if (!maxGracePeriod) return { maxGracePeriodMs: 0, markGone: gone };
  const ms = Number(maxGracePeriod.seconds) * 1000 + Math.ceil(maxGracePeriod.nanos / 1e6);
  return { maxGracePeriodMs: ms === 0 ? 1 : ms, markGone: gone };
}
