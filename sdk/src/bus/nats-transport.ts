import {
  errors,
  headers,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  nuid,
  type PublishOptions,
  type Status,
} from '@nats-io/transport-node';
import { DisconnectedError } from '../errors.ts';
import type { BusLogger } from './logger.ts';
import type { Frame, Transport, TransportListener } from './transport.ts';

/** Closing waits so long for what is under way, then cuts the connection, ms. */
const drainTimeoutMs = 5000;

/** Frames over a connection of the NATS client. */
export class NatsTransport implements Transport {
  readonly id: string = nuid.next();
  readonly inboxPrefix: string;
  readonly #connection: NatsConnection;
  readonly #logger: BusLogger;
  #listener: TransportListener | undefined;
  #connected = true;
  #maxFrameBytes = 0;
  /** Why the server has not taken us back since the connection was lost, as far as that was said. */
  #refusal = '';
  /** Called on the next change of the connection. */
  readonly #waiting = new Set<() => void>();

  constructor(connection: NatsConnection, inboxPrefix: string, logger: BusLogger) {
    this.#connection = connection;
    this.#logger = logger;
    this.inboxPrefix = `${inboxPrefix}.${this.id}`;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get maxFrameBytes(): number {
    // The client knows no info while it reconnects, and the next server may allow less.
    const { info } = this.#connection;
    if (info !== undefined) this.#maxFrameBytes = Math.floor(info.max_payload / 2);
    return this.#maxFrameBytes;
  }

  start(listener: TransportListener): void {
    this.#listener = listener;
    void this.#followStatus();
    void this.#connection.closed().then((error) => this.#onClosed(error));
  }

  send(subject: string, bytes: Uint8Array, reply: string, traceparent: string): void {
    const options: PublishOptions = {};
    if (reply !== '') options.reply = reply;
    if (traceparent !== '') options.headers = traceHeaders(traceparent);
    try {
      this.#connection.publish(subject, bytes, options);
    } catch (error) {
      // While the connection closes, sending is dropped as it is without a connection.
      if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError) return;
      throw error;
    }
  }

  listen(subject: string, queue: string | undefined, onFrame: (frame: Frame) => void): () => void {
    const subscription = this.#connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null) onFrame(new NatsFrame(message));
        else this.#logger.error({ subject, err: error }, `the NATS server does not let us listen on '${subject}'`);
      },
    });
    return () => {
      if (!this.#connection.isClosed()) subscription.unsubscribe();
    };
  }

  async flush(): Promise<void> {
    for (;;) {
      if (this.#connection.isClosed()) throw new DisconnectedError('Cannot flush: the bus is closed');
      if (!this.#connected) await this.#change();
      else {
        try {
          return await this.#connection.flush();
        } catch {
          // Cut off meanwhile: what was sent is lost, what was subscribed will be again on the return.
          if (this.#connected && !this.#connection.isClosed()) await this.#change();
        }
      }
    }
  }

  async close(): Promise<void> {
    if (this.#connection.isClosed()) return;
    const drained = this.#connected && !this.#connection.isDraining() ? await this.#drain() : false;
    if (!drained) await this.#connection.close();
  }

  async #drain(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), drainTimeoutMs);
    });
    const drained = this.#connection.drain().then(
      () => true,
      () => false, // cut off meanwhile
    );
    const result = await Promise.race([drained, tooLong]);
    clearTimeout(timer);
    return result;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
    });
  }

  #setConnected(connected: boolean): void {
    if (this.#connected !== connected) {
      this.#connected = connected;
      this.#listener?.onConnection(connected);
    }
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  async #followStatus(): Promise<void> {
    for await (const status of this.#connection.status()) this.#onStatus(status);
  }

  #onStatus(status: Status): void {
    switch (status.type) {
      case 'disconnect':
        if (this.#connected)
          this.#logger.warn({ server: status.server }, 'the connection to NATS is lost; reconnecting');
        this.#setConnected(false);
        break;
      case 'reconnect':
        if (!this.#connected) this.#logger.info({ server: status.server }, 'connected to NATS again');
        this.#refusal = '';
        this.#setConnected(true);
        break;
      case 'ldm':
        this.#logger.info({ server: status.server }, 'the NATS server is about to stop');
        break;
      case 'staleConnection':
        this.#logger.warn({}, 'the NATS server does not answer pings; reconnecting');
        break;
      case 'error':
        this.#onError(status.error);
        break;
      default:
    }
  }

  #onError(error: Error): void {
    if (error instanceof errors.PermissionViolationError) {
      const { operation, subject } = error;
      const doing = operation === 'publish' ? 'send to' : 'listen on';
      this.#logger.error({ subject, err: error }, `the NATS server does not let us ${doing} '${subject}'`);
      if (operation === 'publish') this.#listener?.onForbidden(subject, error.message);
    } else if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) {
      this.#onRefused(error);
    } else {
      // Among others 'Slow Consumer': the server cut us off because we did not read fast enough.
      this.#logger.warn({ err: error }, `the NATS server complains: ${error.message}`);
    }
  }

  /** Said once, not with each of the many tries. */
  #onRefused(error: Error): void {
    if (error.message === this.#refusal) return;
    this.#refusal = error.message;
    const waits = 'trying again and again, with what stands in the file of credentials by then: renew it';
    this.#logger.error({ err: error }, `the NATS server refuses our credentials (${error.message}); ${waits}`);
  }

  #onClosed(error: unknown): void {
    if (error !== undefined) this.#logger.error({ err: error }, 'the connection to NATS is closed for good');
    this.#setConnected(false);
    const why = error instanceof Error ? `the connection to NATS is closed (${error.message})` : 'the bus was closed';
    this.#listener?.onClosed(why);
  }
}

function traceHeaders(traceparent: string): MsgHdrs {
  const result = headers();
  result.set('traceparent', traceparent);
  return result;
}

/** Reads from the client's message only what is asked for: each of its fields costs a decoding. */
class NatsFrame implements Frame {
  readonly subject: string;
  readonly #message: Msg;

  constructor(message: Msg) {
    this.#message = message;
    this.subject = message.subject;
  }

  get reply(): string {
    return this.#message.reply ?? '';
  }

  get bytes(): Uint8Array {
    return this.#message.data;
  }

  get traceparent(): string {
    return this.#message.headers?.get('traceparent') ?? '';
  }

  get noResponders(): boolean {
    return this.#message.data.length === 0 && this.#message.headers?.code === 503;
  }
}
