import { mesobus, type mesos } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import {
  isSubroleOf,
  type Quantities,
  type Resource,
  type Resources,
  reservationRole,
  toThousandths,
} from '@mesobus/sdk/resources';
import type { State } from './state.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

/** Amounts by the names of scalars, in thousandths. */
type Amounts = Map<string, number>;

/**
 * What roles consume of their quotas: the reservations of a role and its subroles, held or not, and what is offered or
 * allocated to them unreserved and not revocable. Kept agent by agent: a change of one costs what that one holds.
 */
export interface Consumption {
  /** With what its subroles consume. */
  readonly byRole: Map<string, Amounts>;
  /** What each agent adds to the roles named by its reservations and holdings. */
  readonly byAgent: Map<string, ReadonlyMap<string, Amounts>>;
  /** Agents that are not counted as they are now; undefined: nothing is counted, for nobody has asked. */
  changed: Set<string> | undefined;
}

export const createConsumption = (): Consumption => ({ byRole: new Map(), byAgent: new Map(), changed: undefined });

export function noteConsumption({ changed }: Consumption, agentId: string): void {
  changed?.add(agentId);
}

/** The role itself and all above it, from the bottom up. */
export function* pathOf(role: string): Iterable<string> {
  yield role;
  for (let at = role.lastIndexOf('/'); at > 0; at = role.lastIndexOf('/', at - 1)) yield role.slice(0, at);
}

/** What a role and its subroles consume now, in thousandths. */
export function consumedBy(state: State, role: string): ReadonlyMap<string, number> {
  settleConsumption(state);
  return state.consumption.byRole.get(role) ?? nothing;
}

const nothing: ReadonlyMap<string, number> = new Map();

/** The roles that what is reserved, offered and held on an agent counts for; none while nothing is counted. */
export function chargedBy(state: State, agentId: string): ReadonlySet<string> {
  const roles = new Set<string>();
  if (state.consumption.changed === undefined) return roles;
  settleConsumption(state);
  for (const role of state.consumption.byAgent.get(agentId)?.keys() ?? []) {
    for (const above of pathOf(role)) roles.add(above);
  }
  return roles;
}

/** Counts the agents that have changed since the last time; all of them at first. */
export function settleConsumption(state: State): void {
  const { consumption, ledger } = state;
  consumption.changed ??= new Set(ledger.agents.keys());
  for (const agentId of consumption.changed) {
    const entry = ledger.agents.get(agentId);
    const before = consumption.byAgent.get(agentId);
    const now = entry === undefined ? new Map<string, Amounts>() : consumedOn(state, entry);
    if (before !== undefined) charge(consumption.byRole, before, -1);
    charge(consumption.byRole, now, 1);
    if (now.size > 0) consumption.byAgent.set(agentId, now);
    else consumption.byAgent.delete(agentId);
  }
  consumption.changed.clear();
}

/** Nobody has a quota any more. */
export function stopCounting({ consumption }: State): void {
  consumption.byRole.clear();
  consumption.byAgent.clear();
  consumption.changed = undefined;
}

/** The same counted anew over all agents. @param offers - whether what is offered counts */
export function sumConsumption(state: State, { offers }: { readonly offers: boolean }): Map<string, Amounts> {
  const byRole = new Map<string, Amounts>();
  for (const entry of state.ledger.agents.values()) charge(byRole, consumedOn(state, entry, offers), 1);
  return byRole;
}

function charge(byRole: Map<string, Amounts>, shares: ReadonlyMap<string, Amounts>, sign: 1 | -1): void {
  for (const [role, amounts] of shares) {
    for (const above of pathOf(role)) {
      const sum = byRole.get(above) ?? new Map<string, number>();
      for (const [name, amount] of amounts) addTo(sum, name, sign * amount);
      if (sum.size > 0) byRole.set(above, sum);
      else byRole.delete(above);
    }
  }
}

/** An amount of 0 is not kept. */
function addTo(amounts: Amounts, name: string, amount: number): void {
  const sum = (amounts.get(name) ?? 0) + amount;
  if (sum === 0) amounts.delete(name);
  else amounts.set(name, sum);
}

function consumedOn(state: State, entry: AgentEntry, offers = true): Map<string, Amounts> {
  const shares = new Map<string, Amounts>();
  if (entry.record.lifecycle !== ADMITTED) return shares;
  for (const resource of entry.total) {
    if (resource.reservations !== undefined) addResource(shares, reservationRole(resource), resource);
  }
  for (const { role, resources } of entry.holdings.values()) addLoose(shares, role, resources);
  if (!offers) return shares;
  for (const { role, resources } of state.agents.get(entry.id)?.offers ?? []) addLoose(shares, role, resources);
  return shares;
}

function addLoose(shares: Map<string, Amounts>, role: string, resources: Resources): void {
  for (const resource of resources) if (isLoose(resource)) addResource(shares, role, resource);
}

/** What a quota limits beyond reservations: unreserved and not revocable. */
const isLoose = ({ reservations, revocable }: Resource): boolean => reservations === undefined && !revocable;

function addResource(shares: Map<string, Amounts>, role: string, resource: Resource): void {
  if (resource.kind !== 'scalar') return;
  const amounts = shares.get(role) ?? new Map<string, number>();
  addTo(amounts, resource.name, resource.amount * (resource.shared ? 1 : (resource.copies ?? 1)));
  shares.set(role, amounts);
}

/** The scalars among resources that a quota limits beyond reservations, in thousandths. */
export function looseQuantities(resources: Resources): Quantities {
  const amounts: Record<string, number> = {};
  for (const resource of resources) {
    if (resource.kind !== 'scalar' || !isLoose(resource)) continue;
    amounts[resource.name] = (amounts[resource.name] ?? 0) + resource.amount * (resource.copies ?? 1);
  }
  return amounts;
}

type Scalars = Readonly<Record<string, mesos.v1.Value.Scalar>>;

/** The role of the path whose limit would be passed if so much more were offered to `role`; undefined if none. */
export function limitPassedBy(state: State, role: string, resources: Resources): string | undefined {
  const more = Object.entries(looseQuantities(resources));
  for (const above of pathOf(role)) if (isLimitPassed(state, above, more)) return above;
  return undefined;
}

/**
 * The role below `role` whose limit would be passed if somebody who holds resources for `role` reserved them so; undefined
 * if none. To the role itself and those above they are charged already.
 */
export function limitPassedBelow(state: State, role: string, reserved: Resources): string | undefined {
  const byReservation = new Map<string, Amounts>();
  for (const one of reserved) addResource(byReservation, reservationRole(one), one);
  const byRole = new Map<string, Amounts>();
  charge(byRole, byReservation, 1);
  for (const [below, more] of byRole) {
    if (isSubroleOf(below, role) && isLimitPassed(state, below, more)) return below;
  }
  return undefined;
}

function isLimitPassed(state: State, role: string, more: Iterable<readonly [name: string, amount: number]>): boolean {
  const limits: Scalars | undefined = state.ledger.roles.get(role)?.quota?.limits;
  if (limits === undefined) return false;
  const consumed = consumedBy(state, role);
  for (const [name, amount] of more) {
    const limit = limits[name];
    if (limit !== undefined && (consumed.get(name) ?? 0) + amount > toThousandths(limit.value)) return true;
  }
  return false;
}
