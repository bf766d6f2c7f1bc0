import { sha256 } from './sha256.ts';
import type { HashedValue, SnapshotStore, ValueReader } from './snapshot-store.ts';

/** A value as it came, without the room that the connection has left around it: a ledger holds on to it. */
export function hashed(came: Uint8Array): HashedValue {
  const bytes = came.length === came.buffer.byteLength ? came : new Uint8Array(came);
  return { bytes, hash: sha256(bytes) };
}

/** Reads on this thread. */
export function readerOn(snapshots: Pick<SnapshotStore, 'get'>): ValueReader {
  return {
    get: async (key) => {
      const value = await snapshots.get(key);
      return value && hashed(value.bytes);
    },
    close: () => {},
  };
}
