import { mesobus } from '@mesobus/protos';
import { Fields } from './fields.ts';
import type { LogPosition } from './log-reader.ts';
import { asBuffer, type Slice } from './packed.ts';
import { tryDecode } from './try-decode.ts';

/** A message, or what is wrong with its bytes. */
export type Checked<T> = { readonly ok: T } | { readonly fault: string };

/**
 * Reads the record that makes a generation valid, and checks that its values cover every shard once, in order. Whether
 * the values are there and as they were written is another matter.
 */
export function readMeta(bytes: Uint8Array, generation: number): Checked<mesobus.v1.SnapshotMeta> {
  const meta = tryDecode(mesobus.v1.SnapshotMeta, bytes);
  if (meta === undefined) return { fault: 'its meta record cannot be decoded' };
  if (meta.generation !== generation) return { fault: `its meta record says that it is generation ${meta.generation}` };
  if (meta.entryHash.length !== 32) return { fault: 'its meta record has no hash of an entry' };
  let next = 0;
  let before: mesobus.v1.SnapshotPiece | undefined;
  for (const piece of meta.pieces as mesobus.v1.SnapshotPiece[]) {
    const goesOn = piece.shard === before?.shard && piece.lastShard === before.lastShard;
    if (!goesOn && piece.shard !== next) return { fault: `its meta record does not cover shard ${next}` };
    if (piece.lastShard < piece.shard) return { fault: `its meta record has a value of no shard` };
    next = piece.lastShard + 1;
    before = piece;
  }
  return next === meta.shardCount ? { ok: meta } : { fault: `its meta record does not cover shard ${next}` };
}

/** Reads a value whose hash was compared already: its records, which hold on to it. */
export function readPart(bytes: Uint8Array, piece: mesobus.v1.SnapshotPiece): Checked<readonly Slice[]> {
  const records: Slice[] = [];
  let [generation, shard, lastShard] = [0, 0, 0];
  try {
    for (const part = new Fields(asBuffer(bytes)); part.next(); ) {
      if (part.number === 1) generation = part.count();
      else if (part.number === 2) shard = part.count();
      else if (part.number === 4) records.push(part.slice());
      else if (part.number === 5) lastShard = part.count();
    }
  } catch {
    return { fault: 'it cannot be decoded' };
  }
  if (generation === piece.generation && shard === piece.shard && lastShard === piece.lastShard) return { ok: records };
  return { fault: `it says that it is of generation ${generation}, shards ${shard} to ${lastShard}` };
}

/** Where in the log a snapshot stands. */
export function positionOfMeta(meta: mesobus.v1.SnapshotMeta): LogPosition {
  const { clusterIncarnation: incarnation, epoch, index, entryHash: hash, sequence, oldestReaderVersion } = meta;
  const record = meta.leader as mesobus.v1.LeaderRecord | null;
  const leader = record === null ? undefined : { record, sequence: meta.leaderSequence };
  return { incarnation, epoch, index, hash, sequence, oldestReaderVersion, leader };
}
