import type { mesos } from '@mesobus/protos';
import { fromWire, type Resource, type Resources } from '@mesobus/sdk/resources';
import { type Amounts, type Columns, exact, noAmounts } from './amounts.ts';
import { type Extras, type ExtrasFactory, isPlain, noExtras } from './extras.ts';

/** Resources as the allocator keeps them: plain scalars as amounts by column, and everything else. */
export interface Bundle {
  readonly amounts: Amounts;
  readonly extras: Extras;
}

export const emptyBundle: Bundle = Object.freeze({ amounts: noAmounts, extras: noExtras });

type WireResource = mesos.v1.Resource;

/**
 * Reads resources from the wire. What nearly all resources of a cluster are, plain scalars and one list of ports, is read
 * without making a resource of it.
 *
 * @throws {MalformedResourceError} naming the first entry that is malformed
 */
export function readBundle(wire: readonly WireResource[], columns: Columns, factory: ExtrasFactory): Bundle {
  if (wire.length === 0) return emptyBundle;
  const amounts: number[] = [];
  let others: WireResource[] | undefined;
  for (const resource of wire) {
    const column = columns.find(resource.name);
    const value = resource.scalar?.value ?? -1;
    if (column >= 0 && isPlainWire(resource, 0) && value >= 0.001 && value <= 1e12) {
      while (amounts.length <= column) amounts.push(0);
      amounts[column] = (amounts[column] as number) + Math.round(value * 1000);
    } else {
      others ??= [];
      others.push(resource);
    }
  }
  const extras = others === undefined ? noExtras : readOthers(others, amounts, columns, factory);
  return { amounts: exact(amounts), extras };
}

function readOthers(
  others: readonly WireResource[],
  amounts: number[],
  columns: Columns,
  factory: ExtrasFactory,
): Extras {
  const [first] = others;
  const text = others.length === 1 && first !== undefined ? textOfRanges(first) : undefined;
  if (text !== undefined) return factory.remembered(text, () => fromWire(others));
  const list = fromWire(others);
  for (const resource of list) {
    if (!isPlain(resource) || resource.kind !== 'scalar') continue;
    const column = columns.columnOf(resource.name);
    while (amounts.length <= column) amounts.push(0);
    amounts[column] = (amounts[column] as number) + resource.amount;
  }
  return factory.of(list.filter((resource) => !isPlain(resource)) as readonly Resource[] as Resources);
}

const isPlainWire = (resource: WireResource, type: number): boolean =>
  resource.type === type &&
  !resource.disk &&
  !resource.revocable &&
  !resource.shared &&
  !resource.providerId &&
  !resource.allocationInfo &&
  !resource.reservation &&
  (!resource.reservations || resource.reservations.length === 0) &&
  (!resource.role || resource.role === '*');

/** Plain ranges as a text by which they are known again; undefined if they are not that. */
function textOfRanges(resource: WireResource): string | undefined {
  if (!isPlainWire(resource, 1) || !resource.ranges) return undefined;
  let text = `wire ${resource.name} `;
  for (const { begin, end } of resource.ranges.range) text += `${Number(begin)}-${Number(end)},`;
  return text;
}

/** As resources again. */
export function toResources(columns: Columns, { amounts, extras }: Bundle): Resources {
  const list: Resource[] = [];
  for (let column = 0; column < amounts.length; column += 1) {
    const amount = amounts[column] as number;
    if (amount === 0) continue;
    list.push({ name: columns.nameOf(column), kind: 'scalar', amount, key: columns.keyOf(column) });
  }
  for (const resource of extras.list) list.push(resource);
  list.sort((a, b) => (a.key < b.key ? -1 : 1));
  return list as readonly Resource[] as Resources;
}
