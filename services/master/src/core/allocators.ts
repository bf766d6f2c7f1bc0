import type { RefusalCode } from '@mesobus/sdk/errors';
import { createFeed, type Feed, isSynchronised, isTooFarBehind } from './feed.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

/** An appointed allocator that has said nothing for so long is replaced. */
export const allocatorDeadlineMs = 500;
/** An allocator that has said nothing for so long gets no feed any more. */
const allocatorForgottenMs = 10_000;
const maxAllocators = 16;
/** It becomes a part of the feed's subject. */
const maxIncarnationLength = 256;
/** Ticks come every 100 ms; after a longer pause the silence was this master's own. */
const latestTickMs = 250;

/** The allocators that have said that they are there, and the one that may allocate. */
export interface Allocators {
  /** What each is still to be told, by allocator id. */
  readonly feeds: Map<string, Feed>;
  feedsBegun: number;
  /** Counts the appointments of this leader. */
  appointment: number;
  /** Empty: nobody is appointed. */
  appointedId: string;
  /** Highest number of an allocation of this appointment that was judged. */
  allocationsSeen: number;
  lastTickMs: number;
  /** The silence of allocators counts from here at the earliest. */
  listeningSinceMs: number;
}

export const createAllocators = (at: number): Allocators => ({
  feeds: new Map(),
  feedsBegun: 0,
  appointment: 0,
  appointedId: '',
  allocationsSeen: 0,
  lastTickMs: at,
  listeningSinceMs: at,
});

/** Why an allocator gets no feed; undefined if nothing is in its way. */
export function feedProblem(
  { state, at }: Turn,
  allocatorId: string,
  incarnation: string,
): { code: RefusalCode; why: string } | undefined {
  const { length } = incarnation;
  if (length === 0 || length > maxIncarnationLength) {
    return { code: 'call_invalid', why: `its incarnation has ${length} characters, of 1 to ${maxIncarnationLength}` };
  }
  const { feeds } = state.allocators;
  const known = feeds.get(allocatorId);
  if (known === undefined) {
    const why = `${maxAllocators} allocators are there already`;
    return feeds.size < maxAllocators ? undefined : { code: 'overloaded', why };
  }
  const why = 'another process runs under its id; give each allocator an id of its own';
  const alive = known.incarnation !== incarnation && at - known.lastHeardMs < allocatorDeadlineMs;
  return alive ? { code: 'overloaded', why } : undefined;
}

/** Says everything to an allocator from the beginning: to one that comes, and to one that has lost something. */
export function beginFeed(turn: Turn, allocatorId: string, incarnation: string, losses: number): Feed {
  const { allocators } = turn.state;
  dropFeed(turn, allocatorId);
  allocators.feedsBegun += 1;
  const about = { allocatorId, incarnation, losses, number: allocators.feedsBegun, lastHeardMs: turn.at };
  const feed = createFeed(turn.state, about);
  allocators.feeds.set(allocatorId, feed);
  turn.emit({ kind: 'open_feed', when: 'now', allocatorId, incarnation });
  return feed;
}

/** Nothing more is said to an allocator, and nothing of it counts, until it has asked for a feed and digested it. */
export function dropFeed(turn: Turn, allocatorId: string): void {
  const { allocators } = turn.state;
  if (!allocators.feeds.delete(allocatorId)) return;
  turn.emit({ kind: 'close_feed', when: 'now', allocatorId });
  if (allocators.appointedId === allocatorId) allocators.appointedId = '';
}

/** Time has passed: whoever is silent or too far behind is let go, and the appointed one may need a successor. */
export function superviseAllocators(turn: Turn): void {
  const { state, at } = turn;
  const { allocators } = state;
  if (at - allocators.lastTickMs > latestTickMs) allocators.listeningSinceMs = at;
  allocators.lastTickMs = at;
  for (const feed of [...allocators.feeds.values()]) {
    const forgotten = silenceOf(state, feed, at) >= allocatorForgottenMs;
    if (!forgotten && !isTooFarBehind(feed)) continue;
    const why = forgotten ? 'it is silent' : 'too much waits for it';
    turn.log('info', 'an allocator gets no feed any more', { allocator: feed.allocatorId, why });
    dropFeed(turn, feed.allocatorId);
  }
  appointIfNeeded(turn);
}

/** Appoints whoever spoke last of those that have the books, if nobody is appointed, or somebody who does not answer. */
export function appointIfNeeded(turn: Turn): void {
  const { state, at } = turn;
  const { allocators } = state;
  const isThere = (feed: Feed | undefined): feed is Feed =>
    feed !== undefined && isSynchronised(feed) && silenceOf(state, feed, at) < allocatorDeadlineMs;
  if (!state.busConnected || isThere(allocators.feeds.get(allocators.appointedId))) return;
  let best: Feed | undefined;
  for (const feed of allocators.feeds.values()) {
    if (isThere(feed) && (best === undefined || feed.lastHeardMs > best.lastHeardMs)) best = feed;
  }
  if (best === undefined) return;
  allocators.appointment += 1;
  allocators.appointedId = best.allocatorId;
  allocators.allocationsSeen = 0;
  const fields = { allocator: best.allocatorId, appointment: allocators.appointment };
  turn.log('info', 'allocator appointed', fields);
}

const silenceOf = ({ allocators, silenceFloorMs }: State, { lastHeardMs }: Feed, at: number): number =>
  at - Math.max(lastHeardMs, allocators.listeningSinceMs, silenceFloorMs);
