import { encode, mesobus } from '@mesobus/protos';
import type { Ledger } from './ledger.ts';
import { recordsOfShard, shardCount } from './shards.ts';
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
  let waiting: Uint8Array[] = [];
  let size = 0;
  let begin = first;
  let piece = 0;
  const part = (end: number, records: Uint8Array[]): EncodedPart => ({
    first: begin,
    last: end,
    bytes: encode(mesobus.v1.SnapshotPart, { generation, shard: begin, lastShard: end, piece, records }),
  });

  for (let shard = first; shard <= last; shard += 1) {
    const before = waiting.length;
    for (const record of recordsOfShard(ledger, shard)) {
      if (size + record.length > targetPartBytes && waiting.length > 0) {
        const shared = begin < shard; // then what is here of this shard goes into a value of its own
        const own = shared ? waiting.slice(before) : [];
        yield part(shared ? shard - 1 : shard, shared ? waiting.slice(0, before) : waiting);
        piece = shared ? 0 : piece + 1;
        begin = shard;
        waiting = own;
        size = own.reduce((sum, { length }) => sum + length, 0);
      }
      waiting.push(record);
      size += record.length;
    }
    const full = piece > 0 || size > targetPartBytes / 2;
    if (!full && shard < last) continue;
    yield part(shard, waiting);
    [waiting, size, begin, piece] = [[], 0, shard + 1, 0];
  }
}
