import { accessSync, constants } from 'node:fs';
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
import { type Credentials, inboxPrefixOf, readCredentials } from './identity.ts';
import { type BusLogger, silentLogger } from './logger.ts';

/** What a client shows to its NATS servers, and how it knows them. Files are read again at every connect. */
export interface NatsSecurity {
  readonly token?: string | undefined;
  /** A credentials file (JWT and key); it may be renewed while we run. */
  readonly credsFile?: string | undefined;
  /** Certificates of those who may vouch for a server, PEM; with this the connection is encrypted or not made. */
  readonly tlsCaFile?: string | undefined;
  /** Our own certificate, PEM, for servers that ask for one. */
  readonly tlsCertFile?: string | undefined;
  /** The key of our certificate, PEM. */
  readonly tlsKeyFile?: string | undefined;
}

export interface NatsOptions extends NatsSecurity {
  /**
   * For example `nats://127.0.0.1:4222`; of several, also in one text with commas between, any that answers. With
   * `tls://` the connection is encrypted or not made.
   */
  readonly servers: string | readonly string[];
  readonly user?: string;
  readonly pass?: string;
  /** Says in the server's monitoring who we are. */
  readonly name: string;
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
  const { token, user, pass, credsFile } = options;
  const servers =
    typeof options.servers === 'string' ? options.servers.split(',').map((one) => one.trim()) : [...options.servers];
  const tls = tlsOf(options, servers);
  const credentials = credsFile === undefined ? undefined : readFresh(credsFile);
  return {
    servers,
    name: options.name,
    inboxPrefix: inboxPrefixOf(credentials?.identity),
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
    ...(credentials && { authenticator: credsFileAuthenticator(credsFile as string, credentials) }),
  };
}

/** @throws {DisconnectedError} the file cannot be read, or what it holds has expired */
function readFresh(file: string): Credentials {
  const credentials = readCredentials(file);
  const expiredMs = (credentials.expiresAt ?? Number.POSITIVE_INFINITY) * 1000;
  if (expiredMs > Date.now()) return credentials;
  const when = new Date(expiredMs).toISOString();
  throw new DisconnectedError(`Cannot use the NATS credentials '${file}': they expired at ${when}; ${renewIt}`);
}

const renewIt = 'make new ones with `mesobus auth renew` and put them there';

/** @throws {DisconnectedError} a file cannot be read now, or one of two is missing */
function tlsOf(options: NatsSecurity, servers: readonly string[]): TlsOptions | undefined {
  const { tlsCaFile: caFile, tlsCertFile: certFile, tlsKeyFile: keyFile } = options;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const given = certFile ?? keyFile;
    throw new DisconnectedError(`Cannot use '${given}' for TLS: give the certificate and its key, or neither`);
  }
  const files = [caFile, certFile, keyFile].filter((file) => file !== undefined);
  for (const file of files) requireReadable(file);
  if (files.length === 0 && !servers.some((server) => server.startsWith('tls://'))) return undefined;
  return {
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}

function requireReadable(file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    const message = `Cannot read '${file}' for TLS: ${(error as Error).message}; name a file that this user can read`;
    throw new DisconnectedError(message, { cause: error });
  }
}

/** Later failures to read keep what was read last. */
function credsFileAuthenticator(path: string, first: Credentials): Authenticator {
  let { bytes } = first;
  return (nonce) => {
    try {
      ({ bytes } = readCredentials(path));
    } catch {
      // Perhaps it is being replaced: the server will say whether the old one is still good.
    }
    return credsAuthenticator(bytes)(nonce);
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
  return new DisconnectedError(`Cannot connect to NATS at ${where}: ${why}; ${remedyOf(cause, maxWaitMs)}`, { cause });
}

function remedyOf(cause: unknown, maxWaitMs: number): string {
  if (cause instanceof errors.AuthorizationError) {
    const perhaps = 'these may have expired or been revoked, or be those of other servers';
    return `the server runs but refuses the credentials; give the token, user or credentials file that it expects: ${perhaps}`;
  }
  const waited = `tried for ${maxWaitMs} ms`;
  const { code = '', message = '' } = cause as Partial<NodeJS.ErrnoException>;
  if (message.includes("does not support 'tls'")) {
    return `${waited}; the server is not configured for TLS: configure it, or name no CA and no tls:// address`;
  }
  if (/CERT|SIGNATURE|INVALID_CA|^ERR_(TLS|SSL|OSSL)/.test(code)) {
    return `${waited}; the two do not accept each other's certificates: name the CA of the servers, and a certificate for the address, and one of ours if they ask for it`;
  }
  return `${waited}; start a nats-server there, or correct the address`;
}

/** `nats://user:secret@host` without what stands before the `@`. */
const withoutSecrets = (server: string): string => server.replace(/\/\/.*@/, '//').replace(/^[^/]*@/, '');
