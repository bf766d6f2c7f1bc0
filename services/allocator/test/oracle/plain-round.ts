// A round of the allocator as plainly as it can be written: everything is sorted and summed anew for every agent.
import { type mesobus, mesos } from '@mesobus/protos';
import {
  contains,
  isIndivisible,
  isSubroleOf,
  nonRevocable,
  noResources,
  type Quantities,
  quantitiesOf,
  type Resource,
  type Resources,
  reservationRole,
  revocable,
  select,
} from '@mesobus/sdk/resources';
import { compileConstraints } from '../../src/core/constraints.ts';
import type { Settings } from '../../src/core/index.ts';
import { type Random, shuffle } from '../../src/core/random.ts';
import { isLoose, type PlainBooks, type PlainDecision, pathOf, readAmounts } from './plain-books.ts';

const { REVOCABLE_RESOURCES, SHARED_RESOURCES, RESERVATION_REFINEMENT, GPU_RESOURCES, REGION_AWARE, MULTI_ROLE } =
  mesos.v1.FrameworkInfo.Capability.Type;
const Agent = mesos.v1.AgentInfo.Capability.Type;

export type Stage = 'guarantee' | 'share';

export class PlainRound {
  readonly #books: PlainBooks;
  readonly #settings: Settings;
  readonly #dice: Random;

  constructor(books: PlainBooks, settings: Settings, dice: Random) {
    this.#books = books;
    this.#settings = settings;
    this.#dice = dice;
  }

  /** @param agents - in the order in which they are visited first */
  run(at: number, agents: readonly string[]): PlainDecision[] {
    const decisions: PlainDecision[] = [];
    const order = [...agents];
    if (this.#isAnyoneShort()) {
      for (const agentId of order) decisions.push(...this.#visit(at, agentId, 'guarantee'));
      shuffle(order, this.#dice);
    }
    for (const agentId of order) decisions.push(...this.#visit(at, agentId, 'share'));
    return decisions;
  }

  #names(): string[] {
    const books = this.#books;
    const names = new Set(Object.keys(books.total()));
    for (const role of books.configured.keys()) {
      for (const name of Object.keys(books.quotaOf(role)?.guarantees ?? {})) names.add(name);
    }
    return [...names];
  }

  /** Whether something of a guarantee is missing that the role could be given. */
  isShort(role: string): boolean {
    return this.#books.hasQuotas && this.#names().some((name) => this.#books.progress(role, name) > 0);
  }

  #isAnyoneShort(): boolean {
    return this.#books.hasQuotas && this.#names().some((name) => this.#books.keptBelow('', name) > 0);
  }

  #isOpen(agentId: string): boolean {
    return this.#books.agents.get(agentId)?.book.active === true && this.#books.available(agentId).length > 0;
  }

  #visit(at: number, agentId: string, stage: Stage): PlainDecision[] {
    if (!this.#isOpen(agentId)) return [];
    const books = this.#books;
    const decisions: PlainDecision[] = [];
    for (const role of this.#rolesInOrder(at)) {
      if (!this.#isOpen(agentId)) return decisions;
      if (stage === 'guarantee' && !this.isShort(role)) continue;
      for (const frameworkId of this.#membersInOrder(at, role)) {
        if (!this.#isOpen(agentId)) return decisions;
        const resources = this.offerable(at, agentId, frameworkId, role, stage);
        if (resources === undefined) continue;
        books.lastNumber += 1;
        const decision = { number: books.lastNumber, agentId, frameworkId, role, resources, offered: resources };
        books.open.push(decision);
        for (const account of [`${role}\n${frameworkId}`, `${role}/.`, ...pathOf(role)]) {
          books.allocations.set(account, (books.allocations.get(account) ?? 0) + 1);
        }
        decisions.push(decision);
      }
    }
    return decisions;
  }

  wanting(role: string): string[] {
    const takesPart = ({ active, roles, suppressedRoles, demands }: mesobus.v1.FrameworkBook): boolean => {
      const demand = demands.find((one) => one.role === role);
      return active && roles.includes(role) && !suppressedRoles.includes(role) && demand?.shapes.length !== 0;
    };
    return [...this.#books.frameworks.values()].filter(takesPart).map(({ frameworkId }) => frameworkId);
  }

  #key(flat: boolean, account: string, held: Quantities, weight: number, claim: number, at: number): number {
    const policy = flat ? this.#settings.frameworkPolicy : this.#settings.rolePolicy;
    const total = this.#books.total();
    const allocations = this.#books.allocations.get(account) ?? 0;
    const dominantShare = Math.max(
      0,
      ...Object.entries(held)
        .filter(([name]) => !this.#settings.excludedFromShares.includes(name) && (total[name] ?? 0) > 0)
        .map(([name, amount]) => amount / (total[name] as number)),
    );
    const name = account.split('\n').at(-1) as string;
    return policy.key({ name, weight, claim, dominantShare, allocations, memory: undefined }, at, this.#dice);
  }

  #sorted(list: readonly { account: string; key: number }[]): string[] {
    const count = (account: string): number => this.#books.allocations.get(account) ?? 0;
    return [...list]
      .sort((a, b) => a.key - b.key || count(a.account) - count(b.account) || (a.account < b.account ? -1 : 1))
      .map(({ account }) => account);
  }

  #membersInOrder(at: number, role: string): string[] {
    const members = this.wanting(role).sort();
    const keyed = members.map((id) => {
      const held = this.#books.heldBy((one) => one.frameworkId === id && one.role === role);
      return { account: `${role}\n${id}`, key: this.#key(true, `${role}\n${id}`, held, 1, 1 / members.length, at) };
    });
    return this.#sorted(keyed).map((account) => account.split('\n')[1] as string);
  }

  #weight(role: string): number {
    return this.#books.configured.get(role)?.weight || 1;
  }

  #rolesInOrder(at: number): string[] {
    const active = [...this.#books.roles()].filter((role) => this.wanting(role).length > 0);
    if (this.#settings.rolePolicy.contest === 'level') return this.#below(at, '', active);
    const keyed = active.sort().map((role) => {
      const held = this.#books.heldBy((one) => one.role === role);
      return { account: role, leaf: `${role}/.`, held, claim: this.claim(role, active) };
    });
    const keys = keyed.map(({ account, held, claim }) => ({
      account: `${account}/.`,
      key: this.#key(false, account, held, 1, claim, at),
    }));
    return this.#sorted(keys).map((account) => account.slice(0, -2));
  }

  /** Its part of the weights at each level, of those below which somebody takes part. */
  claim(role: string, active: readonly string[]): number {
    const branches = (above: string): string[] => this.#branches(above, active).filter((one) => one !== `${above}/.`);
    const part = (own: number, above: string): number => {
      const leaf = active.includes(above) ? 1 : 0;
      return (
        own /
        (branches(above)
          .map((one) => this.#weight(one))
          .reduce((a, b) => a + b, 0) +
          leaf)
      );
    };
    const path = pathOf(role);
    const down = path.map((one, i) => part(this.#weight(one), path[i + 1] ?? ''));
    return [part(1, role), ...down].reduceRight((a, b) => a * b, 1);
  }

  /** What competes below a role: the roles next below, and its own members as `role/.`. */
  #branches(above: string, active: readonly string[]): string[] {
    const depth = above === '' ? 1 : above.split('/').length + 1;
    const below = active.filter((role) => role !== above && (above === '' || isSubroleOf(role, above)));
    const next = new Set(below.map((role) => role.split('/').slice(0, depth).join('/')));
    return [...next, ...(active.includes(above) ? [`${above}/.`] : [])];
  }

  /** Depth first. */
  #below(at: number, above: string, active: readonly string[]): string[] {
    const isOwn = (branch: string): boolean => branch === `${above}/.`;
    const keyed = this.#branches(above, active)
      .sort()
      .map((branch) => {
        const held = this.#books.heldBy(({ role }) =>
          isOwn(branch) ? role === above : role === branch || isSubroleOf(role, branch),
        );
        return {
          account: branch,
          key: this.#key(false, branch, held, isOwn(branch) ? 1 : this.#weight(branch), 1, at),
        };
      });
    return this.#sorted(keyed).flatMap((branch) => (isOwn(branch) ? [above] : this.#below(at, branch, active)));
  }

  /**
   * What the framework would be offered; undefined if nothing.
   *
   * @param filtered - whether it is not offered what it has declined
   */
  offerable(
    at: number,
    agentId: string,
    frameworkId: string,
    role: string,
    stage: Stage,
    filtered = true,
  ): Resources | undefined {
    const books = this.#books;
    const agent = books.agents.get(agentId);
    const framework = books.frameworks.get(frameworkId);
    if (agent === undefined || framework === undefined || !this.#fits(agent.book, agent.total, framework, role)) {
      return undefined;
    }
    const reclaim = books.reclaimOn(agentId);
    if (reclaim !== undefined && (reclaim.frameworkId !== frameworkId || reclaim.role !== role)) return undefined;
    if (!this.mayHaveMore(framework, role)) return undefined;
    let resources = this.#own(agentId, framework, role, stage);
    if (books.hasQuotas) {
      const progress = (name: string): number => (stage === 'guarantee' ? books.progress(role, name) : 0);
      const allowed = (name: string): number =>
        Math.min(books.room(role, name), progress(name) + Math.max(0, books.surplus(name)));
      resources = cut(resources, isLoose, allowed, false);
      if (stage === 'guarantee' && !resources.some((one) => isLoose(one) && progress(one.name) > 0)) return undefined;
    }
    const wanted = this.#cutToDemand(resources, framework, role);
    if (wanted === undefined || wanted.length === 0) return undefined;
    const filters = books.filtersOf(at, frameworkId, role, agentId);
    return filtered && filters.some((filter) => contains(filter, wanted)) ? undefined : wanted;
  }

  #fits(agent: mesobus.v1.AgentBook, total: Resources, framework: mesobus.v1.FrameworkBook, role: string): boolean {
    const can = (type: number): boolean => framework.capabilities.some((one) => one.type === type);
    const agentCan = (type: number): boolean => agent.capabilities.some((one) => one.type === type);
    if (!agent.active) return false;
    const meets = compileConstraints(framework.offerConstraints).get(role);
    if (meets !== undefined && !meets(agent)) return false;
    const hasGpus = total.some(({ name }) => name === 'gpus');
    if (this.#settings.filterGpuResources && hasGpus && !can(GPU_RESOURCES)) return false;
    const region = agent.domain?.faultDomain?.region.name;
    const { region: here } = this.#books;
    if (here !== undefined && region !== undefined && region !== here && !can(REGION_AWARE)) return false;
    if (can(MULTI_ROLE) && !agentCan(Agent.MULTI_ROLE)) return false;
    return !role.includes('/') || agentCan(Agent.HIERARCHICAL_ROLE);
  }

  mayHaveMore(framework: mesobus.v1.FrameworkBook, role: string): boolean {
    const { maxOpenOffers, frameworkId } = framework;
    const offers = framework.roles.flatMap((one) => this.#books.unanswered(frameworkId, one));
    if (maxOpenOffers > 0 && offers.length >= maxOpenOffers) return false;
    return this.wantsMore(framework, role);
  }

  /** Whether it has said nothing, or more than what is offered to it. */
  wantsMore({ frameworkId, demands }: mesobus.v1.FrameworkBook, role: string): boolean {
    const demand = demands.find((one) => one.role === role);
    if (demand === undefined) return true;
    return shapesOf(demand).some((shape) => this.#isStillWanted(shape, demand, frameworkId));
  }

  #isStillWanted(shape: Quantities, demand: mesobus.v1.RoleDemand, frameworkId: string): boolean {
    return Object.entries(shape).every(([name, amount]) => this.#left(demand, frameworkId, name) >= amount);
  }

  /** What is wanted and not offered already. */
  #left(demand: mesobus.v1.RoleDemand, frameworkId: string, name: string): number {
    let wanted = 0;
    for (const { quantities, count } of demand.shapes) wanted += (readAmounts(quantities)[name] ?? 0) * count;
    const offers = this.#books.unanswered(frameworkId, demand.role);
    return wanted - offers.map(({ offered }) => quantitiesOf(offered)[name] ?? 0).reduce((a, b) => a + b, 0);
  }

  #own(agentId: string, framework: mesobus.v1.FrameworkBook, role: string, stage: Stage): Resources {
    const can = (type: number): boolean => framework.capabilities.some((one) => one.type === type);
    const offered = this.#books
      .on(agentId)
      .filter((one) => one.frameworkId === framework.frameworkId && one.role === role);
    return select(this.#books.allocatable(agentId, role), (resource) => {
      const { reservations, revocable, shared, key } = resource;
      if (stage === 'guarantee' && reservations !== undefined && reservationRole(resource) !== role) return false;
      if (revocable && !can(REVOCABLE_RESOURCES)) return false;
      if ((reservations?.length ?? 0) > 1 && !can(RESERVATION_REFINEMENT)) return false;
      if (!shared) return true;
      return can(SHARED_RESOURCES) && !offered.some((one) => one.offered.some((other) => other.key === key));
    });
  }

  /** Cut to what is wanted; undefined if the offer is not worth making. */
  #cutToDemand(resources: Resources, framework: mesobus.v1.FrameworkBook, role: string): Resources | undefined {
    const demand = framework.demands.find((one) => one.role === role);
    if (demand === undefined) {
      const own = framework.offerFilters[role];
      const minimums = own
        ? (own.minAllocatableResources?.quantities ?? []).map(({ quantities }) => readAmounts(quantities))
        : this.#settings.minimums;
      const isEnough = resources.length > 0 && minimums.some((minimum) => holds(resources, minimum));
      return isEnough || (minimums.length === 0 && resources.length > 0) ? resources : undefined;
    }
    const { frameworkId } = framework;
    const fits = shapesOf(demand).some(
      (shape) => holdsForOneTask(resources, shape) && this.#isStillWanted(shape, demand, frameworkId),
    );
    if (!fits) return undefined;
    const reserved = quantitiesOf(select(resources, ({ reservations }) => reservations !== undefined));
    const wanted = (name: string): number => Math.max(0, this.#left(demand, frameworkId, name));
    const allowed = (name: string): number => Math.max(0, wanted(name) - (reserved[name] ?? 0));
    return cut(resources, ({ reservations }) => reservations === undefined, allowed, true);
  }
}

const shapesOf = (demand: mesobus.v1.RoleDemand): Quantities[] =>
  demand.shapes
    .filter(({ count }) => count > 0)
    .map(({ quantities }) => readAmounts(quantities))
    .filter((shape) => Object.keys(shape).length > 0);

function holds(resources: Resources, quantities: Quantities): boolean {
  const scalars = quantitiesOf(resources);
  return Object.entries(quantities).every(([name, amount]) => {
    const count = resources
      .filter((one) => one.name === name)
      .map(countOf)
      .reduce((a, b) => a + b, 0);
    return (scalars[name] ?? 0) >= amount || count * 1000 >= amount;
  });
}

/** Of one name a task holds all revocable, or none of it. */
function holdsForOneTask(resources: Resources, quantities: Quantities): boolean {
  return Object.entries(quantities).every(([name, amount]) =>
    [revocable, nonRevocable].some((kind) => holds(kind(resources), { [name]: amount })),
  );
}

function countOf(resource: Resource): number {
  if (resource.kind === 'ranges')
    return resource.ranges.map(({ begin, end }) => end - begin + 1).reduce((a, b) => a + b);
  return resource.kind === 'set' ? resource.items.length : 0;
}

/** Cuts the scalars that `picks` takes to so much of each name, in order of their keys; revocable ones apart. */
function cut(
  resources: Resources,
  picks: (resource: Resource) => boolean,
  allowed: (name: string) => number,
  overshoots: boolean,
): Resources {
  const budgets = new Map<string, number>();
  const kept: Resource[] = [];
  for (const resource of resources) {
    if (resource.kind !== 'scalar' || !picks(resource)) {
      kept.push(resource);
      continue;
    }
    const budgeted = `${resource.name} ${resource.revocable ?? false}`;
    const budget = budgets.get(budgeted) ?? allowed(resource.name);
    const amount = quantitiesOf([resource] as never as Resources)[resource.name] ?? 0;
    const whole = amount <= budget || (overshoots && budget > 0 && isIndivisible(resource));
    const part = whole
      ? resource
      : isIndivisible(resource) || budget <= 0
        ? undefined
        : { ...resource, amount: budget };
    if (part !== undefined) kept.push(part);
    budgets.set(budgeted, budget - (whole ? amount : part === undefined ? 0 : budget));
  }
  return kept.length === 0 ? noResources : (kept as never as Resources);
}
