import type { Quantities } from '@mesobus/sdk/resources';
import type { State } from '../src/core/index.ts';

/** A row of the table of amounts, by name. */
export function quantitiesAt({ amounts, columns }: State, row: number): Quantities {
  const quantities: Record<string, number> = {};
  for (let column = 0; column < columns.count; column += 1) {
    const amount = amounts.data[row * amounts.width + column] ?? 0;
    if (amount !== 0) quantities[columns.nameOf(column)] = amount;
  }
  return quantities;
}
