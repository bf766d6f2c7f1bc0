import { type Reservation, type ResourceSpec, reservationRole } from './resource.ts';
import { type Resources, resourcesOf } from './resources.ts';
import { pushReservation, select } from './selections.ts';

/**
 * Resources as they shall be reserved: once more than they are, dynamically.
 *
 * @throws {MalformedResourceError} if the role is not below the role that one of them is reserved to already
 */
export function reservedFor(
  resources: Resources,
  role: string,
  { principal, labels }: Pick<Reservation, 'principal' | 'labels'> = {},
): Resources {
  return pushReservation(resources, {
    type: 'dynamic',
    role,
    ...(principal !== undefined && { principal }),
    ...(labels !== undefined && { labels }),
  });
}

export interface VolumeSettings {
  /** Unique among the volumes of its role on the agent. */
  readonly id: string;
  /** The name under which tasks see it in their sandbox. */
  readonly containerPath: string;
  /** Many tasks may use it at once. */
  readonly shared?: boolean;
  readonly principal?: string;
}

/**
 * A persistent volume made of reserved disk, all of it.
 *
 * @param disk - of one kind: reserved one way, of one source
 */
export function volumeOf(disk: Resources, { id, containerPath, shared = false, principal }: VolumeSettings): Resources {
  return resourcesOf(
    disk.map((one): ResourceSpec => {
      const persistence = { id, ...(principal !== undefined && { principal }) };
      const volume = { mode: 'read-write' as const, containerPath };
      return { ...one, disk: { ...one.disk, persistence, volume }, ...(shared && { shared: true }) };
    }),
  );
}

/** The volume of a role that has an id; empty if there is none. */
export function findVolume(resources: Resources, role: string, id: string): Resources {
  return select(resources, (one) => one.disk?.persistence?.id === id && reservationRole(one) === role);
}
