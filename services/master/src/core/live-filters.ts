import { contains, type Resources } from '@mesobus/sdk/resources';
import { Timers } from './timers.ts';

/** A framework does not want offers within these resources of an agent, in a role. */
export interface LiveFilter {
  readonly frameworkId: string;
  readonly role: string;
  readonly agentId: string;
  readonly resources: Resources;
  readonly untilMs: number;
}

interface Entry extends LiveFilter {
  dropped: boolean;
}

/**
 * Filters that are remembered for allocators that have yet to get their snapshot. Of more the ones that end first are
 * forgotten: such an offer may come again too early, once, if an allocator is replaced meanwhile.
 */
export const maxLiveFilters = 100_000;

/** The filters that have not ended, for snapshots. Soft state: a new leader begins with none. */
export class LiveFilters {
  readonly #byFramework = new Map<string, Map<string, Entry[]>>();
  /** Dropped ones stay until there are more of them than others. */
  #ends = new Timers<Entry>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Those that it makes needless are dropped, so that they do not pile up on an agent that is always declined. */
  set(at: number, filter: LiveFilter): void {
    this.#dropEnded(at);
    const { frameworkId, agentId, role, resources, untilMs } = filter;
    const ofFramework = getOrMake(this.#byFramework, frameworkId, () => new Map<string, Entry[]>());
    for (const other of ofFramework.get(agentId) ?? []) {
      const needless = other.role === role && other.untilMs <= untilMs && contains(resources, other.resources);
      if (needless) this.#drop(other);
    }
    const entry = { frameworkId, agentId, role, resources, untilMs, dropped: false };
    const list = getOrMake(
      getOrMake(this.#byFramework, frameworkId, () => ofFramework),
      agentId,
      () => [],
    );
    list.push(entry);
    this.#ends.set(untilMs, entry);
    this.#size += 1;
    while (this.#size > maxLiveFilters) this.#dropEarliest();
    if (this.#ends.size > 2 * this.#size + 1_000) this.#tidy();
  }

  /** @param roles - empty: all of them */
  lift(frameworkId: string, roles: readonly string[] = []): void {
    const lists = [...(this.#byFramework.get(frameworkId)?.values() ?? [])];
    for (const entry of lists.flat()) if (roles.length === 0 || roles.includes(entry.role)) this.#drop(entry);
  }

  /** The agent is not there any more, or is another than the one that was declined. */
  liftOn(agentId: string): void {
    for (const ofFramework of [...this.#byFramework.values()]) {
      for (const entry of [...(ofFramework.get(agentId) ?? [])]) this.#drop(entry);
    }
  }

  /** Those that have not ended. */
  live(at: number): LiveFilter[] {
    this.#dropEnded(at);
    return [...this.#entries()];
  }

  *#entries(): Iterable<Entry> {
    for (const ofFramework of this.#byFramework.values()) for (const list of ofFramework.values()) yield* list;
  }

  #dropEnded(at: number): void {
    for (let ended = this.#ends.take(at); ended !== undefined; ended = this.#ends.take(at)) this.#drop(ended);
  }

  #dropEarliest(): void {
    const earliest = this.#ends.take(Number.POSITIVE_INFINITY);
    if (earliest !== undefined) this.#drop(earliest);
  }

  #drop(entry: Entry): void {
    if (entry.dropped) return;
    entry.dropped = true;
    this.#size -= 1;
    const { frameworkId, agentId } = entry;
    const ofFramework = this.#byFramework.get(frameworkId);
    const rest = ofFramework?.get(agentId)?.filter((other) => other !== entry) ?? [];
    if (rest.length > 0) ofFramework?.set(agentId, rest);
    else ofFramework?.delete(agentId);
    if (ofFramework?.size === 0) this.#byFramework.delete(frameworkId);
  }

  #tidy(): void {
    this.#ends = new Timers();
    for (const entry of this.#entries()) this.#ends.set(entry.untilMs, entry);
  }
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
