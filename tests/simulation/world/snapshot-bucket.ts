import type { SnapshotStore, StoredValue } from '@mesobus/registry';
import type { SimulatedProcess } from '../engine/engine.ts';
import type { Line } from './network.ts';
import type { Stream } from './stream.ts';

/** The bucket of the snapshots, on the same JetStream as the log: it stalls and loses answers with it. */
export class SnapshotBucket {
  readonly #log: Stream;
  readonly #values = new Map<string, StoredValue>();
  #revision = 0;

  constructor(log: Stream) {
    this.#log = log;
  }

  /** As a process sees it over its line. */
  client(process: SimulatedProcess, line: Line): SnapshotStore {
    const ask = <T>(answer: () => T): Promise<T> => this.#log.ask(process, line, answer);
    return {
      name: 'snapshots',
      keys: () => ask(() => [...this.#values.keys()]),
      get: (key) => ask(() => this.#values.get(key)),
      update: (key, bytes, expected) =>
        ask(() => this.#update(key, bytes, expected)).then(
          (revision) => (revision === undefined ? { kind: 'refused' } : { kind: 'appended', sequence: revision }),
          (error: Error) => ({ kind: 'unknown', why: error.message }),
        ),
      purge: (keys) =>
        ask(() => {
          for (const key of keys) this.#values.delete(key);
        }),
      purgeLog: (below) => ask(() => this.#log.purgeEntries(below)),
      history: () => ask(() => ({ lastSequence: this.#log.lastEntrySequence })),
    };
  }

  #update(key: string, bytes: Uint8Array, expected: number): number | undefined {
    if ((this.#values.get(key)?.revision ?? 0) !== expected) return undefined;
    this.#revision += 1;
    this.#values.set(key, { bytes, revision: this.#revision });
    if (key.startsWith('meta')) this.#log.tally.snapshots += 1;
    return this.#revision;
  }
}
