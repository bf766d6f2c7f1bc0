import { compareEpochs, type Epoch } from '@mesobus/sdk/bus';
import test from 'ava';
import fc from 'fast-check';
import {
  createSession,
  nextTick,
  type Session,
  type SessionEffect,
  type SessionInput,
  silenceLimitMs,
  stepSession,
} from '../../src/scheduler/core/session.ts';

const epoch = (number: number): Epoch => ({ incarnation: 1, epoch: number });
const kinds = (effects: readonly SessionEffect[]) => effects.map(({ kind }) => kind);
const ours = { frameworkId: 'F', generation: 1 };
const accepted = (attempt = 1): SessionInput => ({ kind: 'accepted', attempt, epoch: epoch(1), ...ours });
const events = (subscribed: boolean): SessionInput => ({ kind: 'events', epoch: epoch(1), ...ours, subscribed });
const beat = (number: number, spreadMs = 0, serving = true): SessionInput => ({
  kind: 'beat',
  epoch: epoch(number),
  serving,
  spreadMs,
});

/** A session at 0 ms that has taken these inputs. */
function after(...inputs: readonly SessionInput[]): Session {
  const session = createSession(0, undefined);
  for (const input of [{ kind: 'connection', connected: true } as const, ...inputs]) stepSession(session, 0, input);
  return session;
}

test('nothing is sent before there is a connection', (t) => {
  const session = createSession(0, undefined);
  t.deepEqual(stepSession(session, 0, { kind: 'tick' }), []);
  t.is(nextTick(session), undefined);
  t.deepEqual(kinds(stepSession(session, 0, { kind: 'connection', connected: true })), ['subscribe']);
});

test('calls may be sent from the answer on, events count from SUBSCRIBED on', (t) => {
  const session = after();
  t.deepEqual(kinds(stepSession(session, 0, accepted())), ['open']);
  t.deepEqual(stepSession(session, 0, events(false)), []);
  t.deepEqual(stepSession(session, 0, events(true)), [{ kind: 'deliver', registered: 'registered' }]);
  t.deepEqual(stepSession(session, 0, events(false)), [{ kind: 'deliver', registered: undefined }]);
});

test('SUBSCRIBED does as well as an answer that was lost', (t) => {
  const session = after();
  t.deepEqual(kinds(stepSession(session, 0, events(true))), ['open', 'deliver']);
  t.deepEqual(stepSession(session, 0, accepted()), []);
});

test('a subscription whose SUBSCRIBED never comes is made anew', (t) => {
  const session = after(accepted());
  stepSession(session, silenceLimitMs - 1, beat(1));
  t.deepEqual(kinds(stepSession(session, silenceLimitMs, { kind: 'tick' })), ['pause', 'subscribe']);
});

test('schedulers come to a new master at their own moments', (t) => {
  const session = after(accepted(), events(true));
  t.deepEqual(kinds(stepSession(session, 0, beat(2, 300))), ['pause', 'disconnected']);
  t.is(nextTick(session), 300);
  t.deepEqual(stepSession(session, 299, { kind: 'tick' }), []);
  t.deepEqual(kinds(stepSession(session, 300, { kind: 'tick' })), ['subscribe']);
});

test('a SUBSCRIBE that met a leader that was loading is tried again when that one serves, once', (t) => {
  const session = after(accepted(), events(true));
  t.deepEqual(kinds(stepSession(session, 0, beat(2, 0, false))), ['pause', 'disconnected', 'subscribe']);
  t.deepEqual(stepSession(session, 100, beat(2, 50, false)), []);
  t.deepEqual(stepSession(session, 200, beat(2, 50)), [{ kind: 'hurry', afterMs: 50 }]);
  t.deepEqual(stepSession(session, 300, beat(2, 50)), []);
});

test('a first SUBSCRIBE is the same call to every master until the framework has an id', (t) => {
  const session = after(beat(1));
  t.deepEqual(stepSession(session, 0, beat(2)), [
    { kind: 'pause' },
    { kind: 'subscribe', attempt: 1, frameworkId: undefined },
  ]);
});

test('an answer to an earlier SUBSCRIBE counts no more', (t) => {
  const session = after(accepted(), events(true), { kind: 'gap', why: '' });
  t.deepEqual(stepSession(session, 0, accepted(1)), []);
  t.deepEqual(kinds(stepSession(session, 0, accepted(2))), ['open']);
});

test('an ended session says nothing, whatever comes', (t) => {
  const session = after(accepted(), events(true), { kind: 'end' });
  for (const input of [beat(2), accepted(), events(true), { kind: 'tick' } as const]) {
    t.deepEqual(stepSession(session, 10_000, input), []);
  }
});

const small = fc.integer({ min: 0, max: 4 });
const anyEpoch = small.map(epoch);
const anyInput: fc.Arbitrary<SessionInput> = fc.oneof(
  fc.boolean().map((connected) => ({ kind: 'connection' as const, connected })),
  fc.record({
    kind: fc.constant('beat' as const),
    epoch: anyEpoch,
    serving: fc.boolean(),
    spreadMs: fc.constantFrom(0, 300),
  }),
  fc.record({
    kind: fc.constant('events' as const),
    epoch: anyEpoch,
    frameworkId: fc.constant('F'),
    generation: small,
    subscribed: fc.boolean(),
  }),
  fc.constant({ kind: 'gap' as const, why: 'lost' }),
  fc.record({
    kind: fc.constant('accepted' as const),
    attempt: small,
    epoch: anyEpoch,
    frameworkId: fc.constant('F'),
    generation: small,
  }),
  fc.constant({ kind: 'tick' as const }),
);

test('registrations and disconnections alternate, epochs and generations never fall, calls flow only when subscribed', (t) => {
  const law = fc.property(fc.array(anyInput, { maxLength: 100, size: 'max' }), (inputs) => {
    const session = createSession(0, undefined);
    let connected = false;
    let open = false;
    for (const [step, input] of inputs.entries()) {
      const before = { highest: session.highest, generation: session.generation };
      for (const effect of stepSession(session, step * 1000, input)) {
        if (effect.kind === 'open') open = true;
        if (effect.kind === 'pause') open = false;
        if (effect.kind === 'disconnected') {
          if (!connected) throw new Error('disconnected twice');
          connected = false;
        }
        if (effect.kind !== 'deliver') continue;
        if (effect.registered === undefined && !connected) throw new Error('events before a registration');
        if (effect.registered !== undefined && connected) throw new Error('registered twice');
        connected = true;
      }
      if (open !== (session.phase === 'subscribed')) throw new Error(`open is ${open} while ${session.phase}`);
      if (compareEpochs(session.highest, before.highest) < 0) throw new Error('obeys an older master');
      if (session.generation < before.generation) throw new Error('an older generation');
    }
  });
  t.notThrows(() => fc.assert(law));
});

test('whatever happened, a healthy master is subscribed to within a silence', (t) => {
  const law = fc.property(fc.array(anyInput, { maxLength: 50, size: 'max' }), (inputs) => {
    const session = createSession(0, undefined);
    for (const [step, input] of inputs.entries()) stepSession(session, step * 1000, input);
    let at = inputs.length * 1000;
    let subscribing: number | undefined = session.phase === 'subscribing' ? session.attempt : undefined;
    const take = (input: SessionInput) => {
      for (const effect of stepSession(session, at, input)) {
        if (effect.kind === 'subscribe') subscribing = effect.attempt;
        if (effect.kind === 'pause') subscribing = undefined;
      }
    };
    take({ kind: 'connection', connected: true });
    for (; at < (inputs.length + 20) * 1000; at += 300) {
      take({ kind: 'beat', epoch: epoch(9), serving: true, spreadMs: 300 });
      take({ kind: 'tick' });
      if (subscribing === undefined) continue;
      const answer = { epoch: epoch(9), frameworkId: 'F', generation: 9 };
      take({ kind: 'accepted', attempt: subscribing, ...answer });
      take({ kind: 'events', ...answer, subscribed: true });
      subscribing = undefined;
    }
    if (!(session.phase === 'subscribed' && session.announced)) throw new Error(`still ${session.phase}`);
    if (session.subscribedUnder.epoch !== 9) throw new Error('subscribed to an older master');
  });
  t.notThrows(() => fc.assert(law));
});
