import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  allMessages,
  decode,
  encode,
  has,
  infoOf,
  MalformedMessageError,
  type MessageType,
  mesos,
  unknownFields,
  withUnknown,
} from '../src/index.ts';
import { anyMessage } from './any-message.ts';
import { difference } from './difference.ts';

const { v1 } = mesos;

function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** A message, and its bytes worked out by hand: tag (number * 8 + wire type), then the value. */
const golden: [title: string, type: MessageType<object>, value: object, bytes: string][] = [
  [
    'a TaskStatus has its fields at 1, 2, 3, 4, 6, 8, 9, 10 and 11',
    v1.TaskStatus,
    {
      taskId: { value: 't1' },
      state: v1.TaskState.TASK_RUNNING,
      data: Uint8Array.of(1, 2),
      message: 'up',
      timestamp: 1.5,
      healthy: true,
      source: v1.TaskStatus.Source.SOURCE_EXECUTOR,
      reason: v1.TaskStatus.Reason.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED,
      uuid: Uint8Array.of(255),
    },
    '0a 04 0a 02 7431  10 01  1a 02 0102  22 02 7570  31 000000000000f83f  40 01  48 02  50 1d  5a 01 ff',
  ],
  ['a negative DurationInfo takes ten bytes', v1.DurationInfo, { nanoseconds: -1n }, '08 ffffffffffffffffff01'],
  ['a DurationInfo of zero is written', v1.DurationInfo, { nanoseconds: 0n }, '08 00'],
  ['a TimeInfo keeps nanoseconds beyond 2^53', v1.TimeInfo, { nanoseconds: 9007199254740993n }, '08 8180808080808010'],
  [
    'a Range reaches the largest uint64',
    v1.Value.Range,
    { begin: 31000n, end: 2n ** 64n - 1n },
    '08 98f201 10 ffffffffffffffffff01',
  ],
  [
    'a map is a repeated message of key 1 and value 2',
    v1.OfferFilters.ResourceQuantities,
    { quantities: { cpus: { value: 1 } } },
    '0a 11  0a 04 63707573  12 09 09 000000000000f03f',
  ],
  [
    'repeated numbers are not packed, as proto2 has it',
    v1.HealthCheck.HTTPCheckInfo,
    { port: 80, statuses: [200, 404] },
    '08 50  20 c801  20 9403',
  ],
  [
    'a scheduler SUBSCRIBE call has its type at 2 and its body at 3',
    v1.scheduler.Call,
    { type: v1.scheduler.Call.Type.SUBSCRIBE, subscribe: { frameworkInfo: { user: 'u', name: 'n', roles: ['r'] } } },
    '10 01  1a 0b  0a 09  0a 01 75  12 01 6e  62 01 72',
  ],
  [
    'an unset field is not written, one that is set to its default is',
    v1.CommandInfo,
    { shell: true, value: '' },
    '1a 00 30 01',
  ],
];

for (const [title, type, value, bytes] of golden) {
  test(`on the wire, ${title}`, (t) => {
    t.is(Buffer.from(encode(type, value)).toString('hex'), Buffer.from(hex(bytes)).toString('hex'));
    t.is(difference(infoOf(type), value, decode(type, hex(bytes)), 'presence'), undefined);
  });
}

test('every message comes back from the wire as it was, presence included', (t) => {
  for (const info of allMessages()) {
    const law = fc.property(anyMessage(info), (made) => {
      const bytes = encode(info.type, made);
      assert.equal(difference(info, made, decode(info.type, bytes), 'presence'), undefined, info.name);
    });
    t.notThrows(() => fc.assert(law, { numRuns: 15 }));
  }
});

test('an encoded message that is cut off is decoded or refused, never anything else', (t) => {
  const law = fc.property(anyMessageAndBytes(), fc.nat(), ([type, bytes], at) => {
    refusesOrDecodes(type, bytes.subarray(0, at % (bytes.length + 1)));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 1000 }));
});

test('an encoded message with wrong bytes is decoded or refused, never anything else', (t) => {
  const law = fc.property(
    anyMessageAndBytes(),
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc.nat(),
    ([type, bytes], wrong, at) => {
      const changed = new Uint8Array(bytes.length + wrong.length);
      changed.set(bytes);
      changed.set(wrong, at % (bytes.length + 1));
      refusesOrDecodes(type, changed);
    },
  );
  t.notThrows(() => fc.assert(law, { numRuns: 1000 }));
});

test('random bytes are decoded or refused, never anything else', (t) => {
  const law = fc.property(fc.constantFrom(...allMessages()), fc.uint8Array({ maxLength: 300 }), ({ type }, bytes) => {
    refusesOrDecodes(type, bytes);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 3000 }));
});

function anyMessageAndBytes(): fc.Arbitrary<[MessageType<object>, Uint8Array]> {
  return fc
    .constantFrom(...allMessages())
    .chain((info) =>
      anyMessage(info, 1).map((made): [MessageType<object>, Uint8Array] => [info.type, encode(info.type, made)]),
    );
}

function refusesOrDecodes(type: MessageType<object>, bytes: Uint8Array): void {
  try {
    assert.ok(decode(type, bytes) instanceof type);
  } catch (error) {
    assert.ok(error instanceof MalformedMessageError, String(error));
    assert.equal(error.byteLength, bytes.length);
  }
}

test('messages nested without end are refused, not followed until the stack ends', (t) => {
  const levels: Uint8Array[] = [];
  for (let inner = new Uint8Array(); levels.length < 1000; levels.push(inner)) {
    const parent = new Uint8Array([...hex('0a 00 12'), ...lengthOf(inner), ...inner]);
    inner = parent;
  }
  t.throws(() => decode(v1.ContainerID, levels.at(-1) as Uint8Array), {
    instanceOf: MalformedMessageError,
    message: /max depth exceeded/,
  });
});

function lengthOf(bytes: Uint8Array): number[] {
  const digits: number[] = [];
  let rest = bytes.length;
  for (; rest > 127; rest >>>= 7) digits.push((rest & 127) | 128);
  return [...digits, rest];
}

const malformed: [title: string, type: MessageType<object>, bytes: string, message: string][] = [
  [
    'a missing required field of a nested message is named with its message',
    v1.TaskStatus,
    '0a 00 10 01',
    "Cannot decode mesos.v1.TaskStatus from 4 bytes: the required field 'value' of mesos.v1.TaskID is missing",
  ],
  [
    'a missing required field is named as in the .proto file',
    v1.TaskStatus,
    '10 01',
    "Cannot decode mesos.v1.TaskStatus from 2 bytes: the required field 'task_id' of mesos.v1.TaskStatus is missing",
  ],
  [
    'a message that ends inside a field says so',
    v1.TaskID,
    '0a 05 74',
    'Cannot decode mesos.v1.TaskID from 3 bytes: they end inside a field or are not protobuf (index out of range: 2 + 5 > 3)',
  ],
  [
    'a 64-bit integer that ends too early is refused',
    v1.TimeInfo,
    '08 ffff',
    'Cannot decode mesos.v1.TimeInfo from 3 bytes: they end inside a field or are not protobuf (index out of range: 3 + 1 > 3)',
  ],
  [
    'a 64-bit integer of eleven bytes is refused',
    v1.TimeInfo,
    '08 ffffffffffffffffffff01',
    'Cannot decode mesos.v1.TimeInfo from 12 bytes: they are not protobuf (invalid varint encoding)',
  ],
];

for (const [title, type, bytes, message] of malformed) {
  test(`decoding: ${title}`, (t) => {
    t.throws(() => decode(type, hex(bytes)), { instanceOf: MalformedMessageError, message });
  });
}

const unfit: [title: string, type: MessageType<object>, value: object, message: string][] = [
  ['a required field that is not set', v1.TaskStatus, { taskId: {}, state: 1 }, 'taskId.value is required and not set'],
  ['a required number that is not set', v1.Value.Scalar, {}, 'value is required and not set'],
  ['a required message that is not set', v1.TaskStatus, { state: 1 }, 'taskId is required and not set'],
  ['a fraction for a 64-bit integer', v1.TimeInfo, { nanoseconds: 1.5 }, 'nanoseconds: expected a bigint, got number'],
  [
    'a number beyond 2^53 for a 64-bit integer',
    v1.TimeInfo,
    { nanoseconds: 2 ** 60 },
    'nanoseconds: expected a bigint, got number',
  ],
  [
    'a negative uint64',
    v1.Value.Ranges,
    {
      range: [
        { begin: 1n, end: 2n },
        { begin: -1n, end: 2n },
      ],
    },
    'range[1].begin: -1 is not between 0 and 18446744073709551615',
  ],
  [
    'a string for a number',
    v1.OfferFilters.ResourceQuantities,
    { quantities: { cpus: { value: '1' } } },
    'quantities["cpus"].value: expected a number, got string',
  ],
  ['a number for a string', v1.TaskID, { value: 5 }, 'value: expected a string, got number'],
  ['a string for bytes', v1.UUID, { value: 'AAAA' }, 'value: expected a Uint8Array, got string'],
];

for (const [title, type, value, message] of unfit) {
  test(`encoding refuses ${title} and says where`, (t) => {
    t.throws(() => encode(type, value), {
      instanceOf: TypeError,
      message: `Cannot encode ${nameOf(type)}: ${message}`,
    });
  });
}

function nameOf(type: MessageType<object>): string | undefined {
  return allMessages().find((info) => info.type === type)?.name;
}

test('a refused message leaves nothing behind in the next one', (t) => {
  t.throws(() => encode(v1.TaskStatus, { taskId: { value: 'x' }, state: undefined as never }));
  t.deepEqual(encode(v1.TaskID, { value: 'a' }), Buffer.from('0a0161', 'hex'));
});

test('an encoded message does not change when the next one is encoded', (t) => {
  const first = encode(v1.TaskID, { value: 'first' });
  encode(v1.TaskID, { value: 'other' });
  t.is(decode(v1.TaskID, first).value, 'first');
});

test('decoded bytes do not change with the buffer that they came in', (t) => {
  const input = hex('0a 02 0102');
  const { value } = decode(v1.UUID, input);
  input.fill(0);
  t.deepEqual(value, Uint8Array.of(1, 2));
});

test('a 64-bit integer that is not set reads as the bigint 0', (t) => {
  t.is(new v1.RLimitInfo.RLimit().hard, 0n);
});

test('a safe integer is taken for a bigint', (t) => {
  t.deepEqual(encode(v1.TimeInfo, { nanoseconds: -1 as never }), encode(v1.TimeInfo, { nanoseconds: -1n }));
});

test('an enum number without a name stays a number and is encoded again', (t) => {
  const status = decode(v1.TaskStatus, hex('0a 03 0a 01 61 10 e707'));
  t.is<number, number>(status.state, 999);
  t.is(Buffer.from(encode(v1.TaskStatus, status)).toString('hex'), '0a030a016110e707');
});

test('unknown fields are dropped', (t) => {
  t.deepEqual(decode(v1.TaskID, hex('0a 01 61 f8 07 05 fa 07 01 61')), v1.TaskID.create({ value: 'a' }));
});

test('unknown fields are kept if that is asked for, also inside of nested messages, and written again', (t) => {
  const bytes = hex('0a 08 0a 01 61 fa 07 02 68 69 10 01 f8 07 05'); // task_id with field 127, state, field 127
  const status = decode(v1.TaskStatus, bytes, { keepUnknown: true });
  t.is(status.taskId.value, 'a');
  t.deepEqual(unknownFields(status), [hex('f8 07 05')]);
  const copy = withUnknown({ ...status }, unknownFields(status));
  t.deepEqual(new Uint8Array(encode(v1.TaskStatus, copy)), bytes);
  t.deepEqual(new Uint8Array(encode(v1.TaskStatus, status)), bytes);
  t.deepEqual(unknownFields(decode(v1.TaskStatus, bytes)), []);
});

test('bytes are copies, or views of what was decoded if that is asked for', (t) => {
  const bytes = hex('0a 03 0a 01 61 10 01 5a 01 05'); // uuid, field 11: 05
  const [copied, viewed] = [decode(v1.TaskStatus, bytes), decode(v1.TaskStatus, bytes, { views: true })];
  bytes[9] = 6;
  t.deepEqual([copied.uuid[0], viewed.uuid[0]], [5, 6]);
});

test('has tells a default that was sent from one that was not', (t) => {
  const sent = decode(v1.CommandInfo, encode(v1.CommandInfo, { shell: true }));
  const unsent = decode(v1.CommandInfo, encode(v1.CommandInfo, {}));
  t.deepEqual([sent.shell, has(sent, 'shell')], [true, true]);
  t.deepEqual([unsent.shell, has(unsent, 'shell')], [true, false]);
});

test('has takes an empty list and an empty map for not set, an empty message for set', (t) => {
  const call = decode(
    v1.agent.Call.LaunchContainer,
    encode(v1.agent.Call.LaunchContainer, { containerId: { value: 'c' }, command: {} }),
  );
  t.false(has(call, 'resources'));
  t.false(has(call, 'limits'));
  t.true(has(call, 'command'));
});

test('a oneof says which of its fields is set', (t) => {
  const predicate = decode(v1.scheduler.AttributeConstraint.Predicate, hex('1a 03 0a 01 61'));
  t.is(predicate.predicate, 'textEquals');
});
