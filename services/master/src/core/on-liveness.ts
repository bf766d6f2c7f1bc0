import { frameworkChanged } from './feed.ts';
import { findLiveFramework } from './frameworks.ts';
import { rescindOffers } from './offers.ts';
import { heartbeatEvent, heartbeatIntervalSeconds } from './on-subscribe.ts';
import { removeFramework } from './remove-framework.ts';
import type { FrameworkLink } from './state.ts';
import type { Turn } from './turn.ts';

/** A disconnection has consequences only after this, which is longer than a reconnect. */
const graceMs = 15_000;
/** Whoever looks after the frameworks does so every second; a longer pause was this master's own. */
const longestPauseMs = 2_000;

/** Somebody follows a scheduler's stream, or nobody does. */
export function onStreamProbed(turn: Turn, frameworkId: string, instanceId: string, alive: boolean): void {
  const link = turn.state.frameworks.get(frameworkId);
  // The stream of an earlier SUBSCRIBE of the same scheduler says nothing of one that is on its way to the log.
  if (!link?.subscribed || link.stream.instanceId !== instanceId || link.connected === alive) return;
  if (!alive) {
    rescindOffers(turn, link.offers, 'rescinded');
    turn.state.filters.lift(frameworkId); // as whoever allocates does
  }
  link.connected = alive;
  link.awayMs = 0;
  frameworkChanged(turn.state, frameworkId);
  turn.log('info', alive ? 'framework reconnected' : 'framework disconnected', { framework: frameworkId });
}

/** Once a second: heartbeats to the schedulers that are there, and an end to the frameworks of those that stay away. */
export function superviseFrameworks(turn: Turn): void {
  const { state, at } = turn;
  const passedMs = at - state.supervisedAtMs;
  state.supervisedAtMs = at;
  const canHear = state.busConnected && passedMs <= longestPauseMs;
  for (const link of [...state.frameworks.values()]) {
    if (link.connected) beat(turn, link);
    else countAway(turn, link, canHear ? passedMs : undefined);
  }
}

function beat(turn: Turn, link: FrameworkLink): void {
  if (turn.at - link.lastHeartbeatMs < heartbeatIntervalSeconds * 1000) return;
  link.lastHeartbeatMs = turn.at;
  turn.tell(link.frameworkId, [heartbeatEvent]);
}

/** @param passedMs - undefined: this master could not have heard the scheduler, and leaves it the whole grace again */
function countAway(turn: Turn, link: FrameworkLink, passedMs: number | undefined): void {
  const framework = findLiveFramework(turn.state, link.frameworkId);
  if (framework === undefined) return;
  const timeoutMs = (framework.record.info?.failoverTimeout ?? 0) * 1000;
  link.awayMs = passedMs === undefined ? Math.min(link.awayMs, timeoutMs) : link.awayMs + passedMs;
  if (link.awayMs >= timeoutMs + graceMs) removeFramework(turn, framework, 'timeout');
}
