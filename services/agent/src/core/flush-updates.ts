import type { mesobus } from '@mesobus/protos';
import { sendRequest } from './send-request.ts';
import type { Launch } from './state.ts';
import type { Turn } from './turn.ts';

/** Updates in one request, and requests under way: the rest waits for an answer. */
export const maxUpdatesPerRequest = 500;
export const maxUpdateRequests = 8;

/** Wait before an unacknowledged update is sent again: doubles from the first to the second. */
export const firstRepeatMs = 1_000;
export const maxRepeatMs = 60_000;

/** Sends what became due in this turn: everything in one request, or in as few as the bounds allow. */
export function flushUpdates(turn: Turn): void {
  const { state } = turn;
  if (state.registration.kind !== 'registered') return;
  while (state.due.size > 0 && state.updateRequests < maxUpdateRequests) {
    const updates: mesobus.v1.TaskUpdate.$Properties[] = [];
    const launches: { key: string; upTo: number }[] = [];
    for (const launch of state.due) {
      if (updates.length >= maxUpdatesPerRequest) break;
      takeDue(turn, launch, updates);
      launches.push({ key: launch.key, upTo: launch.sent });
    }
    if (updates.length === 0) return;
    state.updateRequests += 1;
    sendRequest(turn, { kind: 'updates', launches }, { taskUpdates: { updates } });
  }
}

function takeDue({ state, at }: Turn, launch: Launch, updates: mesobus.v1.TaskUpdate.$Properties[]): void {
  for (const update of launch.pending) {
    if (update.number <= launch.sent || update.number > launch.durable) continue;
    if (updates.length >= maxUpdatesPerRequest) return;
    updates.push({ ...update, latestState: launch.state });
    launch.sent = update.number;
  }
  state.due.delete(launch);
  if (launch.repeatAt === Number.POSITIVE_INFINITY) {
    launch.repeatMs = firstRepeatMs;
    launch.repeatAt = at + firstRepeatMs;
  }
}

/** Sends all pending updates of a launch again. */
export function sendAgain(turn: Turn, launch: Launch, from = 1): void {
  launch.sent = Math.min(launch.sent, from - 1);
  if (launch.pending.length > 0) turn.state.due.add(launch);
}

/** Sends again what was sent a while ago and not acknowledged. */
export function repeatUpdates(turn: Turn): void {
  for (const launch of turn.state.unacknowledged) {
    if (launch.repeatAt > turn.at) continue;
    launch.repeatMs = Math.min(launch.repeatMs * 2, maxRepeatMs);
    launch.repeatAt = turn.at + launch.repeatMs;
    launch.lastGap = 0;
    sendAgain(turn, launch);
  }
}
