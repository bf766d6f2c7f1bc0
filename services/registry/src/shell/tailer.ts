import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream';
import { createInbox, type Msg, type Subscription } from '@nats-io/transport-node';
import type { LogMessage } from '../core/log-reader.ts';
import { keyOf, type LogBucket } from './log-bucket.ts';
import type { Tailer, TailOptions } from './log-store.ts';

/** The server says something at least so often while a pull is open. */
const heartbeatMs = 500;
/** Without a word for so long, the consumer is made anew. */
const silenceMs = 3 * heartbeatMs + 100;
const pullExpiresMs = 30_000;
const pullBatch = 512;
const maxPullBytes = 8 * 1024 * 1024;
/** More than the largest entry, and less than any bound that a server has for what is on its way to us. */
const minPullBytes = 768 * 1024;
const minBackoffMs = 100;
const maxBackoffMs = 5_000;
/** The server forgets a consumer that nobody pulls from. */
const inactiveNs = 30_000_000_000;

/**
 * Delivers every message of the bucket from a sequence on, in order, without gap or repetition, for ever. The client's
 * own watchers can go silent for minutes after a NATS server has died; this one expects a heartbeat twice a second and
 * makes its consumer anew, after the last message it has seen, as soon as that fails.
 */
export function startTailer(bucket: LogBucket, options: TailOptions): Tailer {
  const tail = new Tail(bucket, options);
  void tail.run();
  return tail;
}

class Tail implements Tailer {
  readonly #bucket: LogBucket;
  readonly #options: TailOptions;
  #last: number;
  #stopped = false;
  #backoffMs = minBackoffMs;
  /** Halved when a consumer fails before it has caught up: a server drops whoever is sent more than it may have pending. */
  #pullBytes = maxPullBytes;
  /** Ends what is being waited for. */
  #wake: () => void = () => {};

  constructor(bucket: LogBucket, options: TailOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#last = options.from - 1;
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async run(): Promise<void> {
    while (!this.#stopped && !this.#bucket.connection.isClosed()) {
      const why = await this.#follow().catch((error: unknown) => (error as Error).message);
      if (this.#stopped) return;
      this.#options.onRestart?.(why);
      await this.#pause(this.#backoffMs);
      this.#backoffMs = Math.min(maxBackoffMs, this.#backoffMs * 2);
    }
  }

  /** Follows one consumer until it fails; resolves with the reason. */
  async #follow(): Promise<string> {
    const bucket = this.#bucket;
    const { last_seq: end } = (await bucket.manager.streams.info(bucket.stream)).state;
    if (this.#stopped) return 'stopped';
    if (end < this.#last) return this.#end(end);
    const consumer = await bucket.manager.consumers.add(bucket.stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#last + 1,
      inactive_threshold: inactiveNs,
      mem_storage: true,
      num_replicas: 1,
    });
    if (this.#stopped) return 'stopped';
    const pull = new Pull(bucket, consumer.name, this.#pullBytes);
    if (this.#last >= end) this.#options.onCaughtUp();
    try {
      return await new Promise<string>((resolve) => {
        this.#wake = () => resolve('stopped');
        pull.start((message) => this.#onMessage(message, end), resolve);
      });
    } finally {
      pull.stop();
      if (this.#last < end) this.#pullBytes = Math.max(minPullBytes, this.#pullBytes / 2);
      this.#wake = () => {};
      // The server would forget it anyway; a failure means that it is gone or out of reach.
      bucket.manager.consumers.delete(bucket.stream, consumer.name).catch(() => {});
    }
  }

  /** @param end - the last sequence when this consumer began; what stood there may have been overwritten since */
  #onMessage(message: PulledMessage, end: number): void {
    if (this.#stopped) return;
    this.#backoffMs = minBackoffMs;
    const behind = this.#last < end;
    this.#last = message.sequence;
    this.#options.onMessage(message);
    if (behind && message.sequence >= end && !this.#stopped) this.#options.onCaughtUp();
  }

  #end(lastSequence: number): string {
    this.stop();
    this.#options.onReplaced?.(lastSequence);
    return 'stopped';
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

interface PulledMessage extends LogMessage {
  /** Its place in what this consumer has delivered, from 1. */
  readonly delivery: number;
}

/** Pulls from one consumer, over and over, and watches that something is heard. */
class Pull {
  readonly #bucket: LogBucket;
  readonly #consumer: string;
  readonly #inbox: string;
  readonly #bytes: number;
  #subscription: Subscription | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #fail: (why: string) => void = () => {};
  #deliver: (message: PulledMessage) => void = () => {};
  #delivered = 0;
  #left = 0;

  /** @param bytes - that the server may send at once */
  constructor(bucket: LogBucket, consumer: string, bytes: number) {
    this.#bucket = bucket;
    this.#consumer = consumer;
    this.#bytes = bytes;
    this.#inbox = createInbox(bucket.client.getOptions().watcherPrefix);
  }

  start(deliver: (message: PulledMessage) => void, fail: (why: string) => void): void {
    this.#deliver = deliver;
    this.#fail = fail;
    this.#subscription = this.#bucket.connection.subscribe(this.#inbox, {
      callback: (error, message) => (error === null ? this.#onMessage(message) : fail(error.message)),
    });
    this.#watchdog = setTimeout(() => fail(`nothing heard for ${silenceMs} ms`), silenceMs);
    this.#request();
  }

  stop(): void {
    clearTimeout(this.#watchdog);
    this.#deliver = () => {};
    if (!this.#bucket.connection.isClosed()) this.#subscription?.unsubscribe();
  }

  #request(): void {
    this.#left = pullBatch;
    const request = {
      batch: pullBatch,
      max_bytes: this.#bytes,
      expires: pullExpiresMs * 1_000_000,
      idle_heartbeat: heartbeatMs * 1_000_000,
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#bucket.stream}.${this.#consumer}`;
    this.#bucket.connection.publish(subject, JSON.stringify(request), { reply: this.#inbox });
  }

  #onMessage(message: Msg): void {
    this.#watchdog?.refresh();
    const code = message.headers?.code ?? 0;
    if (code === 0) this.#onDelivered(message);
    else if (code !== 100) this.#onStatus(code, message.headers?.description ?? '');
  }

  #onDelivered(message: Msg): void {
    const place = placeOf(message.reply);
    if (place?.delivery !== this.#delivered + 1) {
      this.#fail(`delivery ${this.#delivered + 1} is missing: ${message.reply} came`);
      return;
    }
    this.#delivered = place.delivery;
    this.#left -= 1;
    // Asked for before the message is handled, so that the server is busy meanwhile.
    if (this.#left === 0) this.#request();
    // A view of what was received would keep the whole frame alive, so the bytes are copied.
    this.#deliver({ key: keyOf(this.#bucket, message.subject), bytes: message.data.slice(), ...place });
  }

  /** 408: the pull has expired; 409: it was full of bytes, or the consumer is gone. */
  #onStatus(code: number, description: string): void {
    const more = code === 408 || isFull(description);
    if (more) this.#request();
    else this.#fail(`${code} ${description}`);
  }
}

/** Whether a pull has ended (409) because all that was asked for has come. */
export const isFull = (description: string): boolean => /exceeds maxbytes|batch completed/i.test(description);

/** The server says in the reply subject where a message stands in the stream and in what this consumer got. */
export function placeOf(reply: string | undefined): { sequence: number; delivery: number } | undefined {
  const tokens = reply?.split('.') ?? [];
  if (tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
  // $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and account in front.
  const at = tokens.length >= 11 ? 7 : 5;
  const [sequence, delivery] = [Number(tokens[at]), Number(tokens[at + 1])];
  return Number.isInteger(sequence) && Number.isInteger(delivery) ? { sequence, delivery } : undefined;
}
