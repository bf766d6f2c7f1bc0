/** How far the log may grow behind the newest snapshot before another is taken. Whichever is reached first. */
export interface SnapshotLimits {
  readonly logBytes: number;
  readonly logEntries: number;
  /** With anything new in the log. */
  readonly ageMs: number;
}

export interface SnapshotAge {
  readonly bytes: number;
  readonly entries: number;
  readonly ms: number;
}

export function isSnapshotDue({ bytes, entries, ms }: SnapshotAge, limits: SnapshotLimits): boolean {
  return entries > 0 && (bytes >= limits.logBytes || entries >= limits.logEntries || ms >= limits.ageMs);
}
