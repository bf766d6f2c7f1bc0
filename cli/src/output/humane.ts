const units = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const;

/** How long ago something was, in two units at most: `3d4h`, `12m5s`, `0s`. */
export const ageOf = (then: Date, now: number): string => spanOf((now - then.getTime()) / 1000);

/** So long in two units at most. */
export function spanOf(exactSeconds: number): string {
  let seconds = Math.max(0, Math.floor(exactSeconds));
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first === -1) return '0s';
  let text = '';
  for (const [unit, size] of units.slice(first, first + 2)) {
    const count = Math.floor(seconds / size);
    if (count > 0) text += `${count}${unit}`;
    seconds -= count * size;
  }
  return text;
}

/** A number with up to three digits behind the point, as amounts have them. */
export const numberOf = (amount: number): string => String(Math.round(amount * 1000) / 1000);

/** A fraction as a percentage: `12.5%`. */
export const percentOf = (fraction: number): string => `${Math.round(fraction * 1000) / 10}%`;

const byteUnits = ['B', 'K', 'M', 'G', 'T', 'P'] as const;

/** An amount of bytes with three digits at most: `0B`, `1.5K`, `340M`. */
export function bytesOf(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  for (; amount >= 999.5 && unit < byteUnits.length - 1; unit += 1) amount /= 1024;
  return `${amount < 9.95 && unit > 0 ? amount.toFixed(1) : Math.round(amount)}${byteUnits[unit]}`;
}

/** The beginning of a text that is too long. */
export const shortened = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;
