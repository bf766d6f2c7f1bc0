import { coalesce, type Range } from './ranges.ts';

export interface Label {
  readonly key: string;
  readonly value?: string;
}

/** Sets resources of one agent aside for a role. Static ones are the agent's configuration, dynamic ones can be undone. */
export interface Reservation {
  readonly type: 'static' | 'dynamic';
  readonly role: string;
  readonly principal?: string;
  readonly labels?: readonly Label[];
}

/** How a task mounts a volume: no part of what the volume is, so it does not count when volumes are compared. */
export interface Volume {
  readonly mode: 'read-write' | 'read-only';
  readonly containerPath: string;
  readonly hostPath?: string;
}

/** The disk that a `disk` resource is made of. A `mount` or `block` disk is only ever used whole. */
export interface DiskSource {
  readonly type: 'path' | 'mount' | 'block' | 'raw';
  readonly root?: string;
  readonly vendor?: string;
  readonly id?: string;
  readonly metadata?: readonly Label[];
  readonly profile?: string;
}

/** `persistence` makes it a persistent volume, known by its id. */
export interface Disk {
  readonly persistence?: { readonly id: string; readonly principal?: string };
  readonly volume?: Volume;
  readonly source?: DiskSource;
}

/** How much: `amount` is in integer thousandths of the Mesos unit (cpus, MB). */
export type ResourceValue =
  | { readonly kind: 'scalar'; readonly amount: number }
  | { readonly kind: 'ranges'; readonly ranges: readonly Range[] }
  | { readonly kind: 'set'; readonly items: readonly string[] };

/** What, for whom, and how it may be used. */
export interface ResourceTraits {
  readonly name: string;
  /** A stack: each refines the one before for a subrole. The last one says whose it is. */
  readonly reservations?: readonly Reservation[];
  readonly disk?: Disk;
  /** May be taken back at any moment. */
  readonly revocable?: true;
  /** A persistent volume that many tasks may use at once. */
  readonly shared?: true;
  /** How often an indivisible resource is held; absent: once. */
  readonly copies?: number;
  readonly providerId?: string;
  /** The role in whose name it is offered or allocated; absent: neither. */
  readonly allocationRole?: string;
}

/** A resource as one writes it down. */
export type ResourceSpec = ResourceTraits & ResourceValue;

/** A resource in normal form. Two with the same `key` are of the same stuff: they are added and subtracted. */
export type Resource = ResourceSpec & { readonly key: string };

/** The role it is reserved to: the last of the stack; `*` if unreserved. */
export function reservationRole(resource: ResourceSpec): string {
  return resource.reservations?.at(-1)?.role ?? '*';
}

export function isPersistentVolume(resource: ResourceSpec): boolean {
  return resource.disk?.persistence !== undefined;
}

/**
 * Whether it can only be taken whole: a shared resource, a persistent volume, a MOUNT or BLOCK disk, or a RAW disk with
 * an identity. Two of them never melt into a larger one; equal ones are counted.
 */
export function isIndivisible({ disk, shared }: ResourceSpec): boolean {
  if (shared) return true;
  if (disk === undefined) return false;
  if (disk.persistence !== undefined) return true;
  const source = disk.source;
  return source?.type === 'mount' || source?.type === 'block' || (source?.type === 'raw' && source.id !== undefined);
}

/** Brings a resource into normal form. It must be well-formed (see `resourceProblem`). */
export function normalise(spec: ResourceSpec): Resource {
  const key = keyOf(spec);
  const { reservations, copies, revocable, ...rest } = spec;
  const resource = {
    ...rest,
    ...(reservations !== undefined && reservations.length > 0 && { reservations }),
    ...(copies !== undefined && copies > 1 && { copies }),
    ...(revocable && { revocable }),
    key,
  };
  if (resource.kind === 'ranges') return { ...resource, ranges: coalesce(resource.ranges) };
  if (resource.kind === 'set') return { ...resource, items: [...new Set(resource.items)].sort() };
  return resource;
}

/** The same resource in the name of another role: normal already, so only the key is made again. */
export function inNameOf(resource: Resource, role: string): Resource {
  const allocated = { ...resource, allocationRole: role };
  return { ...allocated, key: keyOf(allocated) };
}

export function isNothing(resource: ResourceSpec): boolean {
  switch (resource.kind) {
    case 'scalar':
      return resource.amount === 0;
    case 'ranges':
      return resource.ranges.length === 0;
    case 'set':
      return resource.items.length === 0;
  }
}

/**
 * All that two resources must share to be of the same stuff. It starts with the name, so sorting by key sorts by name.
 * Texts from outside are in quotes, so that no two sets of traits have the same key.
 */
function keyOf(spec: ResourceSpec): string {
  let key = `${spec.name}\n${spec.kind}`;
  if (spec.allocationRole !== undefined) key += ` for ${JSON.stringify(spec.allocationRole)}`;
  if (spec.reservations !== undefined) for (const reservation of spec.reservations) key += reservationKey(reservation);
  if (spec.revocable) key += ' revocable';
  if (spec.providerId !== undefined) key += ` of ${JSON.stringify(spec.providerId)}`;
  if (spec.disk !== undefined) key += diskKey(spec.disk);
  if (spec.shared) key += ' shared';
  if (spec.kind === 'scalar' && isIndivisible(spec)) key += ` whole ${spec.amount}`;
  return key;
}

function reservationKey({ type, role, principal, labels }: Reservation): string {
  return ` ${type} ${JSON.stringify([role, principal])}${labelsKey(labels)}`;
}

/** As in Mesos, `volume` and the principal of a persistent volume do not count: they say how it is used and by whom. */
function diskKey({ persistence, source }: Disk): string {
  const from = source && [source.type, source.root, source.vendor, source.id, source.profile];
  return ` disk ${JSON.stringify([persistence?.id, from])}${labelsKey(source?.metadata)}`;
}

/** In any order they are the same. */
function labelsKey(labels: readonly Label[] | undefined): string {
  if (labels === undefined || labels.length === 0) return '';
  const texts = labels.map(({ key, value }) => JSON.stringify([key, value]));
  return `[${texts.sort().join()}]`;
}
