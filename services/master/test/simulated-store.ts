import type { AppendOutcome, LogStore, TailOptions } from '@mesobus/registry';

interface Stored {
  readonly key: string;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** What a bucket of JetStream does: one message per key, one sequence for all, conditional writes. */
export class SimulatedBucket {
  /** Everything that was ever written. */
  readonly written: Stored[] = [];
  readonly #latest = new Map<string, Stored>();
  readonly #watchers = new Set<(stored: Stored) => void>();

  get lastSequence(): number {
    return this.written.length;
  }

  revisionOf(key: string): number {
    return this.#latest.get(key)?.sequence ?? 0;
  }

  /** What is left, in order. */
  left(): Stored[] {
    return [...this.#latest.values()].sort((a, b) => a.sequence - b.sequence);
  }

  put(key: string, bytes: Uint8Array): number {
    const stored = { key, bytes: bytes.slice(), sequence: this.lastSequence + 1 };
    this.written.push(stored);
    this.#latest.set(key, stored);
    for (const watch of this.#watchers) watch(stored);
    return stored.sequence;
  }

  watch(watcher: (stored: Stored) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** A process's way to the bucket. While it is `away` nothing arrives and nothing is answered; afterwards it is late. */
export class SimulatedStore implements LogStore {
  readonly name = 'log';
  readonly #bucket: SimulatedBucket;
  #late: (() => void)[] | undefined;
  readonly #closed = new Promise<never>(() => {});
  #gone = false;

  constructor(bucket: SimulatedBucket) {
    this.#bucket = bucket;
  }

  /** What is asked, answered and told from now on comes when it is `back`: the process hangs. */
  away(): void {
    this.#late ??= [];
  }

  back(): void {
    const late = this.#late ?? [];
    this.#late = undefined;
    for (const go of late) go();
  }

  /** The process is dead. */
  end(): void {
    this.#gone = true;
  }

  append(key: string, bytes: Uint8Array, expectedSequence: number): Promise<AppendOutcome> {
    return this.#write(key, bytes, () => this.#bucket.lastSequence === expectedSequence);
  }

  update(key: string, bytes: Uint8Array, expectedRevision: number): Promise<AppendOutcome> {
    return this.#write(key, bytes, () => this.#bucket.revisionOf(key) === expectedRevision);
  }

  readAt(sequence: number): ReturnType<LogStore['readAt']> {
    const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<LogStore['readAt']>>>();
    this.#go(() => {
      const found = this.#bucket.left().find((stored) => stored.sequence === sequence);
      resolve({ found, lastSequence: this.#bucket.lastSequence });
    });
    return promise;
  }

  tail({ from, onMessage, onCaughtUp }: TailOptions): { stop(): void } {
    let next = from;
    let stopped = false;
    const deliver = (stored: Stored): void =>
      this.#go(() => {
        if (stopped || stored.sequence < next) return;
        next = stored.sequence + 1;
        onMessage(stored);
      });
    const unwatch = this.#bucket.watch(deliver);
    for (const stored of this.#bucket.left()) deliver(stored);
    this.#go(() => !stopped && onCaughtUp());
    return {
      stop: () => {
        stopped = true;
        unwatch();
      },
    };
  }

  closed(): Promise<unknown> {
    return this.#closed;
  }

  #write(key: string, bytes: Uint8Array, condition: () => boolean): Promise<AppendOutcome> {
    const { promise, resolve } = Promise.withResolvers<AppendOutcome>();
    this.#go(() => {
      if (condition()) resolve({ kind: 'appended', sequence: this.#bucket.put(key, bytes) });
      else resolve({ kind: 'refused' });
    });
    return promise;
  }

  #go(call: () => void): void {
    if (this.#late !== undefined) this.#late.push(call);
    else
      setImmediate(() => {
        if (!this.#gone) call();
      });
  }
}
