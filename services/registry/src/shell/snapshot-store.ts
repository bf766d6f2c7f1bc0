import type { AppendOutcome } from './log-store.ts';

export interface StoredValue {
  readonly bytes: Uint8Array;
  readonly revision: number;
}

/** A value as it came, and what its bytes add up to. */
export interface HashedValue {
  /** All of their buffer: whoever keeps them keeps nothing beside. */
  readonly bytes: Uint8Array;
  /** Their SHA-256. */
  readonly hash: Uint8Array;
}

/** Reads many values that are written once, several at a time. */
export interface ValueReader {
  /** Undefined if there is none. Rejects if nobody answers, or once the reader is closed. */
  get(key: string): Promise<HashedValue | undefined>;
  close(): void;
}

/** The mirror of the log that keeps for a while what is purged from the log. */
export interface HistoryState {
  /** The sequence in the log of the last entry that it has. */
  readonly lastSequence: number;
}

/**
 * Where snapshots stand, beside the {@link LogStore}: keys with values; and what becomes of the log behind them.
 * JetStream in production (jetstream-snapshots.ts); the simulator has one of its own. All reject if nobody answers.
 */
export interface SnapshotStore {
  readonly name: string;
  /** Those that have a value, in any order. */
  keys(): Promise<string[]>;
  /** Never one that is older than a write that was acknowledged. */
  get(key: string): Promise<StoredValue | undefined>;
  /**
   * Reads and hashes elsewhere than on this thread, as soon and as long as that can be done.
   *
   * @param values - how many it is for; undefined: it is not worth it for so few
   */
  openReader?(values: number): ValueReader | undefined;
  /** Writes a key if its revision is the expected one; 0: it does not exist. Never rejects. */
  update(key: string, bytes: Uint8Array, expectedRevision: number): Promise<AppendOutcome>;
  /** Removes keys without a trace. One that does not exist is passed over. */
  purge(keys: readonly string[]): Promise<void>;
  /** Removes the entries of the log whose sequence is below the given one, and nothing else. */
  purgeLog(belowSequence: number): Promise<void>;
  /** Undefined if there is no mirror. */
  history(): Promise<HistoryState | undefined>;
}
