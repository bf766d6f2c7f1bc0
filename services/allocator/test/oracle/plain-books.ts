// The books of the allocator as plainly as they can be written: lists, searched from end to end, and the algebra of
// resources. What the flat arrays of the allocator say must be the same.
import type { mesobus, mesos } from '@mesobus/protos';
import {
  addQuantities,
  allocatableTo,
  fromWire,
  isSubroleOf,
  noQuantities,
  noResources,
  type Quantities,
  quantitiesOf,
  type Resource,
  type Resources,
  reservationRole,
  select,
  toQuantities,
  trySubtract,
} from '@mesobus/sdk/resources';

export interface PlainHolding {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
  readonly offered: Resources;
  /** Of what is held the tasks that may be asked back. */
  readonly reclaimable?: readonly PlainTask[];
}

export interface PlainTask {
  readonly resources: Resources;
  readonly launchedAtMs: number;
}

/** What tasks of a framework in a role hold. */
export interface PlainVictim {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
}

/** Tasks that are asked back for a framework in a role. */
export interface PlainReclaim {
  readonly number: number;
  readonly agentId: string;
  readonly frameworkId: string;
  readonly role: string;
  readonly victims: readonly PlainVictim[];
}

export interface PlainAgent {
  readonly book: mesobus.v1.AgentBook;
  readonly total: Resources;
  readonly holdings: readonly PlainHolding[];
  /** As the leader has decided. */
  readonly reclaim: PlainReclaim | undefined;
}

export interface PlainDecision extends PlainHolding {
  readonly number: number;
  readonly agentId: string;
}

interface PlainFilter {
  readonly filter: mesobus.v1.OfferFilter;
  readonly resources: Resources;
  readonly untilMs: number;
}

type Amounts = Readonly<Record<string, { readonly value: number }>>;

export const readAmounts = (amounts: Amounts): Quantities =>
  toQuantities(Object.fromEntries(Object.entries(amounts).map(([name, { value }]) => [name, value])));

/** A role of the path, and all above it. */
export const pathOf = (role: string): string[] => {
  const parts = role.split('/');
  return parts.map((_, i) => parts.slice(0, parts.length - i).join('/'));
};

const isIn = (role: string, above: string): boolean => role === above || isSubroleOf(role, above);

/** Counts against quotas. */
export const isLoose = ({ kind, reservations, revocable }: Resource): boolean =>
  kind === 'scalar' && reservations === undefined && revocable === undefined;

export class PlainBooks {
  readonly agents = new Map<string, PlainAgent>();
  readonly frameworks = new Map<string, mesobus.v1.FrameworkBook>();
  readonly configured = new Map<string, mesobus.v1.RoleBook>();
  filters: PlainFilter[] = [];
  open: PlainDecision[] = [];
  /** Decided here and not seen yet. */
  openReclaims: PlainReclaim[] = [];
  reclaimAfterMs = 0;
  /** Not before this time tasks are looked for that could be asked back. */
  reclaimAtMs = 0;
  /** By `role\nframework`: since when it lacks something, and when tasks for it were looked for. */
  readonly claimingSince = new Map<string, number>();
  readonly tasksSoughtAt = new Map<string, number>();
  region: string | undefined;
  appointment = 0;
  lastNumber = 0;
  /** How often a role, a role's own members, or a framework in a role was given something. */
  readonly allocations = new Map<string, number>();

  feed(at: number, batch: mesobus.v1.FeedBatch): void {
    if (batch.snapshotBegins) {
      for (const books of [this.agents, this.frameworks, this.configured, this.allocations]) books.clear();
      this.filters = [];
      this.open = [];
      this.openReclaims = [];
      this.region = undefined;
      this.reclaimAfterMs = 0;
    }
    if (batch.snapshotBegins || batch.appointment !== this.appointment) {
      this.open = [];
      this.openReclaims = [];
      this.lastNumber = 0;
      this.#tidy();
    }
    this.appointment = batch.appointment;
    for (const item of batch.items) {
      this.#apply(at, item);
      this.#tidy();
    }
    this.open = this.open.filter(({ number }) => number > batch.allocationsSeen);
    this.openReclaims = this.openReclaims.filter(({ number }) => number > batch.allocationsSeen);
    this.lastNumber = Math.max(this.lastNumber, batch.allocationsSeen);
    this.#tidy();
  }

  #apply(at: number, item: mesobus.v1.FeedItem): void {
    if (item.agent) this.#putAgent(item.agent);
    else if (item.agentRemoved) {
      this.agents.delete(item.agentRemoved);
      this.filters = this.filters.filter(({ filter }) => filter.agentId !== item.agentRemoved);
      this.open = this.open.filter(({ agentId }) => agentId !== item.agentRemoved);
      this.openReclaims = this.openReclaims.filter(({ agentId }) => agentId !== item.agentRemoved);
    } else if (item.framework) {
      const { framework } = item;
      this.frameworks.set(framework.frameworkId, framework);
      if (!framework.active) this.#lift(framework.frameworkId, []);
    } else if (item.frameworkRemoved) {
      this.frameworks.delete(item.frameworkRemoved);
      this.#lift(item.frameworkRemoved, []);
    } else if (item.role) {
      if (item.role.weight > 0 || item.role.quota !== null) this.configured.set(item.role.role, item.role);
      else this.configured.delete(item.role.role);
    } else if (item.filter) this.#setFilter(at, item.filter);
    else if (item.filtersLifted) this.#lift(item.filtersLifted.frameworkId, item.filtersLifted.roles);
    else if (item.cluster) {
      this.region = item.cluster.domain?.faultDomain?.region.name;
      this.reclaimAfterMs = item.cluster.reclaimAfterMs;
    }
  }

  #putAgent(book: mesobus.v1.AgentBook): void {
    const before = this.agents.get(book.agentId)?.book.attributes;
    const text = (value: unknown): string =>
      JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}` : one));
    if (before !== undefined && text(before) !== text(book.attributes)) {
      this.filters = this.filters.filter(({ filter }) => filter.agentId !== book.agentId);
    }
    const holdings = book.holdings.map(({ frameworkId, role, resources, offered, reclaimable }) => ({
      frameworkId,
      role,
      resources: fromWire(resources),
      offered: fromWire(offered),
      reclaimable: reclaimable.map((task) => ({ ...task, resources: fromWire(task.resources) })),
    }));
    const { agentId, total, reclaiming } = book;
    const victims = (reclaiming?.victims ?? []).map((one) => ({ ...one, resources: fromWire(one.resources) }));
    const { frameworkId = '', role = '' } = reclaiming ?? {};
    const reclaim = reclaiming === null ? undefined : { number: 0, agentId, frameworkId, role, victims };
    this.agents.set(agentId, { book, total: fromWire(total), holdings, reclaim });
  }

  /** The tasks of an agent that are asked back. */
  reclaimOn(agentId: string): PlainReclaim | undefined {
    return this.agents.get(agentId)?.reclaim ?? this.openReclaims.find((one) => one.agentId === agentId);
  }

  #setFilter(at: number, filter: mesobus.v1.OfferFilter): void {
    const { frameworkId, role, agentId, refuseMs } = filter;
    if (refuseMs === 0 || !this.agents.has(agentId) || !this.members().has(`${role}\n${frameworkId}`)) return;
    this.filters.push({ filter, resources: fromWire(filter.resources), untilMs: at + refuseMs });
  }

  #lift(frameworkId: string, roles: readonly string[]): void {
    this.filters = this.filters.filter(
      ({ filter }) => filter.frameworkId !== frameworkId || (roles.length > 0 && !roles.includes(filter.role)),
    );
  }

  /** What is known of a role or a member that is gone does not come back with it. */
  #tidy(): void {
    const members = this.members();
    const roles = this.roles();
    for (const key of this.allocations.keys()) {
      const known = key.includes('\n') ? members.has(key) : key === '' || roles.has(key.replace(/\/\.$/, ''));
      if (!known) this.allocations.delete(key);
    }
    for (const times of [this.claimingSince, this.tasksSoughtAt]) {
      for (const key of times.keys()) if (!members.has(key)) times.delete(key);
    }
    this.filters = this.filters.filter(({ filter }) => members.has(`${filter.role}\n${filter.frameworkId}`));
  }

  /** Who subscribes to a role or holds something in it, as `role\nframework`. */
  members(): Set<string> {
    const members = new Set<string>();
    for (const { frameworkId, roles } of this.frameworks.values()) {
      for (const role of roles) members.add(`${role}\n${frameworkId}`);
    }
    for (const { frameworkId, role } of this.held()) members.add(`${role}\n${frameworkId}`);
    return members;
  }

  roles(): Set<string> {
    const roles = new Set<string>();
    for (const member of this.members()) for (const role of pathOf(member.split('\n')[0] as string)) roles.add(role);
    for (const role of this.configured.keys()) for (const above of pathOf(role)) roles.add(above);
    for (const { total } of this.agents.values()) {
      for (const resource of total) {
        if (resource.reservations !== undefined) for (const role of pathOf(reservationRole(resource))) roles.add(role);
      }
    }
    return roles;
  }

  /** Everything that is offered or allocated. */
  held(): (PlainHolding & { readonly agentId: string })[] {
    const held = [...this.agents].flatMap(([agentId, { holdings }]) => holdings.map((one) => ({ ...one, agentId })));
    return [...held, ...this.open];
  }

  on(agentId: string): PlainHolding[] {
    const agent = this.agents.get(agentId);
    return [...(agent?.holdings ?? []), ...this.open.filter((one) => one.agentId === agentId)];
  }

  /** Shared volumes are free, always. */
  available(agentId: string): Resources {
    let left: Resources | undefined = this.agents.get(agentId)?.total;
    for (const { resources } of this.on(agentId)) {
      left =
        left &&
        trySubtract(
          left,
          select(resources, ({ shared }) => shared === undefined),
        );
    }
    return left ?? noResources;
  }

  total(): Quantities {
    return [...this.agents.values()].map(({ total }) => quantitiesOf(total)).reduce(addQuantities, noQuantities);
  }

  /** What is held by those whom a test picks; a shared volume of an agent counts once. */
  heldBy(picks: (holding: PlainHolding) => boolean): Quantities {
    let sum = noQuantities;
    const counted = new Set<string>();
    for (const holding of this.held()) {
      if (!picks(holding)) continue;
      const once = select(holding.resources, ({ shared, key }) => {
        if (shared === undefined) return true;
        const isNew = !counted.has(`${holding.agentId} ${key}`);
        counted.add(`${holding.agentId} ${key}`);
        return isNew;
      });
      sum = addQuantities(sum, quantitiesOf(once));
    }
    return sum;
  }

  /** Reservations of the role and below, and what is held there neither reserved nor revocable. */
  consumed(role: string): Quantities {
    let sum = noQuantities;
    for (const { total } of this.agents.values()) {
      const own = select(total, (one) => one.reservations !== undefined && isIn(reservationRole(one), role));
      sum = addQuantities(sum, quantitiesOf(own));
    }
    for (const holding of this.held()) {
      if (isIn(holding.role, role)) sum = addQuantities(sum, quantitiesOf(select(holding.resources, isLoose)));
    }
    return sum;
  }

  quotaOf(role: string): mesos.v1.quota.QuotaConfig | null {
    const quota = this.configured.get(role)?.quota ?? null;
    return quota && Object.keys(quota.guarantees).length + Object.keys(quota.limits).length > 0 ? quota : null;
  }

  get hasQuotas(): boolean {
    return [...this.configured.keys()].some((role) => this.quotaOf(role) !== null);
  }

  /** What must stay free for the role and all below it. */
  kept(role: string, name: string): number {
    const guarantee = readAmounts(this.quotaOf(role)?.guarantees ?? {})[name] ?? 0;
    const unmet = guarantee - (this.consumed(role)[name] ?? 0);
    return Math.max(0, unmet, this.keptBelow(role, name));
  }

  /** @param role - empty: for all */
  keptBelow(role: string, name: string): number {
    const depth = role === '' ? 1 : role.split('/').length + 1;
    const below = [...this.roles()].filter(
      (one) => one.split('/').length === depth && (role === '' || isSubroleOf(one, role)),
    );
    return below.map((one) => this.kept(one, name)).reduce((a, b) => a + b, 0);
  }

  /** What the role may be given towards guarantees. */
  progress(role: string, name: string): number {
    const path = pathOf(role);
    const beside = path.slice(1).map((above, i) => this.keptBelow(above, name) - this.kept(path[i] as string, name));
    const top = this.kept(path.at(-1) as string, name);
    return Math.max(0, top - this.keptBelow(role, name) - beside.reduce((a, b) => a + b, 0));
  }

  room(role: string, name: string): number {
    const rooms = pathOf(role).map((above) => {
      const limit = this.quotaOf(above)?.limits[name];
      return limit ? Math.round(limit.value * 1000) - (this.consumed(above)[name] ?? 0) : Number.POSITIVE_INFINITY;
    });
    return Math.max(0, Math.min(...rooms));
  }

  headroom(): Quantities {
    const free = [...this.agents.values()]
      .filter(({ book }) => book.active)
      .map(({ book }) => quantitiesOf(select(this.available(book.agentId), isLoose)));
    return free.reduce(addQuantities, noQuantities);
  }

  /** What is free beyond what must stay so; below 0 while guarantees cannot be met. */
  surplus(name: string): number {
    return (this.headroom()[name] ?? 0) - this.keptBelow('', name);
  }

  /** Filters that are live, of a framework in a role on an agent. */
  filtersOf(at: number, frameworkId: string, role: string, agentId: string): Resources[] {
    return this.filters
      .filter(({ untilMs }) => untilMs > at)
      .filter(({ filter }) => filter.frameworkId === frameworkId && filter.role === role && filter.agentId === agentId)
      .map(({ resources }) => resources);
  }

  /** What is offered to a framework in a role and not answered, by agent. */
  unanswered(frameworkId: string, role: string): { agentId: string; offered: Resources }[] {
    return this.held()
      .filter((one) => one.frameworkId === frameworkId && one.role === role && one.offered.length > 0)
      .map(({ agentId, offered }) => ({ agentId, offered }));
  }

  allocatable(agentId: string, role: string): Resources {
    return allocatableTo(this.available(agentId), role);
  }
}
