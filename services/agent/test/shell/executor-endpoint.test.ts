import { statSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { decode, encode, fromJson, mesos, stringifyJson } from '@mesobus/protos';
import { ManualClock } from '@mesobus/sdk/bus';
import { RecordDecoder } from '@mesobus/sdk/record-io';
import test, { type ExecutionContext } from 'ava';
import type { Effect, ExecutorRefusal } from '../../src/core/index.ts';
import { type ExecutorInput, type Executors, openExecutors } from '../../src/shell/executors/endpoint.ts';
import type { StartOfExecutor } from '../../src/shell/executors/environment.ts';
import { openWorkDir } from '../../src/shell/work-dir.ts';
import { tempWorkDir } from './bench.ts';

type Call = mesos.v1.executor.Call.$Properties;
type Event = Extract<Effect, { kind: 'executor_event' }>['event'];

const CallType = mesos.v1.executor.Call.Type;
const { Type } = mesos.v1.executor.Event;
const json = 'application/json';
const protobuf = 'application/x-protobuf';

const info = { executorId: { value: 'e' } };
const subscribed: Event = {
  type: Type.SUBSCRIBED,
  subscribed: {
    executorInfo: info,
    frameworkInfo: { user: 'u', name: 'f' },
    agentInfo: { hostname: 'a' },
  },
};

/** What an endpoint looks at of the start of an executor. */
const startOf = (executorId: string): StartOfExecutor =>
  ({
    kind: 'start',
    containerId: `c-${executorId}`,
    frameworkId: 'F',
    executorId,
    agentId: 'S0',
    executor: { shutdownGraceMs: 5_000, recoveryTimeoutMs: 900_000, maxBackoffMs: 2_000 },
  }) as StartOfExecutor;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** An endpoint whose core the test plays: it welcomes every subscription and takes every call, unless told otherwise. */
class Stage {
  readonly inputs: ExecutorInput[] = [];
  readonly logged: string[] = [];
  refusal: ExecutorRefusal | undefined;
  executors: Executors;
  readonly #waiting = new Set<() => void>();

  private constructor() {
    this.executors = undefined as unknown as Executors;
  }

  static async open(t: ExecutionContext, { folder = tempWorkDir(t), clock = {}, port = 0 } = {}): Promise<Stage> {
    const stage = new Stage();
    const note = (_fields: object, message: string): void => void stage.logged.push(message);
    stage.executors = await openExecutors({
      workDir: openWorkDir(folder),
      port,
      log: { info: note, warn: note, error: note },
      onInput: (input) => stage.#onInput(input),
      ...clock,
    });
    t.teardown(() => stage.executors.close());
    return stage;
  }

  #onInput(input: ExecutorInput): void {
    this.inputs.push(input);
    if (this.refusal !== undefined) this.executors.refuse(this.refusal);
    else if (input.kind === 'executor_subscribed') this.executors.send(input.containerId, subscribed);
    for (const wake of [...this.#waiting]) wake();
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((wake) => {
        this.#waiting.add(() => wake());
      });
    }
  }

  env(executorId = 'e'): Record<string, string> {
    return this.executors.environmentOf(startOf(executorId));
  }

  headers(executorId = 'e', contentType = json): Record<string, string> {
    const token = this.env(executorId)['MESOS_EXECUTOR_AUTHENTICATION_TOKEN'];
    return { authorization: `Bearer ${token}`, 'content-type': contentType };
  }

  /** Sends what it is given, over the port or the domain socket. */
  request(
    body: Uint8Array | string,
    headers: Record<string, string>,
    { method = 'POST', path = '/api/v1/executor', bySocket = false } = {},
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const env = this.env();
      const [host, port] = (env['MESOS_AGENT_ENDPOINT'] ?? '').split(':');
      const where = bySocket ? { socketPath: env['MESOS_DOMAIN_SOCKET'] } : { host, port };
      const request = httpRequest({ ...where, method, path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      });
      request.on('error', reject).end(body);
    });
  }

  say(call: Partial<Call>, executorId = 'e'): Promise<Answer> {
    return this.request(stringifyJson(mesos.v1.executor.Call, callOf(call)), this.headers(executorId));
  }

  /** Opens a stream and gives its events as they come. */
  async subscribe(
    t: ExecutionContext,
    {
      accept,
      contentType = json,
      executorId = 'e',
    }: { accept?: string; contentType?: string; executorId?: string } = {},
  ): Promise<Stream> {
    const call = callOf({ type: CallType.SUBSCRIBE, subscribe: {}, executorId: { value: executorId } });
    const body =
      contentType === json ? stringifyJson(mesos.v1.executor.Call, call) : encode(mesos.v1.executor.Call, call);
    const headers = { ...this.headers(executorId, contentType), ...(accept && { accept }) };
    const response = await fetch(`http://${this.env()['MESOS_AGENT_ENDPOINT']}/api/v1/executor`, {
      method: 'POST',
      headers,
      body,
    });
    const stream = new Stream(response);
    t.teardown(() => stream.cancel());
    return stream;
  }
}

class Stream {
  readonly response: Response;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new RecordDecoder();
  #records: Uint8Array[] = [];

  constructor(response: Response) {
    this.response = response;
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  /** undefined: the stream has ended. */
  async next(): Promise<mesos.v1.executor.Event | undefined> {
    while (this.#records.length === 0) {
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#records.push(...this.#decoder.push(value));
    }
    const record = this.#records.shift() as Uint8Array;
    return this.response.headers.get('content-type') === json
      ? fromJson(mesos.v1.executor.Event, Buffer.from(record).toString())
      : decode(mesos.v1.executor.Event, record);
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => undefined);
  }
}

const callOf = (call: Partial<Call>): Call => ({ executorId: { value: 'e' }, frameworkId: { value: 'F' }, ...call });
const heartbeat = { type: CallType.HEARTBEAT };
const say = (call: Partial<Call>): string => stringifyJson(mesos.v1.executor.Call, callOf(call));

for (const [contentType, accept, answered] of [
  [json, undefined, json],
  [json, '*/*', json],
  [protobuf, undefined, json],
  [protobuf, protobuf, protobuf],
  [json, `${protobuf}, ${json};q=0.5`, json],
] as const) {
  test(`SUBSCRIBE as ${contentType} that accepts ${accept} is answered with a stream of ${answered}`, async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.subscribe(t, { contentType, ...(accept && { accept }) });
    t.is(stream.response.status, 200);
    t.is(stream.response.headers.get('content-type'), answered);
    t.is(stream.response.headers.get('content-length'), null);
    t.is((await stream.next())?.subscribed?.executorInfo.executorId.value, 'e');
    stage.executors.send('c-e', { type: Type.MESSAGE, message: { data: Buffer.from('hello') } });
    t.is(Buffer.from((await stream.next())?.message?.data ?? []).toString(), 'hello');
    t.deepEqual(
      stage.inputs.map(({ kind, containerId }) => [kind, containerId]),
      [['executor_subscribed', 'c-e']],
    );
  });
}

test('calls in JSON and in protobuf are taken with 202, by the port and by the domain socket', async (t) => {
  const stage = await Stage.open(t);
  const message = callOf({ type: CallType.MESSAGE, message: { data: Buffer.from('hi') } });
  for (const bySocket of [false, true]) {
    const asJson = stringifyJson(mesos.v1.executor.Call, message);
    t.is((await stage.request(asJson, stage.headers('e', json), { bySocket })).status, 202);
    const asBytes = encode(mesos.v1.executor.Call, message);
    t.is((await stage.request(asBytes, stage.headers('e', protobuf), { bySocket })).status, 202);
  }
  const data = stage.inputs.map((input) => input.kind === 'executor_call' && input.call.message?.data);
  t.deepEqual(
    data.map((bytes) => Buffer.from(bytes || []).toString()),
    ['hi', 'hi', 'hi', 'hi'],
  );
});

test('a call may be gzipped, and may come to the path that Mesos’ own library asks', async (t) => {
  const stage = await Stage.open(t);
  const headers = { ...stage.headers(), 'content-encoding': 'gzip' };
  t.is((await stage.request(gzipSync(say(heartbeat)), headers)).status, 202);
  t.is((await stage.request(say(heartbeat), stage.headers(), { path: '/slave(1)/api/v1/executor' })).status, 202);
  t.is((await stage.request('no gzip', headers)).status, 400);
  t.is((await stage.request(gzipSync(Buffer.alloc(33 << 20, ' ')), headers)).status, 413);
  t.is((await stage.request(say(heartbeat), { ...headers, 'content-encoding': 'br' })).status, 415);
});

test('without a token, with a wrong one or one of another agent the answer is 401, before anything is read', async (t) => {
  const stage = await Stage.open(t);
  const other = await Stage.open(t);
  const { authorization: _, ...anonymous } = stage.headers();
  const without = await stage.request('', anonymous);
  t.is(without.status, 401);
  t.is(without.headers['www-authenticate'], 'Bearer realm="mesos-agent-executor"');
  const [header, claims] = (stage.headers()['authorization'] ?? '').replace('Bearer ', '').split('.');
  const unsigned = Buffer.from('{"alg":"none"}').toString('base64url');
  for (const token of ['x', '..', `${header}.${claims}.`, `${header}.${claims}.AAAA`, `${unsigned}.${claims}.`]) {
    const wrong = await stage.request(say(heartbeat), { ...anonymous, authorization: `Bearer ${token}` });
    t.is(wrong.status, 401, token);
    t.regex(String(wrong.headers['www-authenticate']), /invalid_token/);
  }
  t.is((await stage.request(say(heartbeat), other.headers())).status, 401);
  t.deepEqual(stage.inputs, []);
});

test('an executor cannot speak for another', async (t) => {
  const stage = await Stage.open(t);
  const { status, text } = await stage.say({ ...heartbeat, executorId: { value: 'other' } });
  t.is(status, 403);
  t.regex(text, /token is that of executor 'e' of framework 'F'.*speaks for executor 'other'/);
  t.is((await stage.say({ ...heartbeat, frameworkId: { value: 'G' } })).status, 403);
  t.deepEqual(stage.inputs, []);
});

test('the form of a call is judged as Mesos does', async (t) => {
  const stage = await Stage.open(t);
  const { 'content-type': _, ...untyped } = stage.headers();
  const cases: [number, string, Record<string, string>, object?][] = [
    [405, '', stage.headers(), { method: 'GET' }],
    [405, say(heartbeat), stage.headers(), { method: 'PUT' }],
    [404, say(heartbeat), stage.headers(), { path: '/api/v1/scheduler' }],
    [400, say(heartbeat), untyped],
    [415, say(heartbeat), stage.headers('e', 'text/plain')],
    [415, say(heartbeat), stage.headers('e', 'application/json; charset=utf-8')],
    [400, '', stage.headers()],
    [400, '{"type":', stage.headers()],
    [400, say(heartbeat), stage.headers('e', protobuf)],
    [400, '{"type":"HEARTBEAT","executor_id":{"value":"e"}}', stage.headers()],
    [400, say({}), stage.headers()],
    [501, say({ type: CallType.UNKNOWN }), stage.headers()],
    [400, say({ type: CallType.SUBSCRIBE }), stage.headers()],
    [400, say({ type: CallType.UPDATE }), stage.headers()],
    [400, say({ type: CallType.MESSAGE }), stage.headers()],
    [406, say({ type: CallType.SUBSCRIBE, subscribe: {} }), { ...stage.headers(), accept: 'text/html' }],
    [202, say(heartbeat), { ...stage.headers(), accept: 'text/html' }],
  ];
  for (const [wanted, body, headers, more] of cases) {
    const { status, text } = await stage.request(body, headers, more);
    t.is(status, wanted, `${body} ${JSON.stringify(more)}: ${text}`);
  }
  t.is((await stage.request('', stage.headers(), { method: 'GET' })).headers.allow, 'POST');
});

test('what is too large to be carried is refused with 413', async (t) => {
  const stage = await Stage.open(t);
  const message = (bytes: number) => ({ type: CallType.MESSAGE, message: { data: new Uint8Array(bytes) } });
  t.is((await stage.say(message(64 << 10))).status, 202);
  const { status, text } = await stage.say(message((64 << 10) + 1));
  t.is(status, 413);
  t.regex(text, /message takes 65537 bytes: at most 65536/);
  const taskStatus = {
    taskId: { value: 't' },
    state: mesos.v1.TaskState.TASK_RUNNING,
    data: new Uint8Array(64 << 10),
  };
  t.is((await stage.say({ type: CallType.UPDATE, update: { status: taskStatus } })).status, 413);
  t.is((await stage.say(message(33 << 20))).status, 413);
});

for (const [kind, wanted] of [
  ['invalid', 400],
  ['not_subscribed', 403],
  ['unknown', 403],
  ['not_ready', 503],
] as const) {
  test(`a call or subscription that the core refuses as ${kind} is answered with ${wanted}, and why`, async (t) => {
    const stage = await Stage.open(t);
    stage.refusal = { kind, message: 'It is so' };
    t.like(await stage.say(heartbeat), { status: wanted, text: 'It is so\n' });
    t.like(await stage.say({ type: CallType.SUBSCRIBE, subscribe: {} }), { status: wanted, text: 'It is so\n' });
  });
}

test('a second subscription takes the place of the first; only the end of the latest is told', async (t) => {
  const stage = await Stage.open(t);
  const first = await stage.subscribe(t);
  await first.next();
  const second = await stage.subscribe(t);
  await second.next();
  t.is(await first.next(), undefined);
  stage.executors.send('c-e', { type: Type.HEARTBEAT });
  t.is((await second.next())?.type, Type.HEARTBEAT);
  await second.cancel();
  await stage.until(() => stage.inputs.length === 3);
  t.deepEqual(
    stage.inputs.map(({ kind }) => kind),
    ['executor_subscribed', 'executor_subscribed', 'executor_disconnected'],
  );
});

test('a subscription that is refused leaves the one before it', async (t) => {
  const stage = await Stage.open(t);
  const first = await stage.subscribe(t);
  await first.next();
  stage.refusal = { kind: 'not_ready', message: 'no' };
  t.is((await stage.say({ type: CallType.SUBSCRIBE, subscribe: {} })).status, 503);
  stage.executors.send('c-e', { type: Type.HEARTBEAT });
  t.is((await first.next())?.type, Type.HEARTBEAT);
});

test('the stream ends after an ERROR, and its end is told', async (t) => {
  const stage = await Stage.open(t);
  const stream = await stage.subscribe(t);
  await stream.next();
  stage.executors.send('c-e', { type: Type.ERROR, error: { message: 'over' } });
  t.is((await stream.next())?.error?.message, 'over');
  t.is(await stream.next(), undefined);
  await stage.until(() => stage.inputs.at(-1)?.kind === 'executor_disconnected');
  t.notThrows(() => stage.executors.send('c-e', { type: Type.HEARTBEAT }), 'for nobody');
});

test('an executor that does not read its events is cut off, others are not', async (t) => {
  const stage = await Stage.open(t);
  const other = await stage.subscribe(t, { executorId: 'other' });
  await other.next();
  await stage.subscribe(t);
  const message = { type: Type.MESSAGE, message: { data: new Uint8Array(1 << 20) } };
  const isCut = (): boolean => stage.inputs.at(-1)?.kind === 'executor_disconnected';
  for (let sent = 0; sent < 100 && !isCut(); sent += 1) {
    stage.executors.send('c-e', message);
    await new Promise(setImmediate);
  }
  t.true(isCut());
  t.is(stage.inputs.at(-1)?.containerId, 'c-e');
  t.true(stage.logged.includes('Cut off an executor that does not read its events'));
  stage.executors.send('c-other', { type: Type.HEARTBEAT });
  t.is((await other.next())?.type, Type.HEARTBEAT);
});

test('every half hour all streams get a heartbeat', async (t) => {
  const clock = new ManualClock();
  const stage = await Stage.open(t, { clock: { clock } });
  const stream = await stage.subscribe(t);
  await stream.next();
  for (let round = 0; round < 2; round += 1) {
    clock.advance(30 * 60_000);
    t.is((await stream.next())?.type, Type.HEARTBEAT);
  }
});

test('port, socket and tokens stay the same over a restart; what signs tokens is for the agent alone', async (t) => {
  const folder = tempWorkDir(t);
  const first = await Stage.open(t, { folder });
  const env = first.env();
  await first.executors.close();
  const second = await Stage.open(t, { folder });
  t.deepEqual(second.env(), env);
  t.is(statSync(openWorkDir(folder).executorContact).mode & 0o777, 0o600);
  t.is((await second.request(say(heartbeat), first.headers())).status, 202);
});

test('tasks of every user reach the domain socket', async (t) => {
  const stage = await Stage.open(t);
  const socket = stage.env()['MESOS_DOMAIN_SOCKET'] ?? '';
  t.is(statSync(socket).mode & 0o777, 0o666);
  t.is(statSync(dirname(socket)).mode & 0o005, 0o005);
});

test('in a work directory whose path is too long for a domain socket there is none, and it is said', async (t) => {
  const folder = join(tempWorkDir(t), 'long'.repeat(25));
  const stage = await Stage.open(t, { folder });
  t.is(stage.env()['MESOS_DOMAIN_SOCKET'], undefined);
  t.true(stage.logged.some((line) => /choose a shorter --work-dir/.test(line)));
  t.is((await stage.say(heartbeat)).status, 202);
});

test('when the port is taken at a restart another is used and it is said; the domain socket stays', async (t) => {
  const folder = tempWorkDir(t);
  const first = await Stage.open(t, { folder });
  const env = first.env();
  const port = Number(env['MESOS_AGENT_ENDPOINT']?.split(':')[1]);
  await first.executors.close();
  const squatter = createServer();
  await new Promise<void>((done) => squatter.listen(port, '127.0.0.1', done));
  t.teardown(() => squatter.close());
  const second = await Stage.open(t, { folder });
  t.not(second.env()['MESOS_AGENT_ENDPOINT'], env['MESOS_AGENT_ENDPOINT']);
  t.is(second.env()['MESOS_DOMAIN_SOCKET'], env['MESOS_DOMAIN_SOCKET']);
  t.true(second.logged.some((line) => /port for executors is taken/.test(line)));
  t.is((await second.request(say(heartbeat), first.headers(), { bySocket: true })).status, 202);
  await t.throwsAsync(Stage.open(t, { port }), { message: /--executor-port/ });
});

test('the environment is that of Mesos', async (t) => {
  const stage = await Stage.open(t);
  const { MESOS_EXECUTOR_AUTHENTICATION_TOKEN: token, ...env } = stage.env();
  const endpoint = env['MESOS_AGENT_ENDPOINT'];
  t.regex(endpoint ?? '', /^127\.0\.0\.1:\d+$/);
  t.deepEqual(env, {
    LIBPROCESS_PORT: '0',
    MESOS_AGENT_ENDPOINT: endpoint,
    MESOS_CHECKPOINT: '1',
    MESOS_DOMAIN_SOCKET: env['MESOS_DOMAIN_SOCKET'],
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs',
    MESOS_HTTP_COMMAND_EXECUTOR: '0',
    MESOS_RECOVERY_TIMEOUT: '15mins',
    MESOS_SLAVE_ID: 'S0',
    MESOS_SLAVE_PID: `slave(1)@${endpoint}`,
    MESOS_SUBSCRIPTION_BACKOFF_MAX: '2secs',
  });
  const claims = JSON.parse(Buffer.from(token?.split('.')[1] ?? '', 'base64url').toString());
  t.deepEqual(claims, { fid: 'F', eid: 'e', cid: 'c-e' });
});
