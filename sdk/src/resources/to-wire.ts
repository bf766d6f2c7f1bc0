import type { Ranges } from './ranges.ts';
import type { Disk, DiskSource, Label, Reservation, Resource, ResourceSpec } from './resource.ts';
import type { Resources } from './resources.ts';
import type { WireResource, WrittenDisk } from './wire-resource.ts';

/** Resources as messages of the wire, in units. What is held more than once is written as often. */
export function toWire(resources: Resources): WireResource[] {
  const list: WireResource[] = [];
  for (const resource of resources) {
    for (let copy = 0; copy < (resource.copies ?? 1); copy += 1) list.push(writeResource(resource));
  }
  return list;
}

function writeResource(resource: Resource): WireResource {
  const { name, allocationRole, reservations, disk, revocable, shared, providerId } = resource;
  return {
    name,
    ...writeValue(resource),
    ...(allocationRole !== undefined && { allocationInfo: { role: allocationRole } }),
    ...(reservations !== undefined && { reservations: reservations.map(writeReservation) }),
    ...(disk !== undefined && { disk: writeDisk(disk) }),
    ...(revocable && { revocable: {} }),
    ...(shared && { shared: {} }),
    ...(providerId !== undefined && { providerId: { value: providerId } }),
  };
}

function writeValue(resource: ResourceSpec): Pick<WireResource, 'type' | 'scalar' | 'ranges' | 'set'> {
  switch (resource.kind) {
    case 'scalar':
      return { type: 0, scalar: { value: resource.amount / 1000 } };
    case 'ranges':
      return { type: 1, ranges: writeRanges(resource.ranges) };
    case 'set':
      return { type: 2, set: { item: [...resource.items] } };
  }
}

/** Ranges as the wire has them: 64-bit numbers. */
export function writeRanges(ranges: Ranges): { range: { begin: bigint; end: bigint }[] } {
  return { range: ranges.map(({ begin, end }) => ({ begin: BigInt(begin), end: BigInt(end) })) };
}

function writeReservation({ type, role, principal, labels }: Reservation) {
  return {
    type: type === 'static' ? (1 as const) : (2 as const),
    role,
    ...(principal !== undefined && { principal }),
    ...(labels !== undefined && { labels: writeLabels(labels) }),
  };
}

function writeLabels(labels: readonly Label[]) {
  return { labels: labels.map((label) => ({ ...label })) };
}

function writeDisk({ persistence, volume, source }: Disk): WrittenDisk {
  return {
    ...(persistence !== undefined && { persistence: { ...persistence } }),
    ...(volume !== undefined && { volume: { ...volume, mode: volume.mode === 'read-only' ? 2 : 1 } }),
    ...(source !== undefined && { source: writeSource(source) }),
  };
}

const sourceTypes = { path: 1, mount: 2, block: 3, raw: 4 } as const;

function writeSource({ type, root, metadata, ...texts }: DiskSource): NonNullable<WrittenDisk['source']> {
  return {
    type: sourceTypes[type],
    ...(type === 'path' && root !== undefined && { path: { root } }),
    ...(type === 'mount' && root !== undefined && { mount: { root } }),
    ...texts,
    ...(metadata !== undefined && { metadata: writeLabels(metadata) }),
  };
}
