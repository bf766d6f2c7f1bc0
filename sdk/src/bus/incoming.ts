import { decode, encode } from '@mesobus/protos';
import { RefusedError } from '../errors.ts';
import type { Delivery, Epoch } from './bus.ts';
import type { Clock } from './clock.ts';
import type { Complaints } from './complaints.ts';
import type { Message, Unpacker } from './envelope.ts';
import type { Content, Outgoing } from './outgoing.ts';
import type { AnyMessage, Channel, Decoded, Encodable } from './subjects.ts';
import { decodeToken } from './token.ts';
import type { Frame } from './transport.ts';

/** What receivers share of their bus. */
export interface ReceiverMeans {
  readonly unpacker: Unpacker;
  readonly outgoing: Outgoing;
  readonly clock: Clock;
  readonly complaints: Complaints;
}

/** The `failed` that stands for an error which is no refusal. */
const asRefusal = (error: Error, subject: string): RefusedError =>
  error instanceof RefusedError ? error : new RefusedError('failed', subject, error.message, { cause: error });

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** Serves one channel: from frames to deliveries. */
export class Incoming<Request extends AnyMessage, Reply extends AnyMessage> {
  readonly #channel: Channel<Request, Reply>;
  readonly #handler: (delivery: Delivery<Decoded<Request>, Encodable<Reply>>) => void;
  readonly #inQueueGroup: boolean;
  readonly #means: ReceiverMeans;
  /** Tells its parts from those of other receivers on the same bus. */
  readonly #id: string;

  constructor(
    channel: Channel<Request, Reply>,
    handler: (delivery: Delivery<Decoded<Request>, Encodable<Reply>>) => void,
    inQueueGroup: boolean,
    means: ReceiverMeans,
  ) {
    this.#channel = channel;
    this.#handler = handler;
    this.#inQueueGroup = inQueueGroup;
    this.#means = means;
    this.#id = means.outgoing.newId();
  }

  onFrame(frame: Frame): void {
    const message = this.#unpack(frame);
    if (message === undefined) return;
    const content = message instanceof RefusedError ? message : this.#read(frame, message);
    if (content instanceof RefusedError) this.#turnAway(frame, content);
    else this.#handle(frame, new Received(content, message as Message, frame, this));
  }

  /** Answers or refuses; never throws. */
  respond(frame: Frame, message: Encodable<Reply>): void {
    try {
      if (this.#channel.reply === undefined) throw new TypeError('nothing answers on this subject');
      this.#send(frame.reply, { body: encode(this.#channel.reply, message as never) });
    } catch (error) {
      this.#means.complaints.error(frame.subject, 'cannot send an answer', error);
      this.refuse(frame, asRefusal(asError(error), frame.subject));
    }
  }

  /** Refuses; never throws. */
  refuse(frame: Frame, error: Error): void {
    const refusal = asRefusal(error, frame.subject);
    const { code, subject, message } = refusal;
    try {
      this.#send(frame.reply, { refusal: { code, subject, message } });
    } catch (failure) {
      this.#means.complaints.error(frame.subject, 'cannot send a refusal', failure);
    }
  }

  #send(reply: string, content: Content): void {
    this.#means.outgoing.send(reply, this.#means.outgoing.pack(reply, content), '');
  }

  /** The message if it is whole; nothing if its last part has yet to come; else why it is turned away. */
  #unpack(frame: Frame): Message | RefusedError | undefined {
    const unpacked = this.#means.unpacker.unpack(frame.subject, frame.bytes, this.#means.clock.now(), this.#id);
    if (unpacked.kind === 'whole') return unpacked.message;
    if (unpacked.kind === 'refused') return unpacked.error;
    if (this.#inQueueGroup) {
      unpacked.forget();
      const why = 'its parts would come to different members of a queue group';
      return new RefusedError('message_too_large', frame.subject, why);
    }
    if (frame.reply === '') return undefined;
    // Parts come in order and the last one asks for the answer: what is missing now will not come.
    unpacked.forget();
    const why = `${unpacked.have} of ${unpacked.count} parts have arrived`;
    return new RefusedError('parts_missing', frame.subject, why);
  }

  #read({ subject }: Frame, { body }: Message): Decoded<Request> | RefusedError {
    if (body === undefined) return new RefusedError('malformed_message', subject, 'it has no body');
    try {
      return decode(this.#channel.request, body) as Decoded<Request>;
    } catch (error) {
      return new RefusedError('malformed_message', subject, (error as Error).message, { cause: error });
    }
  }

  #turnAway(frame: Frame, error: RefusedError): void {
    this.#means.complaints.warn(frame.subject, 'refused a message before it was handled', error);
    if (frame.reply !== '') this.refuse(frame, error);
  }

  #handle(frame: Frame, delivery: Delivery<Decoded<Request>, Encodable<Reply>>): void {
    const failed = (error: unknown) => {
      if (!(error instanceof RefusedError)) this.#means.complaints.error(frame.subject, 'a handler threw', error);
      delivery.refuse(asError(error));
    };
    try {
      const result: unknown = this.#handler(delivery);
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

interface Responder<Reply> {
  respond(frame: Frame, message: Reply): void;
  refuse(frame: Frame, error: Error): void;
}

/** What a handler gets. */
class Received<Request, Reply> implements Delivery<Request, Reply> {
  readonly message: Request;
  readonly epoch: Epoch;
  readonly timeoutMs: number;
  readonly #frame: Frame;
  readonly #responder: Responder<Reply>;
  #open: boolean;

  constructor(
    message: Request,
    { epoch, timeoutMs }: Pick<Message, 'epoch' | 'timeoutMs'>,
    frame: Frame,
    responder: Responder<Reply>,
  ) {
    this.message = message;
    this.epoch = epoch;
    this.timeoutMs = timeoutMs;
    this.#frame = frame;
    this.#responder = responder;
    this.#open = frame.reply !== '';
  }

  get id(): string {
    const { subject } = this.#frame;
    return decodeToken(subject.slice(subject.lastIndexOf('.') + 1));
  }

  get traceparent(): string {
    return this.#frame.traceparent;
  }

  get wantsReply(): boolean {
    return this.#frame.reply !== '';
  }

  reply(message: Reply): void {
    if (this.#close()) this.#responder.respond(this.#frame, message);
  }

  refuse(error: Error): void {
    if (this.#close()) this.#responder.refuse(this.#frame, error);
  }

  #close(): boolean {
    const open = this.#open;
    this.#open = false;
    return open;
  }
}
