import type { mesobus } from '@mesobus/protos';
import { metaKey, partKey, readSnapshotKey } from './snapshot-keys.ts';

/** A generation whose meta record stands and can be read. */
export interface Generation {
  readonly meta: mesobus.v1.SnapshotMeta;
  /** Somebody has read it back and found it to be what it says. */
  readonly confirmed: boolean;
  /** Why nobody may believe it. */
  readonly fault?: string;
}

export interface Retention {
  /** Entries of the log up to this snapshot may go, once the history has them; undefined: none may. */
  readonly truncateAt: mesobus.v1.SnapshotMeta | undefined;
  /** Nothing that is needed needs these keys. */
  readonly purgeable: readonly string[];
}

/**
 * Those that somebody has read back and found good, newest first. One that is as of a later place than a newer one is of
 * what the log has lost since.
 */
export function confirmedOf(generations: readonly Generation[]): mesobus.v1.SnapshotMeta[] {
  const found: mesobus.v1.SnapshotMeta[] = [];
  for (const { meta, confirmed, fault } of [...generations].sort((a, b) => b.meta.generation - a.meta.generation)) {
    const newer = found.at(-1);
    const precedes = newer === undefined || meta.sequence <= newer.sequence;
    if (confirmed && fault === undefined && precedes) found.push(meta);
  }
  return found;
}

/**
 * What is not needed any more. The two newest confirmed generations, and all that is newer, are kept whole; the log is
 * kept from the older of the two on. Safe to act on however late: what it names is not needed later either.
 *
 * @param generations - of the newest incarnation of the cluster all that can be read, in any order
 * @param keys - what stands in the bucket
 */
export function retentionOf(generations: readonly Generation[], keys: readonly string[]): Retention {
  const [newest, before] = confirmedOf(generations);
  if (newest === undefined || before === undefined) return { truncateAt: undefined, purgeable: [] };

  const needed = new Set<string>();
  for (const { meta } of generations) {
    if (meta.generation < before.generation) continue;
    needed.add(metaKey(meta.generation));
    for (const { generation, part } of meta.pieces as mesobus.v1.SnapshotPiece[]) needed.add(partKey(generation, part));
  }
  const purgeable = keys.filter((key) => {
    const of = readSnapshotKey(key);
    if (of === undefined || needed.has(key)) return false;
    // Values above the newest may belong to a snapshot that is being taken.
    return of.generation < (of.kind === 'part' ? newest.generation : before.generation);
  });
  return { truncateAt: before, purgeable };
}
