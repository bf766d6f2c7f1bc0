import { Worker } from 'node:worker_threads';
import type { BusLogger, NatsBus } from '@mesobus/sdk/bus';
import type { HashedValue, ValueReader } from './snapshot-store.ts';

/** What the thread is started with. */
export interface ThreadData {
  readonly connectedBy: NatsBus['connectedBy'];
  readonly bucket: { readonly name: string; readonly stream: string };
}

export interface ThreadQuestion {
  readonly id: number;
  readonly key: string;
}

export type ThreadAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'value'; readonly id: number; readonly value: HashedValue | undefined }
  | { readonly kind: 'failed'; readonly id: number; readonly why: string };

/**
 * Reads values in a thread of its own, over a connection of its own: to put together what comes in pieces, to hash it and
 * to copy it costs as much as to make a ledger of it. Until the thread is ready, and once it has ended, the values are
 * read on this thread: so it is only ever a gain.
 */
export class ThreadedReader implements ValueReader {
  readonly #here: ValueReader;
  readonly #log: BusLogger;
  readonly #worker: Worker | undefined;
  readonly #asked = new Map<number, PromiseWithResolvers<HashedValue | undefined>>();
  readonly #toSend: ThreadQuestion[] = [];
  #lastId = 0;
  #state: 'starting' | 'ready' | 'failed' | 'closed' = 'starting';

  /** @param here - reads on this thread */
  constructor(data: ThreadData, here: ValueReader, log: BusLogger) {
    this.#here = here;
    this.#log = log;
    try {
      // By the name of the package: its sources and what was compiled of them lie in different places.
      const file = new URL(import.meta.resolve('@mesobus/registry/shell/value-thread'));
      this.#worker = new Worker(file, { workerData: data, name: 'snapshot-values' });
    } catch (error) {
      this.#end(error as Error); // among others TLS options that cannot be handed over
      return;
    }
    this.#worker.on('message', (answer: ThreadAnswer) => this.#onAnswer(answer));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('its connection is closed')));
  }

  get(key: string): Promise<HashedValue | undefined> {
    if (this.#state === 'closed')
      return Promise.reject(new Error(`Cannot read the value '${key}': the reader is closed`));
    if (this.#state !== 'ready') return this.#here.get(key);
    const asked = Promise.withResolvers<HashedValue | undefined>();
    this.#lastId += 1;
    this.#asked.set(this.#lastId, asked);
    if (this.#toSend.push({ id: this.#lastId, key }) === 1) queueMicrotask(() => this.#send());
    return asked.promise;
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#here.close();
    void this.#worker?.terminate();
    this.#rejectAll('the reader is closed');
  }

  /** What is asked at once is sent at once: each message wakes the thread. */
  #send(): void {
    this.#worker?.postMessage(this.#toSend.splice(0));
  }

  #onAnswer(answer: ThreadAnswer): void {
    if (this.#state === 'closed') return;
    if (answer.kind === 'ready') {
      this.#state = 'ready';
      this.#log.info({}, 'the values of the snapshot are read by a thread of their own');
      return;
    }
    const asked = this.#asked.get(answer.id);
    this.#asked.delete(answer.id);
    if (answer.kind === 'value') asked?.resolve(answer.value);
    else asked?.reject(new Error(answer.why));
  }

  /** Whoever has asked asks again, and is answered by this thread. */
  #end(why: Error): void {
    if (this.#state === 'failed' || this.#state === 'closed') return;
    this.#state = 'failed';
    this.#log.warn(
      { why: why.message },
      'the thread that reads the values of the snapshot has ended; going on without',
    );
    this.#rejectAll(`the thread that was asked has ended: ${why.message}`);
  }

  #rejectAll(why: string): void {
    for (const asked of this.#asked.values()) asked.reject(new Error(why));
    this.#asked.clear();
  }
}
