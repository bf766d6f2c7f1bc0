import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  allMessages,
  fromJson,
  google,
  infoOf,
  MalformedJsonError,
  type MessageType,
  mesobus,
  mesos,
  stringifyJson,
} from '../src/index.ts';
import { anyMessage } from './any-message.ts';
import { difference } from './difference.ts';

const { v1 } = mesos;

/** Both ways: the value is written as the text and the text is read as the value. */
const mapping: [title: string, type: MessageType<object>, value: object, text: string][] = [
  [
    'names are those of the .proto file and enums are names',
    v1.TaskStatus,
    { taskId: { value: 't' }, state: v1.TaskState.TASK_RUNNING, reason: v1.TaskStatus.Reason.REASON_AGENT_DRAINING },
    '{"task_id":{"value":"t"},"state":"TASK_RUNNING","reason":"REASON_AGENT_DRAINING"}',
  ],
  ['capital letters in names stay', v1.IpStatistics, { DefaultTTL: 64n }, '{"DefaultTTL":64}'],
  ['bytes are base64 with padding', v1.UUID, { value: Uint8Array.of(255, 254, 253, 252) }, '{"value":"//79/A=="}'],
  ['empty bytes are an empty string', v1.UUID, { value: new Uint8Array() }, '{"value":""}'],
  [
    'the smallest int64 is a number',
    v1.TimeInfo,
    { nanoseconds: -(2n ** 63n) },
    '{"nanoseconds":-9223372036854775808}',
  ],
  [
    'the largest uint64 is a number',
    v1.Value.Range,
    { begin: 9007199254740993n, end: 2n ** 64n - 1n },
    '{"begin":9007199254740993,"end":18446744073709551615}',
  ],
  ['a small int64 is a number', v1.TimeInfo, { nanoseconds: 5n }, '{"nanoseconds":5}'],
  ['a double keeps its fraction', v1.Value.Scalar, { value: 0.1 }, '{"value":0.1}'],
  ['a double keeps the sign of zero', v1.Value.Scalar, { value: -0 }, '{"value":-0.0}'],
  ['infinity is a string', v1.Value.Scalar, { value: Number.POSITIVE_INFINITY }, '{"value":"Infinity"}'],
  ['minus infinity is a string', v1.Value.Scalar, { value: Number.NEGATIVE_INFINITY }, '{"value":"-Infinity"}'],
  [
    'a map is an object',
    v1.OfferFilters.ResourceQuantities,
    { quantities: { cpus: { value: 1 }, mem: { value: 32 } } },
    '{"quantities":{"cpus":{"value":1},"mem":{"value":32}}}',
  ],
  ['an empty message is an empty object', v1.Resource.SharedInfo, {}, '{}'],
  [
    'a oneof is the field that is set',
    v1.scheduler.AttributeConstraint.Selector,
    { attributeName: 'rack' },
    '{"attribute_name":"rack"}',
  ],
  [
    'a duration is its seconds and nanos',
    v1.master.Call.DrainAgent,
    { agentId: { value: 'a' }, maxGracePeriod: { seconds: 60n, nanos: 5 }, markGone: true },
    '{"agent_id":{"value":"a"},"max_grace_period":{"seconds":60,"nanos":5},"mark_gone":true}',
  ],
  [
    'a counter of mesobus.v1 is a number',
    mesobus.v1.MasterObeyed,
    { epoch: 7, clusterIncarnation: 2 ** 40 },
    '{"epoch":7,"cluster_incarnation":1099511627776}',
  ],
];

for (const [title, type, value, text] of mapping) {
  test(`in JSON, ${title}`, (t) => {
    t.is(stringifyJson(type, value), text);
    t.is(difference(infoOf(type), value, fromJson(type, text), 'presence'), undefined);
  });
}

const written: [title: string, type: MessageType<object>, value: object, text: string][] = [
  [
    'defaults that the .proto file spells out, unless the field is deprecated',
    v1.FrameworkInfo,
    { user: 'u', name: 'n' },
    '{"user":"u","name":"n","failover_timeout":0,"checkpoint":false}',
  ],
  [
    'a deprecated field that is set',
    v1.FrameworkInfo,
    { user: 'u', name: 'n', role: '*' },
    '{"user":"u","name":"n","failover_timeout":0,"checkpoint":false,"role":"*"}',
  ],
  ['the default of a filter', v1.Filters, {}, '{"refuse_seconds":5}'],
  ['the default of an enum by its name', v1.NetworkInfo.IPAddress, {}, '{"protocol":"IPv4"}'],
  [
    'no list and no map that is empty',
    v1.agent.Call.LaunchContainer,
    { containerId: { value: 'c' }, resources: [], limits: {} },
    '{"container_id":{"value":"c"}}',
  ],
  ['no field that is null', v1.ContainerID, { value: 'c', parent: null }, '{"value":"c"}'],
  ['no enum number without a name', v1.scheduler.Call, { type: 999 }, '{}'],
  [
    'the default in place of an enum number without a name',
    v1.NetworkInfo.IPAddress,
    { protocol: 999 },
    '{"protocol":"IPv4"}',
  ],
  ['no zero of a proto3 message', google.protobuf.Duration, { seconds: 0n, nanos: 1 }, '{"nanos":1}'],
];

for (const [title, type, value, text] of written) {
  test(`JSON has ${title}`, (t) => {
    t.is(stringifyJson(type, value), text);
  });
}

const read: [title: string, type: MessageType<object>, text: string, value: object][] = [
  [
    'unknown keys are ignored',
    v1.TaskID,
    '{"value":"t","taskValue":{"x":[1]},"__proto__":{"value":"u"}}',
    { value: 't' },
  ],
  ['camelCase names are unknown', v1.MachineID, '{"hostName":"x"}', {}],
  ['null is not set', v1.ContainerID, '{"value":"c","parent":null}', { value: 'c' }],
  ['a null list is empty', v1.scheduler.Call.Revive, '{"roles":null}', {}],
  ['a null in a list is skipped', v1.scheduler.Call.Revive, '{"roles":["a",null,"b"]}', { roles: ['a', 'b'] }],
  ['a double may stand in a string', v1.Value.Scalar, '{"value":"1.5e3"}', { value: 1500 }],
  ['an integer may stand in a string', v1.Address, '{"port":"5050"}', { port: 5050 }],
  [
    'an int64 may stand in a string',
    v1.TimeInfo,
    '{"nanoseconds":"-9223372036854775808"}',
    { nanoseconds: -(2n ** 63n) },
  ],
  ['an integer may have a fraction of zero', v1.Address, '{"port":80.0}', { port: 80 }],
  ['an int64 may have an exponent', v1.TimeInfo, '{"nanoseconds":1e9}', { nanoseconds: 1_000_000_000n }],
  ['a long integer may be a double', v1.Value.Scalar, '{"value":36893488147419103232}', { value: 2 ** 65 }],
  ['a boolean may stand in a string', v1.CommandInfo, '{"shell":"false"}', { shell: false }],
  ['an unknown name of an optional enum is not set', v1.scheduler.Call, '{"type":"FLY"}', {}],
  [
    'an unknown name in a list of enums is skipped',
    v1.CSIPluginContainerInfo,
    '{"services":["FLY","NODE_SERVICE"]}',
    { services: [2] },
  ],
  [
    'a map may have the key __proto__',
    v1.OfferFilters.ResourceQuantities,
    '{"quantities":{"__proto__":{"value":1}}}',
    { quantities: Object.fromEntries([['__proto__', { value: 1 }]]) },
  ],
];

for (const [title, type, text, value] of read) {
  test(`reading JSON, ${title}`, (t) => {
    t.is(difference(infoOf(type), value, fromJson(type, text), 'presence'), undefined);
  });
}

const task = '"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}';
const refused: [type: MessageType<object>, text: string, path: string, message: string][] = [
  [
    v1.Offer.Operation.Launch,
    `{"task_infos":[{${task},"resources":[{"name":"mem","type":"SCALAR"},{"name":"cpus","type":"SCALAR","scalar":{"value":"x"}}]}]}`,
    'task_infos[0].resources[1].scalar.value',
    'task_infos[0].resources[1].scalar.value: expected a number, got "x"',
  ],
  [
    v1.TaskInfo,
    `{${task},"limits":{"cpus":{"value":true}}}`,
    'limits["cpus"].value',
    'limits["cpus"].value: expected a number, got true',
  ],
  [
    v1.TaskInfo,
    '{"name":"n","task_id":{"value":"t"}}',
    'agent_id',
    'agent_id: expected a value (required), got nothing',
  ],
  [v1.TaskInfo, '{}', 'name', 'name: expected a value (required: name, task_id, agent_id), got nothing'],
  [
    v1.TaskInfo,
    `{${task},"executor":{"executor_id":{"value":null}}}`,
    'executor.executor_id.value',
    'executor.executor_id.value: expected a value (required), got nothing',
  ],
  [v1.TaskID, '{"value":5}', 'value', 'value: expected a string, got 5'],
  [v1.TaskID, '[]', '', 'mesos.v1.TaskID: expected an object, got an array'],
  [v1.TaskID, 'null', '', 'mesos.v1.TaskID: expected an object, got null'],
  [v1.TaskInfo, `{${task},"command":"sleep"}`, 'command', 'command: expected an object, got "sleep"'],
  [v1.scheduler.Call.Revive, '{"roles":"a"}', 'roles', 'roles: expected an array, got "a"'],
  [v1.scheduler.Call.Revive, '{"roles":[null,{}]}', 'roles[1]', 'roles[1]: expected a string, got an object'],
  [
    v1.OfferFilters.ResourceQuantities,
    '{"quantities":[]}',
    'quantities',
    'quantities: expected an object, got an array',
  ],
  [v1.Address, '{"port":80.5}', 'port', 'port: expected an integer between -2147483648 and 2147483647, got 80.5'],
  [v1.CheckInfo.Tcp, '{"port":-1}', 'port', 'port: expected an integer between 0 and 4294967295, got -1'],
  [v1.Address, '{"port":""}', 'port', 'port: expected an integer between -2147483648 and 2147483647, got ""'],
  [
    v1.TimeInfo,
    '{"nanoseconds":9223372036854775808}',
    'nanoseconds',
    'nanoseconds: expected an integer between -9223372036854775808 and 9223372036854775807, got 9223372036854775808',
  ],
  [
    v1.Value.Range,
    '{"begin":-1,"end":1}',
    'begin',
    'begin: expected an integer between 0 and 18446744073709551615, got -1',
  ],
  [
    mesobus.v1.MasterObeyed,
    '{"epoch":9007199254740992}',
    'epoch',
    'epoch: expected an integer between 0 and 9007199254740991, got 9007199254740992',
  ],
  [v1.UUID, '{"value":"a b="}', 'value', 'value: expected a string in base64, got "a b="'],
  [v1.UUID, '{"value":"abc"}', 'value', 'value: expected a string in base64, got "abc"'],
  [v1.CommandInfo, '{"shell":1}', 'shell', 'shell: expected true or false, got 1'],
  [v1.scheduler.Call, '{"type":1}', 'type', 'type: expected a name of mesos.v1.scheduler.Call.Type, got 1'],
  [v1.Image, '{"type":"OCI"}', 'type', 'type: expected a name of mesos.v1.Image.Type, got "OCI"'],
  [v1.Image, '{"type":"toString"}', 'type', 'type: expected a name of mesos.v1.Image.Type, got "toString"'],
  [
    v1.scheduler.AttributeConstraint.Selector,
    '{"pseudoattribute_type":"HOSTNAME","attribute_name":"rack"}',
    'attribute_name',
    'attribute_name: expected nothing, because pseudoattribute_type is set and one excludes the other, got a value',
  ],
  [v1.TaskID, `{"value":[${'"x",'.repeat(40)}1]}`, 'value', 'value: expected a string, got an array'],
];

for (const [type, text, path, message] of refused) {
  test(`JSON is refused: ${message}`, (t) => {
    const error = t.throws(() => fromJson(type, text), { instanceOf: MalformedJsonError, message });
    t.is(error?.path, path);
  });
}

test('a text that is not JSON is refused with what the parser says', (t) => {
  const error = t.throws(() => fromJson(v1.TaskID, '{"value":'), { instanceOf: MalformedJsonError });
  t.regex(error?.message ?? '', /^mesos\.v1\.TaskID: expected JSON, got "\{\\"value\\":" \(.*JSON.*\)$/);
});

test('a wrong value is shown in part only', (t) => {
  const error = t.throws(() => fromJson(v1.TimeInfo, `{"nanoseconds":"${'x'.repeat(100_000)}"}`), {
    instanceOf: MalformedJsonError,
  });
  t.true((error?.message.length ?? 0) < 200);
});

test('messages nested without end are refused', (t) => {
  const text = `${'{"value":"c","parent":'.repeat(5000)}{"value":"c"}${'}'.repeat(5000)}`;
  t.throws(() => fromJson(v1.ContainerID, text), {
    instanceOf: MalformedJsonError,
    message: /at most 100 messages in each other/,
  });
});

test('every message comes back from JSON as it was, but for defaults, which are then set', (t) => {
  for (const info of allMessages()) {
    const law = fc.property(anyMessage(info), (made) => {
      const text = stringifyJson(info.type, made);
      const back = fromJson(info.type, text);
      assert.equal(difference(info, made, back, 'reads'), undefined, info.name);
      assert.equal(stringifyJson(info.type, back), text);
    });
    t.notThrows(() => fc.assert(law, { numRuns: 10 }));
  }
});

test('any JSON is read or refused, never anything else', (t) => {
  const law = fc.property(fc.constantFrom(...allMessages()), fc.json(), ({ type }, text) => {
    readsOrRefuses(type, text);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 1000 }));
});

test('JSON of a message with a wrong value somewhere is read or refused, never anything else', (t) => {
  const parts = fc.constantFrom(...allMessages()).chain((info) => anyMessage(info, 1).map((made) => ({ info, made })));
  const law = fc.property(parts, fc.jsonValue(), fc.nat(), ({ info, made }, wrong, at) => {
    const leaves = stringifyJson(info.type, made).split(/(?<=:)("[^"]*"|\d+|true|false)/);
    if (leaves.length > 1) leaves[(at % ((leaves.length - 1) / 2)) * 2 + 1] = JSON.stringify(wrong);
    readsOrRefuses(info.type, leaves.join(''));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 1000 }));
});

function readsOrRefuses(type: MessageType<object>, text: string): void {
  try {
    assert.ok(fromJson(type, text) instanceof type);
  } catch (error) {
    assert.ok(error instanceof MalformedJsonError, String(error));
  }
}
