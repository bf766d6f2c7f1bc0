const bytesPer = { TB: 1024 ** 4, GB: 1024 ** 3, MB: 1024 ** 2, KB: 1024, B: 1 } as const;

/**
 * Reads a size with its unit, as Mesos writes it: `512B`, `64KB`, `1.5GB`, `2TB`; one KB is 1024 bytes.
 *
 * @returns whole bytes; nothing if it is malformed
 */
export function parseSize(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)$/i.exec(text.trim()) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const bytes = Number(amount) * bytesPer[unit.toUpperCase() as keyof typeof bytesPer];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Writes bytes so that {@link parseSize} reads the same again, in the largest unit that fits evenly. */
export function formatSize(bytes: number): string {
  const units = Object.entries(bytesPer);
  const [unit, factor] = units.find(([, per]) => bytes >= per && bytes % per === 0) ?? ['B', 1];
  return `${bytes / factor}${unit}`;
}
