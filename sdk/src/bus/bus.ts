import type { AnyMessage, Channel, Decoded, Encodable } from './subjects.ts';

/** Version of the bus protocol that this code speaks. */
export const protocolVersion = 1;

/** Who leads, as far as this process has heard. A higher incarnation outranks every epoch of a lower one. */
export interface Epoch {
  readonly incarnation: number;
  readonly epoch: number;
}

/** Negative, zero or positive, as `a` is older than, the same as or newer than `b`. */
export const compareEpochs = (a: Epoch, b: Epoch): number => a.incarnation - b.incarnation || a.epoch - b.epoch;

/**
 * Moves typed messages between processes. Every message is an `Envelope`; one that is too large for a frame travels in
 * parts and is handed over only when whole. What does not decode is refused (or, if nobody waits for an answer, logged
 * and dropped) before any handler sees it.
 *
 * Two implementations behave the same under one contract test: NATS, and one in memory.
 */
export interface Bus {
  /**
   * Sends and forgets. At most once: lost if nobody listens, or while the bus is not connected.
   *
   * @throws {RefusedError} message_too_large
   * @throws {TypeError} the message lacks a required field or has a value of the wrong type
   */
  publish<Request extends AnyMessage, Reply extends AnyMessage>(
    channel: Channel<Request, Reply>,
    message: Encodable<Request>,
    options?: SendOptions,
  ): void;

  /**
   * Sends and waits for the answer.
   *
   * @throws {NoRespondersError} nobody serves the subject: at once
   * @throws {DeadlineError} no answer within `timeoutMs`; it may have been carried out
   * @throws {RefusedError} the other side refused
   * @throws {DisconnectedError} the bus is closed; one that is only cut off waits for its return, until the deadline
   */
  request<Request extends AnyMessage, Reply extends AnyMessage>(
    channel: Channel<Request, Reply>,
    message: Encodable<Request>,
    options: RequestOptions,
  ): Promise<Answer<Decoded<Reply>>>;

  /**
   * Serves a channel. Handlers run one after the other per message, synchronously; they may answer later. One that
   * throws (or whose promise rejects) refuses its delivery: a RefusedError as it is, anything else as `failed`, logged.
   */
  serve<Request extends AnyMessage, Reply extends AnyMessage>(
    channel: Channel<Request, Reply>,
    handler: (delivery: Delivery<Decoded<Request>, Encodable<Reply>>) => void,
    options?: ServeOptions,
  ): Subscription;

  /**
   * Opens an ordered stream for sending. From its first message on it says its latest number once a second, so that a
   * loss at the end is seen.
   */
  openStream<Message extends AnyMessage>(channel: Channel<Message>): StreamSender<Encodable<Message>>;

  /**
   * Follows an ordered stream. Messages come in order and without gaps, or `onGap` is called and nothing comes until a
   * fresh start. Messages of a lower epoch than the highest seen here are dropped.
   */
  followStream<Message extends AnyMessage>(
    channel: Channel<Message>,
    handlers: StreamHandlers<Decoded<Message>>,
  ): Subscription;

  /** The epoch that a master stamps on everything it sends; others never call this. */
  setEpoch(epoch: Epoch): void;

  /** Calls back on every change, and once now. Returns the call that stops it. */
  onConnection(listener: (connected: boolean) => void): () => void;

  readonly connected: boolean;

  /** Waits until the server has seen everything sent and subscribed so far. */
  flush(): Promise<void>;

  /** Delivers what is under way, then closes. Pending requests fail with DisconnectedError. */
  close(): Promise<void>;
}

export interface SendOptions {
  /** Overrides the trace context that is active: a `traceparent` as W3C writes it. */
  readonly traceparent?: string;
}

export interface RequestOptions extends SendOptions {
  readonly timeoutMs: number;
  /** Answers (and refusals) of epochs for which this is false are ignored: a deposed master may still answer. */
  readonly accepts?: (epoch: Epoch) => boolean;
}

export interface Answer<Reply> {
  readonly message: Reply;
  /** Of the answering master; zeros from everyone else. */
  readonly epoch: Epoch;
}

export interface ServeOptions {
  /** Members of a queue group share the messages. A message in parts would be torn apart, so they refuse it. */
  readonly queue?: string;
}

export interface Delivery<Request, Reply> {
  readonly message: Request;
  /** The last token of the subject, decoded: the principal, agent name or allocator id that the server has checked. */
  readonly id: string;
  readonly epoch: Epoch;
  /** As W3C writes it; empty if the sender gave none. */
  readonly traceparent: string;
  /** Somebody waits for an answer. */
  readonly wantsReply: boolean;
  /** How long they wait for it from sending on, ms; 0 if they did not say. */
  readonly timeoutMs: number;
  /** Answers once; later answers are ignored. Never throws: an answer that cannot be sent is logged and refused. */
  reply(message: Reply): void;
  /** Refuses with a code of `refusals`; the requester gets a RefusedError. */
  refuse(error: Error): void;
}

export interface Subscription {
  stop(): void;
}

export interface StreamSender<Message> {
  /**
   * Sends the next message; gives its place in the stream, from 1. While the bus is not connected it is lost and the
   * receivers will see a gap.
   *
   * @throws {RefusedError} message_too_large; the message has not taken a place
   * @throws {DisconnectedError} the stream is closed
   */
  send(message: Message, options?: SendOptions): number;
  /**
   * Asks whether anybody follows: a beat sent as a request, which every follower answers by itself.
   * 'gone' at once when nobody has the subject, 'silent' when no answer comes within `timeoutMs`; while this bus
   * itself is cut off, that is 'silent' too.
   *
   * @throws {DisconnectedError} the bus is closed
   */
  probe(timeoutMs: number): Promise<'alive' | 'gone' | 'silent'>;
  /** Starts again under a new name: receivers take the next message as the first. */
  restart(): void;
  close(): void;
}

export interface StreamHandlers<Message> {
  /**
   * @param first - the message is the first of a fresh stream
   */
  onMessage(message: Message, info: { first: boolean; number: number; epoch: Epoch; traceparent: string }): void;
  /** Something was lost: ask the sender for a fresh start. Called once per loss and then once a second until it comes. */
  onGap(why: string): void;
}
