import type { mesobus } from '@mesobus/protos';
import { allocate, type Decision, expireFilters, mayAllocate } from './allocate.ts';
import { onFeed } from './on-feed.ts';
import type { State } from './state.ts';

export { type Decision, mayAllocate } from './allocate.ts';
export { defaultRegexBounds, type RegexBounds } from './constraint-regex.ts';
export { type AgentPredicate, type ConstrainedAgent, compileConstraints, constraintProblems } from './constraints.ts';
export { type DominantShare, dominantShare } from './dominant-share.ts';
export { shares } from './shares.ts';
export { initialState, type State } from './state.ts';

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
      return mayAllocate(state) && state.candidates.size > 0 ? [{ kind: 'round_wanted' }] : [];
    case 'gap':
      state.synchronised = false;
      return [];
    case 'round':
      return onRound(state, at);
  }
}

function onRound(state: State, at: number): Effect[] {
  const wakeAtMs = expireFilters(state, at);
  const decisions = allocate(state, at);
  const effects: Effect[] = wakeAtMs === undefined ? [] : [{ kind: 'wake', atMs: wakeAtMs }];
  const { masterId, appointment } = state;
  if (decisions.length > 0) effects.push({ kind: 'allocated', masterId, appointment, decisions });
  if (mayAllocate(state) && state.candidates.size > 0) effects.push({ kind: 'round_wanted' });
  return effects;
}
