import type { mesobus } from '@mesobus/protos';
import { indexOfKey } from '../core/log-keys.ts';
import { readSnapshotKey } from '../core/snapshot-keys.ts';
import { type FoundSnapshot, type LoadOptions, loadNewest, type NoSnapshot } from './load-snapshot.ts';
import type { LogTools } from './reading.ts';
import { sha256 } from './sha256.ts';
import type { SnapshotStore } from './snapshot-store.ts';

type Tools = Pick<LogTools, 'store' | 'clock'> & { readonly snapshots: SnapshotStore };

/**
 * Loads the newest snapshot that can be believed, and that is of the log as it stands: a power cut may have taken the
 * end of the log, and left a snapshot of what was there.
 *
 * @throws nobody answers: try again
 */
export async function loadNewestOfLog(tools: Tools, options: LoadOptions): Promise<FoundSnapshot | NoSnapshot> {
  const strange = new Set<number>();
  const reasons: string[] = [];
  for (;;) {
    const found = await loadNewest({ ...tools, snapshots: without(tools.snapshots, strange) }, options);
    if ('refused' in found) return { refused: [...reasons, ...found.refused] };
    const why = await whyNotOfLog(tools, found.meta);
    if (why === undefined) return { ...found, passedOver: [...reasons, ...found.passedOver] };
    strange.add(found.meta.generation);
    reasons.push(why);
  }
}

/**
 * Why a snapshot is not of the log as it stands; undefined if it is, or if nothing is left to compare: its entry may be
 * purged, and that of a restored one was never there.
 */
export async function whyNotOfLog(
  { store }: Pick<Tools, 'store'>,
  { generation, index, sequence, entryHash }: mesobus.v1.SnapshotMeta,
): Promise<string | undefined> {
  const { found, lastSequence } = await store.readAt(sequence);
  const what = `generation ${generation} is as of entry ${index} at sequence ${sequence}`;
  if (lastSequence < sequence) return `${what}, and the log ends at sequence ${lastSequence}: it has lost its end`;
  if (found === undefined || indexOfKey(found.key) === undefined) return undefined;
  return Buffer.compare(sha256(found.bytes), entryHash) === 0 ? undefined : `${what}, where another entry stands`;
}

const without = (snapshots: SnapshotStore, generations: ReadonlySet<number>): SnapshotStore => ({
  ...snapshots,
  keys: async () => (await snapshots.keys()).filter((key) => !generations.has(readSnapshotKey(key)?.generation ?? 0)),
});
