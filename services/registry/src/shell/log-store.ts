import type { LogMessage } from '../core/log-reader.ts';
import type { StoredRecord } from '../core/log-writer.ts';

export type AppendOutcome =
  | { readonly kind: 'appended'; readonly sequence: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown'; readonly why: string };

/**
 * Where the log stands: keys with a sequence that counts the writes of all of them. JetStream in production
 * (log-bucket.ts); the simulator has one of its own with the same semantics.
 */
export interface LogStore {
  readonly name: string;
  /** Writes a key if the store's last sequence is the expected one. Never throws. */
  append(key: string, bytes: Uint8Array, expectedSequence: number): Promise<AppendOutcome>;
  /** Writes a key if its own last revision is the expected one; 0: it does not exist. Never throws. */
  update(key: string, bytes: Uint8Array, expectedRevision: number): Promise<AppendOutcome>;
  /** What stands at a sequence. The last sequence is asked for first: see the LogWriter. Rejects if nobody answers. */
  readAt(sequence: number): Promise<{ found: StoredRecord | undefined; lastSequence: number }>;
  /** Delivers every message from a sequence on, in order, without gap or repetition, for ever. */
  tail(options: TailOptions): Tailer;
  /** Resolves when the connection is gone for good. */
  closed(): Promise<unknown>;
}

export interface TailOptions {
  /** The first sequence wanted. */
  readonly from: number;
  onMessage(message: LogMessage): void;
  /** Everything that was in the store when the reading began has been delivered. Called after each restart. */
  onCaughtUp(): void;
  /** The reading begins anew, after the last message that was delivered. */
  onRestart?(why: string): void;
  /** The store is a new one, which ends below the last message that was delivered. Nothing is delivered any more. */
  onReplaced?(lastSequence: number): void;
}

export interface Tailer {
  stop(): void;
}

/**
 * Calls once when the connection is gone for good. The call that is returned ends it: a store outlives many leaderships,
 * and none of them, with its ledger, may be kept by it.
 */
export function onClosed(store: LogStore, call: () => void): () => void {
  const listener: { call?: () => void } = { call };
  void store.closed().then(() => listener.call?.());
  return () => {
    delete listener.call;
  };
}
