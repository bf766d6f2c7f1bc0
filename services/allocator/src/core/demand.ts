import type { mesobus } from '@mesobus/protos';
import { NamedAmounts, readAmounts } from './amounts.ts';
import { amountOf, countOf, traits } from './extras.ts';
import type { Offer } from './offerable.ts';
import type { Member, State } from './state.ts';

/** What a framework wants in a role beyond what it has: tasks of these shapes. */
export interface Demand {
  /** What one task takes, all on one agent: scalars by amount, ranges and sets by how many. */
  readonly shapes: readonly NamedAmounts[];
  /** All tasks together. */
  readonly wanted: NamedAmounts;
}

/** More than so many shapes are not looked at: what is launched of the first ones makes room for the others. */
const maxShapes = 64;

export function readDemand({ shapes }: mesobus.v1.RoleDemand): Demand {
  const wanted: Record<string, number> = {};
  const read: NamedAmounts[] = [];
  for (const { quantities, count } of shapes.slice(0, maxShapes)) {
    const shape = readAmounts(quantities);
    for (const [name, amount] of Object.entries(shape)) wanted[name] = (wanted[name] ?? 0) + amount * count;
    if (count > 0 && Object.keys(shape).length > 0) read.push(new NamedAmounts(shape));
  }
  return { shapes: read, wanted: new NamedAmounts(wanted) };
}

/** Whether something may be wanted now that was not wanted before. */
export function isMore(before: Demand | undefined, now: Demand | undefined): boolean {
  if (before === undefined) return now !== undefined && now.shapes.length > 0; // a shape stands in for the minimum
  if (now === undefined) return true;
  const { names, amounts } = before.wanted;
  return (
    now.shapes.some((shape) => !before.shapes.some((other) => other.equals(shape))) ||
    now.wanted.names.some((name, i) => (now.wanted.amounts[i] as number) > (amounts[names.indexOf(name)] ?? 0))
  );
}

/** What is still wanted of a scalar, beyond what lies in offers that are not answered. */
function leftOf(state: State, member: Member, wanted: number, column: number): number {
  if (column < 0) return wanted;
  return wanted - (state.amounts.data[member.offered * state.amounts.width + column] as number);
}

/** Whether some of what it wants is not under offer to it already: at least one whole shape. */
export function isAnythingLeft(state: State, member: Member, demand: Demand): boolean {
  return demand.shapes.some((shape) => fitsInDemand(state, member, demand, shape));
}

function fitsInDemand(state: State, member: Member, { wanted }: Demand, shape: NamedAmounts): boolean {
  const columns = wanted.columnsIn(state.columns);
  for (const [i, name] of shape.names.entries()) {
    const at = wanted.names.indexOf(name);
    const left = leftOf(state, member, wanted.amounts[at] ?? 0, columns[at] ?? -1);
    if (left < (shape.amounts[i] as number)) return false;
  }
  return true;
}

/** Whether one of the shapes that are still wanted fits in the offer. */
export function holdsWantedShape(state: State, member: Member, demand: Demand, offer: Offer): boolean {
  return demand.shapes.some(
    (shape) => has(state, offer, shape, amountForOne) && fitsInDemand(state, member, demand, shape),
  );
}

/** Whether the offer has as much of everything: scalars by amount, ranges and sets by how many. */
export const holds = (state: State, offer: Offer, shape: NamedAmounts): boolean => has(state, offer, shape, amountIn);

type AmountIn = (offer: Offer, name: string, column: number) => number;

function has(state: State, offer: Offer, shape: NamedAmounts, amountOfName: AmountIn): boolean {
  const columns = shape.columnsIn(state.columns);
  for (let i = 0; i < columns.length; i += 1) {
    const amount = amountOfName(offer, shape.names[i] as string, columns[i] as number);
    if (amount < (shape.amounts[i] as number)) return false;
  }
  return true;
}

/** What one task can take: of one name it is all revocable, or none of it. */
function amountForOne(offer: Offer, name: string, column: number): number {
  const amount = amountIn(offer, name, column);
  if ((offer.extras.traits & traits.revocable) === 0) return amount;
  let lent = 0;
  for (const resource of offer.extras.list) {
    if (resource.revocable && resource.name === name) lent += amountOf(resource);
  }
  return Math.max(lent, amount - lent);
}

function amountIn(offer: Offer, name: string, column: number): number {
  let amount = column >= 0 && column < offer.columns ? (offer.amounts[column] as number) : 0;
  const { scalars, list } = offer.extras;
  for (let i = 0; i < scalars.columns.length; i += 1) {
    if (scalars.columns[i] === column) amount += scalars.amounts[i] as number;
  }
  return amount > 0 || list.length === 0 ? amount : countOf(offer.extras, name) * 1000;
}

/** What is still wanted, by column; nothing of scalars that it does not want. */
export function leftByColumn(state: State, member: Member, { wanted }: Demand, left: Float64Array): void {
  left.fill(0);
  for (const [i, column] of wanted.columnsIn(state.columns).entries()) {
    if (column >= 0) left[column] = Math.max(0, leftOf(state, member, wanted.amounts[i] as number, column));
  }
}
