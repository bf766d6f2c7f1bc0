import {
  isIndivisible,
  isPersistentVolume,
  noResources,
  type Resource,
  type Resources,
  trySubtract,
} from '@mesobus/sdk/resources';
import type { Columns } from './amounts.ts';
import { remembered, Sharing } from './sharing.ts';

/** Amounts of a few columns. */
interface Sparse {
  readonly columns: readonly number[];
  readonly amounts: readonly number[];
}

/** What there is among some extras; bits of {@link Extras.traits}. */
export const traits = {
  reserved: 1,
  /** Reserved more than once. */
  refined: 2,
  revocable: 4,
  shared: 8,
  /** A scalar that is neither reserved nor revocable: a disk of its own, or a provider's. */
  loose: 16,
  gpus: 32,
} as const;

/**
 * All resources of an agent, or of somebody on it, that are not plain scalars: ranges, sets, and what is reserved,
 * revocable, shared, on a disk of its own or a provider's. Equal ones are one object, where that costs little.
 */
export interface Extras {
  readonly list: Resources;
  readonly traits: number;
  /** Scalars among them; a shared volume counts once, however often it is there. */
  readonly scalars: Sparse;
  /** Those of the scalars that are neither reserved nor revocable: they count against quotas as plain ones do. */
  readonly loose: Sparse;
  /**
   * What is left of them without others, where that was asked before; only a few are remembered, and only of what is on
   * many agents.
   */
  rests?: Map<Extras, Extras | undefined>;
}

const nothing: Sparse = { columns: [], amounts: [] };

export const noExtras: Extras = { list: noResources, traits: 0, scalars: nothing, loose: nothing };

const maxInterned = 10_000;
/** What takes more to write down is hardly on two agents alike: labels. */
const maxInternedLength = 1_000;
const maxRests = 16;
/** Of what is on one agent alone: what it has, what is held, what is offered. */
const maxRecent = 8;
const maxSums = 1_000;

/** An unreserved, non-revocable scalar of the agent's own: only its amount needs to be kept. */
export const isPlain = (resource: Resource): boolean => resource.key === `${resource.name}\nscalar`;

export const isLoose = (resource: Resource): boolean =>
  resource.kind === 'scalar' && resource.reservations === undefined && resource.revocable === undefined;

/** Makes extras of lists, equal ones of equal lists as long as it remembers them. */
export class ExtrasFactory {
  readonly #columns: Columns;
  readonly #sharing = new Sharing();
  readonly #known = new Map<string, Extras>();
  readonly #sums = new Map<string, Sparse>();
  readonly #recent: Extras[] = [];

  constructor(columns: Columns) {
    this.#columns = columns;
  }

  /** @param list - without plain scalars */
  of(list: Resources): Extras {
    if (list.length === 0) return noExtras;
    const shared = this.#sharing.share(list);
    if (isOnMany(shared)) {
      const text = textOf(shared);
      if (text.length <= maxInternedLength) return this.remembered(text, () => shared);
    }
    const known = this.#recent.find((extras) => isAlike(extras.list, shared));
    if (known !== undefined) return known;
    const made = this.describe(shared);
    if (this.#recent.push(made) > maxRecent) this.#recent.shift();
    return made;
  }

  /** Extras of a list that need not be made if a list of the same text has been made before. */
  remembered(text: string, list: () => Resources): Extras {
    return remembered(this.#known, maxInterned, text, () => ({ ...this.describe(list()), rests: new Map() }));
  }

  /** Extras that will not be seen again soon. */
  describe(list: Resources): Extras {
    if (list.length === 0) return noExtras;
    let found = 0;
    for (const resource of list) found |= traitsOf(resource);
    const sums = (picks: (resource: Resource) => boolean): Sparse => this.#sum(list, picks);
    return {
      list,
      traits: found,
      scalars: list.some(({ kind }) => kind === 'scalar') ? sums(({ kind }) => kind === 'scalar') : nothing,
      loose: (found & traits.loose) === 0 ? nothing : sums(isLoose),
    };
  }

  /** What is left of `whole` without `part`; undefined if `whole` does not contain it. */
  subtract(whole: Extras, part: Extras): Extras | undefined {
    if (part === noExtras) return whole;
    if (part === whole) return noExtras;
    const { rests } = whole;
    if (rests?.has(part)) return rests.get(part);
    const list = trySubtract(whole.list, part.list);
    const rest = list && this.of(list);
    if (rests !== undefined && rests.size >= maxRests) rests.clear();
    rests?.set(part, rest);
    return rest;
  }

  /** Those that a test picks. */
  select(extras: Extras, picks: (resource: Resource) => boolean): Extras {
    const list = extras.list.filter(picks) as readonly Resource[] as Resources;
    return list.length === extras.list.length ? extras : this.describe(list);
  }

  #sum(list: Resources, picks: (resource: Resource) => boolean): Sparse {
    const sums = new Map<number, number>();
    for (const resource of list) {
      if (!picks(resource)) continue;
      const column = this.#columns.columnOf(resource.name);
      sums.set(column, (sums.get(column) ?? 0) + amountOf(resource));
    }
    let text = '';
    for (const [column, amount] of sums) text += `${column}:${amount} `;
    return remembered(this.#sums, maxSums, text, () => ({ columns: [...sums.keys()], amounts: [...sums.values()] }));
  }
}

/** A persistent volume is on one agent alone. */
const isOnMany = (list: Resources): boolean => !list.some(isPersistentVolume);

const isAlike = (a: Resources, b: Resources): boolean =>
  a.length === b.length && a.every((resource, i) => resource === b[i]);

/** Of a scalar, all copies of it; 0 of anything else. A shared volume counts once. */
export function amountOf(resource: Resource): number {
  if (resource.kind !== 'scalar') return 0;
  return resource.amount * (resource.shared ? 1 : (resource.copies ?? 1));
}

/** The same scalar with less of it; undefined if it can only be had whole. */
export function cutTo(resource: Resource, amount: number): Resource | undefined {
  if (resource.kind !== 'scalar' || amount <= 0 || isIndivisible(resource)) return undefined;
  return { ...resource, amount };
}

/** How many there are of a resource that is not a scalar: ports of ranges, items of sets. */
export function countOf({ list }: Extras, name: string): number {
  let count = 0;
  for (const resource of list) if (resource.name === name) count += countIn(resource);
  return count;
}

/** Ports of ranges, items of a set; 0 of a scalar. */
export function countIn(resource: Resource): number {
  if (resource.kind === 'set') return resource.items.length;
  let count = 0;
  if (resource.kind === 'ranges') for (const { begin, end } of resource.ranges) count += end - begin + 1;
  return count;
}

function traitsOf(resource: Resource): number {
  const { reservations } = resource;
  return (
    (reservations === undefined ? 0 : traits.reserved | (reservations.length > 1 ? traits.refined : 0)) |
    (resource.revocable ? traits.revocable : 0) |
    (resource.shared ? traits.shared : 0) |
    (isLoose(resource) ? traits.loose : 0) |
    (resource.name === 'gpus' ? traits.gpus : 0)
  );
}

function textOf(list: Resources): string {
  let text = '';
  for (const resource of list) {
    text += `${resource.key}\n`;
    if (resource.kind === 'scalar') text += `${resource.amount} ${resource.copies ?? 1}`;
    else if (resource.kind === 'ranges') for (const { begin, end } of resource.ranges) text += `${begin}-${end},`;
    else text += JSON.stringify(resource.items);
    text += '\n';
  }
  return text;
}
