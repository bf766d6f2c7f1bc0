import assert from 'node:assert/strict';
import { mesobus } from '@mesobus/protos';
import { protocolVersion } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import test from 'ava';
import fc from 'fast-check';
import { type Message, minFrameBytes, pack, Unpacker } from '../../src/bus/envelope.ts';

const epoch = { incarnation: 1, epoch: 2 };
const message = (body: Uint8Array): Message => ({ epoch, timeoutMs: 5, body });

let ids = 0;
const options = (maxFrameBytes = minFrameBytes) => ({
  subject: 's',
  maxFrameBytes,
  maxMessageBytes: 1_000_000,
  newMessageId: () => {
    ids += 1;
    return `m${ids}`;
  },
});

const part = (messageId: string, index: number, count: number, body = Uint8Array.of(index)): Uint8Array =>
  mesobus.v1.Envelope.encode({ protocolVersion, body, part: { messageId, index, count } }).finish().slice();

/** A body that says which message it is of and where each byte stands in it. */
const bodyOf = (which: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => which * 31 + at * 7);

test('what was packed comes out the same, in frames no larger than allowed', (t) => {
  const law = fc.property(
    fc.uint8Array({ maxLength: 5000, size: 'max' }),
    fc.integer({ min: minFrameBytes, max: 2000 }),
    fc.option(fc.record({ stream: fc.stringMatching(/^[a-z0-9.]{1,40}$/), number: fc.integer({ min: 1 }) }), {
      nil: undefined,
    }),
    (body, maxFrameBytes, position) => {
      const sent: Message = { ...message(body), ...(position === undefined ? {} : { position }) };
      const frames = pack(sent, options(maxFrameBytes));
      const unpacker = new Unpacker();
      const results = frames.map((frame) => unpacker.unpack('s', frame, 0));
      for (const frame of frames) assert.ok(frame.length <= maxFrameBytes);
      for (const result of results.slice(0, -1)) assert.equal(result.kind, 'waiting');
      const last = results.at(-1);
      assert.ok(last?.kind === 'whole');
      assert.deepEqual(Buffer.from(last.message.body as Uint8Array), Buffer.from(body));
      assert.deepEqual({ ...last.message.position }, { ...position });
      assert.deepEqual([last.message.epoch, last.message.timeoutMs], [epoch, 5]);
      assert.equal(unpacker.openBytes, 0);
    },
  );
  t.notThrows(() => fc.assert(law));
});

test('loss, duplication and reordering of parts never make a wrong message', (t) => {
  const deliveries = fc.array(fc.record({ at: fc.nat(), copies: fc.integer({ min: 0, max: 2 }) }), {
    maxLength: 60,
    size: 'max',
  });
  const law = fc.property(
    fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 6, size: 'max' }),
    deliveries,
    fc.integer({ min: 1, max: 4 }),
    (lengths, order, maxOpenPerSubject) => {
      const bodies = lengths.map((length, which) => bodyOf(which, length));
      const frames = bodies.flatMap((body) => pack(message(body), options()));
      const known = new Set(bodies.map((body) => Buffer.from(body).toString('hex')));
      const unpacker = new Unpacker({ maxOpenPerSubject, maxOpenBytes: 4000, maxAgeMs: 20 });
      for (const [now, { at, copies }] of order.entries()) {
        for (let copy = 0; copy < copies; copy += 1) {
          const result = unpacker.unpack('s', frames[at % frames.length] as Uint8Array, now);
          assert.notEqual(result.kind, 'refused');
          if (result.kind === 'whole')
            assert.ok(known.has(Buffer.from(result.message.body as Uint8Array).toString('hex')));
          assert.ok(unpacker.openMessages <= maxOpenPerSubject);
          assert.ok(unpacker.openBytes <= 4000);
        }
      }
    },
  );
  t.notThrows(() => fc.assert(law));
});

test('any bytes are either read or refused, never thrown on', (t) => {
  const law = fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), (bytes) => {
    new Unpacker().unpack('s', bytes, 0);
  });
  t.notThrows(() => fc.assert(law));
});

test('parts of the same id on different subjects are not mixed', (t) => {
  const unpacker = new Unpacker();
  unpacker.unpack('a', part('m', 0, 2), 0);
  t.is(unpacker.unpack('b', part('m', 1, 2), 0).kind, 'waiting');
});

test('two receivers of the same frames each get the message whole', (t) => {
  const unpacker = new Unpacker();
  const kinds = [0, 1].flatMap((index) =>
    ['a', 'b'].map((receiver) => unpacker.unpack('s', part('m', index, 2), 0, receiver).kind),
  );
  t.deepEqual(kinds, ['waiting', 'waiting', 'whole', 'whole']);
});

test('a message whose parts come too slowly is dropped', (t) => {
  const unpacker = new Unpacker({ maxAgeMs: 100 });
  unpacker.unpack('s', part('m', 0, 2), 0);
  t.is(unpacker.unpack('s', part('m', 1, 2), 100).kind, 'waiting');
});

test('the oldest open message of a subject makes room for a new one', (t) => {
  const unpacker = new Unpacker({ maxOpenPerSubject: 2 });
  for (const id of ['old', 'middle', 'new']) unpacker.unpack('s', part(id, 0, 2), 0);
  t.is(unpacker.unpack('s', part('middle', 1, 2), 0).kind, 'whole');
  t.is(unpacker.unpack('s', part('new', 1, 2), 0).kind, 'whole');
  t.is(unpacker.unpack('s', part('old', 1, 2), 0).kind, 'waiting');
});

test('the oldest open messages of all subjects make room when there are too many bytes', (t) => {
  const unpacker = new Unpacker({ maxOpenBytes: 3000 });
  const big = new Uint8Array(1000);
  for (const subject of ['a', 'b', 'c']) unpacker.unpack(subject, part('m', 0, 2, big), 0);
  t.is(unpacker.unpack('a', part('m', 1, 2), 0).kind, 'waiting');
  t.is(unpacker.unpack('b', part('m', 1, 2), 0).kind, 'whole');
});

test('parts that add up to more than a message may have are refused', (t) => {
  const unpacker = new Unpacker({ maxMessageBytes: 1500 });
  unpacker.unpack('s', part('m', 0, 3, new Uint8Array(1000)), 0);
  const result = unpacker.unpack('s', part('m', 1, 3, new Uint8Array(1000)), 0);
  t.true(result.kind === 'refused' && result.error.code === 'message_too_large');
  t.is(unpacker.openBytes, 0);
});

const malformed: [why: string, envelope: mesobus.v1.Envelope.$Properties][] = [
  ['without a version', { body: Uint8Array.of(1) }],
  [
    'with a part beyond their count',
    { protocolVersion, body: Uint8Array.of(1), part: { messageId: 'm', index: 2, count: 2 } },
  ],
  ['with no parts at all', { protocolVersion, body: Uint8Array.of(1), part: { messageId: 'm', index: 0, count: 0 } }],
  ['with a part without a body', { protocolVersion, part: { messageId: 'm', index: 0, count: 2 } }],
  ['with a part without an id', { protocolVersion, body: Uint8Array.of(1), part: { index: 0, count: 2 } }],
  ['with a position without a number', { protocolVersion, position: { stream: 's' } }],
  ['with a position without a name', { protocolVersion, position: { number: 1 } }],
];
for (const [why, envelope] of malformed) {
  test(`an envelope ${why} is refused as malformed`, (t) => {
    const bytes = mesobus.v1.Envelope.encode(envelope).finish().slice();
    const result = new Unpacker().unpack('s', bytes, 0);
    t.true(result.kind === 'refused' && result.error.code === 'malformed_message');
  });
}

test('parts that disagree on their count are refused', (t) => {
  const unpacker = new Unpacker();
  unpacker.unpack('s', part('m', 0, 2), 0);
  const result = unpacker.unpack('s', part('m', 1, 3), 0);
  t.true(result.kind === 'refused' && result.error.code === 'malformed_message');
});

test('an envelope of a newer protocol is refused with both versions', (t) => {
  const bytes = mesobus.v1.Envelope.encode({ protocolVersion: protocolVersion + 1 })
    .finish()
    .slice();
  const result = new Unpacker().unpack('s', bytes, 0);
  t.true(result.kind === 'refused' && result.error.code === 'protocol_too_new');
  t.regex((result as { error: Error }).error.message, /protocol 2 .* up to 1/);
});

test('a refusal fits into a frame whatever its texts are', (t) => {
  const long = '\u4e16'.repeat(10_000);
  const sent: Message = { epoch, timeoutMs: 0, refusal: { code: 'failed', subject: long, message: long } };
  for (const size of [minFrameBytes, 4096, 512 * 1024]) {
    const [frame] = pack(sent, options(size));
    t.true((frame as Uint8Array).length <= size);
    t.is(new Unpacker().unpack('s', frame as Uint8Array, 0).kind, 'whole');
  }
});

test('a message above the bound is refused with its size', (t) => {
  const error = t.throws(() => pack(message(new Uint8Array(11)), { ...options(), maxMessageBytes: 10 }));
  t.true(error instanceof RefusedError && error.code === 'message_too_large');
  t.regex(error.message, /11 bytes and 10 are allowed/);
});
