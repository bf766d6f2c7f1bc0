import { compareEpochs, type Epoch } from '../../bus/bus.ts';

/** Milliseconds of some clock that never goes back. */
type Millis = number;

/** No message of the leader for so long: contact is lost. Its beat comes every 300 ms. */
export const silenceLimitMs = 5000;

/**
 * What a scheduler knows of its subscription.
 *
 * `waiting`: SUBSCRIBE is due at `subscribeAt`, once connected. `subscribing`: it is repeated until answered.
 * `subscribed`: the leader has accepted it; events count from its SUBSCRIBED on (`fresh`).
 */
export interface Session {
  phase: 'waiting' | 'subscribing' | 'subscribed' | 'ended';
  connected: boolean;
  frameworkId: string | undefined;
  generation: number;
  /** The highest that was heard of; lower ones are not obeyed. */
  highest: Epoch;
  /** The highest that was heard to serve. */
  served: Epoch;
  /** The highest that was known when the current SUBSCRIBE was first sent, or that of its answer. */
  subscribedUnder: Epoch;
  /** Number of the current SUBSCRIBE call: a repeat has the same, a fresh start another. */
  attempt: number;
  subscribeAt: Millis;
  heardAt: Millis;
  /** SUBSCRIBED of the current subscription has come. */
  fresh: boolean;
  /** The author has been told of a registration and not of a disconnection since. */
  announced: boolean;
  registeredBefore: boolean;
}

export type SessionInput =
  | { readonly kind: 'connection'; readonly connected: boolean }
  /**
   * @param serving - it takes calls; before that it is loading
   * @param spreadMs - how long to wait with SUBSCRIBE if this is a new leader: not all at once
   */
  | { readonly kind: 'beat'; readonly epoch: Epoch; readonly serving: boolean; readonly spreadMs: number }
  | {
      readonly kind: 'events';
      readonly epoch: Epoch;
      readonly frameworkId: string;
      readonly generation: number;
      /** SUBSCRIBED is among them. */
      readonly subscribed: boolean;
    }
  | { readonly kind: 'gap'; readonly why: string }
  | {
      readonly kind: 'accepted';
      readonly attempt: number;
      readonly epoch: Epoch;
      readonly frameworkId: string;
      readonly generation: number;
    }
  | { readonly kind: 'end' }
  | { readonly kind: 'tick' };

export type SessionEffect =
  /** Send SUBSCRIBE until it is answered; the same attempt under the same call id. */
  | { readonly kind: 'subscribe'; readonly attempt: number; readonly frameworkId: string | undefined }
  /** Somebody serves now: try SUBSCRIBE again after so long, if it waits for its next try. */
  | { readonly kind: 'hurry'; readonly afterMs: number }
  /** The subscription stands: other calls may be sent. */
  | { readonly kind: 'open' }
  /** The subscription is gone: hold every call back, also SUBSCRIBE, until told. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'disconnected'; readonly why: string }
  /** Hand the events over; `registered` says what their SUBSCRIBED means to the author. */
  | { readonly kind: 'deliver'; readonly registered: 'registered' | 'reregistered' | undefined };

const nobody: Epoch = { incarnation: 0, epoch: 0 };

export function createSession(at: Millis, frameworkId: string | undefined): Session {
  return {
    phase: 'waiting',
    connected: false,
    frameworkId,
    generation: 0,
    highest: nobody,
    served: nobody,
    subscribedUnder: nobody,
    attempt: 0,
    subscribeAt: at,
    heardAt: at,
    fresh: false,
    announced: false,
    registeredBefore: frameworkId !== undefined,
  };
}

/** Applies one input. The same session, time and input always give the same effects. */
export function stepSession(session: Session, at: Millis, input: SessionInput): SessionEffect[] {
  if (session.phase === 'ended') return [];
  switch (input.kind) {
    case 'connection':
      return onConnection(session, at, input.connected);
    case 'beat':
      return onBeat(session, at, input);
    case 'events':
      return onEvents(session, at, input);
    case 'gap':
      // Before SUBSCRIBED of the current subscription a gap may be of the stream before; it is reported again.
      return session.phase === 'subscribed' ? lose(session, at, at, input.why) : [];
    case 'accepted':
      return onAccepted(session, at, input);
    case 'end':
      session.phase = 'ended';
      return [{ kind: 'pause' }];
    case 'tick':
      return onTick(session, at);
  }
}

/** When the next tick is due. */
export function nextTick(session: Session): Millis | undefined {
  if (session.phase === 'waiting') return session.connected ? session.subscribeAt : undefined;
  return session.phase === 'subscribed' ? session.heardAt + silenceLimitMs : undefined;
}

function onConnection(session: Session, at: Millis, connected: boolean): SessionEffect[] {
  if (connected === session.connected) return [];
  session.connected = connected;
  if (connected) return lose(session, at, at, 'the connection was lost for a while');
  return lose(session, at, at, 'the connection to the bus is lost');
}

function onBeat(session: Session, at: Millis, input: SessionInput & { kind: 'beat' }): SessionEffect[] {
  if (compareEpochs(input.epoch, session.highest) < 0) return [];
  if (session.phase !== 'subscribed' || session.fresh) session.heardAt = at;
  session.highest = input.epoch;
  const moved = followLeader(session, at, input.spreadMs);
  if (!input.serving || compareEpochs(input.epoch, session.served) <= 0) return moved;
  session.served = input.epoch;
  const waits = session.phase === 'subscribing' && moved.length === 0;
  return waits ? [{ kind: 'hurry', afterMs: input.spreadMs }] : moved;
}

/** Subscribes anew if a newer leader is known than the one that was asked. */
function followLeader(session: Session, at: Millis, spreadMs: number): SessionEffect[] {
  const { phase, subscribedUnder, highest } = session;
  if (phase === 'waiting' || compareEpochs(subscribedUnder, highest) === 0) return [];
  if (phase === 'subscribing' && compareEpochs(subscribedUnder, nobody) === 0) {
    session.subscribedUnder = highest; // the first that was heard of: most likely it is the one that was asked
    return [];
  }
  return lose(session, at, at + spreadMs, 'a new master leads');
}

function onEvents(session: Session, at: Millis, input: SessionInput & { kind: 'events' }): SessionEffect[] {
  const { epoch, frameworkId, generation, subscribed } = input;
  const isOld = compareEpochs(epoch, session.highest) < 0 || generation < session.generation;
  const isOurs = session.frameworkId === undefined || session.frameworkId === frameworkId;
  if (isOld || !isOurs || session.phase === 'waiting') return [];
  if (!subscribed && !(session.phase === 'subscribed' && session.fresh)) return [];

  const effects: SessionEffect[] = [];
  session.heardAt = at;
  session.highest = epoch;
  if (!subscribed) {
    // A leader that was never asked speaks on: what it knows of us is not what we know.
    const moved = followLeader(session, at, 0);
    return moved.length > 0 ? moved : [{ kind: 'deliver', registered: undefined }];
  }
  if (session.announced) effects.push({ kind: 'disconnected', why: 'the master has started the subscription anew' });
  if (session.phase !== 'subscribed') effects.push({ kind: 'open' });
  const registered = session.registeredBefore ? 'reregistered' : 'registered';
  Object.assign(session, { phase: 'subscribed', frameworkId, generation, subscribedUnder: epoch, fresh: true });
  Object.assign(session, { announced: true, registeredBefore: true });
  effects.push({ kind: 'deliver', registered });
  return effects;
}

function onAccepted(session: Session, at: Millis, input: SessionInput & { kind: 'accepted' }): SessionEffect[] {
  const { attempt, epoch, frameworkId, generation } = input;
  if (session.phase !== 'subscribing' || attempt !== session.attempt) return [];
  if (compareEpochs(epoch, session.highest) < 0) return [];
  session.phase = 'subscribed';
  session.frameworkId = frameworkId;
  session.generation = Math.max(generation, session.generation);
  session.highest = epoch;
  session.subscribedUnder = epoch;
  session.heardAt = at;
  return [{ kind: 'open' }];
}

function onTick(session: Session, at: Millis): SessionEffect[] {
  const silent = session.phase === 'subscribed' && at - session.heardAt >= silenceLimitMs;
  if (silent) return lose(session, at, at, `nothing was heard of the master for ${silenceLimitMs} ms`);
  return subscribeIfDue(session, at);
}

function lose(session: Session, at: Millis, subscribeAt: Millis, why: string): SessionEffect[] {
  const effects: SessionEffect[] = [];
  if (session.phase !== 'waiting') effects.push({ kind: 'pause' });
  if (session.announced) effects.push({ kind: 'disconnected', why });
  session.phase = 'waiting';
  session.subscribeAt = subscribeAt;
  session.announced = false;
  session.fresh = false;
  return [...effects, ...subscribeIfDue(session, at)];
}

function subscribeIfDue(session: Session, at: Millis): SessionEffect[] {
  if (session.phase !== 'waiting' || !session.connected || at < session.subscribeAt) return [];
  // Until the framework has an id, every SUBSCRIBE is the same call: together they make one framework.
  if (session.frameworkId !== undefined || session.attempt === 0) session.attempt += 1;
  session.phase = 'subscribing';
  session.subscribedUnder = session.highest;
  return [{ kind: 'subscribe', attempt: session.attempt, frameworkId: session.frameworkId }];
}
