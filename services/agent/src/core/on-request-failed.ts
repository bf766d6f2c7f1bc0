import type { RequestFailure } from './index.ts';
import { forgetRequest } from './on-reply.ts';
import { beginShutdown, goneExitCode, retire } from './on-shutdown-asked.ts';
import { estimateAnswered } from './on-usage.ts';
import { backOff } from './register.ts';
import { log, type Turn } from './turn.ts';

/** A request was refused, or nobody answered it. What must arrive is repeated by its own timer. */
export function onRequestFailed(turn: Turn, requestId: number, failure: RequestFailure): void {
  const { state } = turn;
  const sent = forgetRequest(state, requestId);
  if (sent === undefined) return;
  if (sent.kind === 'unregister') {
    if (state.shutdown !== undefined) state.shutdown.phase = 'stopped';
    return;
  }
  const current = state.registration.kind === 'asked' && state.registration.requestId === requestId;
  if (sent.kind === 'register' && !current) return;
  if (failure.kind !== 'refused') {
    if (current) backOff(turn, failure.kind === 'no_responders' ? 'no_responders' : 'refused');
    return;
  }
  switch (failure.code) {
    case 'incarnation_superseded':
      turn.effects.push({ kind: 'stop', exitCode: 1, reason: failure.message });
      break;
    case 'agent_gone':
    case 'machine_down':
      if (current) backOff(turn, 'refused');
      retire(turn);
      beginShutdown(turn, failure.message, goneExitCode);
      break;
    default:
      if (sent.kind === 'estimate') estimateAnswered(state, sent.number);
      log(turn, 'warn', `The leader refused a request: ${failure.message}`, { code: failure.code });
      if (current) backOff(turn, 'refused');
  }
}
