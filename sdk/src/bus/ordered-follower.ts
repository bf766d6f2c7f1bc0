import { decode } from '@mesobus/protos';
import type { StreamHandlers } from './bus.ts';
import type { Message } from './envelope.ts';
import type { ReceiverMeans } from './incoming.ts';
import { type StreamPosition, StreamTracker, type StreamVerdict, streamBeatMs } from './ordered-stream.ts';
import type { AnyMessage, Channel, Decoded } from './subjects.ts';
import type { Frame } from './transport.ts';

/** Receives an ordered stream and hands it on in order, or says that something is lost until a fresh start comes. */
export class OrderedFollower<M extends AnyMessage> {
  readonly #channel: Channel<M>;
  readonly #handlers: StreamHandlers<Decoded<M>>;
  readonly #means: ReceiverMeans;
  /** Tells its parts from those of other receivers on the same bus. */
  readonly #id: string;
  readonly #tracker = new StreamTracker();
  #cancelReminder: (() => void) | undefined;
  #stopped = false;

  constructor(channel: Channel<M>, handlers: StreamHandlers<Decoded<M>>, means: ReceiverMeans) {
    this.#channel = channel;
    this.#handlers = handlers;
    this.#means = means;
    this.#id = means.outgoing.newId();
  }

  onFrame(frame: Frame): void {
    if (this.#stopped) return;
    const unpacked = this.#means.unpacker.unpack(frame.subject, frame.bytes, this.#means.clock.now(), this.#id);
    if (unpacked.kind === 'refused') this.#onUnreadable(frame.subject, unpacked.error);
    else if (unpacked.kind === 'whole') this.#onMessage(frame, unpacked.message);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelReminder?.();
  }

  #onMessage(frame: Frame, message: Message): void {
    const { body, position, epoch } = message;
    if (body === undefined) {
      if (position !== undefined) this.#onVerdict(this.#tracker.onBeat(position, epoch));
      if (frame.reply !== '') this.#means.outgoing.send(frame.reply, this.#means.outgoing.pack(frame.reply, {}), '');
    } else if (position === undefined) {
      this.#means.complaints.warn(frame.subject, 'dropped a message', new Error('it has no place in the stream'));
    } else {
      const verdict = this.#tracker.onMessage(position, epoch);
      if (verdict.kind === 'deliver') this.#deliver(frame, message, position, body, verdict.first);
      else this.#onVerdict(verdict);
    }
  }

  #deliver(
    { subject, traceparent }: Frame,
    { epoch }: Message,
    { number }: StreamPosition,
    body: Uint8Array,
    first: boolean,
  ): void {
    if (first) this.#cancelReminder?.();
    let content: Decoded<M>;
    try {
      content = decode(this.#channel.request, body) as Decoded<M>;
    } catch (error) {
      this.#onUnreadable(subject, error as Error);
      return;
    }
    this.#call(() => this.#handlers.onMessage(content, { first, number, epoch, traceparent }));
  }

  #onUnreadable(subject: string, error: Error): void {
    this.#means.complaints.warn(subject, 'cannot read a message of a stream', error);
    this.#onVerdict(this.#tracker.onUnreadable(error.message));
  }

  #onVerdict(verdict: StreamVerdict): void {
    if (verdict.kind === 'gap') this.#report(verdict.why);
  }

  #report(why: string): void {
    this.#cancelReminder?.();
    this.#cancelReminder = this.#means.clock.after(streamBeatMs, () => {
      if (this.#tracker.gap !== undefined) this.#report(this.#tracker.gap);
    });
    this.#call(() => this.#handlers.onGap(why));
  }

  #call(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#means.complaints.error(this.#channel.subject, 'a handler of a stream threw', error);
    }
  }
}
