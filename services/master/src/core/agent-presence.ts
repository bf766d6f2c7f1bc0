import type { AgentEntry } from '@mesobus/registry/core';
import { resendCommands } from './commands.ts';
import { agentChanged } from './feed.ts';
import type { AgentLink, State } from './state.ts';
import type { Turn } from './turn.ts';

export const silenceAfterMs = ({ config }: State): number => config.agentPingTimeoutMs * config.maxAgentPingTimeouts;

/** The agent is there: it gets its commands, and its resources are offered. */
export function connect(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  link.connected = true;
  link.lastHeardMs = turn.at;
  link.sent = link.cursor;
  agentChanged(turn.state, agent.id);
  resendCommands(turn, agent, link);
  if (link.silenceTimerSet) return;
  link.silenceTimerSet = true;
  turn.state.timers.set(turn.at + silenceAfterMs(turn.state), { kind: 'silence', agentId: agent.id });
}
