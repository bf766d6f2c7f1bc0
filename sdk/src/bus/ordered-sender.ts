import { encode } from '@mesobus/protos';
import { DeadlineError, DisconnectedError, NoRespondersError } from '../errors.ts';
import type { SendOptions, StreamSender } from './bus.ts';
import type { Clock } from './clock.ts';
import { StreamNumbering, streamBeatMs } from './ordered-stream.ts';
import type { Outgoing } from './outgoing.ts';
import type { Requests } from './requests.ts';
import type { AnyMessage, Channel, Encodable } from './subjects.ts';

/** Sends an ordered stream, and its beat. */
export class OrderedSender<Message extends AnyMessage> implements StreamSender<Encodable<Message>> {
  readonly #channel: Channel<Message>;
  readonly #outgoing: Outgoing;
  readonly #requests: Requests;
  readonly #clock: Clock;
  readonly #onClose: () => void;
  readonly #numbering: StreamNumbering;
  #cancelBeat: (() => void) | undefined;

  constructor(channel: Channel<Message>, outgoing: Outgoing, requests: Requests, clock: Clock, onClose: () => void) {
    this.#channel = channel;
    this.#outgoing = outgoing;
    this.#requests = requests;
    this.#clock = clock;
    this.#onClose = onClose;
    this.#numbering = new StreamNumbering(outgoing.newId);
  }

  send(message: Encodable<Message>, options?: SendOptions): number {
    const { subject, request } = this.#channel;
    if (this.#numbering.closed) throw new DisconnectedError(`Cannot send on '${subject}': the stream is closed`);
    const body = encode(request, message as never);
    this.#outgoing.checkSize(subject, body); // before it takes a place
    const position = this.#numbering.next();
    this.#outgoing.send(subject, this.#outgoing.pack(subject, { body, position }), options?.traceparent);
    this.#cancelBeat ??= this.#clock.after(streamBeatMs, () => this.#beat());
    return position.number;
  }

  async probe(timeoutMs: number): Promise<'alive' | 'gone' | 'silent'> {
    const { subject } = this.#channel;
    this.#outgoing.assertOpen(`probe '${subject}'`);
    const position = this.#numbering.beat();
    const frames = this.#outgoing.pack(
      subject,
      position === undefined ? { timeoutMs: Math.ceil(timeoutMs) } : { timeoutMs: Math.ceil(timeoutMs), position },
    );
    try {
      await this.#requests.send({ subject, frames, traceparent: '', timeoutMs, read: () => ({}) });
      return 'alive';
    } catch (error) {
      if (error instanceof NoRespondersError) return 'gone';
      if (error instanceof DeadlineError) return 'silent';
      throw error;
    }
  }

  restart(): void {
    this.#numbering.restart();
  }

  close(): void {
    this.#numbering.close();
    this.#cancelBeat?.();
    this.#onClose();
  }

  #beat(): void {
    const position = this.#numbering.beat();
    this.#cancelBeat = undefined;
    if (position === undefined) return; // restarted: the next message sets the timer again
    const { subject } = this.#channel;
    this.#outgoing.send(subject, this.#outgoing.pack(subject, { position }), '');
    this.#cancelBeat = this.#clock.after(streamBeatMs, () => this.#beat());
  }
}
