import type { Quantities, Resources } from '@mesobus/sdk/resources';
import { noQuantities } from '@mesobus/sdk/resources';
import { createRandom, type Random } from './random.ts';

/** What a framework holds on one agent in one role: offered and allocated. */
export interface Holding {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
}

/** An allocation that this allocator has decided and whose outcome the feed has not shown yet. */
export interface OpenAllocation extends Holding {
  readonly number: number;
  readonly agentId: string;
}

export interface Agent {
  readonly id: string;
  readonly total: Resources;
  readonly active: boolean;
  readonly holdings: readonly Holding[];
  /** Decided here and not yet seen in the feed, by number. */
  readonly open: Map<number, OpenAllocation>;
  /** Total less holdings less open allocations. */
  available: Resources;
}

/** How much one member of a sorter holds, and how often it was given something. */
export interface Account {
  /** Offered and allocated, over the whole cluster. */
  held: Quantities;
  /** Breaks ties of equal shares: who was given less often goes first. */
  allocations: number;
}

export interface Framework {
  readonly id: string;
  readonly active: boolean;
  readonly roles: ReadonlySet<string>;
  readonly suppressedRoles: ReadonlySet<string>;
  readonly capabilities: ReadonlySet<number>;
  /** Per role: an offer must have at least one of these; an empty list takes anything. */
  readonly minimums: ReadonlyMap<string, readonly Quantities[]>;
}

export interface Role {
  readonly name: string;
  weight: number;
  /** The leader has said something of it: it stays without members too. */
  configured: boolean;
  readonly account: Account;
  /** Subscribed to the role or holding something in it. */
  readonly members: Map<string, Account>;
}

export interface Filter {
  readonly resources: Resources;
  readonly untilMs: number;
}

export interface State {
  /** This allocator. */
  readonly allocatorId: string;
  /** The one that the leader wants to hear from. */
  appointedAllocatorId: string;
  /** False until the feed has given a whole snapshot, and again after a gap. */
  synchronised: boolean;
  /** The leader of the appointment. */
  masterId: string;
  appointment: number;
  /** Number of the latest allocation of this appointment. */
  lastNumber: number;
  readonly agents: Map<string, Agent>;
  readonly frameworks: Map<string, Framework>;
  readonly roles: Map<string, Role>;
  /** Sum over all agents. */
  total: Quantities;
  /** By framework, then by role and agent. */
  readonly filters: Map<string, Map<string, Filter[]>>;
  /** No filter ends before this time. */
  filtersEndAtMs: number;
  /** Agents about which something changed since they were last offered. */
  readonly candidates: Set<string>;
  /** Open allocations over all agents, oldest first. */
  readonly open: Map<number, OpenAllocation>;
  readonly random: Random;
}

/** @param seed - decides the order in which agents are visited */
export function initialState(allocatorId: string, seed: number): State {
  return {
    allocatorId,
    appointedAllocatorId: '',
    synchronised: false,
    masterId: '',
    appointment: 0,
    lastNumber: 0,
    agents: new Map(),
    frameworks: new Map(),
    roles: new Map(),
    total: noQuantities,
    filters: new Map(),
    filtersEndAtMs: Number.POSITIVE_INFINITY,
    candidates: new Set(),
    open: new Map(),
    random: createRandom(seed),
  };
}

/** A role that nobody mentioned has weight 1. */
export function roleNamed(state: State, name: string): Role {
  const known = state.roles.get(name);
  if (known !== undefined) return known;
  const role: Role = {
    name,
    weight: 1,
    configured: false,
    account: { held: noQuantities, allocations: 0 },
    members: new Map(),
  };
  state.roles.set(name, role);
  return role;
}

/** Takes a framework out of a role, and the role out of the books if it is of no more use. */
export function removeMember(state: State, role: Role, frameworkId: string): void {
  role.members.delete(frameworkId);
  forgetIfUnused(state, role);
}

/** A role in which nobody is and that nobody has said anything about. */
export function forgetIfUnused(state: State, role: Role): void {
  if (role.members.size === 0 && !role.configured) state.roles.delete(role.name);
}

export function memberOf(role: Role, frameworkId: string): Account {
  const known = role.members.get(frameworkId);
  if (known !== undefined) return known;
  const account: Account = { held: noQuantities, allocations: 0 };
  role.members.set(frameworkId, account);
  return account;
}
