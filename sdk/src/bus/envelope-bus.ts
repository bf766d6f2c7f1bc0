import { decode, encode } from '@mesobus/protos';
import { InvariantError } from '../errors.ts';
import type {
  Answer,
  Bus,
  Delivery,
  Epoch,
  RequestOptions,
  SendOptions,
  ServeOptions,
  StreamHandlers,
  StreamSender,
  Subscription,
} from './bus.ts';
import type { Clock } from './clock.ts';
import { Complaints } from './complaints.ts';
import { defaultMaxMessageBytes, minFrameBytes, type ReassemblyLimits, Unpacker } from './envelope.ts';
import { Incoming, type ReceiverMeans } from './incoming.ts';
import type { BusLogger } from './logger.ts';
import { OrderedFollower } from './ordered-follower.ts';
import { OrderedSender } from './ordered-sender.ts';
import { Outgoing } from './outgoing.ts';
import { Requests } from './requests.ts';
import type { AnyMessage, Channel, Decoded, Encodable } from './subjects.ts';
import { activeTraceparent } from './trace-context.ts';
import type { Frame, Transport } from './transport.ts';

export interface EnvelopeBusOptions {
  readonly clock: Clock;
  readonly logger: BusLogger;
  /** No message may be larger as a whole, in bytes; 64 MiB unless given. */
  readonly maxMessageBytes?: number;
  readonly reassembly?: Partial<ReassemblyLimits>;
}

/** What a bus does above its transport: envelopes, parts, answers, refusals, ordered streams, trace context. */
export class EnvelopeBus implements Bus {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #outgoing: Outgoing;
  readonly #requests: Requests;
  readonly #complaints: Complaints;
  readonly #means: ReceiverMeans;
  readonly #connectionListeners = new Set<(connected: boolean) => void>();
  /** What holds a timer or a subscription, to be ended with the bus. */
  readonly #running = new Set<() => void>();
  #connected: boolean;
  #closing: Promise<void> | undefined;

  constructor(transport: Transport, options: EnvelopeBusOptions) {
    const { maxFrameBytes } = transport;
    if (maxFrameBytes < minFrameBytes) {
      throw new RangeError(`Frames of ${maxFrameBytes} bytes are too small: allow at least ${minFrameBytes}`);
    }
    const maxMessageBytes = options.maxMessageBytes ?? defaultMaxMessageBytes;
    this.#transport = transport;
    this.#clock = options.clock;
    this.#outgoing = new Outgoing(transport, maxMessageBytes);
    const unpacker = new Unpacker({ maxMessageBytes, ...options.reassembly });
    this.#requests = new Requests(transport, options.clock, unpacker);
    this.#complaints = new Complaints(options.logger, options.clock);
    this.#means = { unpacker, outgoing: this.#outgoing, clock: this.#clock, complaints: this.#complaints };
    this.#connected = transport.connected;
    transport.start({
      onConnection: (connected) => this.#onConnection(connected),
      onForbidden: (subject, why) => this.#requests.onForbidden(subject, why),
      onClosed: (why) => this.#end(why),
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  setEpoch(epoch: Epoch): void {
    this.#outgoing.epoch = { incarnation: epoch.incarnation, epoch: epoch.epoch };
  }

  publish<Request extends AnyMessage, Reply extends AnyMessage>(
    { subject, request }: Channel<Request, Reply>,
    message: Encodable<Request>,
    options?: SendOptions,
  ): void {
    const frames = this.#outgoing.pack(subject, { body: encode(request, message as never) });
    this.#outgoing.send(subject, frames, options?.traceparent);
  }

  async request<Request extends AnyMessage, Reply extends AnyMessage>(
    { subject, request, reply }: Channel<Request, Reply>,
    message: Encodable<Request>,
    { timeoutMs, traceparent, accepts }: RequestOptions,
  ): Promise<Answer<Decoded<Reply>>> {
    this.#outgoing.assertOpen(`ask '${subject}'`);
    if (reply === undefined) throw new InvariantError(`nothing answers on '${subject}'`);
    const body = encode(request, message as never);
    const frames = this.#outgoing.pack(subject, { body, timeoutMs: Math.ceil(timeoutMs) });
    const answer = this.#requests.send({
      subject,
      frames,
      traceparent: traceparent ?? activeTraceparent(),
      timeoutMs,
      read: (bytes) => readAnswer(reply, bytes),
      ...(accepts === undefined ? {} : { accepts }),
    });
    return (await answer) as Answer<Decoded<Reply>>;
  }

  serve<Request extends AnyMessage, Reply extends AnyMessage>(
    channel: Channel<Request, Reply>,
    handler: (delivery: Delivery<Decoded<Request>, Encodable<Reply>>) => void,
    options?: ServeOptions,
  ): Subscription {
    const incoming = new Incoming(channel, handler, options?.queue !== undefined, this.#means);
    return this.#listen(channel.subject, options?.queue, (frame) => incoming.onFrame(frame));
  }

  openStream<Message extends AnyMessage>(channel: Channel<Message>): StreamSender<Encodable<Message>> {
    this.#outgoing.assertOpen(`open a stream on '${channel.subject}'`);
    const close = () => sender.close();
    const sender = new OrderedSender(channel, this.#outgoing, this.#requests, this.#clock, () =>
      this.#running.delete(close),
    );
    this.#running.add(close);
    return sender;
  }

  followStream<Message extends AnyMessage>(
    channel: Channel<Message>,
    handlers: StreamHandlers<Decoded<Message>>,
  ): Subscription {
    const follower = new OrderedFollower(channel, handlers, this.#means);
    return this.#listen(
      channel.subject,
      undefined,
      (frame) => follower.onFrame(frame),
      () => follower.stop(),
    );
  }

  onConnection(listener: (connected: boolean) => void): () => void {
    const own = (connected: boolean) => listener(connected); // the same function may be given twice
    this.#connectionListeners.add(own);
    this.#tell(own);
    return () => this.#connectionListeners.delete(own);
  }

  flush(): Promise<void> {
    return this.#transport.flush();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#outgoing.takesMore = false;
    await this.#transport.close();
    this.#end('the bus was closed');
  }

  #listen(
    subject: string,
    queue: string | undefined,
    onFrame: (frame: Frame) => void,
    onStop: () => void = () => {},
  ): Subscription {
    this.#outgoing.assertOpen(`listen on '${subject}'`);
    const unlisten = this.#transport.listen(subject, queue, (frame) => {
      try {
        if (isAnswerable(frame)) onFrame(frame);
        else
          this.#complaints.warn(
            frame.subject,
            'a message is refused',
            new Error(`its answer would go to '${frame.reply}'`),
          );
      } catch (error) {
        this.#complaints.error(frame.subject, 'cannot take a message', error);
      }
    });
    const stop = () => {
      unlisten();
      onStop();
      this.#running.delete(stop);
    };
    this.#running.add(stop);
    return { stop };
  }

  #onConnection(connected: boolean): void {
    if (this.#connected === connected || this.#outgoing.closed) return;
    this.#connected = connected;
    if (connected) this.#requests.onConnected();
    for (const listener of this.#connectionListeners) this.#tell(listener);
  }

  #tell(listener: (connected: boolean) => void): void {
    try {
      listener(this.#connected);
    } catch (error) {
      this.#complaints.error('', 'a listener for the connection threw', error);
    }
  }

  #end(why: string): void {
    if (this.#outgoing.closed) return;
    this.#onConnection(false);
    this.#outgoing.takesMore = false;
    this.#outgoing.closed = true;
    for (const stop of [...this.#running]) stop();
    this.#requests.onClosed(why);
  }
}

/**
 * Answers go to inboxes. Who asks for one elsewhere would have us say, on a subject where we are believed, what it wants;
 * and what JetStream was told to send us says so there too.
 */
const isAnswerable = ({ reply }: Frame): boolean => reply === '' || reply.startsWith('_INBOX.');

function readAnswer(type: AnyMessage, body: Uint8Array | undefined): object {
  if (body === undefined) throw new Error('the answer is empty');
  return decode(type, body);
}
