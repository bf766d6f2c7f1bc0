import { encode, mesobus } from '@mesobus/protos';
import type { Ledger } from './ledger.ts';
import { shardCount, viewsOfShard } from './shards.ts';
import { partKey } from './snapshot-keys.ts';

/** A value grows up to here; a single record may be longer. Below half of the least payload that a server may have. */
export const targetPartBytes: number = 256 * 1024;

/** Shards that stand side by side. */
export interface ShardRange {
  readonly first: number;
  readonly last: number;
}

/** One step of writing a snapshot: values that stand already, or shards to be encoded. In order of shard. */
export type SnapshotStep =
  | { readonly kind: 'keep'; readonly piece: mesobus.v1.SnapshotPiece }
  | { readonly kind: 'write'; readonly range: ShardRange };

/**
 * What of an earlier snapshot can stay, and what has to be written. A value stays if none of its shards has changed and
 * no other snapshot needs it: so one damaged value never spoils two.
 *
 * @param baseline - the snapshot since which `dirty` was recorded; undefined: all is written
 * @param needed - keys of the values of all other snapshots
 */
export function planSnapshot(
  baseline: mesobus.v1.SnapshotMeta | undefined,
  dirty: Iterable<number>,
  needed: ReadonlySet<string>,
): SnapshotStep[] {
  if (baseline === undefined || baseline.shardCount !== shardCount) {
    return [{ kind: 'write', range: { first: 0, last: shardCount - 1 } }];
  }
  const changed = new Uint8Array(shardCount);
  for (const shard of dirty) changed[shard] = 1;
  const pieces = baseline.pieces as mesobus.v1.SnapshotPiece[];
  for (const { shard, generation, part } of pieces) if (needed.has(partKey(generation, part))) changed[shard] = 1;
  const steps: SnapshotStep[] = [];
  let range: { first: number; last: number } | undefined;
  for (const piece of pieces) {
    if (!changed.subarray(piece.shard, piece.lastShard + 1).includes(1)) {
      steps.push({ kind: 'keep', piece });
      range = undefined;
    } else if (range === undefined) {
      range = { first: piece.shard, last: piece.lastShard };
      steps.push({ kind: 'write', range });
    } else range.last = piece.lastShard; // values of changed shards side by side are packed anew
  }
  return steps;
}

/** A value of a snapshot, encoded. */
export interface EncodedPart extends ShardRange {
  readonly bytes: Uint8Array;
}

/**
 * Encodes some shards into values of about {@link targetPartBytes}. Small shards share a value; a large one is cut. The
 * ledger must not change until the last value was taken.
 */
export function* encodeShards(ledger: Ledger, generation: number, { first, last }: ShardRange): Generator<EncodedPart> {
  const waiting = new PartRecords();
  let begin = first;
  let piece = 0;
  const part = (end: number, to: number): EncodedPart => ({
    first: begin,
    last: end,
    bytes: waiting.take(to, encode(mesobus.v1.SnapshotPart, { generation, shard: begin, lastShard: end, piece })),
  });

  for (let shard = first; shard <= last; shard += 1) {
    const before = waiting.length;
    for (const record of viewsOfShard(ledger, shard)) {
      const at = waiting.length;
      waiting.add(record);
      if (waiting.length <= targetPartBytes || at === 0) continue;
      const shared = begin < shard; // then what is here of this shard goes into a value of its own
      yield shared ? part(shard - 1, before) : part(shard, at);
      piece = shared ? 0 : piece + 1;
      begin = shard;
    }
    const full = piece > 0 || waiting.length > targetPartBytes / 2;
    if (!full && shard < last) continue;
    yield part(shard, waiting.length);
    [begin, piece] = [shard + 1, 0];
  }
}

const recordsTag = 4 * 8 + 2;

/** Encoded `records` of parts, in one buffer: bytes of their own for a million would have the heap collected for ever. */
class PartRecords {
  #bytes: Buffer = Buffer.allocUnsafeSlow(2 * targetPartBytes);
  length = 0;

  add(record: Uint8Array): void {
    const needed = this.length + record.length + 6;
    if (needed > this.#bytes.length) this.#grow(needed);
    this.#bytes[this.length++] = recordsTag;
    let rest = record.length;
    for (; rest > 127; rest >>>= 7) this.#bytes[this.length++] = (rest & 127) | 128;
    this.#bytes[this.length++] = rest;
    this.#bytes.set(record, this.length);
    this.length += record.length;
  }

  /** Takes them from the first on, behind the other fields of the part. */
  take(to: number, head: Uint8Array): Uint8Array {
    const taken = new Uint8Array(head.length + to);
    taken.set(head);
    taken.set(this.#bytes.subarray(0, to), head.length);
    this.#bytes.copyWithin(0, to, this.length);
    this.length -= to;
    return taken;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(2 * needed);
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}
