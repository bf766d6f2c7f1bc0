import type { Epoch } from './bus.ts';
import { EpochGate } from './epoch-gate.ts';

/** Where a message stands: `stream` is new for every fresh start, `number` counts from 1. */
export interface StreamPosition {
  readonly stream: string;
  readonly number: number;
}

/** How often a sender says its latest number, and how often a receiver repeats that it has lost something. */
export const streamBeatMs = 1000;

/** Numbers the messages of one ordered stream. */
export class StreamNumbering {
  readonly #newName: () => string;
  #stream: string;
  #number = 0;
  #closed = false;

  /** @param newName - gives a name that no stream of any sender had before */
  constructor(newName: () => string) {
    this.#newName = newName;
    this.#stream = newName();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The place of the next message. */
  next(): StreamPosition {
    this.#number += 1;
    return { stream: this.#stream, number: this.#number };
  }

  /** The next message is number 1 of a new name. Nothing is to be beaten until then. */
  restart(): void {
    this.#stream = this.#newName();
    this.#number = 0;
  }

  /** What a beat says: the latest number; nothing if none was given yet or the stream is closed. */
  beat(): StreamPosition | undefined {
    return this.#closed || this.#number === 0 ? undefined : { stream: this.#stream, number: this.#number };
  }

  close(): void {
    this.#closed = true;
  }
}

/** What a receiver does with something that arrived. */
export type StreamVerdict =
  | { readonly kind: 'deliver'; readonly first: boolean }
  /** A repetition, something from before the latest start, or something after a gap that was reported. */
  | { readonly kind: 'ignore' }
  /** Something is lost: report it now, and once a second while {@link StreamTracker.gap} says so. */
  | { readonly kind: 'gap'; readonly why: string };

/** So many streams that were left are still known, so that their late messages are not taken for something new. */
const maxLeft = 8;
const deliver: StreamVerdict = { kind: 'deliver', first: false };
const deliverFirst: StreamVerdict = { kind: 'deliver', first: true };
const ignore: StreamVerdict = { kind: 'ignore' };

/** Follows one ordered stream: says of everything that arrives whether it is next, old, or after a loss. */
export class StreamTracker {
  readonly #epochs = new EpochGate();
  /** Names of streams that a fresh start has replaced, oldest first. */
  readonly #left: string[] = [];
  #stream: string | undefined;
  #number = 0;
  #gap: string | undefined;

  /** Why nothing comes until a fresh start; undefined while all is well. */
  get gap(): string | undefined {
    return this.#gap;
  }

  onMessage(position: StreamPosition, epoch: Epoch): StreamVerdict {
    if (this.#isOld(position, epoch)) return ignore;
    const { stream, number } = position;
    if (stream !== this.#stream) return number === 1 ? this.#start(stream) : this.#arriveLate(position, 1);
    if (this.#gap !== undefined || number <= this.#number) return ignore;
    if (number > this.#number + 1) return this.#lose(`messages ${this.#number + 1} to ${number - 1} are lost`);
    this.#number = number;
    return deliver;
  }

  onBeat(position: StreamPosition, epoch: Epoch): StreamVerdict {
    if (this.#isOld(position, epoch)) return ignore;
    const { stream, number } = position;
    if (stream !== this.#stream) return this.#arriveLate(position, 0);
    if (this.#gap !== undefined || number <= this.#number) return ignore;
    return this.#lose(`messages ${this.#number + 1} to ${number} are lost`);
  }

  /** Something arrived that cannot be read: it may have been the next message. */
  onUnreadable(why: string): StreamVerdict {
    return this.#gap === undefined ? this.#lose(why) : ignore;
  }

  #isOld(position: StreamPosition, epoch: Epoch): boolean {
    return this.#epochs.observe(epoch) === 'stale' || this.#left.includes(position.stream);
  }

  #start(stream: string): StreamVerdict {
    this.#enter(stream);
    this.#number = 1;
    this.#gap = undefined;
    return deliverFirst;
  }

  #arriveLate({ stream, number }: StreamPosition, ahead: number): StreamVerdict {
    this.#enter(stream);
    this.#number = 0;
    return this.#lose(`joined late: messages 1 to ${number - ahead} are lost`);
  }

  #enter(stream: string): void {
    if (this.#stream !== undefined) this.#left.push(this.#stream);
    if (this.#left.length > maxLeft) this.#left.shift();
    this.#stream = stream;
  }

  #lose(why: string): StreamVerdict {
    const known = this.#gap !== undefined;
    this.#gap = why;
    return known ? ignore : { kind: 'gap', why };
  }
}
