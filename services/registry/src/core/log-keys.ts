/** The key that says who may append. */
export const leaderKey = 'leader';

/** Twelve digits, so that keys sort as their numbers do. */
export const entryKey = (index: number): string => `log.${String(index).padStart(12, '0')}`;

const entryPattern = /^log\.(\d{12,})$/;

/** The index that a key names; undefined if it is not the key of an entry. */
export function indexOfKey(key: string): number | undefined {
  const digits = entryPattern.exec(key)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
