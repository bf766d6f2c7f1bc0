import type { mesobus } from '@mesobus/protos';
import { type Quantities, toQuantities } from '@mesobus/sdk/resources';
import { AmountTable, Columns, NamedAmounts } from './amounts.ts';
import type { Bundle } from './bundle.ts';
import { Candidates } from './candidates.ts';
import type { AgentPredicate, ConstrainedAgent } from './constraints.ts';
import type { Demand } from './demand.ts';
import { type Extras, ExtrasFactory } from './extras.ts';
import { type Filter, FilterQueue } from './filters.ts';
import { createRandom, type Random } from './random.ts';
import type { Rooms } from './rooms.ts';
import { drf } from './sorter/drf.ts';
import { type Contender, Order } from './sorter/order.ts';
import type { Policy } from './sorter/policy.ts';

/** What the operator has decided. */
export interface Settings {
  /** Which role, and which framework within a role, is served next. */
  readonly rolePolicy: Policy;
  readonly frameworkPolicy: Policy;
  /** Resources that do not count towards a share. */
  readonly excludedFromShares: readonly string[];
  /** An offer must have at least one of these, unless its framework has said what it takes; empty: anything. */
  readonly minimums: readonly Quantities[];
  /** Nothing of an agent with gpus is offered to frameworks that do not use them. */
  readonly filterGpuResources: boolean;
  /** What may have changed for many agents at once is looked at no more often, in ms. */
  readonly allocationIntervalMs: number;
  /**
   * Whoever wants what would fit and is given nothing for so long is served before everyone else, and offers that are in
   * the way are taken back: those of frameworks that have not said what they want, and those that have been left
   * unanswered for so long too. In ms.
   */
  readonly starvationBoundMs: number;
}

export const defaultSettings: Settings = {
  rolePolicy: drf,
  frameworkPolicy: drf,
  excludedFromShares: [],
  minimums: [toQuantities({ cpus: 0.01 }), toQuantities({ mem: 32 })],
  filterGpuResources: true,
  allocationIntervalMs: 1_000,
  starvationBoundMs: 2_000,
};

/** Who holds something: a role with all below it, the frameworks of a role itself, or one framework in a role. */
export interface Account extends Contender {
  /** Row of what is held, offered and allocated, over the whole cluster. */
  readonly held: number;
  weight: number;
  /** Product of weight shares from the root, among those who take part; only kept up for policies under which all compete. */
  claim: number;
  /** Kept for the policy. */
  memory: unknown;
  /** Shared volumes held, by agent and volume: each counts once, however many copies of it are held. */
  sharedHeld?: Map<string, number>;
}

/** What a task holds that may be asked back. */
export interface ReclaimableTask extends Bundle {
  readonly revocable: boolean;
  /** Ms since 1970. */
  readonly launchedAtMs: number;
}

/** What a framework in a role is to give back. */
export interface Victim extends Bundle {
  readonly frameworkId: string;
  readonly role: string;
}

/** Tasks of an agent that are asked back for a framework in a role: what is free there is for nobody else. */
export interface Reclaiming {
  readonly frameworkId: string;
  readonly role: string;
  readonly victims: readonly Victim[];
  /** Ms since 1970; 0: the leader has not decided yet. */
  readonly killAtMs: number;
}

/** What a framework holds on one agent in one role. */
export interface Holding extends Bundle {
  readonly member: Member;
  /** Of that the tasks that may be asked back. */
  readonly reclaimable: readonly ReclaimableTask[];
  /** That part of it which is offered and not answered yet, and since when, as far as this allocator knows. */
  readonly offered: Bundle;
  readonly offeredSinceMs: number;
}

/** Decided here, and its outcome not seen in the feed yet. */
export interface OpenDecision extends Bundle {
  readonly number: number;
  readonly agent: Agent;
  readonly member: Member;
  readonly atMs: number;
  /** An offer, that the offers of the member on the agent are taken back, or that tasks there are asked back for it. */
  readonly kind: 'offer' | 'rescind' | 'reclaim';
  /** For whom offers are taken back. */
  readonly beneficiary?: Member;
  /** Of tasks that are asked back: which. */
  readonly reclaiming?: Reclaiming;
}

export interface Agent {
  readonly id: string;
  /** Rows of the plain scalars that it has, and of those that are free. */
  readonly totalRow: number;
  readonly freeRow: number;
  /** Why nothing is offered, of AgentBook.Inactive; undefined if it is active. */
  inactive: number | undefined;
  facts: ConstrainedAgent;
  /** Bit `n`: it has capability `n` of AgentInfo.Capability.Type. */
  capabilities: number;
  extras: Extras;
  /** Those that nobody holds, and all shared ones. None of an agent on which more is held than there is. */
  freeExtras: Extras;
  holdings: readonly Holding[];
  /** As the leader says. */
  reclaiming: Reclaiming | undefined;
  /** Decided here and not seen in the feed yet, in order of number. */
  open: readonly OpenDecision[];
  /**
   * The first filter of each member that does not want it for a while; undefined: of nobody. They stand here as rounds ask
   * everybody about one agent after the other.
   */
  filters: Map<Member, Filter> | undefined;
  /** Bits by number of member: a filter is known to keep all that is free from it. Forgotten when that changes. */
  hiddenFrom: number[] | undefined;
  /** Its place among the candidates; -1 if it is none. */
  candidate: number;
}

export interface Framework {
  readonly id: string;
  readonly active: boolean;
  readonly roles: ReadonlySet<string>;
  readonly suppressedRoles: ReadonlySet<string>;
  /** Bit `n`: it has capability `n` of FrameworkInfo.Capability.Type. */
  readonly capabilities: number;
  /** Per role: an offer must have at least one of these; an empty list takes anything. */
  readonly minimums: ReadonlyMap<string, readonly NamedAmounts[]>;
  readonly constraints: ReadonlyMap<string, AgentPredicate>;
  /** By role; a role that is not in it has said nothing. */
  readonly demands: ReadonlyMap<string, Demand>;
  /** It may have unanswered offers on so many agents; 0: on any number. */
  readonly maxOpenOffers: number;
}

/** A filter that came before the books of its agent or framework. */
export interface EarlyFilter {
  readonly filter: mesobus.v1.OfferFilter;
  readonly untilMs: number;
}

/** A framework in a role: subscribed to it, or holding something there. */
export interface Member extends Account {
  /** Of no other member at the time. */
  readonly number: number;
  readonly frameworkId: string;
  readonly role: Role;
  framework: Framework | undefined;
  /** Row of what it is offered and has not answered. */
  readonly offered: number;
  /** Agents on which it has been offered something that it has not answered. */
  openOffers: number;
  /** Holdings and open decisions. */
  uses: number;
  /** It takes part: it is active in the role and has neither suppressed it nor said that it wants nothing. */
  wanting: boolean;
  /** Agents on which it has filters. */
  filtered: number;
  /** What its framework has said of the role: what agents must be like, which offers are too small, what it wants. */
  meets: AgentPredicate | undefined;
  minimums: readonly NamedAmounts[];
  demand: Demand | undefined;
  /** Since when it wants something, or waits for a guarantee, and was given nothing, in ms; Infinity: it does not. */
  waitingSinceMs: number;
  /** Offers are being taken back for it. */
  rescinding: number;
  /** When offers that could be taken back for it were last looked for, in ms. */
  soughtAtMs: number;
  /** Where that search stopped, by place in the {@link Rooms}; undefined: it was through. */
  soughtUpTo: number | undefined;
  /** When tasks that could be asked back for it were last looked for, in ms; and at which agent that search stopped. */
  tasksSoughtAtMs: number;
  tasksSoughtUpTo: number;
  /** Since when it lacks a guarantee or a fair share of what it wants, in ms; Infinity: it does not. */
  claimingSinceMs: number;
  /** When it was last settled: agents with unanswered offers, the sum of all amounts of these, and that of what it used. */
  settledOffers: number;
  settledAmounts: number;
  settledUsed: number;
  /** Of so many offers in a row it has used nothing. */
  unused: number;
}

export interface Quota {
  /** By column, with holes where nothing is set. */
  readonly guarantees: readonly (number | undefined)[];
  readonly limits: readonly (number | undefined)[];
}

/** What the members of a role itself hold, without those of the roles below it. */
export interface Leaf extends Account {
  readonly role: Role;
}

/** A role of the tree. Its account is that of the whole subtree. */
export interface Role extends Account {
  /** The role above it; the root, which has no name and is no role, for the others. */
  readonly parent: Role | undefined;
  readonly children: Map<string, Role>;
  /** The leader has said something of it: it stays without members too. */
  configured: boolean;
  quota: Quota | undefined;
  /** Row of what counts against quotas: reservations of the subtree, and what it holds unreserved and not revocable. */
  readonly consumed: number;
  /** Rows of what must stay free for guarantees of the subtree, and for those of its children alone. */
  readonly kept: number;
  readonly keptForChildren: number;
  /** Agents of which something is reserved to it. */
  reservations: number;
  readonly members: Map<string, Member>;
  /** What its own members hold, as a leaf beside its children. */
  readonly leaf: Leaf;
  /** Those of its children, and its leaf, below which somebody wants something. */
  readonly order: Order<Role | Leaf>;
  readonly memberOrder: Order<Member>;
  /** Members of the subtree that are wanting. */
  wanting: number;
}

/** Books of the cluster as the leader tells them, and what was decided since. */
export interface State {
  /** This allocator. */
  readonly allocatorId: string;
  readonly settings: Settings;
  /** The one that the leader wants to hear from. */
  appointedAllocatorId: string;
  /** False until the feed has given a whole snapshot, and again after a gap. */
  synchronised: boolean;
  /** The leader of the appointment. */
  masterId: string;
  appointment: number;
  /** Number of the latest decision of this appointment. */
  lastNumber: number;
  /** The region of the master; undefined: agents of all regions are alike. */
  region: string | undefined;
  /** Running tasks are asked back for what is lacking for so long; 0: never. */
  reclaimAfterMs: number;
  readonly columns: Columns;
  readonly amounts: AmountTable;
  readonly extras: ExtrasFactory;
  /** Column of gpus. */
  readonly gpus: number;
  /** Those of the settings, ready for use. */
  readonly minimums: readonly NamedAmounts[];
  /** Row of the sum over all agents, of any kind. */
  readonly total: number;
  /** Row of what is free on active agents, unreserved and not revocable. */
  readonly headroom: number;
  readonly agents: Map<string, Agent>;
  readonly frameworks: Map<string, Framework>;
  /** Of each framework: in all roles that it has, had, or holds something in. */
  readonly members: Map<string, Set<Member>>;
  /** Numbers of members that were forgotten, and the next one if there are none. */
  readonly vacantNumbers: number[];
  nextNumber: number;
  readonly roles: Map<string, Role>;
  /** All roles are below it. */
  readonly root: Role;
  /** Leaves that take part, for policies under which all of them compete at once. */
  readonly leaves: Order<Leaf>;
  claimsStale: boolean;
  /** Roles with a guarantee or a limit. */
  quotas: number;
  readonly filters: FilterQueue;
  earlyFilters: EarlyFilter[];
  /** Agents about which something changed since they were last looked at. */
  readonly candidates: Candidates;
  /** All agents become candidates when the batch is digested. */
  considersAll: boolean;
  /** Something may have changed for many agents: all are looked at when it is time. */
  reconsider: boolean;
  lastFullAtMs: number;
  /** Members that want something in particular, or wait for a guarantee, and have none of it. */
  readonly waiting: Set<Member>;
  /** Members of whose demand or offers something has changed. */
  readonly unsettled: Set<Member>;
  /** Agents on which offers were taken back since the last round, and for whom: it is asked first. */
  readonly freed: Map<Agent, Member>;
  /** Where offers taken back could make room, of the search under way; everybody is sought for once in each. */
  rooms: Rooms | undefined;
  /** Not before this time it is looked again who lacks what and which tasks could be asked back. */
  reclaimAtMs: number;
  /** Open decisions over all agents, oldest first. */
  readonly open: Map<number, OpenDecision>;
  readonly random: Random;
  /** Shares, weights and claims have changed for many: all keys are made anew. */
  keysVersion: number;
  /** Counts rounds, and agents looked at: keys that last no longer are made anew. */
  rounds: number;
  visits: number;
}

/** @param seed - decides the order in which agents are visited */
export function initialState(allocatorId: string, seed: number, settings: Partial<Settings> = {}): State {
  const all = { ...defaultSettings, ...settings };
  const amounts = new AmountTable(4);
  const columns = new Columns((count) => amounts.widen(count));
  // The usual ones come first, so that rows need not be widened.
  for (const name of ['cpus', 'mem', 'disk']) columns.columnOf(name);
  const gpus = columns.columnOf('gpus');
  const root = createRole(amounts, all, '', undefined);
  return {
    allocatorId,
    settings: all,
    appointedAllocatorId: '',
    synchronised: false,
    masterId: '',
    appointment: 0,
    lastNumber: 0,
    region: undefined,
    reclaimAfterMs: 0,
    columns,
    amounts,
    extras: new ExtrasFactory(columns),
    gpus,
    minimums: all.minimums.map((minimum) => new NamedAmounts(minimum)),
    total: amounts.add(),
    headroom: amounts.add(),
    agents: new Map(),
    frameworks: new Map(),
    members: new Map(),
    vacantNumbers: [],
    nextNumber: 0,
    roles: new Map(),
    root,
    leaves: new Order(all.rolePolicy.keysLast !== 'change'),
    claimsStale: false,
    quotas: 0,
    filters: new FilterQueue(),
    earlyFilters: [],
    candidates: new Candidates(),
    considersAll: false,
    reconsider: false,
    lastFullAtMs: Number.NEGATIVE_INFINITY,
    waiting: new Set(),
    unsettled: new Set(),
    freed: new Map(),
    rooms: undefined,
    reclaimAtMs: 0,
    open: new Map(),
    random: createRandom(seed),
    keysVersion: 0,
    rounds: 0,
    visits: 0,
  };
}

export function createAccount(amounts: AmountTable, name: string): Account {
  return {
    name,
    held: amounts.add(),
    weight: 1,
    claim: 1,
    memory: undefined,
    allocations: 0,
    key: 0,
    countAtKey: 0,
    slot: -1,
    touched: false,
  };
}

export function createRole(amounts: AmountTable, settings: Settings, name: string, parent: Role | undefined): Role {
  const role: Omit<Role, 'leaf'> & { leaf?: Leaf } = {
    ...createAccount(amounts, name),
    parent,
    children: new Map(),
    configured: false,
    quota: undefined,
    consumed: amounts.add(),
    kept: amounts.add(),
    keptForChildren: amounts.add(),
    reservations: 0,
    members: new Map(),
    order: new Order(settings.rolePolicy.keysLast !== 'change'),
    memberOrder: new Order(settings.frameworkPolicy.keysLast !== 'change'),
    wanting: 0,
  };
  const leaf = createAccount(amounts, settings.rolePolicy.contest === 'flat' ? name : `${name}/.`);
  return Object.assign(role, { leaf: { ...leaf, role: role as Role } });
}
