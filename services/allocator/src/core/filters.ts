import { contains } from '@mesobus/sdk/resources';
import type { Amounts } from './amounts.ts';
import type { Bundle } from './bundle.ts';
import type { Offer } from './offerable.ts';
import type { Agent, Member, State } from './state.ts';

/** A framework does not want offers within these resources for a while. */
export interface Filter extends Bundle {
  readonly member: Member;
  readonly agent: Agent;
  readonly untilMs: number;
  /** Lifted, or made needless by a wider one. */
  lifted: boolean;
  /** Another one of the member on the agent. */
  next: Filter | undefined;
}

/** Filters in order of their ends: a binary heap. Those that are lifted stay until there are more of them than others. */
export class FilterQueue {
  #heap: Filter[] = [];
  #lifted = 0;

  /** When the next one ends, in ms; Infinity if there is none. */
  get endsAtMs(): number {
    return this.#heap[0]?.untilMs ?? Number.POSITIVE_INFINITY;
  }

  add(filter: Filter): void {
    this.#heap.push(filter);
    this.#rise(this.#heap.length - 1);
  }

  /** The next one that has ended; undefined if none has. */
  takeEnded(at: number): Filter | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.untilMs > at) return undefined;
    const last = this.#heap.pop() as Filter;
    if (last !== first) {
      this.#heap[0] = last;
      this.#sink();
    }
    if (first.lifted) this.#lifted -= 1;
    return first;
  }

  lift(filter: Filter): void {
    filter.lifted = true;
    this.#lifted += 1;
    if (this.#lifted < 64 || this.#lifted * 2 < this.#heap.length) return;
    const live = this.#heap.filter((one) => !one.lifted);
    // A sorted list is a heap.
    this.#heap = live.sort((a, b) => a.untilMs - b.untilMs);
    this.#lifted = 0;
  }

  clear(): void {
    this.#heap = [];
    this.#lifted = 0;
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const filter = heap[from] as Filter;
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const other = heap[above] as Filter;
      if (other.untilMs <= filter.untilMs) break;
      heap[place] = other;
      place = above;
    }
    heap[place] = filter;
  }

  #sink(): void {
    const heap = this.#heap;
    const filter = heap[0] as Filter;
    let place = 0;
    for (;;) {
      let below = place * 2 + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && (heap[below + 1] as Filter).untilMs < (heap[below] as Filter).untilMs) below += 1;
      const other = heap[below] as Filter;
      if (other.untilMs >= filter.untilMs) break;
      heap[place] = other;
      place = below;
    }
    heap[place] = filter;
  }
}

/** Sets a filter. One that it makes needless is lifted, so that they do not pile up on an agent that is always declined. */
export function setFilter(state: State, member: Member, agent: Agent, bundle: Bundle, untilMs: number): void {
  const { extras } = bundle;
  const amounts = sharedAmounts(agent, bundle.amounts);
  const filter: Filter = { member, agent, amounts, extras, untilMs, lifted: false, next: undefined };
  const before = filtersOf(member, agent);
  const others = before.filter((other) => other.untilMs > untilMs || !covers(filter, other));
  for (const other of before) if (!others.includes(other)) state.filters.lift(other);
  putFilters(member, agent, [...others, filter]);
  state.filters.add(filter);
}

/** Of one agent mostly the same is declined by all: one list of amounts is quicker to look at than many. */
function sharedAmounts({ filters }: Agent, amounts: Amounts): Amounts {
  const [other] = filters?.values() ?? [];
  const isSame =
    other?.amounts.length === amounts.length && amounts.every((one, column) => one === other.amounts[column]);
  return isSame ? other.amounts : amounts;
}

export function filtersOf(member: Member, agent: Agent): Filter[] {
  const filters: Filter[] = [];
  for (let one = agent.filters?.get(member); one !== undefined; one = one.next) filters.push(one);
  return filters;
}

function putFilters(member: Member, agent: Agent, filters: readonly Filter[]): void {
  agent.hiddenFrom = undefined;
  const known = agent.filters?.has(member) ?? false;
  for (const [i, filter] of filters.entries()) filter.next = filters[i + 1];
  const [first] = filters;
  if (first !== undefined) {
    agent.filters ??= new Map();
    agent.filters.set(member, first);
    if (!known) member.filtered += 1;
  } else if (known) {
    agent.filters?.delete(member);
    if (agent.filters?.size === 0) agent.filters = undefined;
    member.filtered -= 1;
  }
}

/** Lifts the filters of a member on all agents. */
export function liftFilters(state: State, member: Member): void {
  if (member.filtered === 0) return;
  for (const agent of state.agents.values()) lift(state, member, agent);
}

/** Lifts all filters on an agent. */
export function liftFiltersOn(state: State, agent: Agent): void {
  for (const member of [...(agent.filters?.keys() ?? [])]) lift(state, member, agent);
}

function lift(state: State, member: Member, agent: Agent): void {
  if (!agent.filters?.has(member)) return;
  for (const filter of filtersOf(member, agent)) state.filters.lift(filter);
  putFilters(member, agent, []);
}

/** Forgets filters that have ended, and makes their agents candidates. */
export function expireFilters(state: State, at: number): void {
  for (let ended = state.filters.takeEnded(at); ended !== undefined; ended = state.filters.takeEnded(at)) {
    if (ended.lifted) continue;
    const { member, agent } = ended;
    putFilters(
      member,
      agent,
      filtersOf(member, agent).filter((filter) => filter !== ended),
    );
    state.candidates.add(agent);
  }
}

/** The filter that keeps an offer from the member; undefined if none does. */
export function filterAgainst(member: Member, agent: Agent, at: number, offer: Offer): Filter | undefined {
  if (agent.filters === undefined) return undefined;
  return filtersOf(member, agent).find((filter) => filter.untilMs > at && hides(filter, offer));
}

/**
 * Whether a filter keeps even all that is free on the agent from the member: what rounds mostly find. Those that have ended
 * must have been forgotten.
 */
export function isHidden(state: State, member: Member, agent: Agent): boolean {
  const { filters, hiddenFrom } = agent;
  if (filters === undefined) return false;
  // Of many members on many agents, a bit is found sooner than a filter.
  const word = member.number >>> 5;
  const bit = 1 << (member.number & 31);
  if (hiddenFrom !== undefined && word < hiddenFrom.length && ((hiddenFrom[word] as number) & bit) !== 0) return true;
  if (!hidesAllFree(state, member, agent)) return false;
  const bits = hiddenFrom ?? [];
  while (bits.length <= word) bits.push(0);
  (bits[word] as number) |= bit;
  agent.hiddenFrom = bits;
  return true;
}

function hidesAllFree({ amounts: table, columns }: State, member: Member, agent: Agent): boolean {
  const begin = agent.freeRow * table.width;
  for (let one = agent.filters?.get(member); one !== undefined; one = one.next) {
    if (one.extras !== agent.freeExtras) continue;
    let column = 0;
    while (column < columns.count && (table.data[begin + column] as number) <= amountAt(one.amounts, column))
      column += 1;
    if (column === columns.count) return true;
  }
  return false;
}

const amountAt = (amounts: Amounts, column: number): number =>
  column < amounts.length ? (amounts[column] as number) : 0;

function hides({ amounts, extras }: Filter, offer: Offer): boolean {
  const { amounts: offered } = offer;
  for (let column = 0; column < offer.columns; column += 1) {
    if ((offered[column] as number) > amountAt(amounts, column)) return false;
  }
  return offer.extras === extras || contains(extras.list, offer.extras.list);
}

function covers(wide: Bundle, narrow: Bundle): boolean {
  for (const [column, amount] of narrow.amounts.entries()) if (amount > (wide.amounts[column] ?? 0)) return false;
  return narrow.extras === wide.extras || contains(wide.extras.list, narrow.extras.list);
}
