import { mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import { applyEncoded, createLedger, type Ledger } from '../core/ledger.ts';
import { hashLedger } from '../core/ledger-hash.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import { clearDirty } from '../core/shards.ts';
import { metaKey, partKey, readSnapshotKey } from '../core/snapshot-keys.ts';
import { readMeta, readPart } from '../core/snapshot-meta.ts';
import type { Generation } from '../core/snapshot-retention.ts';
import { tryDecode } from '../core/try-decode.ts';
import { readerOn } from './hashed-value.ts';
import './large-heap.ts';
import { pause, Slices } from './slices.ts';
import type { HashedValue, SnapshotStore, ValueReader } from './snapshot-store.ts';

/** So many values are asked for ahead, of at most half a megabyte each; in two lots, for to ask wakes who answers. */
const valuesUnderWay = 64;
/** A value that nobody gave in time is asked for again so often. */
const tries = 3;
const retryMs = 200;

/** A snapshot that was read back and found to be what its meta record says. */
export interface LoadedSnapshot {
  readonly meta: mesobus.v1.SnapshotMeta;
  /** As of the snapshot; no shard of it is dirty. */
  readonly ledger: Ledger;
}

/** Newer ones may have been looked at before, and why they are no good. */
export type FoundSnapshot = LoadedSnapshot & { readonly passedOver: readonly string[] };

export interface LoadOptions {
  /** Only one of this incarnation of the cluster or a later one, of this index or a later one. */
  readonly incarnation: number;
  readonly index: number;
  onProgress?(done: number, of: number): void;
  /** Gives up: then it throws. */
  readonly signal?: AbortSignal;
}

/** Nothing could be loaded: why each generation that was looked at is no good. */
export interface NoSnapshot {
  readonly refused: readonly string[];
}

/** What stands in the bucket. */
export interface Catalogue {
  readonly keys: readonly string[];
  /** Newest first; of every incarnation. */
  readonly generations: readonly Generation[];
  /** Generations whose meta record is damaged, and how. */
  readonly refused: readonly string[];
}

interface LoadTools {
  readonly snapshots: SnapshotStore;
  readonly clock: Clock;
}

/**
 * Loads the newest snapshot that can be believed.
 *
 * @throws nobody answers: try again
 */
export async function loadNewest(tools: LoadTools, options: LoadOptions): Promise<FoundSnapshot | NoSnapshot> {
  const { generations, refused } = await readCatalogue(tools.snapshots);
  const reasons = [...refused];
  for (const generation of generations) {
    const { meta } = generation;
    if (meta.clusterIncarnation < options.incarnation || meta.index < options.index) continue;
    const loaded = await loadGeneration(tools, generation, options);
    if (typeof loaded !== 'string') return { ...loaded, passedOver: reasons };
    reasons.push(loaded);
  }
  return { refused: reasons };
}

export async function readCatalogue(snapshots: SnapshotStore): Promise<Catalogue> {
  const keys = await snapshots.keys();
  const numbers = new Set<number>();
  const confirmations = new Map<number, string[]>();
  for (const key of keys) {
    const of = readSnapshotKey(key);
    if (of?.kind === 'meta') numbers.add(of.generation);
    if (of?.kind === 'confirm') confirmations.set(of.generation, [...(confirmations.get(of.generation) ?? []), key]);
  }
  const generations: Generation[] = [];
  const refused: string[] = [];
  for (const number of [...numbers].sort((a, b) => b - a)) {
    const value = await snapshots.get(metaKey(number));
    if (value === undefined) continue; // purged meanwhile
    const read = readMeta(value.bytes, number);
    if ('fault' in read) refused.push(`generation ${number}: ${read.fault}`);
    else generations.push({ meta: read.ok, ...(await readConfirmations(snapshots, confirmations.get(number) ?? [])) });
  }
  return { keys, generations, refused };
}

async function readConfirmations(snapshots: SnapshotStore, keys: readonly string[]): Promise<Omit<Generation, 'meta'>> {
  let confirmed = false;
  for (const key of keys) {
    const value = await snapshots.get(key);
    const record = value && tryDecode(mesobus.v1.SnapshotConfirm, value.bytes);
    if (record === undefined) continue;
    if (record.fault !== '') return { confirmed: false, fault: `${record.registryId} found that ${record.fault}` };
    confirmed = true;
  }
  return { confirmed };
}

/** @returns why it cannot be believed, if it cannot */
export async function loadGeneration(
  { snapshots, clock }: LoadTools,
  { meta, confirmed, fault }: Generation,
  { onProgress, signal }: Pick<LoadOptions, 'onProgress' | 'signal'>,
): Promise<LoadedSnapshot | string> {
  const refuse = (why: string): string => `generation ${meta.generation}: ${why}`;
  if (fault !== undefined) return refuse(fault);
  const ledger = createLedger();
  const slices = new Slices(clock);
  let done = 0;
  for await (const { piece, value } of readValues(snapshots, clock, meta, signal)) {
    const key = partKey(piece.generation, piece.part);
    if (value === undefined) return refuse(`its value ${key} is missing`);
    if (!isSame(value.hash, piece.hash)) return refuse(`its value ${key} is not what was written: hashes differ`);
    const part = readPart(value.bytes, piece);
    if ('fault' in part) return refuse(`its value ${key}: ${part.fault}`);
    for (const record of part.ok) {
      if (!applyEncoded(ledger, record)) return refuse(`its value ${key} holds bytes that are no record`);
    }
    done += 1;
    onProgress?.(done, meta.pieces.length);
    await slices.rest();
  }
  clearDirty(ledger);
  // Who confirmed it has compared the ledger; the same bytes add up to the same. Other rules give another hash.
  if (confirmed || meta.ledgerVersion !== ledgerVersion) return { meta, ledger };
  const hash = await hashInSlices(ledger, clock);
  return hash === meta.ledgerHash
    ? { meta, ledger }
    : refuse(`its ledger has the hash ${hash}, not ${meta.ledgerHash}`);
}

interface ReadValue {
  readonly piece: mesobus.v1.SnapshotPiece;
  readonly value: HashedValue | undefined;
}

/** The values of a snapshot in order, asked for ahead. */
async function* readValues(
  snapshots: SnapshotStore,
  clock: Clock,
  { pieces }: mesobus.v1.SnapshotMeta,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadValue> {
  const reader = snapshots.openReader?.(pieces.length) ?? readerOn(snapshots);
  const close = (): void => reader.close();
  signal?.addEventListener('abort', close); // nobody waits any more for what is under way
  const underWay: Promise<ReadValue>[] = [];
  try {
    for (let next = 0; next < pieces.length || underWay.length > 0; ) {
      const isDue = underWay.length <= valuesUnderWay / 2;
      while (isDue && next < pieces.length && underWay.length < valuesUnderWay) {
        const piece = pieces[next++] as mesobus.v1.SnapshotPiece;
        const reading = getAgain(reader, clock, partKey(piece.generation, piece.part), signal);
        const value = reading.then((found) => ({ piece, value: found }));
        value.catch(() => undefined); // it is awaited in its turn, or not at all
        underWay.push(value);
      }
      signal?.throwIfAborted();
      yield await (underWay.shift() as Promise<ReadValue>);
    }
  } finally {
    signal?.removeEventListener('abort', close);
    close();
  }
}

async function getAgain(
  reader: ValueReader,
  clock: Clock,
  key: string,
  signal: AbortSignal | undefined,
): Promise<HashedValue | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await reader.get(key);
    } catch (error) {
      signal?.throwIfAborted();
      if (attempt === tries) throw error;
      await pause(clock, retryMs);
    }
  }
}

/** The hash of a ledger that does not change meanwhile, with room for other work. */
export async function hashInSlices(ledger: Ledger, clock: Clock): Promise<string> {
  const hashing = hashLedger(ledger);
  const slices = new Slices(clock);
  for (;;) {
    const { done, value } = hashing.next();
    if (done === true) return value;
    await slices.rest();
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at]);
