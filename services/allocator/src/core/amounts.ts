import { maxAmountUnits, toThousandths } from '@mesobus/sdk/resources';

/** Numbers of the scalar resources that this allocator has heard of: the columns of its table of amounts. */
export class Columns {
  readonly #names: string[] = [];
  /** Of a plain scalar, as a resource has it. */
  readonly #keys: string[] = [];
  readonly #columns = new Map<string, number>();
  readonly #onNew: (count: number) => void;

  /** @param onNew - told how many there are now, before a new one is used */
  constructor(onNew: (count: number) => void) {
    this.#onNew = onNew;
  }

  get count(): number {
    return this.#names.length;
  }

  nameOf(column: number): string {
    return this.#names[column] ?? '';
  }

  keyOf(column: number): string {
    return this.#keys[column] ?? '';
  }

  /** @returns -1 if nobody has named it */
  find(name: string): number {
    return this.#columns.get(name) ?? -1;
  }

  columnOf(name: string): number {
    const known = this.#columns.get(name);
    if (known !== undefined) return known;
    const column = this.#names.length;
    this.#names.push(name);
    this.#keys.push(`${name}\nscalar`);
    this.#columns.set(name, column);
    this.#onNew(this.#names.length);
    return column;
  }
}

/**
 * Rows of amounts, in thousandths of the Mesos unit, with a column for each scalar resource. All in one flat array: the
 * cluster has some 100,000 rows, and none of them is an object.
 */
export class AmountTable {
  /** Is replaced when the table grows: take it anew after every {@link add} and {@link widen}. */
  data: Float64Array;
  /** Columns that a row has room for. Row `r` begins at `r * width`. */
  width: number;
  #rows = 0;
  readonly #vacant: number[] = [];

  constructor(width: number) {
    this.width = width;
    this.data = new Float64Array(16 * width);
  }

  /** @returns the number of a row of zeros */
  add(): number {
    const row = this.#vacant.pop() ?? this.#rows++;
    if (this.#rows * this.width > this.data.length) this.#resize(this.width, Math.ceil(this.#rows * 1.25));
    this.data.fill(0, row * this.width, (row + 1) * this.width);
    return row;
  }

  remove(row: number): void {
    this.#vacant.push(row);
  }

  /** Makes room for so many columns. */
  widen(columns: number): void {
    if (columns > this.width) this.#resize(Math.max(columns, this.width * 2), this.data.length / this.width);
  }

  #resize(width: number, rows: number): void {
    const larger = new Float64Array(rows * width);
    for (let row = 0; row * this.width < this.data.length; row += 1) {
      larger.set(this.data.subarray(row * this.width, (row + 1) * this.width), row * width);
    }
    this.data = larger;
    this.width = width;
  }
}

/** Amounts by column; what lies beyond its end is 0. */
export type Amounts = readonly number[];

/** A copy that takes no more memory than it needs: a list that was pushed to has room for 16 more. */
export const exact = (amounts: number[]): Amounts => amounts.slice();

export const noAmounts: Amounts = Object.freeze([]);

/** Amounts by name, where the names may be of anyone's choosing and need not be known here. */
export class NamedAmounts {
  readonly names: readonly string[];
  readonly amounts: readonly number[];
  #columns: number[] = [];
  #resolvedIn: Columns | undefined;
  #resolvedOf = -1;

  constructor(quantities: Readonly<Record<string, number>>) {
    this.names = Object.keys(quantities);
    this.amounts = Object.values(quantities);
  }

  equals(other: NamedAmounts | undefined): boolean {
    return (
      this.names.length === other?.names.length &&
      this.names.every((name, i) => other.amounts[other.names.indexOf(name)] === this.amounts[i])
    );
  }

  /** The column of each name, -1 for those that no agent has. */
  columnsIn(columns: Columns): readonly number[] {
    if (this.#resolvedOf !== columns.count || this.#resolvedIn !== columns) {
      this.#columns = this.names.map((name) => columns.find(name));
      this.#resolvedIn = columns;
      this.#resolvedOf = columns.count;
    }
    return this.#columns;
  }
}

/** Amounts of the wire, in thousandths. One that is none, or not above 0, is left out: nobody's message ends the allocator. */
export function readAmounts(amounts: Readonly<Record<string, { readonly value: number }>>): Record<string, number> {
  const read: Record<string, number> = {};
  for (const [name, { value }] of Object.entries(amounts)) {
    if (value > 0 && value <= maxAmountUnits && toThousandths(value) > 0) read[name] = toThousandths(value);
  }
  return read;
}
