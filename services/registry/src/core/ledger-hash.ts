import type { Ledger, OwnLedger } from './ledger.ts';
import { shardCount } from './shard-layout.ts';
import { viewsOfShard } from './shards.ts';

/**
 * A hash of all that a ledger holds, as 16 hex digits. Two ledgers that hold the same have the same one, in whatever
 * order it came. It guards against mistakes, not against an enemy. Takes time in proportion to the shards that have
 * changed since it was last asked for.
 */
export function ledgerHash(ledger: Ledger): string {
  const hashing = hashLedger(ledger);
  for (;;) {
    const { done, value } = hashing.next();
    if (done === true) return value;
  }
}

/** The same a shard at a time, for whoever has other things to do meanwhile. The ledger must not change until it is done. */
export function* hashLedger(ledger: Ledger): Generator<undefined, string> {
  const { unhashed, hashes } = (ledger as OwnLedger).marks;
  let high = 0;
  let low = 0;
  for (let shard = 0; shard < shardCount; shard += 1) {
    if (unhashed[shard] === 1) {
      hashes.set(shardHash(ledger, shard), 2 * shard);
      unhashed[shard] = 0;
      yield;
    }
    high = (high + (hashes[2 * shard] as number)) >>> 0;
    low = (low + (hashes[2 * shard + 1] as number)) >>> 0;
  }
  return hex(high) + hex(low);
}

/** Of each record two words; their sums do not depend on the order of the records. */
function shardHash(ledger: Ledger, shard: number): [high: number, low: number] {
  let high = 0;
  let low = 0;
  for (const bytes of viewsOfShard(ledger, shard)) {
    high = (high + mix(bytes, 0x811c9dc5, 0x01000193)) >>> 0;
    low = (low + mix(bytes, 0x2545f491, 0x9e3779b1)) >>> 0;
  }
  return [high, low];
}

const hex = (word: number): string => word.toString(16).padStart(8, '0');

/** As FNV-1a, by four bytes at a time, with the finish of MurmurHash3: sums of it must not cancel out. */
function mix(bytes: Uint8Array, seed: number, factor: number): number {
  let hash = seed ^ bytes.length;
  const whole = bytes.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    hash ^= word(bytes, at);
    hash = Math.imul((hash << 13) | (hash >>> 19), factor);
  }
  for (let at = whole; at < bytes.length; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), factor);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function word(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  return low | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
}
