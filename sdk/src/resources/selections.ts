import {
  inNameOf,
  isPersistentVolume,
  type Reservation,
  type Resource,
  type ResourceSpec,
  reservationRole,
} from './resource.ts';
import { collect, collectNormal, contains, type Resources, resourcesOf, trySubtract } from './resources.ts';
import { isSubroleOf } from './roles.ts';

/** The resources that a test picks. */
export function select(resources: Resources, picks: (resource: Resource) => boolean): Resources {
  return resources.filter(picks) as readonly Resource[] as Resources;
}

export function unreserved(resources: Resources): Resources {
  return select(resources, (resource) => resource.reservations === undefined);
}

export function reserved(resources: Resources): Resources {
  return select(resources, (resource) => resource.reservations !== undefined);
}

/** Reserved to exactly this role. */
export function reservedTo(resources: Resources, role: string): Resources {
  return select(resources, (resource) => resource.reservations !== undefined && reservationRole(resource) === role);
}

/** What may be offered to a role: unreserved, or reserved to the role or to an ancestor of it. */
export function allocatableTo(resources: Resources, role: string): Resources {
  return select(resources, (resource) => {
    if (resource.reservations === undefined) return true;
    const owner = reservationRole(resource);
    return owner === role || isSubroleOf(role, owner);
  });
}

export function revocable(resources: Resources): Resources {
  return select(resources, (resource) => resource.revocable === true);
}

export function nonRevocable(resources: Resources): Resources {
  return select(resources, (resource) => resource.revocable === undefined);
}

/** The resources as such that may be taken back at any moment. Nobody can reserve those. */
export function toRevocable(resources: Resources): Resources {
  return resourcesOf(resources.map((resource) => ({ ...resource, revocable: true })));
}

export function shared(resources: Resources): Resources {
  return select(resources, (resource) => resource.shared === true);
}

export function nonShared(resources: Resources): Resources {
  return select(resources, (resource) => resource.shared === undefined);
}

export function persistentVolumes(resources: Resources): Resources {
  return select(resources, isPersistentVolume);
}

/**
 * What is left of resources for others when somebody uses a part of them: a shared volume stays, however many use it.
 * Undefined if they do not hold that part.
 */
export function tryUse(whole: Resources, part: Resources): Resources | undefined {
  if (part.every((resource) => resource.shared === undefined)) return trySubtract(whole, part);
  const rest = trySubtract(whole, nonShared(part));
  const once = collect(shared(part).map(({ copies: _, ...one }): ResourceSpec => one));
  return rest !== undefined && contains(rest, once) ? rest : undefined;
}

/** The resources, held in the name of a role. Where they were in the name of another, they no longer are. */
export function allocate(resources: Resources, role: string): Resources {
  return collectNormal(resources.map((resource) => inNameOf(resource, role)));
}

/** The resources, held in nobody's name. */
export function unallocate(resources: Resources): Resources {
  return collect(resources.map(({ allocationRole: _, ...resource }): ResourceSpec => resource));
}

/**
 * The resources, each reserved once more.
 *
 * @throws {MalformedResourceError} if the role is not below the role that one of them is reserved to already
 */
export function pushReservation(resources: Resources, reservation: Reservation): Resources {
  return resourcesOf(
    resources.map((resource) => ({ ...resource, reservations: [...(resource.reservations ?? []), reservation] })),
  );
}

/** The resources, each without its last reservation. Unreserved ones stay as they are. */
export function popReservation(resources: Resources): Resources {
  return collect(
    resources.map((resource) => ({ ...resource, reservations: resource.reservations?.slice(0, -1) ?? [] })),
  );
}

/** The resources without any reservation. */
export function toUnreserved(resources: Resources): Resources {
  return collect(resources.map(({ reservations: _, ...resource }): ResourceSpec => resource));
}
