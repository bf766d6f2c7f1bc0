import { encode, mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import { applyEncoded, type Ledger } from '../core/ledger.ts';
import { createLogReader, type LogReader, readMessage, startAfter } from '../core/log-reader.ts';
import { confirmKey } from '../core/snapshot-keys.ts';
import { positionOfMeta } from '../core/snapshot-meta.ts';
import type { Generation } from '../core/snapshot-retention.ts';
import { hashInSlices, loadGeneration } from './load-snapshot.ts';
import type { LogStore } from './log-store.ts';
import type { LogReading } from './reading.ts';
import { sha256 } from './sha256.ts';
import type { SnapshotStore } from './snapshot-store.ts';

interface ConfirmTools {
  readonly store: LogStore;
  readonly snapshots: SnapshotStore;
  readonly clock: Clock;
}

/**
 * Reads a snapshot back as a cold start would, follows the log from it up to where the own ledger stands, and compares
 * the two. What it finds is written down for all: nothing is purged from the log behind a snapshot that nobody confirmed.
 *
 * @returns what is wrong with it, if anything is; `later` if it cannot be told now
 */
export async function confirmSnapshot(
  tools: ConfirmTools,
  reading: LogReading,
  generation: Generation,
  registryId: string,
): Promise<'confirmed' | 'later' | { readonly fault: string }> {
  const { snapshots, clock } = tools;
  const { meta } = generation;
  if (reading.reader.lastIndex < meta.index || reading.reader.incarnation !== meta.clusterIncarnation) return 'later';
  const loaded = await loadGeneration(tools, generation, {});
  if (typeof loaded === 'string') return writeVerdict(snapshots, meta, registryId, { fault: loaded });
  const reader = createLogReader(sha256);
  startAfter(reader, positionOfMeta(meta));
  const readOn = (index: number): Promise<boolean> => readUpTo(tools.store, reader, loaded.ledger, index);

  if (!(await readOn(reading.reader.lastIndex))) return 'later'; // most of it while the reading goes on
  if (!reading.hold()) return 'later';
  try {
    const index = reading.reader.lastIndex;
    if (!(await readOn(index))) return 'later';
    // One of the two was read damaged: the next entry tells which, and until then the snapshot is not to blame.
    if (Buffer.compare(reader.lastHash, reading.reader.lastHash) !== 0) return 'later';
    const [read, own] = [await hashInSlices(loaded.ledger, clock), await hashInSlices(reading.ledger, clock)];
    const fault = `with the log up to entry ${index} it adds up to ${read}, but its own ledger to ${own}`;
    return await writeVerdict(snapshots, meta, registryId, { index, ledgerHash: own, ...(read !== own && { fault }) });
  } finally {
    reading.release();
  }
}

/** Applies what the log says up to an index; false if the log does not lead there. */
function readUpTo(store: LogStore, reader: LogReader, ledger: Ledger, index: number): Promise<boolean> {
  if (reader.lastIndex >= index) return Promise.resolve(true);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const tailer = store.tail({
    from: reader.lastSequence + 1,
    onCaughtUp: () => {},
    onReplaced: () => resolve(false),
    onMessage: (message) => {
      if (reader.lastIndex >= index) return;
      for (const effect of readMessage(reader, message)) {
        if (effect.kind === 'entry') for (const record of effect.entry.records) applyEncoded(ledger, record);
        if (effect.kind === 'stopped' || effect.kind === 'snapshot_wanted') resolve(false);
      }
      if (reader.lastIndex >= index) resolve(true);
    },
  });
  return promise.finally(() => tailer.stop());
}

/** Writes down for all what was found, in place of what this registry may have found before. */
export async function writeVerdict(
  snapshots: SnapshotStore,
  { generation }: mesobus.v1.SnapshotMeta,
  registryId: string,
  found: { readonly index?: number; readonly ledgerHash?: string; readonly fault?: string },
): Promise<'confirmed' | 'later' | { readonly fault: string }> {
  const key = confirmKey(generation, registryId);
  const bytes = encode(mesobus.v1.SnapshotConfirm, { generation, registryId, ...found });
  const { kind } = await snapshots.update(key, bytes, (await snapshots.get(key))?.revision ?? 0);
  if (found.fault !== undefined) return { fault: found.fault };
  return kind === 'appended' ? 'confirmed' : 'later';
}
