/** The first nats-server of its kind. */
export const firstNatsServerWith = {
  /** Before it, two masters that compare and set at once may both win in a replicated bucket (nats-server #4320). */
  soundReplicas: '2.9.21',
  /** Before it, a server that is told how often to sync to disk does not start. */
  syncInterval: '2.10.0',
  /** Before it, a mirror cannot leave out what it does not want. */
  filteredMirrors: '2.10.0',
} as const;

/** Compares the three numbers of a version, whatever follows them; what cannot be read counts as old. */
export function isOlder(version: string, than: string): boolean {
  const [found, wanted] = [numbersOf(version), numbersOf(than)];
  const at = wanted.findIndex((number, index) => found[index] !== number);
  return at !== -1 && (found[at] ?? -1) < (wanted[at] as number);
}

const numbersOf = (version: string): number[] => (/^v?(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1) ?? []).map(Number);
