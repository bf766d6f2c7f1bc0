import { onSilenceDue } from './agent-presence.ts';
import { superviseAllocators } from './allocators.ts';
import { collectAgents } from './collect-agents.ts';
import { onCursorDue, onResendDue } from './commands.ts';
import { settleConsumption } from './consumption.ts';
import { progressDrains } from './drain.ts';
import { reviseInverseOffers } from './inverse-offers.ts';
import { expireOffer } from './offers.ts';
import { superviseFrameworks } from './on-liveness.ts';
import { removeAgentsOfDown } from './on-maintenance-call.ts';
import { progressReclaims } from './reclaims.ts';
import type { Deadline } from './state.ts';
import type { Turn } from './turn.ts';
import { onReregisterDue, onUnreachableDue } from './unreachable-queue.ts';

/** Deadlines handled in one tick; the rest waits for the next. */
const deadlinesPerTick = 10_000;
const scanEveryMs = 1_000;
/** An offer whose answer may be held up here is looked at again so soon. */
const expireAgainMs = 1_000;

/** Time has passed. */
export function onTick(turn: Turn, logStands: boolean): void {
  const { timers } = turn.state;
  for (let handled = 0; handled < deadlinesPerTick; handled += 1) {
    const deadline = timers.take(turn.at);
    if (deadline === undefined) break;
    onDeadline(turn, deadline, logStands);
  }
  superviseAllocators(turn);
}

function onDeadline(turn: Turn, deadline: Deadline, logStands: boolean): void {
  switch (deadline.kind) {
    case 'offer': {
      const offer = turn.state.offers.get(deadline.offerId);
      if (offer === undefined) return;
      if (logStands || !turn.state.busConnected) turn.state.timers.set(turn.at + expireAgainMs, deadline);
      else expireOffer(turn, offer);
      return;
    }
    case 'silence':
      onSilenceDue(turn, deadline.agentId);
      return;
    case 'reregister':
      onReregisterDue(turn);
      return;
    case 'unreachable':
      onUnreachableDue(turn);
      return;
    case 'registry_gc':
      collectAgents(turn);
      turn.state.timers.set(turn.at + turn.state.config.registryGcIntervalMs, deadline);
      return;
    case 'resend':
      onResendDue(turn, deadline.agentId);
      return;
    case 'cursor':
      onCursorDue(turn, deadline.agentId);
      return;
    case 'scan':
      superviseFrameworks(turn);
      progressDrains(turn);
      removeAgentsOfDown(turn);
      reviseInverseOffers(turn);
      progressReclaims(turn);
      if (turn.state.consumption.changed !== undefined) settleConsumption(turn.state);
      turn.state.timers.set(turn.at + scanEveryMs, deadline);
  }
}
