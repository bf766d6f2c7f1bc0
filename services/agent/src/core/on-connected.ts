import { ownDelayMs, scheduleRegistration } from './register.ts';
import type { Turn } from './turn.ts';

/** The bus is back: whoever was backing off has no reason to wait for long. */
export function onConnected(turn: Turn): void {
  const { registration } = turn.state;
  if (registration.kind === 'waiting' && registration.nextAt !== Number.POSITIVE_INFINITY) {
    scheduleRegistration(turn, ownDelayMs(turn));
  }
}
