import type { Channel } from './subjects.ts';

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
  /** Sends and forgets. At most once: lost if nobody listens or the connection breaks. */
  publish<Request>(channel: Channel<Request>, message: Request, options?: SendOptions): void;

  /**
   * Sends and waits for the answer.
   *
   * @throws {NoRespondersError} nobody serves the subject: at once
   * @throws {DeadlineError} no answer within `timeoutMs`; it may have been carried out
   * @throws {RefusedError} the other side refused
   * @throws {DisconnectedError} the bus is closed
   */
  request<Request, Reply>(
    channel: Channel<Request, Reply>,
    message: Request,
    options: RequestOptions,
  ): Promise<Answer<Reply>>;

  /** Serves a channel. Handlers run one after the other per message, synchronously; they may answer later. */
  serve<Request, Reply>(
    channel: Channel<Request, Reply>,
    handler: (delivery: Delivery<Request, Reply>) => void,
    options?: ServeOptions,
  ): Subscription;

  /** Opens an ordered stream for sending. Says its latest number once a second, so that a loss at the end is seen. */
  openStream<Message>(channel: Channel<Message>): StreamSender<Message>;

  /** Follows an ordered stream. Messages come in order and without gaps, or `onGap` is called and nothing comes until a fresh start. */
  followStream<Message>(channel: Channel<Message>, handlers: StreamHandlers<Message>): Subscription;

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
}

export interface Answer<Reply> {
  readonly message: Reply;
  /** Of the answering master; zeros from everyone else. */
  readonly epoch: Epoch;
}

export interface ServeOptions {
  /** Members of a queue group share the messages. */
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
  /** Answers once; later answers are ignored. */
  reply(message: Reply): void;
  /** Refuses with a code of `refusals`; the requester gets a RefusedError. */
  refuse(error: Error): void;
}

export interface Subscription {
  stop(): void;
}

export interface StreamSender<Message> {
  /** Its place in the stream, from 1. */
  send(message: Message, options?: SendOptions): number;
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
