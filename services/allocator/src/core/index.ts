import type { mesobus } from '@mesobus/protos';
import { allocate, type Decision, fullRoundAtMs, mayAllocate } from './allocate.ts';
import { expireFilters } from './filters.ts';
import { onFeed } from './on-feed.ts';
import { reclaimsAtMs } from './reclaim.ts';
import type { State } from './state.ts';
import { overdueAtMs, settleWaiting } from './waiting.ts';

export { type Decision, mayAllocate } from './allocate.ts';
export { availableOn } from './books.ts';
export { explain } from './explain.ts';
export { quotas } from './quotas.ts';
export { memberShare, roleShare, shares, wireAmounts } from './shares.ts';
export { defaultSettings, initialState, type Settings, type State } from './state.ts';
export { WhatIfProblem, whatIf } from './what-if.ts';

export type Input =
  /** The next batch of the leader's feed, in order. */
  | { readonly kind: 'feed'; readonly batch: mesobus.v1.FeedBatch }
  /** The feed has lost something: nothing is known for certain until a snapshot comes. */
  | { readonly kind: 'gap' }
  /** It is time for a round. */
  | { readonly kind: 'round' };

export type Effect =
  /** Tell the leader. The allocations are repeated until it has seen them. */
  | {
      readonly kind: 'allocated';
      readonly masterId: string;
      readonly appointment: number;
      readonly decisions: readonly Decision[];
    }
  /** A round may be worth its time: something has changed. */
  | { readonly kind: 'round_wanted' }
  /** Nothing changes by itself before this time. */
  | { readonly kind: 'wake'; readonly atMs: number };

/**
 * Applies one input. The same state, time and input always give the same effects.
 *
 * @param at - monotonic, in ms
 */
export function step(state: State, at: number, input: Input): Effect[] {
  switch (input.kind) {
    case 'feed':
      onFeed(state, at, input.batch);
      settleWaiting(state, at);
      return isRoundWanted(state, at) ? [{ kind: 'round_wanted' }] : wakes(state, at);
    case 'gap':
      state.synchronised = false;
      return [];
    case 'round':
      return onRound(state, at);
  }
}

function onRound(state: State, at: number): Effect[] {
  expireFilters(state, at);
  const decisions = allocate(state, at);
  const effects = wakes(state, at);
  const { masterId, appointment } = state;
  if (decisions.length > 0) effects.push({ kind: 'allocated', masterId, appointment, decisions });
  if (isRoundWanted(state, at)) effects.push({ kind: 'round_wanted' });
  return effects;
}

const isRoundWanted = (state: State, at: number): boolean =>
  mayAllocate(state) && (state.candidates.size > 0 || fullRoundAtMs(state) <= at);

/** When a filter ends, all agents are looked at again, somebody has waited too long, or tasks may be asked back. */
function wakes(state: State, at: number): Effect[] {
  const decides = mayAllocate(state)
    ? Math.min(fullRoundAtMs(state), overdueAtMs(state, at), reclaimsAtMs(state))
    : Number.POSITIVE_INFINITY;
  const atMs = Math.min(state.filters.endsAtMs, decides);
  return Number.isFinite(atMs) ? [{ kind: 'wake', atMs }] : [];
}
