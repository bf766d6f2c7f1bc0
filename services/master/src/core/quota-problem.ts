import { mesobus, type mesos } from '@mesobus/protos';
import {
  formatQuantities,
  fromWire,
  isIndivisible,
  maxAmountUnits,
  nonRevocable,
  quantitiesOf,
  roleProblem,
  toQuantities,
} from '@mesobus/sdk/resources';
import { pathOf, sumConsumption } from './consumption.ts';
import { guarantorOf, isNested, type Quota, type Quotas } from './quota.ts';
import type { State } from './state.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

const maxRoleLength = 4096;

/** What is wrong with a configuration by itself, as it came; undefined if nothing is. */
export function configProblem(config: mesos.v1.quota.QuotaConfig): string | undefined {
  const { role, guarantees, limits } = config;
  if (role.length > maxRoleLength) return `a role has ${role.length} characters, of at most ${maxRoleLength}`;
  const problem = roleProblem(role);
  if (problem !== undefined) return problem;
  if (role === '*') return "the default role '*' can have no quota; give it to a role of its own";
  return amountsProblem(role, 'guarantee', guarantees) ?? amountsProblem(role, 'limit', limits);
}

function amountsProblem(
  role: string,
  what: string,
  amounts: Readonly<Record<string, mesos.v1.Value.Scalar>>,
): string | undefined {
  for (const [name, { value }] of Object.entries(amounts)) {
    try {
      toQuantities({ [name]: value });
    } catch {
      return `the ${what} '${name}' of role '${role}' is ${value}: give a number from 0 to ${maxAmountUnits}`;
    }
  }
  return undefined;
}

/** What is wrong with the resources of an old-style guarantee; undefined if nothing is. */
export function guaranteeProblem(guarantee: readonly mesos.v1.Resource[]): string | undefined {
  if (guarantee.length === 0) return 'it guarantees nothing; name at least one scalar, for example cpus';
  const names = new Set<string>();
  try {
    for (const wire of guarantee) {
      const [resource] = fromWire([wire]);
      if (resource === undefined) return `'${wire.name}' is guaranteed 0: leave it out`;
      if (resource.kind !== 'scalar') return `'${wire.name}' is no scalar: only scalars can be guaranteed`;
      const { reservations, revocable, disk, shared } = resource;
      if (reservations || revocable || disk || shared || isIndivisible(resource)) {
        return `'${wire.name}' is reserved, revocable or a disk: name plain amounts`;
      }
      if (names.size === names.add(wire.name).size) return `'${wire.name}' is named twice`;
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * What contradicts what in the quotas of all roles together; undefined if nothing does. It cannot be forced.
 *
 * A guarantee is within every limit above it. The guarantees of nested roles are parts of that of the nearest role above
 * which has one, and one has to have it.
 */
export function contradiction(quotas: Quotas): string | undefined {
  const parts = new Map<string, Map<string, number>>();
  for (const [role, quota] of quotas) {
    const problem = limitsProblem(quotas, role, quota);
    if (problem !== undefined) return problem;
    for (const [name, amount] of quota.guarantees) {
      const above = guarantorOf(quotas, role, name);
      if (above !== undefined) {
        const sums = parts.get(above) ?? new Map<string, number>();
        parts.set(above, sums.set(name, (sums.get(name) ?? 0) + amount));
      } else if (isNested(role)) {
        const top = role.slice(0, role.indexOf('/'));
        return `role '${role}' would be guaranteed ${say(name, amount)}, but no role above it is guaranteed any; give role '${top}' as much first, or in the same call`;
      }
    }
  }
  for (const [role, sums] of parts) {
    for (const [name, sum] of sums) {
      const own = quotas.get(role)?.guarantees.get(name) ?? 0;
      if (sum <= own) continue;
      return `the roles below '${role}' would be guaranteed ${say(name, sum)} together, but '${role}' only ${say(name, own)}; raise its guarantee in the same call, or lower theirs`;
    }
  }
  return undefined;
}

function limitsProblem(quotas: Quotas, role: string, { guarantees, limits }: Quota): string | undefined {
  for (const above of pathOf(role)) {
    for (const [name, limit] of quotas.get(above)?.limits ?? []) {
      const guarantee = guarantees.get(name) ?? 0;
      const whose = above === role ? 'its own limit' : `the limit of role '${above}'`;
      if (guarantee > limit) {
        return `role '${role}' would be guaranteed ${say(name, guarantee)}, above ${whose}, ${say(name, limit)}; lower the guarantee or raise the limit`;
      }
      const own = limits.get(name) ?? 0;
      if (own > limit) {
        return `role '${role}' would have the limit ${say(name, own)}, above ${whose}, ${say(name, limit)}; lower the one or raise the other`;
      }
    }
  }
  return undefined;
}

/** Why the cluster cannot keep these quotas as it is; undefined if it can. It can be forced. */
export function overcommitment(state: State, quotas: Quotas, changed: ReadonlySet<string>): string | undefined {
  return capacityProblem(state, quotas, changed) ?? usageProblem(state, quotas, changed);
}

function capacityProblem(state: State, quotas: Quotas, changed: ReadonlySet<string>): string | undefined {
  if (![...changed].some((role) => (quotas.get(role)?.guarantees.size ?? 0) > 0)) return undefined;
  const promised = new Map<string, number>();
  for (const [role, { guarantees }] of quotas) {
    if (isNested(role)) continue;
    for (const [name, amount] of guarantees) promised.set(name, (promised.get(name) ?? 0) + amount);
  }
  const capacity = capacityOf(state);
  for (const [name, amount] of promised) {
    const there = capacity.get(name) ?? 0;
    if (amount <= there) continue;
    return `all guarantees together would be ${say(name, amount)}, but the agents have ${say(name, there)}; guarantee less, add agents, or use force`;
  }
  return undefined;
}

/** Scalars of all admitted agents that are not revocable. */
function capacityOf({ ledger }: State): Map<string, number> {
  const capacity = new Map<string, number>();
  for (const { record, total } of ledger.agents.values()) {
    if (record.lifecycle !== ADMITTED) continue;
    const quantities = quantitiesOf(nonRevocable(total));
    for (const name in quantities) capacity.set(name, (capacity.get(name) ?? 0) + (quantities[name] as number));
  }
  return capacity;
}

/** What is merely offered does not count: it is taken back. */
function usageProblem(state: State, quotas: Quotas, changed: ReadonlySet<string>): string | undefined {
  const used = sumConsumption(state, { offers: false });
  for (const role of changed) {
    for (const [name, limit] of quotas.get(role)?.limits ?? []) {
      const amount = used.get(role)?.get(name) ?? 0;
      if (amount <= limit) continue;
      return `role '${role}' and its subroles use ${say(name, amount)}, more than the limit ${say(name, limit)}; end tasks or reservations first, or use force: it then gets nothing more until it is below`;
    }
  }
  return undefined;
}

/** `cpus:4` */
const say = (name: string, amount: number): string =>
  amount === 0 ? `${name}:0` : formatQuantities({ [name]: amount });
