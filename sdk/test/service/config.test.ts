import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ConfigError,
  type ConfigSources,
  decimal,
  defineConfig,
  duration,
  flag,
  integer,
  list,
  loadConfig,
  optional,
  size,
  structured,
  TextWanted,
  text,
} from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';

const definition = defineConfig({
  command: 'mesobus-demo',
  summary: 'A demonstration.',
  options: {
    agentPingTimeoutMs: duration({ help: 'how long to wait', default: '15secs', min: '1secs', max: '1hrs' }),
    maxFrameBytes: size({ help: 'the largest frame', default: '64KB', max: '1MB' }),
    maxCompletedTasks: integer({ help: 'how many to keep', default: 100, min: 0, max: 1_000 }),
    headroom: decimal({ help: 'what to keep free', default: 0.5, min: 0 }),
    recover: flag({ help: 'pick up what was there', default: true }),
    roles: list(text({ help: 'a role', pattern: /^[a-z]+$/, expected: 'lower-case letters' }), {
      help: 'roles',
      default: [],
    }),
    zone: optional(text({ help: 'where it stands' })),
    weights: optional(
      structured(() => z.record(z.string(), z.number().positive()), { help: 'weights', example: '{"ads":2}' }),
    ),
  },
});
const load = (sources: ConfigSources) => loadConfig(definition, { args: [], env: {}, ...sources });

async function withFile(t: ExecutionContext, name: string, content: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mesobus-config-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function problemsOf(t: ExecutionContext, sources: ConfigSources): Promise<string> {
  const error = await t.throwsAsync(load(sources), { instanceOf: ConfigError });
  return error?.message ?? '';
}

test('nothing given means the defaults, in ms, bytes and numbers', async (t) => {
  t.deepEqual(await load({}), {
    agentPingTimeoutMs: 15_000,
    maxFrameBytes: 65_536,
    maxCompletedTasks: 100,
    headroom: 0.5,
    recover: true,
    roles: [],
    zone: undefined,
    weights: undefined,
    nats: ['nats://127.0.0.1:4222'],
    natsToken: undefined,
    natsCreds: undefined,
    natsTlsCa: undefined,
    natsTlsCert: undefined,
    natsTlsKey: undefined,
    natsReconnectWaitMs: undefined,
    natsReconnectJitterMs: undefined,
    cluster: 'main',
    logLevel: 'info',
    http: undefined,
    otlpEndpoint: undefined,
    traceSample: 0.01,
  });
});

test('a flag beats the environment, which beats the file, which beats the default', async (t) => {
  const path = await withFile(t, 'demo.yaml', 'agent-ping-timeout: 4s\nmax-frame: 4KB\nmax-completed-tasks: 4\n');
  const config = await load({
    args: ['--config', path, '--agent-ping-timeout=2s'],
    env: { MESOBUS_AGENT_PING_TIMEOUT: '3s', MESOBUS_MAX_FRAME: '3KB' },
  });
  t.deepEqual(
    [config.agentPingTimeoutMs, config.maxFrameBytes, config.maxCompletedTasks, config.headroom],
    [2_000, 3_072, 4, 0.5],
  );
});

test('an empty environment variable counts as unset', async (t) => {
  t.is((await load({ env: { MESOBUS_CLUSTER: '' } })).cluster, 'main');
});

test('the file may be JSON, be named by the environment, and spell names as Mesos does', async (t) => {
  const path = await withFile(
    t,
    'demo.json',
    '{"agent_ping_timeout": "4s", "weights": {"ads": 2}, "roles": ["ads", "web"]}',
  );
  const config = await load({ env: { MESOBUS_CONFIG: path } });
  t.deepEqual([config.agentPingTimeoutMs, config.weights, config.roles], [4_000, { ads: 2 }, ['ads', 'web']]);
});

test('an empty YAML file sets nothing', async (t) => {
  const path = await withFile(t, 'demo.yaml', '# nothing yet\n');
  t.is((await load({ args: ['--config', path] })).cluster, 'main');
});

test('flags may be spelt with _ as in Mesos, lists repeat or use commas, switches have a no', async (t) => {
  const args = [
    '--agent_ping_timeout',
    '10mins',
    '--roles',
    'ads,web',
    '--roles=db',
    '--no-recover',
    '--weights',
    '{"ads":2}',
  ];
  const config = await load({ args });
  t.deepEqual(
    [config.agentPingTimeoutMs, config.roles, config.recover, config.weights],
    [600_000, ['ads', 'web', 'db'], false, { ads: 2 }],
  );
  t.true((await load({ args: ['--recover'] })).recover);
  t.false((await load({ args: ['--recover=false'] })).recover);
});

test('the OpenTelemetry variable names the collector where our own does not', async (t) => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://jaeger:4318' };
  t.is((await load({ env })).otlpEndpoint, 'http://jaeger:4318');
  t.is((await load({ env: { ...env, MESOBUS_OTLP_ENDPOINT: 'tempo:4318' } })).otlpEndpoint, 'http://tempo:4318');
});

const addresses: [string, { host: string; port: number }][] = [
  ['0.0.0.0:9090', { host: '0.0.0.0', port: 9090 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['localhost:80', { host: 'localhost', port: 80 }],
  [':9090', { host: '127.0.0.1', port: 9090 }],
  ['9090', { host: '127.0.0.1', port: 9090 }],
];
for (const [written, address] of addresses) {
  test(`the address '${written}' is port ${address.port} of ${address.host}`, async (t) => {
    t.deepEqual((await load({ args: ['--http', written] })).http, address);
  });
}

test('servers get the scheme that they lack', async (t) => {
  const config = await load({ args: ['--nats', 'a:4222, tls://b:4222'] });
  t.deepEqual(config.nats, ['nats://a:4222', 'tls://b:4222']);
});

test('a secret comes from a file, without the line end', async (t) => {
  const path = await withFile(t, 'token', 's3cr3t\n');
  t.is((await load({ env: { MESOBUS_NATS_TOKEN_FILE: path } })).natsToken, 's3cr3t');
});

const refused: [string, ConfigSources, RegExp][] = [
  [
    'a duration without its unit',
    { args: ['--agent-ping-timeout', '5'] },
    /^Cannot use "5" from flag --agent-ping-timeout: expected a duration from 1secs to 1hrs, for example 15secs$/,
  ],
  ['a duration below its bound', { args: ['--agent-ping-timeout', '5ms'] }, /a duration from 1secs to 1hrs/],
  [
    'a size above its bound',
    { env: { MESOBUS_MAX_FRAME: '2MB' } },
    /"2MB" from environment variable MESOBUS_MAX_FRAME: expected a size of at most 1MB, for example 64KB/,
  ],
  [
    'a fraction for a whole number',
    { args: ['--max-completed-tasks=1.5'] },
    /"1\.5" .* a whole number from 0 to 1000, for example 100/,
  ],
  [
    'a word for a number',
    { args: ['--headroom', 'much'] },
    /"much" from flag --headroom: expected a number of at least 0/,
  ],
  ['a word for a switch', { env: { MESOBUS_RECOVER: 'yes' } }, /"yes" .* expected true or false/],
  [
    'a bad item of a list',
    { args: ['--roles', 'ads,Web'] },
    /expected lower-case letters \(in each place of the list, not "Web"\)/,
  ],
  ['an unknown word', { args: ['--log-level', 'loud'] }, /"loud" .* one of trace, debug, info/],
  [
    'a cluster name that no subject can hold',
    { args: ['--cluster', 'a.b'] },
    /"a\.b" from flag --cluster: expected up to 64 letters, digits/,
  ],
  [
    'a port that is none',
    { args: ['--http', 'localhost:70000'] },
    /a port from 0 to 65535, for example 127\.0\.0\.1:8080/,
  ],
  ['a URL of another scheme', { args: ['--nats', 'http://a:1'] }, /expected a URL of nats:\/\/, tls:\/\//],
  [
    'a collector that is no URL',
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://x' } },
    /environment variable OTEL_EXPORTER_OTLP_ENDPOINT/,
  ],
  ['text that is not JSON', { args: ['--weights', '{ads}'] }, /expected JSON, for example \{"ads":2\}/],
  [
    'JSON that does not fit',
    { args: ['--weights', '{"ads":-2}'] },
    /expected a value that fits \(ads: .*\), for example/,
  ],
  [
    'an unknown flag, with the one that was meant',
    { args: ['--agent-pin-timeout', '5s'] },
    /unknown option '--agent-pin-timeout' \(Did you mean --agent-ping-timeout\?\); mesobus-demo --help lists/,
  ],
  ['a flag without its value', { args: ['--cluster'] }, /--cluster <text>' argument missing/],
  ['a word that belongs to no flag', { args: ['start'] }, /too many arguments/],
  [
    'a file that does not exist',
    { args: ['--config', '/does/not/exist.yaml'] },
    /'\/does\/not\/exist\.yaml' from flag --config: there is no such file/,
  ],
  [
    'a token file that does not exist',
    { args: ['--nats-token-file', '/does/not/exist'] },
    /'\/does\/not\/exist' from flag --nats-token-file: there is no such file/,
  ],
];
for (const [what, sources, message] of refused) {
  test(`${what} is refused, saying what, from where and what was expected`, async (t) => {
    t.regex(await problemsOf(t, sources), message);
  });
}

test('a required option that is missing names all its places', async (t) => {
  const strict = defineConfig({
    command: 'x',
    summary: 'x',
    options: { workDir: text({ help: 'the work folder', example: '/var/lib/x' }) },
  });
  const error = await t.throwsAsync(loadConfig(strict, { args: [], env: {} }), { instanceOf: ConfigError });
  t.is(
    error?.message,
    'Cannot start without --work-dir (the work folder): give it as flag --work-dir, environment variable MESOBUS_WORK_DIR, or work-dir in the file of --config, for example /var/lib/x',
  );
});

const files: [string, string, RegExp][] = [
  ['a name that is no option', 'clustre: a', /Cannot use file .*demo\.yaml: clustre: mesobus-demo has no such option/],
  ['a value of the wrong type', 'max-frame: 64', /Cannot use 64 from file .*demo\.yaml: max-frame: expected a size/],
  ['text that is not YAML', 'a: [1', /Cannot read the file '.*demo\.yaml' from flag --config: /],
  ['a list instead of names', '- a', /expected names with values, for example cluster: main/],
];
for (const [what, content, message] of files) {
  test(`a file with ${what} is refused`, async (t) => {
    const path = await withFile(t, 'demo.yaml', content);
    t.regex(await problemsOf(t, { args: ['--config', path] }), message);
  });
}

test('all problems are told at once', async (t) => {
  const message = await problemsOf(t, { args: ['--cluster', 'a.b', '--http', 'x'], env: { MESOBUS_MAX_FRAME: '1' } });
  t.is(message.split('\n').length, 3);
});

test('a malformed secret is refused without showing it', async (t) => {
  const message = await problemsOf(t, { args: ['--nats-token', 'hunter 2'] });
  t.regex(message, /the value from flag --nats-token: expected a text without blanks/);
  t.notRegex(message, /hunter/);
});

test('a secret given both itself and as a file is refused', async (t) => {
  const message = await problemsOf(t, { args: ['--nats-token', 'a'], env: { MESOBUS_NATS_TOKEN_FILE: '/x' } });
  t.regex(message, /both flag --nats-token and environment variable MESOBUS_NATS_TOKEN_FILE/);
});

test('--help shows every flag with its default and variable', async (t) => {
  const wanted = await t.throwsAsync(load({ args: ['--help'] }), { instanceOf: TextWanted });
  const help = wanted?.text.replaceAll(/\s+/g, ' ') ?? '';
  t.regex(help, /--agent-ping-timeout <duration> how long to wait \[default 15secs; env MESOBUS_AGENT_PING_TIMEOUT\]/);
  t.regex(help, /--otlp-endpoint <url> .*env MESOBUS_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT\]/);
});

test('--version shows the version of the package', async (t) => {
  const wanted = await t.throwsAsync(load({ args: ['--version'] }), { instanceOf: TextWanted });
  t.regex(wanted?.text ?? '', /^\d+\.\d+\.\d+\n$/);
});

const contradictions: [string, () => unknown][] = [
  ['that repeats a common flag', () => ({ cluster: text({ help: 'x', default: 'y' }) })],
  [
    'with one flag for two options',
    () => ({ a: text({ help: 'x', default: 'y', flag: 'b' }), b: text({ help: 'x', default: 'y' }) }),
  ],
  ['with a default that its option refuses', () => ({ a: duration({ help: 'x', default: 'soon' }) })],
];
for (const [what, options] of contradictions) {
  test(`a table ${what} is a bug that shows at once`, (t) => {
    t.throws(() => defineConfig({ command: 'x', summary: 'x', options: options() as Record<string, never> }), {
      name: 'InvariantError',
    });
  });
}
