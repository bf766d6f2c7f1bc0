import { encode, mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import type { Ledger } from '../core/ledger.ts';
import { type LogPosition, positionOf } from '../core/log-reader.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import { clearDirty, dirtyShards, shardCount } from '../core/shards.ts';
import { metaKey, partKey } from '../core/snapshot-keys.ts';
import { encodeShards, planSnapshot, targetPartBytes } from '../core/snapshot-parts.ts';
import { confirmedOf, type Generation } from '../core/snapshot-retention.ts';
import { hashInSlices } from './load-snapshot.ts';
import type { LogReading } from './reading.ts';
import { sha256 } from './sha256.ts';
import { pause, Slices } from './slices.ts';
import type { SnapshotStore } from './snapshot-store.ts';

/** A meta record has a line for each value: it must fit in a payload. */
const maxPieces = 8_000;
/** A write whose outcome is unknown is tried again so often. */
const tries = 5;
const retryMs = 500;

/** What goes into one generation, encoded; nothing of it is written yet. */
export interface EncodedSnapshot {
  readonly generation: number;
  readonly position: LogPosition;
  readonly ledgerHash: string;
  readonly pieces: readonly mesobus.v1.SnapshotPiece.$Properties[];
  /** Those of `pieces` that have to be written, by key. */
  readonly values: ReadonlyMap<string, Uint8Array>;
}

/** A ledger that stands still when it is told to. */
export type HeldReading = Pick<LogReading, 'ledger' | 'reader' | 'snapshot' | 'hold' | 'release'>;

/**
 * Remembers what has changed since the snapshots that this registry took. Each is written on the one before the last: so
 * the two that are kept share no value, and one that is damaged spoils one of them only.
 */
export class SnapshotSource {
  readonly #reading: HeldReading;
  readonly #clock: Clock;
  #ledger: Ledger | undefined;
  #newest: number | undefined;
  #before: number | undefined;
  /** Between `before` and `newest`. */
  #changedBefore: ReadonlySet<number> = new Set();
  /** Since `newest`, beside what is marked in the ledger. */
  #changed = new Set<number>();

  constructor(reading: HeldReading, clock: Clock) {
    this.#reading = reading;
    this.#clock = clock;
  }

  /**
   * Encodes the ledger as it is now; the reading is held meanwhile, and other work is let in.
   *
   * @param generations - those that stand
   * @returns undefined if the reading has not caught up
   */
  async encode(generation: number, generations: readonly Generation[]): Promise<EncodedSnapshot | undefined> {
    if (!this.#reading.hold()) return undefined;
    try {
      this.#follow();
      for (const shard of dirtyShards(this.#reading.ledger)) this.#changed.add(shard);
      clearDirty(this.#reading.ledger);
      return await this.#encode(generation, generations);
    } finally {
      this.#reading.release();
    }
  }

  /** A generation that was encoded stands. */
  onTaken(generation: number): void {
    this.#before = this.#newest;
    this.#newest = generation;
    this.#changedBefore = this.#changed;
    this.#changed = new Set();
  }

  /** Another ledger has its own marks: those since the snapshot that it was loaded from. */
  #follow(): void {
    const { ledger, snapshot } = this.#reading;
    if (ledger === this.#ledger) return;
    this.#ledger = ledger;
    this.#newest = snapshot?.generation;
    this.#before = undefined;
    this.#changed = new Set();
  }

  async #encode(generation: number, generations: readonly Generation[]): Promise<EncodedSnapshot> {
    const { ledger, reader } = this.#reading;
    const baseline = this.#baseline(generations);
    const needed = valuesOf(generations.filter(({ meta }) => meta !== baseline));
    const dirty = [...this.#changedBefore, ...this.#changed];
    const position = positionOf(reader);
    const pieces: mesobus.v1.SnapshotPiece.$Properties[] = [];
    const values = new Map<string, Uint8Array>();
    const slices = new Slices(this.#clock);
    for (const step of planSnapshot(baseline, dirty, needed)) {
      if (step.kind === 'keep') {
        pieces.push(step.piece);
        continue;
      }
      for (const { first: shard, last: lastShard, bytes } of encodeShards(ledger, generation, step.range)) {
        const part = values.size;
        values.set(partKey(generation, part), bytes);
        pieces.push({ generation, part, shard, lastShard, bytes: bytes.length, hash: sha256(bytes) });
        await slices.rest();
      }
    }
    return { generation, position, ledgerHash: await hashInSlices(ledger, this.#clock), pieces, values };
  }

  /** The one before the last, if nobody purges its values and it is not the newest that is confirmed. */
  #baseline(generations: readonly Generation[]): mesobus.v1.SnapshotMeta | undefined {
    const [newest, before] = confirmedOf(generations);
    const found = generations.find(({ meta }) => meta.generation === this.#before);
    if (newest === undefined || found === undefined || found.fault !== undefined) return undefined;
    const { generation } = found.meta;
    const isKept = generation >= (before?.generation ?? 0) && generation < newest.generation;
    return isKept ? found.meta : undefined;
  }
}

function valuesOf(generations: readonly Generation[]): Set<string> {
  const keys = new Set<string>();
  for (const { meta } of generations) {
    for (const { generation, part } of meta.pieces as mesobus.v1.SnapshotPiece[]) keys.add(partKey(generation, part));
  }
  return keys;
}

export interface WriteOptions {
  readonly registryId: string;
  readonly takenAtMs: number;
  readonly bytesPerSecond: number;
  /** Before each value; `last` before the record that makes all of them valid. Throws to end it. */
  mayGoOn(last: boolean): Promise<void>;
}

/**
 * Writes what was encoded, paced, and last of all the record that makes it valid.
 *
 * @throws {Error} a value could not be written; what was is purged with the generation
 */
export async function writeSnapshot(
  { snapshots, clock }: { readonly snapshots: SnapshotStore; readonly clock: Clock },
  encoded: EncodedSnapshot,
  { registryId, takenAtMs, bytesPerSecond, mayGoOn }: WriteOptions,
): Promise<mesobus.v1.SnapshotMeta> {
  if (encoded.pieces.length > maxPieces) {
    const least = `${maxPieces} values of ${targetPartBytes} bytes`;
    throw new Error(`Cannot write the snapshot: it has ${encoded.pieces.length} values, and at most ${least} are read`);
  }
  for (const [key, bytes] of encoded.values) {
    const startedAt = clock.now();
    await mayGoOn(false);
    await create(snapshots, clock, key, bytes);
    const restMs = (bytes.length / bytesPerSecond) * 1_000 - (clock.now() - startedAt);
    if (restMs > 0) await pause(clock, restMs);
  }
  await mayGoOn(true);
  const meta = metaOf(encoded, registryId, takenAtMs);
  await create(snapshots, clock, metaKey(encoded.generation), encode(mesobus.v1.SnapshotMeta, meta));
  return meta;
}

function metaOf(
  { generation, position, ledgerHash, pieces }: EncodedSnapshot,
  registryId: string,
  takenAtMs: number,
): mesobus.v1.SnapshotMeta {
  const { incarnation: clusterIncarnation, epoch, index, hash: entryHash, sequence, oldestReaderVersion } = position;
  const { leader } = position;
  return new mesobus.v1.SnapshotMeta({
    generation,
    ...{ clusterIncarnation, epoch, index, entryHash, sequence, oldestReaderVersion },
    ...(leader !== undefined && { leader: leader.record, leaderSequence: leader.sequence }),
    ...{ ledgerHash, ledgerVersion, shardCount },
    pieces: pieces.map((piece) => new mesobus.v1.SnapshotPiece(piece)),
    ...{ takenAtMs, registryId },
  });
}

/** Never overwrites: what stands there already was written by a try whose answer was lost. */
async function create(snapshots: SnapshotStore, clock: Clock, key: string, bytes: Uint8Array): Promise<void> {
  let why = '';
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const outcome = await snapshots.update(key, bytes, 0);
    if (outcome.kind === 'appended') return;
    if (outcome.kind === 'refused') {
      const found = await snapshots.get(key);
      if (found !== undefined && Buffer.compare(found.bytes, bytes) === 0) return;
      throw new Error(`Cannot write ${key} of the snapshot: something else stands there`);
    }
    why = outcome.why;
    await pause(clock, retryMs * 2 ** attempt);
  }
  throw new Error(`Cannot write ${key} of the snapshot: ${why}`);
}
