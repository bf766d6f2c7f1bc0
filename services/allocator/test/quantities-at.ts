import type { Quantities, Resources } from '@mesobus/sdk/resources';
import { toResources } from '../src/core/bundle.ts';
import type { State } from '../src/core/index.ts';
import type { Agent } from '../src/core/state.ts';

/** A row of the table of amounts, by name. */
export function quantitiesAt({ amounts, columns }: State, row: number): Quantities {
  const quantities: Record<string, number> = {};
  for (let column = 0; column < columns.count; column += 1) {
    const amount = amounts.data[row * amounts.width + column] ?? 0;
    if (amount !== 0) quantities[columns.nameOf(column)] = amount;
  }
  return quantities;
}

/** What nobody holds on an agent. */
export function freeOn({ amounts, columns }: State, { freeRow, freeExtras }: Agent): Resources {
  const begin = freeRow * amounts.width;
  const free = { amounts: [...amounts.data.slice(begin, begin + amounts.width)], extras: freeExtras };
  return toResources(columns, free);
}
