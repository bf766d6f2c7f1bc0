import type { Effect } from '../core/index.ts';

/** What the outbox needs of a leadership. */
export interface RecordLog {
  submit(records: Extract<Effect, { kind: 'commit' }>['records'], options: { readonly urgent: boolean }): number;
  barrier(): number;
  onCommitted(listener: (position: number, index: number) => void): void;
  readonly lastIndex: number;
}

type Outgoing = Exclude<Effect, { kind: 'commit' }>;
interface Waiting {
  readonly position: number;
  readonly effect: Outgoing;
}

/**
 * Records on their way into the log, and the effects that wait for them. Effects of one kind leave in the order in which
 * they were emitted; those that wait for a barrier do not hold up those that wait for their records alone.
 */
export class Outbox {
  readonly #log: RecordLog;
  readonly #carryOut: (effect: Outgoing, index: number) => void;
  readonly #committed = new Queue();
  readonly #barriers = new Queue();
  /** What is being taken, and behind it what carrying it out has led to. */
  readonly #arriving: (readonly Effect[])[] = [];
  /** The position of the last record submitted, and of the last committed. */
  #lastPosition = 0;
  #committedPosition = 0;
  #positionSeen = 0;

  /**
   * @param carryOut - gets each effect when it may leave, with the index of the entry that it waited for
   */
  constructor(log: RecordLog, carryOut: (effect: Outgoing, index: number) => void) {
    this.#log = log;
    this.#carryOut = carryOut;
    log.onCommitted((position, index) => this.#onCommitted(position, index));
  }

  /** To be asked again and again: whether effects wait, and nothing was committed since it was asked before. */
  stands(): boolean {
    const stands = this.waiting > 0 && this.#committedPosition === this.#positionSeen;
    this.#positionSeen = this.#committedPosition;
    return stands;
  }

  /** How many effects wait. */
  get waiting(): number {
    return this.#committed.length + this.#barriers.length;
  }

  /**
   * Takes what one input has led to. An effect that is carried out here may lead to another input: what that leads to
   * waits its turn, so that records reach the log in the order in which they were decided.
   *
   * @throws {RefusedError} if the log does not take a record: then the state that emitted it is void
   */
  add(effects: readonly Effect[]): void {
    this.#arriving.push(effects);
    if (this.#arriving.length > 1) return; // whoever takes the first goes on with these
    try {
      for (const next of this.#arriving) this.#take(next);
    } finally {
      this.#arriving.length = 0;
    }
  }

  #take(effects: readonly Effect[]): void {
    let barrier: number | undefined;
    for (const effect of effects) {
      if (effect.kind === 'commit') {
        this.#lastPosition = this.#log.submit(effect.records, { urgent: effect.urgent });
      } else if (effect.when === 'now') this.#carryOut(effect, this.#log.lastIndex);
      else if (effect.when === 'committed') this.#release(effect);
      else {
        barrier ??= this.#log.barrier();
        this.#barriers.push({ position: barrier, effect });
      }
    }
  }

  #release(effect: Outgoing): void {
    const done = this.#lastPosition <= this.#committedPosition && this.#committed.length === 0;
    if (done) this.#carryOut(effect, this.#log.lastIndex);
    else this.#committed.push({ position: this.#lastPosition, effect });
  }

  #onCommitted(position: number, index: number): void {
    this.#committedPosition = Math.max(this.#committedPosition, position);
    for (const queue of [this.#committed, this.#barriers]) {
      for (let effect = queue.take(position); effect !== undefined; effect = queue.take(position)) {
        this.#carryOut(effect, index);
      }
    }
  }
}

/** First in, first out, without moving what is left at each taking. */
class Queue {
  #items: Waiting[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  push(item: Waiting): void {
    this.#items.push(item);
  }

  /** The first, if its position is not above this one. */
  take(position: number): Outgoing | undefined {
    const item = this.#items[this.#first];
    if (item === undefined || item.position > position) return undefined;
    this.#first += 1;
    if (this.#first > 1024 && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item.effect;
  }
}
