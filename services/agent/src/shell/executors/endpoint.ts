import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { ListenOptions } from 'node:net';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { encode, has, MalformedJsonError, MalformedMessageError, mesos } from '@mesobus/protos';
import { type Clock, systemClock } from '@mesobus/sdk/bus';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Effect, ExecutorRefusal, Input } from '../../core/index.ts';
import type { WorkDir } from '../work-dir.ts';
import { readContact, writeContact } from './contact.ts';
import { type Address, executorEnvironment, type StartOfExecutor } from './environment.ts';
import { EventStream } from './event-stream.ts';
import { asMediaType, type MediaType, negotiate, readMessage } from './media-type.ts';
import { type Claims, Tokens } from './tokens.ts';

type Call = mesos.v1.executor.Call;
type Event = Extract<Effect, { kind: 'executor_event' }>['event'];

/** What executors do, as the core takes it. */
export type ExecutorInput = Extract<
  Input,
  { kind: 'executor_subscribed' } | { kind: 'executor_call' } | { kind: 'executor_disconnected' }
>;

/** Where executors of frameworks find their agent. */
export interface Executors {
  /** What tells an executor in its environment where that is, and who it is. */
  environmentOf(start: StartOfExecutor): Record<string, string>;
  /** For the latest stream of an executor; lost if there is none. */
  send(containerId: string, event: Event): void;
  /** The input that is being handled comes to nothing. */
  refuse(refusal: ExecutorRefusal): void;
  close(): Promise<void>;
}

export interface ExecutorsOptions {
  readonly workDir: WorkDir;
  /** To listen at; 0: at any, and the same one after a restart. */
  readonly port: number;
  /** What follows from it is carried out before this returns. */
  readonly onInput: (input: ExecutorInput) => void;
  readonly log: Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>;
  /** The system's unless given. */
  readonly clock?: Clock;
}

const CallType = mesos.v1.executor.Call.Type;
const EventType = mesos.v1.executor.Event.Type;

const loopback = '127.0.0.1';
const path = '/api/v1/executor';
/** Mesos' library for executors asks there. */
const prefix = /^\/slave\(1\)(?=\/)/;
/** As in Mesos. */
const heartbeatMs = 30 * 60_000;
/** A subscription repeats all that is not acknowledged. */
const maxBodyBytes = 32 << 20;
/** Of one update or message: a thousand of them travel together, and each becomes a record. */
const maxSaidBytes = 64 << 10;
const requestTimeoutMs = 60_000;
const keepAliveTimeoutMs = 60_000;
/** Linux takes no longer path for a socket. */
const maxSocketPathBytes = 107;

const statusOf: Readonly<Record<ExecutorRefusal['kind'], number>> = {
  invalid: 400,
  not_subscribed: 403,
  unknown: 403,
  not_ready: 503,
};

/** The answer to a call that is not taken. */
class CallError extends Error {
  override readonly name = 'CallError';
  readonly statusCode: number;
  readonly headers: Record<string, string>;

  constructor(statusCode: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.statusCode = statusCode;
    this.headers = headers;
  }
}

/**
 * Listens for executors.
 *
 * @throws {Error} the port that was asked for cannot be listened at
 */
export async function openExecutors(options: ExecutorsOptions): Promise<Executors> {
  const endpoint = new ExecutorEndpoint(options);
  await endpoint.open();
  return endpoint;
}

/** The Mesos v1 API for executors, on a loopback port and on a domain socket. */
class ExecutorEndpoint implements Executors {
  readonly #options: ExecutorsOptions;
  readonly #tokens: Tokens;
  readonly #key: Uint8Array;
  readonly #knownPort: number | undefined;
  /** From the first request on: many agents see none, and it takes more memory than all else that they load. */
  #app: Promise<FastifyInstance> | undefined;
  readonly #onPort = this.#createServer();
  readonly #onSocket = this.#createServer();
  #address: Address = { port: 0, socket: undefined };
  /** The latest of each, by container id. */
  readonly #streams = new Map<string, EventStream>();
  /** What the core says against the input that it is given. */
  #refusals: ExecutorRefusal[] = [];
  #cancelHeartbeat = (): void => {};
  #closed = false;

  constructor(options: ExecutorsOptions) {
    this.#options = options;
    const known = readContact(options.workDir.executorContact);
    this.#knownPort = known?.port;
    this.#key = known?.key ?? randomBytes(32);
    this.#tokens = new Tokens(this.#key);
  }

  async open(): Promise<void> {
    const { workDir, log } = this.#options;
    const port = await this.#listenAtPort();
    this.#address = { port, socket: await this.#listenAtSocket() };
    if (port !== this.#knownPort) {
      try {
        writeContact(workDir.executorContact, { port, key: this.#key });
      } catch (error) {
        log.error({ err: error }, 'Cannot write down where executors find this agent: a restart will lose them');
      }
    }
    this.#beat();
    log.info({ ...this.#address }, 'Listening for executors');
  }

  environmentOf(start: StartOfExecutor): Record<string, string> {
    return executorEnvironment(start, this.#address, this.#tokens.mint(start));
  }

  send(containerId: string, event: Event): void {
    this.#streams.get(containerId)?.send(event);
  }

  refuse(refusal: ExecutorRefusal): void {
    this.#refusals.push(refusal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelHeartbeat();
    for (const stream of this.#streams.values()) stream.cut();
    for (const server of [this.#onPort, this.#onSocket]) {
      server.close();
      server.closeAllConnections();
    }
    await (await this.#app)?.close();
  }

  #createServer(): Server {
    const timeouts = { requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveTimeoutMs };
    return createServer(timeouts, (request, response) => {
      this.#app ??= this.#createApp();
      this.#app.then(
        (app) => app.routing(request, response),
        (error: unknown) => {
          this.#options.log.error({ err: error }, 'Cannot answer executors');
          response.destroy();
        },
      );
    });
  }

  async #createApp(): Promise<FastifyInstance> {
    const { fastify } = await import('fastify');
    const app = fastify({
      bodyLimit: maxBodyBytes,
      rewriteUrl: ({ url = '' }) => url.replace(prefix, ''),
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      if (error instanceof CallError) reply.headers(error.headers);
      return reply
        .code(error.statusCode ?? 500)
        .type('text/plain; charset=utf-8')
        .send(`${error.message}\n`);
    });
    // Who it is, and whether it can be understood, is looked at before the body is taken in.
    const claims = new WeakMap<FastifyRequest, Claims>();
    const onRequest = async (request: FastifyRequest): Promise<void> => {
      claims.set(request, this.#identify(request));
      checkForm(request);
    };
    app.all(path, { onRequest }, (request, reply) => this.#onRequest(claims.get(request) as Claims, request, reply));
    await app.ready();
    return app;
  }

  #identify({ headers }: FastifyRequest): Claims {
    const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
    const claims = token === undefined ? undefined : this.#tokens.verify(token);
    if (claims !== undefined) return claims;
    const why = token === undefined ? 'The call has no token' : 'The token of the call is not one of this agent';
    const challenge = `Bearer realm="mesos-agent-executor"${token === undefined ? '' : ', error="invalid_token"'}`;
    const advice = 'send MESOS_EXECUTOR_AUTHENTICATION_TOKEN as Authorization: Bearer';
    throw new CallError(401, `${why}: ${advice}`, { 'www-authenticate': challenge });
  }

  async #onRequest(claims: Claims, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const mediaType = asMediaType(request.headers['content-type'] ?? '') as MediaType;
    const call = readCall(mediaType, await inflated(request));
    checkCall(call, claims);
    const { containerId } = claims;
    if (call.subscribe === null || call.type !== CallType.SUBSCRIBE) {
      this.#give({ kind: 'executor_call', containerId, call });
      return reply.code(202).send();
    }
    const accepted = negotiate(request.headers.accept);
    if (accepted === undefined) {
      throw new CallError(406, 'None of the accepted media types is application/json or application/x-protobuf');
    }
    this.#subscribe(containerId, call.subscribe, accepted, reply);
    return reply;
  }

  #subscribe(
    containerId: string,
    subscribe: Call['subscribe'] & object,
    mediaType: MediaType,
    reply: FastifyReply,
  ): void {
    const { raw } = reply;
    if (raw.destroyed) return; // it has gone meanwhile
    const stream = new EventStream(raw, mediaType, () =>
      this.#options.log.warn({ container: containerId }, 'Cut off an executor that does not read its events'),
    );
    const before = this.#streams.get(containerId);
    this.#streams.set(containerId, stream);
    try {
      this.#give({ kind: 'executor_subscribed', containerId, subscribe });
      if (!raw.headersSent) throw new CallError(503, 'The agent is stopping: subscribe to the next one');
    } catch (error) {
      if (before === undefined) this.#streams.delete(containerId);
      else this.#streams.set(containerId, before);
      throw error;
    }
    reply.hijack();
    before?.end();
    raw.on('close', () => this.#onClosed(containerId, stream));
  }

  #onClosed(containerId: string, stream: EventStream): void {
    if (this.#closed || this.#streams.get(containerId) !== stream) return;
    this.#streams.delete(containerId);
    this.#options.onInput({ kind: 'executor_disconnected', containerId });
  }

  /** @throws {CallError} the core refuses it */
  #give(input: ExecutorInput): void {
    const refusals: ExecutorRefusal[] = [];
    this.#refusals = refusals;
    this.#options.onInput(input);
    for (const { kind, message } of refusals) throw new CallError(statusOf[kind], message);
  }

  #beat(): void {
    this.#cancelHeartbeat = (this.#options.clock ?? systemClock).after(heartbeatMs, () => {
      for (const stream of this.#streams.values()) stream.send({ type: EventType.HEARTBEAT });
      this.#beat();
    });
  }

  async #listenAtPort(): Promise<number> {
    const { port, log } = this.#options;
    const wanted = port === 0 ? (this.#knownPort ?? 0) : port;
    try {
      await listen(this.#onPort, { host: loopback, port: wanted });
    } catch (error) {
      if (port !== 0) {
        throw new Error(`Cannot listen for executors on ${loopback}:${port} (--executor-port): ${String(error)}`, {
          cause: error,
        });
      }
      log.error(
        { err: error, port: wanted },
        'The port for executors is taken: those that run and do not use the domain socket cannot come back, and will be ended',
      );
      await listen(this.#onPort, { host: loopback, port: 0 });
    }
    const taken = this.#onPort.address();
    return typeof taken === 'object' && taken !== null ? taken.port : wanted;
  }

  /** @returns its path, or undefined if there can be none */
  async #listenAtSocket(): Promise<string | undefined> {
    const { workDir, log } = this.#options;
    const socket = workDir.executorSocket;
    if (Buffer.byteLength(socket) > maxSocketPathBytes) {
      log.warn({ socket }, 'No domain socket for executors: its path is too long; choose a shorter --work-dir');
      return undefined;
    }
    mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
    rmSync(socket, { force: true }); // the work directory is locked: nobody else listens there
    await listen(this.#onSocket, { path: socket });
    chmodSync(socket, 0o666); // whoever has a token may come, as any user
    return socket;
  }
}

async function listen(server: Server, where: ListenOptions): Promise<void> {
  server.listen(where);
  await once(server, 'listening');
}

function checkForm({ method, headers }: FastifyRequest): void {
  if (method !== 'POST') throw new CallError(405, `The method is ${method}: use POST`, { allow: 'POST' });
  const contentType = headers['content-type'];
  if (contentType === undefined) throw new CallError(400, "The header 'Content-Type' is missing");
  if (asMediaType(contentType) === undefined) {
    throw new CallError(
      415,
      `The content is of type '${contentType}': send application/json or application/x-protobuf`,
    );
  }
}

const gunzipped = promisify(gunzip);

async function inflated({ headers, body }: FastifyRequest): Promise<Uint8Array> {
  const given = body instanceof Uint8Array ? body : new Uint8Array();
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return given;
  if (encoding !== 'gzip')
    throw new CallError(415, `The content is encoded as '${encoding}': send it plain, or as gzip`);
  try {
    return await gunzipped(given, { maxOutputLength: maxBodyBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw new CallError(400, String(cause));
    throw new CallError(413, `The call is longer than ${maxBodyBytes} bytes`);
  }
}

function readCall(mediaType: MediaType, body: Uint8Array): Call {
  try {
    return readMessage(mesos.v1.executor.Call, mediaType, body);
  } catch (error) {
    if (error instanceof MalformedJsonError || error instanceof MalformedMessageError) {
      throw new CallError(400, error.message);
    }
    throw error;
  }
}

/** The field that holds the rest of a call. */
const bodies: ReadonlyMap<mesos.v1.executor.Call.Type, 'subscribe' | 'update' | 'message'> = new Map([
  [CallType.SUBSCRIBE, 'subscribe'],
  [CallType.UPDATE, 'update'],
  [CallType.MESSAGE, 'message'],
]);

/** What can be said of a call without knowing the executor. */
function checkCall(call: Call, { frameworkId, executorId }: Claims): void {
  const { type, subscribe, update, message } = call;
  if (!has(call, 'type')) throw new CallError(400, "The call lacks its field 'type'");
  if (type === CallType.UNKNOWN || CallType[type] === undefined) {
    throw new CallError(501, `The type of the call (${type}) is not known here`);
  }
  if (call.frameworkId.value !== frameworkId || call.executorId.value !== executorId) {
    const own = `executor '${executorId}' of framework '${frameworkId}'`;
    const named = `executor '${call.executorId.value}' of framework '${call.frameworkId.value}'`;
    throw new CallError(403, `The token is that of ${own}, and the call speaks for ${named}`);
  }
  const field = bodies.get(type);
  if (field !== undefined && call[field] === null) throw new CallError(400, `The call lacks its field '${field}'`);
  for (const one of [...(update ? [update] : []), ...(subscribe?.unacknowledgedUpdates ?? [])]) {
    checkSize('update', encode(mesos.v1.executor.Call.Update, one).length);
  }
  if (message) checkSize('message', message.data.length);
}

function checkSize(what: string, bytes: number): void {
  if (bytes > maxSaidBytes) {
    throw new CallError(413, `The ${what} takes ${bytes} bytes: at most ${maxSaidBytes} are carried; send less`);
  }
}
