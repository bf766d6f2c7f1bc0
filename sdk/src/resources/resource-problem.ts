import { maxAmountUnits } from './amount.ts';
import type { Problem } from './malformed-resource-error.ts';
import type { Range } from './ranges.ts';
import { type Disk, isIndivisible, type Reservation, type ResourceSpec } from './resource.ts';
import { nameProblem } from './resource-name.ts';
import { isSubroleOf, roleProblem } from './roles.ts';

/** Says what makes a resource meaningless wherever it comes from; undefined if it is well-formed. */
export function resourceProblem(spec: ResourceSpec): Problem | undefined {
  return (
    nameProblem(spec.name) ??
    valueProblem(spec) ??
    reservationsProblem(spec.reservations) ??
    allocationProblem(spec.allocationRole) ??
    diskProblem(spec) ??
    copiesProblem(spec)
  );
}

function valueProblem(spec: ResourceSpec): Problem | undefined {
  if (spec.kind === 'set') return itemsProblem(spec.items);
  if (spec.kind === 'ranges') {
    for (const range of spec.ranges) {
      const problem = rangeProblem(range);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  if (!Number.isInteger(spec.amount) || spec.amount < 0 || spec.amount > maxAmountUnits * 1000) {
    return {
      problem: `its amount ${spec.amount} is not a whole number of thousandths, 0 or more`,
      remedy: 'convert units with toThousandths()',
    };
  }
  if (spec.name === 'gpus' && spec.amount % 1000 !== 0) {
    return { problem: `${spec.amount / 1000} gpus are not whole`, remedy: 'give a whole number of gpus' };
  }
  return undefined;
}

/** Says what is wrong with a range; undefined if nothing is. */
export function rangeProblem({ begin, end }: Range): Problem | undefined {
  if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0) {
    return {
      problem: `the range ${begin}-${end} is not of whole numbers from 0 to ${Number.MAX_SAFE_INTEGER}`,
      remedy: "give whole numbers, for example '31000-32000'",
    };
  }
  if (begin > end) {
    return { problem: `the range ${begin}-${end} ends before it begins`, remedy: `write it as ${end}-${begin}` };
  }
  return undefined;
}

function itemsProblem(items: readonly string[]): Problem | undefined {
  if (items.every((item) => typeof item === 'string' && item !== '')) return undefined;
  return { problem: 'its set holds an empty item', remedy: "name every item, for example '{a,b}'" };
}

function reservationsProblem(reservations: readonly Reservation[] | undefined): Problem | undefined {
  if (reservations === undefined) return undefined;
  let below: Reservation | undefined;
  for (const reservation of reservations) {
    const { type, role } = reservation;
    const problem = role === '*' ? "it is reserved to '*'" : roleProblem(role);
    if (problem !== undefined) return { problem, remedy: "reserve it to a role such as 'ads', or not at all" };
    if (type === 'static' && below !== undefined) {
      return { problem: 'a static reservation refines another', remedy: 'only the first reservation may be static' };
    }
    if (below !== undefined && !isSubroleOf(role, below.role)) {
      return {
        problem: `a reservation to '${role}' refines one to '${below.role}'`,
        remedy: `refine it to a role below, such as '${below.role}/x'`,
      };
    }
    below = reservation;
  }
  return undefined;
}

function allocationProblem(role: string | undefined): Problem | undefined {
  const problem = role === undefined ? undefined : roleProblem(role);
  return problem === undefined ? undefined : { problem, remedy: "allocate it to a role such as 'ads'" };
}

function diskProblem({ name, kind, disk, shared }: ResourceSpec): Problem | undefined {
  if (disk !== undefined && (name !== 'disk' || kind !== 'scalar')) {
    return { problem: 'it describes a disk', remedy: "only a scalar named 'disk' may" };
  }
  if (disk?.persistence?.id === '') {
    return { problem: 'its volume has no persistence id', remedy: 'give the volume an id' };
  }
  return shared ? sharedProblem(disk) : undefined;
}

function sharedProblem(disk: Disk | undefined): Problem | undefined {
  if (disk?.persistence !== undefined) return undefined;
  return { problem: 'it is shared', remedy: 'only a persistent volume can be shared' };
}

function copiesProblem(spec: ResourceSpec): Problem | undefined {
  const { copies } = spec;
  if (copies === undefined || copies === 1) return undefined;
  if (!Number.isSafeInteger(copies) || copies < 1) {
    return { problem: `it is held ${copies} times`, remedy: 'give a whole number of copies, 1 or more' };
  }
  if (isIndivisible(spec)) return undefined;
  return { problem: `it is held ${copies} times but divisible`, remedy: 'give the whole amount and no copies' };
}
