import { mesobus } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { resendCommands } from './commands.ts';
import { agentChanged } from './feed.ts';
import { isDeaf } from './hearing.ts';
import { rescindOffers } from './offers.ts';
import type { AgentLink, State } from './state.ts';
import type { Turn } from './turn.ts';
import { scheduleUnreachable } from './unreachable-queue.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
/** A silence that cannot be judged now is looked at again after this. */
const lookAgainMs = 1_000;

const unreachableAfterMs = ({ config }: State): number => config.agentPingTimeoutMs * config.maxAgentPingTimeouts;
const disconnectedAfterMs = ({ config }: State): number =>
  config.agentPingTimeoutMs * Math.ceil(config.maxAgentPingTimeouts / 2);

/** The agent is there: it gets its commands, and its resources are offered. */
export function connect(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  link.connected = true;
  link.sent = link.cursor;
  agentChanged(turn.state, agent.id);
  resendCommands(turn, agent, link);
  hear(turn, link);
}

/** The agent has said something. It is not marked unreachable, even if it waits for it already. */
export function hear(turn: Turn, link: AgentLink): void {
  const { state, at } = turn;
  link.lastHeardMs = at;
  if (state.unreachable.waiting.delete(link.agentId)) {
    state.unreachable.canceled += 1;
    turn.log('info', 'agent heard in time: it is not marked unreachable', { agent: link.agentId });
  }
  watch(state, link, at + disconnectedAfterMs(state));
}

function watch(state: State, link: AgentLink, atMs: number): void {
  if (link.silenceTimerSet) return;
  link.silenceTimerSet = true;
  state.timers.set(atMs, { kind: 'silence', agentId: link.agentId });
}

/** Whether an agent has been silent for too long: first it is disconnected, then unreachable. */
export function onSilenceDue(turn: Turn, agentId: string): void {
  const { state, at } = turn;
  const link = state.agents.get(agentId);
  if (link === undefined) return;
  link.silenceTimerSet = false;
  if (state.ledger.agents.get(agentId)?.record.lifecycle !== ADMITTED) return;
  const sinceMs = Math.max(link.lastHeardMs, state.silenceFloorMs);
  if (isDeaf(state, at)) {
    watch(state, link, at + lookAgainMs);
    return;
  }
  if (link.connected && at >= sinceMs + disconnectedAfterMs(state)) disconnect(turn, link);
  if (at >= sinceMs + unreachableAfterMs(state)) scheduleUnreachable(turn, agentId, 'its heartbeats have not come');
  else watch(state, link, sinceMs + (link.connected ? disconnectedAfterMs : unreachableAfterMs)(state));
}

function disconnect(turn: Turn, link: AgentLink): void {
  const { agentId, agentName: name, lastHeardMs } = link;
  link.connected = false;
  rescindOffers(turn, link.offers, 'rescinded');
  agentChanged(turn.state, agentId);
  turn.log('warn', 'agent disconnected', { agent: agentId, name, lastHeardMs });
}
