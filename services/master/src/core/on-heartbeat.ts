import { mesobus } from '@mesobus/protos';
import { connect, silenceAfterMs } from './agent-presence.ts';
import { askToRegister, moveCursor, sendNothing } from './commands.ts';
import { agentChanged } from './feed.ts';
import { rescindOffers } from './offers.ts';
import type { Turn } from './turn.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
/** An idle agent hears at least so often that the master is there. */
const addressEveryMs = 20_000;

/** An agent is alive. One that this leader does not know as it is now is asked to register. */
export function onHeartbeat(turn: Turn, agentName: string, heartbeat: mesobus.v1.Heartbeat): void {
  const { agentId, incarnation, cursor } = heartbeat;
  const agent = turn.state.ledger.agentsByName.get(agentName);
  const link = agent && turn.state.agents.get(agent.id);
  const known =
    agent?.id === agentId &&
    agent.record.lifecycle === ADMITTED &&
    link !== undefined &&
    link.incarnation === incarnation;
  if (link?.superseded.has(incarnation)) return;
  if (!known || cursor < link.cursor || cursor > link.released) {
    askToRegister(turn, agentName, incarnation);
    return;
  }
  link.lastHeardMs = turn.at;
  if (!link.registered) return; // its registration is on its way to the log
  if (!link.connected) connect(turn, agent, link);
  moveCursor(turn, agent, link, cursor);
  if (turn.at - link.lastAddressedMs >= addressEveryMs) sendNothing(turn, link);
}

/** Whether an agent has been silent for too long. Time in which the master itself was cut off does not count. */
export function onSilenceDue(turn: Turn, agentId: string): void {
  const { state } = turn;
  const link = state.agents.get(agentId);
  if (link === undefined) return;
  link.silenceTimerSet = false;
  if (!link.connected) return;
  const dueMs = Math.max(link.lastHeardMs, state.silenceFloorMs) + silenceAfterMs(state);
  if (!state.busConnected || dueMs > turn.at) {
    link.silenceTimerSet = true;
    state.timers.set(Math.max(dueMs, turn.at + 1000), { kind: 'silence', agentId });
    return;
  }
  link.connected = false;
  rescindOffers(turn, link.offers, 'rescinded');
  agentChanged(state, agentId);
  turn.log('warn', 'agent disconnected', { agent: agentId, name: link.agentName, lastHeardMs: link.lastHeardMs });
}
