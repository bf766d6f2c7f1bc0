// Which tasks are asked back for whom, as plainly as it can be written: everything is summed anew for every task.
import {
  add,
  addQuantities,
  isSubroleOf,
  noQuantities,
  type Quantities,
  quantitiesOf,
  revocable,
  select,
  shortfall,
  trySubtract,
} from '@mesobus/sdk/resources';
import type { Settings } from '../../src/core/index.ts';
import {
  isLoose,
  type PlainBooks,
  type PlainHolding,
  type PlainReclaim,
  type PlainTask,
  type PlainVictim,
  pathOf,
  readAmounts,
} from './plain-books.ts';
import { PlainRound } from './plain-round.ts';

type Claim = 'guarantee' | 'share';

interface Claimant {
  readonly frameworkId: string;
  readonly role: string;
}

type Task = PlainTask & Claimant;

const margin = 0.05;
const key = ({ frameworkId, role }: Claimant): string => `${role}\n${frameworkId}`;
const isIn = (role: string, top: string): boolean => role === top || isSubroleOf(role, top);

export class PlainReclaiming {
  readonly #books: PlainBooks;
  readonly #settings: Settings;
  readonly #round: PlainRound;
  #claims: ReadonlyMap<string, number> = new Map();

  constructor(books: PlainBooks, settings: Settings) {
    this.#books = books;
    this.#settings = settings;
    this.#round = new PlainRound(books, settings, { below: () => 0 });
  }

  run(at: number): PlainReclaim[] {
    const books = this.#books;
    if (books.reclaimAfterMs === 0 || at < books.reclaimAtMs) return [];
    books.reclaimAtMs = at + this.#settings.allocationIntervalMs;
    this.#claims = this.#findClaims();
    const due: (Claimant & { claim: Claim })[] = [];
    for (const member of books.members()) {
      const [role = '', frameworkId = ''] = member.split('\n');
      const claim = this.#claimOf({ frameworkId, role });
      const since = claim === undefined ? Number.POSITIVE_INFINITY : (books.claimingSince.get(member) ?? at);
      books.claimingSince.set(member, Math.min(since, claim === undefined ? since : at));
      if (claim !== undefined && at - since >= books.reclaimAfterMs) due.push({ frameworkId, role, claim });
    }
    const order = (one: Claimant & { claim: Claim }): (number | string)[] => [
      one.claim === 'guarantee' ? 0 : 1,
      books.tasksSoughtAt.get(key(one)) ?? Number.NEGATIVE_INFINITY,
      books.claimingSince.get(key(one)) ?? 0,
      one.frameworkId,
      one.role,
    ];
    const decisions: PlainReclaim[] = [];
    for (const claimant of due.sort((a, b) => compare(order(a), order(b)))) {
      books.tasksSoughtAt.set(key(claimant), at);
      const found = this.#find(at, claimant);
      if (found === undefined) continue;
      books.lastNumber += 1;
      const { agentId, victims } = found;
      const { frameworkId, role } = claimant;
      const reclaim = { number: books.lastNumber, agentId, frameworkId, role, victims };
      books.openReclaims.push(reclaim);
      decisions.push({ ...reclaim, victims: summed(victims) });
    }
    return decisions;
  }

  #claimOf({ frameworkId, role }: Claimant): Claim | undefined {
    const framework = this.#books.frameworks.get(frameworkId);
    if (framework === undefined || !this.#round.wanting(role).includes(frameworkId)) return undefined;
    if (!this.#round.wantsMore(framework, role)) return undefined;
    if (this.#round.isShort(role)) return 'guarantee';
    const hasSaid = framework.demands.some((one) => one.role === role);
    return hasSaid && this.#fairShare(role, this.#held(role)) < 1 ? 'share' : undefined;
  }

  #held = (role: string): Quantities => this.#books.heldBy((one) => one.role === role);

  /** With what is on its way. */
  #heldSoon(role: string): Quantities {
    let held = this.#held(role);
    for (const { role: to, victims } of this.#underWay()) {
      for (const victim of victims) {
        if (victim.role === role) held = shortfall(held, quantitiesOf(victim.resources));
        if (to === role) held = addQuantities(held, quantitiesOf(victim.resources));
      }
    }
    return held;
  }

  #underWay(): PlainReclaim[] {
    return [...this.#books.agents.keys()].flatMap((agentId) => this.#books.reclaimOn(agentId) ?? []);
  }

  #fairShare(role: string, held: Quantities): number {
    const books = this.#books;
    const total = books.total();
    const fractions = Object.entries(held)
      .filter(([name]) => !this.#settings.excludedFromShares.includes(name) && (total[name] ?? 0) > 0)
      .map(([name, amount]) => amount / (total[name] as number));
    const claim = this.#claims.get(role);
    return claim === undefined ? Number.POSITIVE_INFINITY : Math.max(0, ...fractions) / claim;
  }

  /** Of those who want or hold something, before anything is tried out. */
  #findClaims(): Map<string, number> {
    const isThere = (one: string): boolean =>
      this.#round.wanting(one).length > 0 || Object.values(this.#held(one)).some((amount) => amount > 0);
    const active = [...this.#books.roles()].filter(isThere);
    return new Map(active.map((role) => [role, this.#round.claim(role, active)]));
  }

  #find(at: number, claimant: Claimant): { agentId: string; victims: PlainVictim[] } | undefined {
    const { frameworkId, role } = claimant;
    const framework = this.#books.frameworks.get(frameworkId);
    if (framework === undefined || !this.#round.mayHaveMore(framework, role)) return undefined;
    const underWay = this.#underWay();
    if (underWay.some((one) => one.role === role) || this.#isHelped(at, claimant)) return undefined;
    const top = (one: string): string => pathOf(one).at(-1) as string;
    if (this.#round.isShort(role) && !underWay.some((one) => top(one.role) === top(role))) {
      const found = this.#best(at, claimant, 'guarantee');
      if (found !== undefined) return found;
    }
    const hasSaid = framework.demands.some((one) => one.role === role);
    return hasSaid && this.#fairShare(role, this.#held(role)) < 1 ? this.#best(at, claimant, 'share') : undefined;
  }

  #fits(at: number, agentId: string, { frameworkId, role }: Claimant, claim: Claim, filtered = true): boolean {
    const may = (stage: Claim): boolean =>
      (stage === 'share' || this.#books.hasQuotas) &&
      this.#round.offerable(at, agentId, frameworkId, role, stage, filtered) !== undefined;
    return claim === 'share' ? may('share') || may('guarantee') : may('guarantee');
  }

  #isHelped(at: number, claimant: Claimant): boolean {
    for (const [agentId, agent] of this.#books.agents) {
      if (!agent.book.active) continue;
      if (this.#fits(at, agentId, claimant, 'share', false)) return true;
      if (this.#wouldFitWithOffersBack(at, agentId, claimant)) return true;
    }
    return false;
  }

  /** One offer after the other is taken back, the largest first, but for what guarantees need. */
  #wouldFitWithOffersBack(at: number, agentId: string, claimant: Claimant): boolean {
    const books = this.#books;
    const agent = books.agents.get(agentId);
    if (agent === undefined) return false;
    const total = books.total();
    const size = ({ offered }: PlainHolding): number => {
      const plain = quantitiesOf(select(offered, (one) => one.key === `${one.name}\nscalar`));
      return Math.max(0, ...Object.entries(plain).map(([name, amount]) => (total[name] ? amount / total[name] : 0)));
    };
    const others = agent.holdings.filter((one) => one.offered.length > 0 && one.frameworkId !== claimant.frameworkId);
    let holdings = agent.holdings;
    let fits = false;
    for (const other of others.sort((a, b) => size(b) - size(a))) {
      const before = { holdings, required: this.#required() };
      holdings = holdings.map((one) => (one === other ? withoutOffered(one) : one));
      books.agents.set(agentId, { ...agent, holdings });
      const required = this.#required();
      if ([...required].some(([name, amount]) => amount > (before.required.get(name) ?? 0))) {
        holdings = before.holdings;
        books.agents.set(agentId, { ...agent, holdings });
        continue;
      }
      fits = this.#fits(at, agentId, claimant, 'share');
      if (fits) break;
    }
    books.agents.set(agentId, agent);
    return fits;
  }

  #required(): Map<string, number> {
    const names = new Set(Object.keys(this.#books.total()));
    for (const role of this.#books.configured.keys()) {
      for (const name of Object.keys(this.#books.quotaOf(role)?.guarantees ?? {})) names.add(name);
    }
    return new Map([...names].map((name) => [name, this.#books.keptBelow('', name)]));
  }

  #best(at: number, claimant: Claimant, claim: Claim): { agentId: string; victims: PlainVictim[] } | undefined {
    let best: { agentId: string; victims: PlainVictim[] } | undefined;
    for (const [agentId, agent] of this.#books.agents) {
      if (!agent.book.active || this.#books.reclaimOn(agentId) !== undefined) continue;
      const victims = this.#victimsOn(at, agentId, claimant, claim);
      if (victims !== undefined && (best === undefined || victims.length < best.victims.length))
        best = { agentId, victims };
      if (best?.victims.length === 1) break;
    }
    return best;
  }

  #victimsOn(at: number, agentId: string, claimant: Claimant, claim: Claim): PlainVictim[] | undefined {
    const agent = this.#books.agents.get(agentId);
    const tasks = (agent?.holdings ?? [])
      .filter((one) => this.#mayBeVictim(one, claimant, claim))
      .flatMap(({ frameworkId, role, reclaimable = [] }) =>
        reclaimable.map((task) => ({ ...task, frameworkId, role })),
      );
    const order = (one: Task): (number | string)[] => [
      revocable(one.resources).length > 0 ? 0 : 1,
      -one.launchedAtMs,
      one.frameworkId,
      one.role,
    ];
    tasks.sort((a, b) => compare(order(a), order(b)));
    const chosen = this.#choose(at, agentId, claimant, claim, tasks);
    if (agent !== undefined) this.#books.agents.set(agentId, agent);
    return chosen;
  }

  #mayBeVictim({ frameworkId, role }: PlainHolding, claimant: Claimant, claim: Claim): boolean {
    if (frameworkId === claimant.frameworkId) return false;
    if (claim === 'share') return this.#fairShare(role, this.#heldSoon(role)) > 1;
    const lacks = (one: string): boolean =>
      Object.entries(this.#guaranteed(one)).some(([name, amount]) => amount > (this.#books.consumed(one)[name] ?? 0));
    const lacking = pathOf(claimant.role).find(lacks);
    return lacking === undefined || !isIn(role, lacking);
  }

  #guaranteed = (role: string): Quantities => readAmounts(this.#books.quotaOf(role)?.guarantees ?? {});

  #choose(
    at: number,
    agentId: string,
    claimant: Claimant,
    claim: Claim,
    tasks: readonly Task[],
  ): PlainVictim[] | undefined {
    const agent = this.#books.agents.get(agentId);
    if (agent === undefined) return undefined;
    const without = (gone: readonly Task[]): boolean => {
      const holdings = agent.holdings.map((one) => {
        const own = gone.filter((task) => key(task) === key(one)).map(({ resources }) => resources);
        return own.reduce<PlainHolding | undefined>((left, task) => left && withoutResources(left, task), one);
      });
      if (!holdings.every((one) => one !== undefined)) return false;
      this.#books.agents.set(agentId, { ...agent, holdings });
      return true;
    };
    const fits = (gone: readonly Task[]): boolean => without(gone) && this.#fits(at, agentId, claimant, claim);
    const fair = (gone: readonly Task[], given: Quantities): boolean =>
      claim === 'guarantee' ||
      gone.every(({ role }) => {
        const theirs = this.#fairShare(role, this.#heldSoon(role));
        return theirs > this.#fairShare(claimant.role, addQuantities(this.#heldSoon(claimant.role), given)) + margin;
      });
    let chosen: readonly Task[] = [];
    for (const task of tasks) {
      const more = [...chosen, task];
      if (!without(more) || !this.#isGuaranteed(task, claimant) || !fair([task], noQuantities)) continue;
      chosen = more;
      if (fits(chosen)) break;
    }
    if (!fits(chosen)) return undefined;
    for (const task of chosen.slice(0, -1).reverse()) {
      const fewer = chosen.filter((other) => other !== task);
      if (fits(fewer)) chosen = fewer;
    }
    if (!fits(chosen)) return undefined;
    const { frameworkId, role } = claimant;
    const offer = (stage: Claim) => this.#round.offerable(at, agentId, frameworkId, role, stage);
    const given = (claim === 'share' ? offer('share') : undefined) ?? offer('guarantee');
    return given !== undefined && fair(chosen, quantitiesOf(given)) ? [...chosen] : undefined;
  }

  /** Whether its role and those above that are not above the claimant have what they are guaranteed, without it. */
  #isGuaranteed(task: Task, claimant: Claimant): boolean {
    const loose = quantitiesOf(select(task.resources, isLoose));
    return pathOf(task.role)
      .filter((above) => !isIn(claimant.role, above))
      .every((above) => {
        let left = this.#books.consumed(above);
        for (const { victims } of this.#underWay()) {
          for (const one of victims) {
            if (isIn(one.role, above)) left = shortfall(left, quantitiesOf(select(one.resources, isLoose)));
          }
        }
        return Object.entries(this.#guaranteed(above)).every(
          ([name, amount]) => !loose[name] || (left[name] ?? 0) >= amount,
        );
      });
  }
}

function withoutOffered(holding: PlainHolding): PlainHolding {
  const rest = trySubtract(holding.resources, holding.offered) ?? holding.resources;
  return { ...holding, resources: rest, offered: [] as never };
}

function withoutResources(holding: PlainHolding, task: PlainHolding['resources']): PlainHolding | undefined {
  const resources = trySubtract(holding.resources, task);
  return resources && { ...holding, resources };
}

function summed(victims: readonly PlainVictim[]): PlainVictim[] {
  return [...Map.groupBy(victims, key).values()].map((own) => {
    const { frameworkId, role } = own[0] as PlainVictim;
    return { frameworkId, role, resources: own.map((one) => one.resources).reduce(add) };
  });
}

function compare(a: readonly (number | string)[], b: readonly (number | string)[]): number {
  for (const [i, one] of a.entries()) {
    const other = b[i] as number | string;
    if (one !== other) return one < other ? -1 : 1;
  }
  return 0;
}
