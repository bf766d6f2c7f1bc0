/** Whole numbers from `begin` to `end`, both included. */
export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** Ranges in order, no two of them overlapping or adjacent: equal sets of numbers are equal lists. */
export type Ranges = readonly Range[];

/** Brings ranges into order and joins those that overlap or touch. */
export function coalesce(ranges: readonly Range[]): Ranges {
  const sorted = [...ranges].sort((a, b) => a.begin - b.begin);
  const joined: Range[] = [];
  for (const range of sorted) {
    const last = joined.at(-1);
    if (last === undefined || range.begin > last.end + 1) joined.push({ begin: range.begin, end: range.end });
    else if (range.end > last.end) joined[joined.length - 1] = { begin: last.begin, end: range.end };
  }
  return joined;
}

/** The numbers in either; both coalesced. */
export function unionRanges(a: Ranges, b: Ranges): Ranges {
  return coalesce([...a, ...b]);
}

/** Whether every number of `part` is in `whole`; both coalesced. */
export function containsRanges(whole: Ranges, part: Ranges): boolean {
  let at = 0;
  for (const range of part) {
    while (at < whole.length && (whole[at] as Range).end < range.begin) at += 1;
    const holder = whole[at];
    if (holder === undefined || holder.begin > range.begin || holder.end < range.end) return false;
  }
  return true;
}

/** The numbers of `whole` that are not in `part`; both coalesced. */
export function subtractRanges(whole: Ranges, part: Ranges): Ranges {
  const rest: Range[] = [];
  let at = 0;
  for (const { begin, end } of whole) {
    let from = begin;
    while (at < part.length && (part[at] as Range).end < begin) at += 1;
    // A hole may reach into the next range of `whole` too, so `at` itself stays.
    for (let hole = at; hole < part.length && (part[hole] as Range).begin <= end; hole += 1) {
      const { begin: holeBegin, end: holeEnd } = part[hole] as Range;
      if (holeBegin > from) rest.push({ begin: from, end: holeBegin - 1 });
      from = holeEnd + 1;
    }
    if (from <= end) rest.push({ begin: from, end });
  }
  return rest;
}

export function equalRanges(a: Ranges, b: Ranges): boolean {
  return a.length === b.length && a.every((range, i) => range.begin === b[i]?.begin && range.end === b[i]?.end);
}
