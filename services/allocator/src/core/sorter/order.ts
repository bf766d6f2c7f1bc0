/** Somebody who is kept in order. */
export interface Contender {
  readonly name: string;
  /** How often it was given something. */
  allocations: number;
  /** What its policy has said, and the count of allocations, when it was put in its place. */
  key: number;
  countAtKey: number;
  /** Its number in the order that it is in; -1 if in none. */
  slot: number;
  /** Its key may be another now. */
  touched: boolean;
}

/** Lowest key first; then who was given less often; then by name. */
export function compareContenders(a: Contender, b: Contender): number {
  return a.key - b.key || a.countAtKey - b.countAtKey || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) || 0;
}

/**
 * Keeps contenders in order. Whoever is touched is moved when the order is next asked for: two binary searches and one
 * move of memory, so that it takes little longer among thousands than among ten.
 */
export class Order<T extends Contender> {
  /** By slot. */
  readonly #members: (T | undefined)[] = [];
  readonly #vacant: number[] = [];
  /** Slots in order. */
  #sorted: Int32Array = new Int32Array(4);
  #size = 0;
  readonly #touched: T[] = [];
  #version = -1;
  readonly #usesDice: boolean;

  /** @param usesDice - keys are asked for in order of name then, which does not follow from what happened before */
  constructor(usesDice: boolean) {
    this.#usesDice = usesDice;
  }

  get size(): number {
    return this.#size;
  }

  add(member: T): void {
    if (member.slot >= 0) return;
    member.slot = this.#vacant.pop() ?? this.#members.length;
    member.touched = false;
    this.#members[member.slot] = member;
    if (this.#size === this.#sorted.length) {
      const larger = new Int32Array(this.#size * 2);
      larger.set(this.#sorted);
      this.#sorted = larger;
    }
    this.#sorted[this.#size] = member.slot;
    this.#size += 1;
    this.#version = -1;
  }

  remove(member: T): void {
    if (member.slot < 0) return;
    const place = this.#sorted.indexOf(member.slot);
    this.#sorted.copyWithin(place, place + 1, this.#size);
    this.#size -= 1;
    this.#members[member.slot] = undefined;
    this.#vacant.push(member.slot);
    member.slot = -1;
  }

  /** Its key may have changed. Takes effect with the next {@link settle}. */
  touch(member: T): void {
    if (member.touched || member.slot < 0) return;
    member.touched = true;
    this.#touched.push(member);
  }

  /**
   * Puts everyone in place.
   *
   * @param version - another one than the last time: all keys are made anew
   */
  settle(version: number, keyOf: (member: T) => number): void {
    if (version !== this.#version || this.#touched.length * 8 > this.#size) this.#sortAll(version, keyOf);
    else if (this.#touched.length > 0) for (const member of this.#touched) this.#move(member, keyOf);
    if (this.#touched.length === 0) return;
    for (const member of this.#touched) member.touched = false;
    this.#touched.length = 0;
  }

  /** @param place - from 0, below {@link size} */
  at(place: number): T {
    return this.#members[this.#sorted[place] as number] as T;
  }

  #sortAll(version: number, keyOf: (member: T) => number): void {
    this.#version = version;
    const members: T[] = [];
    for (let place = 0; place < this.#size; place += 1) members.push(this.at(place));
    if (this.#usesDice) members.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const member of members) this.#rekey(member, keyOf);
    members.sort(compareContenders);
    for (let place = 0; place < members.length; place += 1) this.#sorted[place] = (members[place] as T).slot;
  }

  #move(member: T, keyOf: (member: T) => number): void {
    if (member.slot < 0) return;
    const from = this.#search(member, this.#size);
    this.#sorted.copyWithin(from, from + 1, this.#size);
    this.#rekey(member, keyOf);
    const to = this.#search(member, this.#size - 1);
    this.#sorted.copyWithin(to + 1, to, this.#size - 1);
    this.#sorted[to] = member.slot;
  }

  #rekey(member: T, keyOf: (member: T) => number): void {
    member.key = keyOf(member);
    member.countAtKey = member.allocations;
  }

  /** Where it stands, or would, among the first `size`. */
  #search(member: T, size: number): number {
    let low = 0;
    let high = size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareContenders(this.at(middle), member) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
