import { DisconnectedError } from '../errors.ts';
import type { Epoch } from './bus.ts';
import { checkSize, type Message, pack } from './envelope.ts';
import { activeTraceparent } from './trace-context.ts';
import type { Transport } from './transport.ts';

/** Content of a message, before the sender's epoch is stamped on it. */
export type Content = Partial<Omit<Message, 'epoch'>>;

/** The sending half of a bus: stamps, packs and sends. */
export class Outgoing {
  epoch: Epoch = { incarnation: 0, epoch: 0 };
  /** False from the start of closing on: what is under way still ends, nothing new begins. */
  takesMore = true;
  closed = false;
  readonly #transport: Transport;
  readonly #maxMessageBytes: number;
  #ids = 0;

  constructor(transport: Transport, maxMessageBytes: number) {
    this.#transport = transport;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** An id that no other message or stream of any process has. */
  newId = (): string => {
    this.#ids += 1;
    return `${this.#transport.id}.${this.#ids.toString(36)}`;
  };

  /** @throws {RefusedError} message_too_large */
  checkSize(subject: string, body: Uint8Array): void {
    checkSize(body, { subject, maxMessageBytes: this.#maxMessageBytes });
  }

  /** @throws {RefusedError} message_too_large */
  pack(subject: string, content: Content): Uint8Array[] {
    return pack(
      { timeoutMs: 0, ...content, epoch: this.epoch },
      {
        subject,
        maxFrameBytes: this.#transport.maxFrameBytes,
        maxMessageBytes: this.#maxMessageBytes,
        newMessageId: this.newId,
      },
    );
  }

  /**
   * Sends, or drops what cannot be sent now: the NATS client would keep it and send it at some later time.
   *
   * @param traceparent - undefined: that of the active span
   */
  send(subject: string, frames: readonly Uint8Array[], traceparent?: string): void {
    if (this.closed || !this.#transport.connected) return;
    const context = traceparent ?? activeTraceparent();
    for (const frame of frames) this.#transport.send(subject, frame, '', context);
  }

  /** @throws {DisconnectedError} the bus is closed or closing */
  assertOpen(what: string): void {
    if (!this.takesMore) throw new DisconnectedError(`Cannot ${what}: the bus is closed`);
  }
}
