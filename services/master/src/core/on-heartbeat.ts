import { mesobus } from '@mesobus/protos';
import { connect, hear } from './agent-presence.ts';
import { askToRegister, moveCursor, sendNothing } from './commands.ts';
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
  if (agent?.record.supersededIncarnations.includes(incarnation)) return;
  if (!known || cursor < link.cursor || cursor > link.released) {
    askToRegister(turn, agentName, incarnation);
    return;
  }
  hear(turn, link);
  if (!link.registered) return; // its registration is on its way to the log
  if (!link.connected) connect(turn, agent, link);
  moveCursor(turn, agent, link, cursor);
  if (turn.at - link.lastAddressedMs >= addressEveryMs) sendNothing(turn, link);
}
