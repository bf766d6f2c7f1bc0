/**
 * The first `count` items whose key comes after a given one, in order of key. Looks at each item once and keeps few, so
 * that a page of a million costs no sorting of a million.
 */
export function firstAfter<T>(items: Iterable<T>, keyOf: (item: T) => string, after: string, count: number): T[] {
  if (count <= 0) return [];
  const compare = (a: T, b: T): number => (keyOf(a) < keyOf(b) ? -1 : 1);
  let kept: T[] = [];
  let bound: string | undefined;
  for (const item of items) {
    const key = keyOf(item);
    if (key <= after || (bound !== undefined && key > bound)) continue;
    kept.push(item);
    if (kept.length < 2 * count) continue;
    kept = kept.sort(compare).slice(0, count);
    bound = keyOf(kept[count - 1] as T);
  }
  return kept.sort(compare).slice(0, count);
}
