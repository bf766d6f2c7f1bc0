const millisecondsPer = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  s: 1_000,
  sec: 1_000,
  secs: 1_000,
  m: 60_000,
  min: 60_000,
  mins: 60_000,
  h: 3_600_000,
  hr: 3_600_000,
  hrs: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
  weeks: 604_800_000,
} as const;

const written = ['weeks', 'days', 'hrs', 'mins', 'secs', 'ms'] as const;

/**
 * Reads a duration with its unit: `500ms`, `5s`, and as Mesos writes it `5secs`, `10mins`, `1hrs`, `1.5days`.
 *
 * @returns whole milliseconds; nothing if it is malformed, or too short to be a millisecond without being zero
 */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(text.trim()) ?? [];
  if (amount === undefined || unit === undefined || !Object.hasOwn(millisecondsPer, unit)) return undefined;
  const exact = Number(amount) * millisecondsPer[unit as keyof typeof millisecondsPer];
  const rounded = Math.round(exact);
  if ((rounded === 0 && exact > 0) || !Number.isSafeInteger(rounded)) return undefined;
  return rounded;
}

/** Writes milliseconds so that {@link parseDuration} reads the same again, in the largest unit that fits evenly. */
export function formatDuration(milliseconds: number): string {
  const unit = written.find(
    (name) => milliseconds >= millisecondsPer[name] && milliseconds % millisecondsPer[name] === 0,
  );
  return unit === undefined ? `${milliseconds}ms` : `${milliseconds / millisecondsPer[unit]}${unit}`;
}
