import type { AgentSummary } from '@mesobus/sdk/operator';
import {
  describeResources,
  findVolume,
  isIndivisible,
  isPersistentVolume,
  MalformedResourceError,
  parseResources,
  type Resource,
  type ResourceSpec,
  type Resources,
  reservationRole,
  resourcesOf,
  select,
} from '@mesobus/sdk/resources';
import { CommandError } from './command-error.ts';

/**
 * Amounts as one writes them: `cpus:2;mem:512`.
 *
 * @throws {CommandError} they cannot be read, or say for whom they are
 */
export function readPlainAmounts(text: string): Resources {
  let amounts: Resources;
  try {
    amounts = parseResources(text);
  } catch (error) {
    if (error instanceof MalformedResourceError) throw new CommandError(error.message, 2, { cause: error });
    throw error;
  }
  if (amounts.length > 0 && amounts.every(({ reservations, disk }) => !reservations && !disk)) return amounts;
  throw new CommandError(
    `Cannot use the resources '${text}': write amounts alone, such as 'cpus:2;mem:512', and --role`,
    2,
  );
}

/**
 * Of what an agent has reserved to a role, so much as is asked for, as it is reserved.
 *
 * @param role - `*`: of what is not reserved
 * @throws {CommandError} there is not so much, and what there is
 */
export function pickReserved(agent: AgentSummary, amounts: Resources, role: string): Resources {
  const there = select(agent.resources, (one) => reservationRole(one) === role && !isPersistentVolume(one));
  return resourcesOf(
    amounts.map((wanted) => {
      const picked = there.map((one) => partOf(one, wanted)).find((part) => part !== undefined);
      if (picked !== undefined) return picked;
      const has = describeResources(select(there, ({ name }) => name === wanted.name));
      const what = role === '*' ? 'not reserved' : `reserved to '${role}'`;
      const remedy =
        role === '*' ? 'ask for less' : `ask for less, or reserve more: mesobus reserve ${agent.name} … --role ${role}`;
      throw new CommandError(
        `Cannot take '${describeResources([wanted] as readonly Resource[] as Resources)}' of what agent ${agent.name} has ${what}: ` +
          `${has === '' ? 'there is none' : `there is '${has}'`}; ${remedy}`,
      );
    }),
  );
}

/** So much of a resource as is wanted; undefined if there is less. */
function partOf(one: Resource, wanted: Resource): ResourceSpec | undefined {
  if (one.name !== wanted.name) return undefined;
  if (one.kind === 'scalar' && wanted.kind === 'scalar') {
    if (isIndivisible(one)) return one.amount === wanted.amount ? one : undefined; // such as a whole disk
    return one.amount >= wanted.amount ? { ...one, amount: wanted.amount } : undefined;
  }
  if (one.kind === 'ranges' && wanted.kind === 'ranges') {
    const isIn = wanted.ranges.every(({ begin, end }) =>
      one.ranges.some((range) => range.begin <= begin && end <= range.end),
    );
    return isIn ? { ...one, ranges: wanted.ranges } : undefined;
  }
  if (one.kind !== 'set' || wanted.kind !== 'set') return undefined;
  return wanted.items.every((item) => one.items.includes(item)) ? { ...one, items: wanted.items } : undefined;
}

/** @throws {CommandError} the role has no such volume on the agent */
export function getVolume(agent: AgentSummary, role: string, id: string): Resources {
  const volume = findVolume(agent.resources, role, id);
  if (volume.length > 0) return volume;
  throw new CommandError(
    `Cannot find volume '${id}' of role '${role}' on agent ${agent.name}; 'mesobus volume list' lists what there is`,
  );
}
