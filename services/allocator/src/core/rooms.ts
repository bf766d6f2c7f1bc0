import type { NamedAmounts } from './amounts.ts';
import { countIn, type Extras } from './extras.ts';
import type { Agent, Holding, State } from './state.ts';

/** Agents that are passed over together where none of them can have room enough. */
const agentsPerBlock = 128;

/** An amount by column; what no agent has as a scalar is not judged here. */
export interface Need {
  readonly columns: readonly number[];
  readonly amounts: readonly number[];
}

export const needOf = (state: State, shape: NamedAmounts): Need => ({
  columns: shape.columnsIn(state.columns),
  amounts: shape.amounts,
});

/**
 * How much could be free on each agent at most, if offers were taken back, and the most of each block of agents: where
 * something may fit is found without a look at all the others. What changes after it was made is not in it.
 */
export class Rooms {
  readonly madeAtMs: number;
  readonly agents: readonly Agent[];
  /** Where the next search begins, so that not all of them find the same agent. */
  cursor = 0;
  readonly #width: number;
  /** Of each agent, and of each block, a row. */
  readonly #ofAgents: Float64Array;
  readonly #ofBlocks: Float64Array;
  /** Agents and blocks looked at. */
  #looks = 0;

  /** @param counts - whether what lies in the offers of a holding could be free */
  constructor(state: State, at: number, counts: (holding: Holding) => boolean) {
    this.madeAtMs = at;
    this.agents = [...state.agents.values()];
    this.#width = state.columns.count;
    this.#ofAgents = new Float64Array(this.agents.length * this.#width);
    this.#ofBlocks = new Float64Array(Math.ceil(this.agents.length / agentsPerBlock) * this.#width);
    for (const [place, agent] of this.agents.entries())
      if (agent.inactive === undefined) this.#put(state, place, counts);
  }

  /** The places of agents that may have room for one of the needs: once around, from one on. */
  *around(from: number, needs: readonly Need[]): Iterable<number> {
    const begin = from % Math.max(1, this.agents.length);
    yield* this.#between(begin, this.agents.length, needs);
    yield* this.#between(0, begin, needs);
  }

  /** How many agents and blocks were looked at since this was asked last. */
  takeLooks(): number {
    const looks = this.#looks;
    this.#looks = 0;
    return looks;
  }

  *#between(begin: number, end: number, needs: readonly Need[]): Iterable<number> {
    for (let place = begin; place < end; ) {
      const block = Math.floor(place / agentsPerBlock);
      const last = Math.min(end, (block + 1) * agentsPerBlock);
      this.#looks += 1;
      if (this.#holdsAny(this.#ofBlocks, block, needs)) {
        for (; place < last; place += 1) {
          this.#looks += 1;
          if (this.#holdsAny(this.#ofAgents, place, needs)) yield place;
        }
      }
      place = last;
    }
  }

  #holdsAny(rows: Float64Array, row: number, needs: readonly Need[]): boolean {
    for (let i = 0; i < needs.length; i += 1) if (this.#holds(rows, row * this.#width, needs[i] as Need)) return true;
    return false;
  }

  #holds(rows: Float64Array, begin: number, { columns, amounts }: Need): boolean {
    for (let i = 0; i < columns.length; i += 1) {
      const column = columns[i] as number;
      // A column that came later is not judged either.
      if (column < 0 || column >= this.#width) continue;
      if ((rows[begin + column] as number) < (amounts[i] as number)) return false;
    }
    return true;
  }

  #put(state: State, place: number, counts: (holding: Holding) => boolean): void {
    const { freeRow, freeExtras, holdings } = this.agents[place] as Agent;
    const begin = place * this.#width;
    const { data, width } = state.amounts;
    for (let column = 0; column < this.#width; column += 1) {
      this.#ofAgents[begin + column] = data[freeRow * width + column] as number;
    }
    this.#addExtras(state, begin, freeExtras);
    for (const holding of holdings) if (counts(holding)) this.#addOffered(state, begin, holding);
    const block = Math.floor(place / agentsPerBlock) * this.#width;
    for (let column = 0; column < this.#width; column += 1) {
      const most = Math.max(this.#ofBlocks[block + column] as number, this.#ofAgents[begin + column] as number);
      this.#ofBlocks[block + column] = most;
    }
  }

  #addOffered(state: State, begin: number, { offered }: Holding): void {
    for (let column = 0; column < offered.amounts.length; column += 1) {
      (this.#ofAgents[begin + column] as number) += offered.amounts[column] as number;
    }
    this.#addExtras(state, begin, offered.extras);
  }

  #addExtras(state: State, begin: number, { list, scalars }: Extras): void {
    for (let i = 0; i < scalars.columns.length; i += 1) {
      (this.#ofAgents[begin + (scalars.columns[i] as number)] as number) += scalars.amounts[i] as number;
    }
    for (const resource of list) {
      // Ranges and sets, where somebody has a scalar of the same name.
      const column = resource.kind === 'scalar' ? -1 : state.columns.find(resource.name);
      if (column >= 0) (this.#ofAgents[begin + column] as number) += countIn(resource) * 1000;
    }
  }
}
