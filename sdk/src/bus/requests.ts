import { DeadlineError, DisconnectedError, NoRespondersError, RefusedError } from '../errors.ts';
import type { Answer, Epoch } from './bus.ts';
import type { Clock } from './clock.ts';
import type { Message, Unpacker } from './envelope.ts';
import type { Frame, Transport } from './transport.ts';

/** A request whose parts did not all arrive is sent so many times in all. */
const maxSends = 4;
/** So many requests may wait for an answer; one more is refused. */
const maxPending = 65_536;

export interface OutgoingRequest {
  readonly subject: string;
  readonly frames: readonly Uint8Array[];
  readonly traceparent: string;
  readonly timeoutMs: number;
  /** Reads the body of the answer; throws if it is malformed. */
  readonly read: (body: Uint8Array | undefined) => object;
  readonly accepts?: (epoch: Epoch) => boolean;
}

interface Pending extends OutgoingRequest {
  sends: number;
  readonly resolve: (answer: Answer<object>) => void;
  readonly reject: (error: Error) => void;
  readonly cancelDeadline: () => void;
}

/** The requests of a bus that wait for their answers, all on one inbox. */
export class Requests {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #unpacker: Unpacker;
  readonly #pending = new Map<string, Pending>();
  #count = 0;
  #listening = false;

  constructor(transport: Transport, clock: Clock, unpacker: Unpacker) {
    this.#transport = transport;
    this.#clock = clock;
    this.#unpacker = unpacker;
  }

  /** Sends now, or on the connection's return; fails at the deadline in any case. */
  send(request: OutgoingRequest): Promise<Answer<object>> {
    if (this.#pending.size >= maxPending) {
      const why = `${maxPending} requests of this process already wait for their answers`;
      return Promise.reject(new RefusedError('overloaded', request.subject, why));
    }
    this.#listen();
    this.#count += 1;
    const token = this.#count.toString(36);
    return new Promise((resolve, reject) => {
      const cancelDeadline = this.#clock.after(request.timeoutMs, () =>
        this.#fail(token, new DeadlineError(request.subject, request.timeoutMs)),
      );
      const pending = { ...request, sends: 0, resolve, reject, cancelDeadline };
      this.#pending.set(token, pending);
      if (this.#transport.connected) this.#transmit(token, pending);
    });
  }

  /** Sends what has waited for a connection. */
  onConnected(): void {
    for (const [token, pending] of this.#pending) if (pending.sends === 0) this.#transmit(token, pending);
  }

  onForbidden(subject: string, why: string): void {
    for (const [token, pending] of this.#pending) {
      if (pending.subject === subject) this.#fail(token, new RefusedError('not_authorized', subject, why));
    }
  }

  onClosed(why: string): void {
    for (const [token, { subject }] of this.#pending) {
      this.#fail(token, new DisconnectedError(`No answer from '${subject}': ${why}; it may have been carried out`));
    }
  }

  #listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    this.#transport.listen(`${this.#transport.inboxPrefix}.*`, undefined, (frame) => this.#onFrame(frame));
  }

  #transmit(token: string, pending: Pending): void {
    pending.sends += 1;
    const last = pending.frames.length - 1;
    try {
      for (const [index, frame] of pending.frames.entries()) {
        const reply = index === last ? `${this.#transport.inboxPrefix}.${token}` : '';
        this.#transport.send(pending.subject, frame, reply, pending.traceparent);
      }
    } catch (error) {
      this.#fail(token, error as Error);
    }
  }

  #onFrame(frame: Frame): void {
    const token = frame.subject.slice(this.#transport.inboxPrefix.length + 1);
    const pending = this.#pending.get(token);
    if (pending === undefined) return; // too late
    if (frame.noResponders) {
      this.#fail(token, new NoRespondersError(pending.subject));
      return;
    }
    const unpacked = this.#unpacker.unpack(frame.subject, frame.bytes, this.#clock.now());
    if (unpacked.kind === 'refused') this.#fail(token, unpacked.error);
    else if (unpacked.kind === 'whole') this.#onAnswer(token, pending, unpacked.message);
  }

  #onAnswer(token: string, pending: Pending, { epoch, body, refusal }: Message): void {
    if (pending.accepts !== undefined && !pending.accepts(epoch)) return;
    if (refusal?.code === 'parts_missing' && pending.sends < maxSends) this.#transmit(token, pending);
    else if (refusal !== undefined) this.#fail(token, RefusedError.received(refusal));
    else this.#answer(token, pending, epoch, body);
  }

  #answer(token: string, pending: Pending, epoch: Epoch, body: Uint8Array | undefined): void {
    try {
      const message = pending.read(body);
      this.#take(token);
      pending.resolve({ message, epoch });
    } catch (error) {
      const { message: why } = error as Error;
      this.#fail(token, new RefusedError('malformed_message', pending.subject, why, { cause: error }));
    }
  }

  #fail(token: string, error: Error): void {
    this.#take(token)?.reject(error);
  }

  #take(token: string): Pending | undefined {
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    pending?.cancelDeadline();
    return pending;
  }
}
