import { frameworkChanged } from './feed.ts';
import { findLiveFramework, linkOf } from './frameworks.ts';
import { rescindOffers } from './offers.ts';
import { heartbeatEvent, heartbeatIntervalSeconds } from './on-subscribe.ts';
import { removeFramework } from './remove-framework.ts';
import type { FrameworkLink, State } from './state.ts';
import type { Turn } from './turn.ts';

/** A disconnection has consequences only after this, which is longer than a reconnect. */
const graceMs = 15_000;

/** Somebody follows a scheduler's stream, or nobody does. */
export function onStreamProbed(turn: Turn, frameworkId: string, instanceId: string, alive: boolean): void {
  const link = turn.state.frameworks.get(frameworkId);
  // The stream of an earlier SUBSCRIBE of the same scheduler says nothing of one that is on its way to the log.
  if (!link?.subscribed || link.stream.instanceId !== instanceId || link.connected === alive) return;
  if (!alive) rescindOffers(turn, link.offers, 'rescinded');
  link.connected = alive;
  link.disconnectedAtMs = turn.at;
  frameworkChanged(turn.state, frameworkId);
  if (!alive) awaitReturn(turn.state, link);
  turn.log('info', alive ? 'framework reconnected' : 'framework disconnected', { framework: frameworkId });
}

/** Starts the timer after which the framework is removed, unless it runs. */
export function awaitReturn(state: State, link: FrameworkLink, notBeforeMs = 0): void {
  const atMs = Math.max(removalAtMs(state, link), notBeforeMs);
  if (link.removalTimerSet || !Number.isFinite(atMs)) return;
  link.removalTimerSet = true;
  state.timers.set(atMs, { kind: 'removal', frameworkId: link.frameworkId });
}

/** Time in which the master itself was cut off does not count. */
function removalAtMs(state: State, { frameworkId, disconnectedAtMs }: FrameworkLink): number {
  const seconds = findLiveFramework(state, frameworkId)?.record.info?.failoverTimeout ?? 0;
  return Math.max(disconnectedAtMs, state.silenceFloorMs) + graceMs + seconds * 1000;
}

export function onRemovalDue(turn: Turn, frameworkId: string): void {
  const framework = findLiveFramework(turn.state, frameworkId);
  if (framework === undefined) return;
  const link = linkOf(turn.state, framework, turn.at);
  link.removalTimerSet = false;
  if (link.connected) return;
  const due = turn.state.busConnected && turn.at >= removalAtMs(turn.state, link);
  if (due) removeFramework(turn, framework, 'timeout');
  else awaitReturn(turn.state, link, turn.state.busConnected ? 0 : turn.at + 1000);
}

/** Heartbeats to every scheduler that has had none for a while. */
export function beatFrameworks(turn: Turn): void {
  for (const link of turn.state.frameworks.values()) {
    if (!link.connected || turn.at - link.lastHeartbeatMs < heartbeatIntervalSeconds * 1000) continue;
    link.lastHeartbeatMs = turn.at;
    turn.tell(link.frameworkId, [heartbeatEvent]);
  }
}
