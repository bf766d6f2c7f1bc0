import { readFileSync } from 'node:fs';
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type TlsOptions,
} from '@nats-io/transport-node';
import { DisconnectedError } from '../errors.ts';
import { type BusLogger, silentLogger } from './logger.ts';

export interface NatsOptions {
  /** For example `nats://127.0.0.1:4222`; of several, also in one text with commas between, any that answers. */
  readonly servers: string | readonly string[];
  readonly token?: string;
  readonly user?: string;
  readonly pass?: string;
  /** A credentials file (JWT and key), read again at every connect, so that it may be renewed. */
  readonly credsFile?: string;
  readonly tls?: TlsOptions;
  /** Says in the server's monitoring who we are. */
  readonly name: string;
  /** Where answers come; a principal may be confined to its own prefix. `_INBOX` unless given. */
  readonly inboxPrefix?: string;
  /** Between two tries to reconnect, ms; 250 unless given. */
  readonly reconnectWaitMs?: number;
  /** At most so much more, at random, ms; 250 unless given. Where thousands reconnect at once, give seconds. */
  readonly jitterMs?: number;
  /** A server that answers no ping for two to three times so long is left for another, ms; 5 s unless given. */
  readonly pingIntervalMs?: number;
  /** One that takes a connection and says nothing for so long is left for another, ms; 10 s unless given. */
  readonly handshakeTimeoutMs?: number;
  /** How long the first connection may take, ms; 10 s unless given. */
  readonly maxWait?: number;
  /** No message may be larger as a whole, in bytes; 64 MiB unless given. */
  readonly maxMessageBytes?: number;
  readonly logger?: BusLogger;
}

export const inboxPrefixOf = ({ inboxPrefix }: NatsOptions): string => inboxPrefix ?? '_INBOX';

const firstRetryMs = 100;
const maxRetryMs = 1000;

/**
 * Opens a connection for whoever needs no bus, and keeps it: once it stands, a lost one is renewed for ever.
 *
 * @throws {DisconnectedError} no server could be reached within `maxWait`, or it refused the credentials
 */
export async function openNatsConnection(options: NatsOptions): Promise<NatsConnection> {
  const { maxWait = 10_000, logger = silentLogger } = options;
  return await connectFirst(connectionOptions(options), maxWait, logger);
}

function connectionOptions(options: NatsOptions): ConnectionOptions {
  const { token, user, pass, credsFile, tls } = options;
  return {
    servers:
      typeof options.servers === 'string' ? options.servers.split(',').map((one) => one.trim()) : [...options.servers],
    name: options.name,
    inboxPrefix: inboxPrefixOf(options),
    maxReconnectAttempts: -1,
    reconnectTimeWait: options.reconnectWaitMs ?? 250,
    reconnectJitter: options.jitterMs ?? 250,
    reconnectJitterTLS: options.jitterMs ?? 250,
    pingInterval: options.pingIntervalMs ?? 5_000,
    maxPingOut: 2,
    timeout: options.handshakeTimeoutMs ?? 10_000,
    // A server that is misconfigured for a while must not end every process of the cluster.
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    ...(token === undefined ? {} : { token }),
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(tls === undefined ? {} : { tls }),
    ...(credsFile === undefined ? {} : { authenticator: credsFileAuthenticator(credsFile) }),
  };
}

/** @throws {DisconnectedError} the file cannot be read now; later failures keep what was read last */
function credsFileAuthenticator(path: string): Authenticator {
  let creds: Uint8Array;
  try {
    creds = readFileSync(path);
  } catch (error) {
    const why = (error as Error).message;
    const todo = 'name a file that this user can read';
    throw new DisconnectedError(`Cannot read the NATS credentials '${path}': ${why}; ${todo}`, { cause: error });
  }
  return (nonce) => {
    try {
      creds = readFileSync(path);
    } catch {
      // Perhaps it is being replaced: the server will say whether the old one is still good.
    }
    return credsAuthenticator(creds)(nonce);
  };
}

async function connectFirst(options: ConnectionOptions, maxWaitMs: number, logger: BusLogger): Promise<NatsConnection> {
  const deadline = performance.now() + maxWaitMs;
  let cause: unknown;
  for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, maxRetryMs)) {
    try {
      const connection = await within(deadline - performance.now(), tryEachServer(options));
      if (connection !== undefined) return connection;
      cause ??= new Error('no answer');
    } catch (error) {
      cause = error;
    }
    const leftMs = deadline - performance.now();
    if (leftMs <= 0 || cause instanceof errors.AuthorizationError) throw cannotConnect(options, maxWaitMs, cause);
    if (retryMs === firstRetryMs) {
      const servers = (options.servers as string[]).map(withoutSecrets);
      logger.warn({ servers, why: messageOf(cause), forMs: maxWaitMs }, 'NATS cannot be reached; trying again');
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(retryMs, leftMs)));
  }
}

/**
 * Tries each server once. The client alone would go round for ever, and say nothing: the servers of a cluster name each
 * other, also to those whom they refuse, and it takes one that was named again for new.
 */
async function tryEachServer(options: ConnectionOptions): Promise<NatsConnection> {
  const tried = new Set<string>();
  let isFirst = true;
  let isRound = false;
  const reconnectToServer: ConnectionOptions['reconnectToServer'] = ([next]) => {
    if (!isFirst || next === undefined) return null;
    isRound = tried.has(next.listen);
    if (isRound) throw new Error('every server was tried');
    tried.add(next.listen);
    return null; // the one that it has chosen
  };
  try {
    // Each try gets its own copy: the client keeps and changes what it is given.
    const connection = await connect({ ...options, reconnectToServer });
    isFirst = false;
    return connection;
  } catch (error) {
    if (!isRound) throw error;
  }
  // The reason is lost with that. Whoever listens to no names ends by itself, with the reason.
  const connection = await connect({ ...options, ignoreClusterUpdates: true });
  await connection.close();
  throw new Error('no answer');
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/** The connection, or undefined after so long; one that comes later is closed. */
async function within(ms: number, connecting: Promise<NatsConnection>): Promise<NatsConnection | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), Math.max(ms, 0));
  });
  try {
    const connection = await Promise.race([connecting, tooLong]);
    if (connection === undefined) {
      connecting.then(
        (late) => late.close(),
        () => {},
      );
    }
    return connection;
  } finally {
    clearTimeout(timer);
  }
}

function cannotConnect({ servers }: ConnectionOptions, maxWaitMs: number, cause: unknown): DisconnectedError {
  const where = (servers as string[]).map(withoutSecrets).join(', ');
  const why = messageOf(cause);
  const todo =
    cause instanceof errors.AuthorizationError
      ? 'the server runs but refuses the credentials; give the token, user or credentials file that it expects'
      : `tried for ${maxWaitMs} ms; start a nats-server there, or correct the address`;
  return new DisconnectedError(`Cannot connect to NATS at ${where}: ${why}; ${todo}`, { cause });
}

/** `nats://user:secret@host` without what stands before the `@`. */
const withoutSecrets = (server: string): string => server.replace(/\/\/.*@/, '//').replace(/^[^/]*@/, '');
