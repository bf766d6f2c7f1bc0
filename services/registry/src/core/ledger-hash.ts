import { encode, mesobus } from '@mesobus/protos';
import type { Ledger } from './ledger.ts';
import { recordsOf } from './records-of.ts';

/**
 * A hash of all that a ledger holds, as 16 hex digits. Two ledgers that hold the same have the same one, in whatever
 * order it came. It guards against mistakes, not against an enemy. Takes time in proportion to the ledger.
 */
export function ledgerHash(ledger: Ledger): string {
  let high = 0;
  let low = 0;
  for (const record of recordsOf(ledger)) {
    const bytes = encode(mesobus.v1.Record, record);
    high = (high + mix(bytes, 0x811c9dc5)) >>> 0;
    low = (low + mix(bytes, 0x2545f491)) >>> 0;
  }
  return hex(high) + hex(low);
}

const hex = (word: number): string => word.toString(16).padStart(8, '0');

/** FNV-1a with the finish of MurmurHash3: sums of it must not cancel out. */
function mix(bytes: Uint8Array, seed: number): number {
  let hash = seed ^ bytes.length;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
