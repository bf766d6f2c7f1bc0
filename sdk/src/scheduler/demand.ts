import type { mesobus } from '@mesobus/protos';
import { type Resources, type ResourcesInput, toResources } from '../resources/index.ts';

type RoleDemand = mesobus.v1.RoleDemand.$Properties;

/**
 * What waits to be launched: so many tasks of one size. A `Task` says enough, so that the tasks that wait can be given as
 * they are; for long queues it is cheaper to count them.
 */
export interface Wanted {
  /** Of one task, all on one agent. */
  readonly resources: ResourcesInput;
  /** Default 1; 0 for none. */
  readonly count?: number;
  /** Needed only if the framework has several. */
  readonly role?: string;
}

/** Of each role the leader is told so many sizes; the others come when these are launched. */
const maxShapesPerRole = 64;
const maxCount = 10_000_000;

interface Shape {
  readonly key: string;
  readonly quantities: Readonly<Record<string, { readonly value: number }>>;
}

/** Sizes that were read before: a queue is looked through again and again. */
const shapesRead = new WeakMap<object, Shape>();

/**
 * What the leader is told: by role, sizes and how often each, in the order of the first of a size. A role in which nothing
 * is wanted is told so.
 *
 * @param roles - of the framework
 * @throws {TypeError} a role is not the framework's, or must be named; a count or a size is unusable
 * @throws {MalformedResourceError} resources cannot be read
 */
export function demandOf(wanted: readonly Wanted[], roles: readonly string[]): RoleDemand[] {
  const byRole = new Map(roles.map((role) => [role, new Map<string, { shape: Shape; count: number }>()]));
  for (const { resources, count = 1, role = onlyRole(roles) } of wanted) {
    const sizes = byRole.get(role);
    if (sizes === undefined) {
      throw new TypeError(
        `Cannot want anything in role '${role}': the framework has ${roles.join(', ') || 'no roles'}`,
      );
    }
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new TypeError(`Cannot want ${count} tasks: give a whole number, 0 or more`);
    }
    if (count === 0) continue;
    const shape = shapeOf(resources);
    const known = sizes.get(shape.key);
    if (known !== undefined) known.count += count;
    else if (sizes.size < maxShapesPerRole) sizes.set(shape.key, { shape, count });
  }
  return [...byRole].map(([role, sizes]) => ({
    role,
    shapes: [...sizes.values()].map(({ shape, count }) => ({
      quantities: shape.quantities,
      count: Math.min(count, maxCount),
    })),
  }));
}

function onlyRole(roles: readonly string[]): string {
  const [role, ...others] = roles;
  if (role !== undefined && others.length === 0) return role;
  throw new TypeError(`Cannot tell in which role something is wanted: name one of ${roles.join(', ')}`);
}

function shapeOf(input: ResourcesInput): Shape {
  const before = shapesRead.get(input);
  if (before !== undefined) return before;
  const amounts = amountsIn(toResources(input));
  const entries = Object.entries(amounts).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) throw new TypeError('Cannot want a task that takes nothing: say how much of what it takes');
  const shape = {
    key: entries.map(([name, amount]) => `${name}:${amount}`).join(';'),
    quantities: Object.fromEntries(entries.map(([name, value]) => [name, { value }])),
  };
  shapesRead.set(input, shape);
  return shape;
}

/** Scalars in units, ranges and sets by how many. */
function amountsIn(resources: Resources): Record<string, number> {
  const amounts: Record<string, number> = {};
  const put = (name: string, amount: number): void => {
    if (amount > 0) amounts[name] = (amounts[name] ?? 0) + amount;
  };
  for (const resource of resources) {
    if (resource.kind === 'scalar') put(resource.name, resource.amount / 1000);
    else if (resource.kind === 'set') put(resource.name, resource.items.length);
    else for (const { begin, end } of resource.ranges) put(resource.name, end - begin + 1);
  }
  return amounts;
}
