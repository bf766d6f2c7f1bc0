import { mesobus } from '@mesobus/protos';
import { isDeaf } from './hearing.ts';
import { markUnreachable } from './mark-unreachable.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
/** Agents marked in one step, where no rate limits them: each brings the records of its tasks. */
const marksPerStep = 100;
const stepEveryMs = 100;
/** A recovery that cannot be judged now is looked at again after this. */
const lookAgainMs = 1_000;

/** Puts an agent into the queue of those that are to be marked unreachable. */
export function scheduleUnreachable(turn: Turn, agentId: string, why: string): void {
  const { unreachable } = turn.state;
  if (unreachable.waiting.has(agentId)) return;
  unreachable.waiting.set(agentId, why);
  unreachable.scheduled += 1;
  wake(turn.state, Math.max(turn.at, unreachable.notBeforeMs));
}

function wake({ unreachable, timers }: State, atMs: number): void {
  if (unreachable.timerSet) return;
  unreachable.timerSet = true;
  timers.set(atMs, { kind: 'unreachable' });
}

/** Marks the next ones, as many as the rate limit allows. */
export function onUnreachableDue(turn: Turn): void {
  const { state, at } = turn;
  const { unreachable, config } = state;
  unreachable.timerSet = false;
  if (isDeaf(state, at)) {
    if (unreachable.waiting.size > 0) wake(state, at + lookAgainMs);
    return;
  }
  let marked = 0;
  for (const [agentId, why] of unreachable.waiting) {
    if (marked >= marksPerStep || at < unreachable.notBeforeMs) break;
    unreachable.waiting.delete(agentId);
    const agent = state.ledger.agents.get(agentId);
    if (agent?.record.lifecycle !== ADMITTED) continue; // removed or gone meanwhile
    markUnreachable(turn, agent, why);
    marked += 1;
    unreachable.completed += 1;
    unreachable.notBeforeMs = at + config.agentRemovalIntervalMs;
  }
  if (unreachable.waiting.size > 0) wake(state, Math.max(unreachable.notBeforeMs, at + stepEveryMs));
}

/** The time for agents to register with a new leader is over. */
export function onReregisterDue(turn: Turn): void {
  const { state, at } = turn;
  const { recovered, recoveredAtFirst, config } = state;
  const dueMs = Math.max(state.startedAtMs, state.silenceFloorMs) + config.agentReregisterTimeoutMs;
  if (recovered.size === 0) return;
  if (isDeaf(state, at) || at < dueMs) {
    state.timers.set(Math.max(dueMs, at + lookAgainMs), { kind: 'reregister' });
    return;
  }
  const missing = recovered.size;
  if (missing > config.recoveryAgentRemovalLimit * recoveredAtFirst) {
    const why =
      `${missing} of ${recoveredAtFirst} agents have not registered again in time, more than the limit allows: ` +
      'find out what keeps them away, or raise --recovery-agent-removal-limit';
    turn.emit({ kind: 'give_up', when: 'now', why });
    return;
  }
  for (const agentId of recovered)
    scheduleUnreachable(turn, agentId, 'it did not register with the new leader in time');
}
