import { encode, mesobus } from '@mesobus/protos';
import { type Clock, silentLogger } from '@mesobus/sdk/bus';
import { entryKey, leaderKey } from '../src/core/index.ts';
import type { AppendOutcome, LogReading, LogStore, LogTools, SnapshotStore } from '../src/index.ts';
import { startReading } from '../src/shell/reading.ts';
import type { Properties } from './records.ts';
import { sha256 } from './simulated-log.ts';

/** Time that passes by itself: whoever waits is called in the next turn, however long the wait. */
export class HastyClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  after(delayMs: number, call: () => void): () => void {
    const immediate = setImmediate(() => {
      this.#now += delayMs;
      call();
    });
    return () => clearImmediate(immediate);
  }
}

interface Stored {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly sequence: number;
}

/** A bucket that keeps one message per key, as JetStream does. */
class MemoryBucket {
  readonly #latest = new Map<string, Stored>();
  readonly #tailers = new Set<(stored: Stored) => void>();
  lastSequence = 0;

  get stored(): Stored[] {
    return [...this.#latest.values()].sort((a, b) => a.sequence - b.sequence);
  }

  get(key: string): Stored | undefined {
    return this.#latest.get(key);
  }

  put(key: string, bytes: Uint8Array): number {
    const stored = { key, bytes, sequence: ++this.lastSequence };
    this.#latest.set(key, stored);
    for (const deliver of this.#tailers) deliver(stored);
    return stored.sequence;
  }

  update(key: string, bytes: Uint8Array, expectedRevision: number): AppendOutcome {
    if ((this.#latest.get(key)?.sequence ?? 0) !== expectedRevision) return { kind: 'refused' };
    return { kind: 'appended', sequence: this.put(key, bytes) };
  }

  purge(key: string): void {
    this.#latest.delete(key);
  }

  /** What a power cut does that comes before the disk was synced. */
  loseAfter(sequence: number): void {
    for (const { key, sequence: at } of this.stored) if (at > sequence) this.purge(key);
    this.lastSequence = sequence;
  }

  tail(deliver: (stored: Stored) => void): () => void {
    this.#tailers.add(deliver);
    return () => void this.#tailers.delete(deliver);
  }
}

/** The stores of one cluster in memory, and a master that writes its log. */
export class MemoryCluster {
  readonly log = new MemoryBucket();
  readonly snapshots = new MemoryBucket();
  readonly clock = new HastyClock();
  readonly errors: Record<string, unknown>[] = [];
  readonly purgedLogBelow: number[] = [];
  /** That the entries say from now on. */
  oldestReaderVersion = 1;
  /** What the history has of the log; undefined: all of it. */
  historyUpTo: number | undefined;
  #incarnation = 1;
  #epoch = 1;
  #index = 0;
  #lastHash: Uint8Array = new Uint8Array();

  get tools(): LogTools & { readonly snapshots: SnapshotStore } {
    return {
      store: this.#logStore(),
      snapshots: this.#snapshotStore(),
      log: { ...silentLogger, error: (fields: object) => void this.errors.push({ ...fields }) },
      clock: this.clock,
      wallMs: () => 1,
      random: () => 0,
    };
  }

  get lastIndex(): number {
    return this.#index;
  }

  leader(epoch: number, more: mesobus.v1.LeaderRecord.$Properties = {}): void {
    const record = { clusterIncarnation: 1, epoch, masterId: 'm', leaseMs: 15_000, ...more };
    this.log.put(leaderKey, encode(mesobus.v1.LeaderRecord, record));
  }

  /** One entry. */
  write(...records: readonly Properties[]): void {
    this.#index += 1;
    const bytes = encode(mesobus.v1.LogEntry, {
      clusterIncarnation: this.#incarnation,
      epoch: this.#epoch,
      index: this.#index,
      previousHash: this.#lastHash,
      oldestReaderVersion: this.oldestReaderVersion,
      records: records.map((record) => encode(mesobus.v1.Record, record)),
    });
    this.#lastHash = sha256(bytes);
    this.log.put(entryKey(this.#index), bytes);
  }

  /** The entries that follow come after what was read, as those of a master that has won there. */
  goOnAfter({ incarnation, epoch, lastIndex, lastHash }: LogReading['reader']): void {
    [this.#incarnation, this.#epoch, this.#index, this.#lastHash] = [incarnation, epoch, lastIndex, lastHash];
  }

  /** A reading that has caught up, and how often it was reloaded. */
  async read(): Promise<LogReading & { reloads: number; stopped: string | undefined }> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const seen = { reloads: 0, stopped: undefined as string | undefined };
    const reading = startReading(this.tools, {
      onCaughtUp: resolve,
      onReloaded: () => {
        seen.reloads += 1;
      },
      onEffect: (effect) => {
        if (effect.kind !== 'stopped') return;
        seen.stopped = effect.why;
        resolve();
      },
    });
    await promise;
    return Object.defineProperties(reading, {
      reloads: { get: () => seen.reloads },
      stopped: { get: () => seen.stopped },
    }) as LogReading & { reloads: number; stopped: string | undefined };
  }

  #logStore(): LogStore {
    const { log } = this;
    return {
      name: 'log',
      append: (key, bytes, expected) =>
        Promise.resolve(
          expected === log.lastSequence ? { kind: 'appended', sequence: log.put(key, bytes) } : { kind: 'refused' },
        ),
      update: (key, bytes, revision) => Promise.resolve(log.update(key, bytes, revision)),
      readAt: (sequence) => {
        const found = log.stored.find((stored) => stored.sequence === sequence);
        return Promise.resolve({ found, lastSequence: log.lastSequence });
      },
      closed: () => new Promise(() => {}),
      tail: ({ from, onMessage, onCaughtUp, onReplaced }) => {
        let next = from;
        let stopped = false;
        const deliver = (stored: Stored): void => {
          if (stopped || stored.sequence < next) return;
          next = stored.sequence + 1;
          onMessage(stored);
        };
        let end = () => {};
        setImmediate(() => {
          if (log.lastSequence < from - 1) {
            stopped = true;
            onReplaced?.(log.lastSequence);
          }
          for (const stored of log.stored) deliver(stored);
          if (stopped) return;
          end = log.tail(deliver);
          onCaughtUp();
        });
        return {
          stop: () => {
            stopped = true;
            end();
          },
        };
      },
    };
  }

  #snapshotStore(): SnapshotStore {
    const { snapshots, log } = this;
    return {
      name: 'snapshots',
      keys: () => Promise.resolve(snapshots.stored.map(({ key }) => key)),
      get: (key) => {
        const stored = snapshots.get(key);
        return Promise.resolve(stored && { bytes: stored.bytes, revision: stored.sequence });
      },
      update: (key, bytes, revision) => Promise.resolve(snapshots.update(key, bytes, revision)),
      purge: (keys) => {
        for (const key of keys) snapshots.purge(key);
        return Promise.resolve();
      },
      purgeLog: (below) => {
        this.purgedLogBelow.push(below);
        for (const { key, sequence } of log.stored) if (key !== leaderKey && sequence < below) log.purge(key);
        return Promise.resolve();
      },
      history: () => Promise.resolve({ lastSequence: this.historyUpTo ?? log.lastSequence }),
    };
  }
}
