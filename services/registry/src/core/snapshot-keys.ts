/** The key that says who takes a snapshot. */
export const claimKey = 'claim';

export const partKey = (generation: number, part: number): string => `snap.${generation}.${part}`;
export const metaKey = (generation: number): string => `meta.${generation}`;
export const confirmKey = (generation: number, registryId: string): string => `confirm.${generation}.${registryId}`;

export interface SnapshotKey {
  readonly kind: 'part' | 'meta' | 'confirm';
  readonly generation: number;
}

const pattern = /^(?:snap\.(\d+)\.\d+|meta\.(\d+)|confirm\.(\d+)\..+)$/;

/** What a key of the snapshots' bucket stands for; undefined if it belongs to no generation. */
export function readSnapshotKey(key: string): SnapshotKey | undefined {
  const match = pattern.exec(key);
  if (match === null) return undefined;
  const [, part, meta, confirm] = match;
  if (part !== undefined) return { kind: 'part', generation: Number(part) };
  return meta !== undefined
    ? { kind: 'meta', generation: Number(meta) }
    : { kind: 'confirm', generation: Number(confirm) };
}
