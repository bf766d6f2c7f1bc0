import { amountProblem, toThousandths } from './amount.ts';
import { MalformedResourceError, refuse, type Where } from './malformed-resource-error.ts';
import type { Range } from './ranges.ts';
import type { Disk, DiskSource, Label, Reservation, ResourceSpec, ResourceValue, Volume } from './resource.ts';
import { rangeProblem, resourceProblem } from './resource-problem.ts';
import { collect, type Resources } from './resources.ts';
import type {
  WireDisk,
  WireDiskSource,
  WireLabels,
  WireRanges,
  WireReservation,
  WireResourceInput,
  WireVolume,
} from './wire-resource.ts';

/*
 * protobufjs gives unset fields as null or as the default of their type, so an empty text means the same as none.
 */

/**
 * Resources from the messages of the wire (or their plain objects). Scalars are rounded to thousandths. The old `role`
 * and `reservation` are understood where `reservations` is empty.
 *
 * @throws {MalformedResourceError} naming the first entry that is malformed
 */
export function fromWire(list: readonly WireResourceInput[]): Resources {
  return collect(specsFromWire(list));
}

/** The entries as they came, each by itself: in their order, unmerged, empty ones too. */
export function specsFromWire(list: readonly WireResourceInput[]): ResourceSpec[] {
  return list.map((wire, i) => specFromWire(wire, () => `resource ${i + 1} ('${wire?.name ?? ''}')`));
}

/** One resource from the wire. */
function specFromWire(wire: WireResourceInput, where: Where): ResourceSpec {
  if (typeof wire !== 'object' || wire === null) refuse(where, 'it is no message', 'send a Resource');
  const reservations = readReservations(wire, where);
  const allocationRole = wire.allocationInfo?.role;
  const providerId = wire.providerId?.value;
  const spec: ResourceSpec = {
    name: wire.name ?? '',
    ...readValue(wire, where),
    ...(reservations.length > 0 && { reservations }),
    ...(wire.disk && { disk: readDisk(wire.disk, where) }),
    ...(wire.revocable && { revocable: true }),
    ...(wire.shared && { shared: true }),
    ...(providerId && { providerId }),
    ...(allocationRole && { allocationRole }),
  };
  const problem = resourceProblem(spec);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return spec;
}

const kinds = ['scalar', 'ranges', 'set'] as const;

function readValue(wire: WireResourceInput, where: Where): ResourceValue {
  const kind = kinds[wire.type ?? -1];
  if (kind === undefined) {
    refuse(where, `its type ${wire.type} is unknown`, 'use 0 (SCALAR), 1 (RANGES) or 2 (SET)');
  }
  for (const other of kinds) {
    if (other !== kind && wire[other] != null) {
      refuse(where, `its type is '${kind}' but it has '${other}'`, `leave '${other}' unset, or change the type`);
    }
  }
  if (wire[kind] == null) refuse(where, `its type is '${kind}' but '${kind}' is missing`, `set '${kind}'`);
  if (kind === 'scalar') return { kind, amount: readAmount(wire.scalar?.value, where) };
  if (kind === 'ranges') return { kind, ranges: readRanges(wire.ranges, where) };
  return { kind, items: wire.set?.item ?? [] };
}

function readAmount(value: number | null | undefined, where: Where): number {
  if (value == null) refuse(where, 'its scalar has no value', "set 'value'");
  const problem = amountProblem(value);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return toThousandths(value);
}

/** Ranges from the wire, each checked; neither sorted nor joined. */
export function readRanges(wire: WireRanges | null | undefined, where: Where): Range[] {
  return (wire?.range ?? []).map(({ begin, end }) => {
    const range = { begin: Number(begin), end: Number(end) };
    const problem = rangeProblem(range);
    if (problem !== undefined) throw new MalformedResourceError(where(), problem);
    return range;
  });
}

function readReservations(wire: WireResourceInput, where: Where): Reservation[] {
  if (wire.reservations && wire.reservations.length > 0) {
    return wire.reservations.map((reservation) => {
      const type = ([undefined, 'static', 'dynamic'] as const)[reservation.type ?? 0];
      if (type === undefined) {
        refuse(where, 'the type of its reservation is missing or unknown', 'use 1 (STATIC) or 2 (DYNAMIC)');
      }
      return reservationOf(type, reservation.role ?? '', reservation);
    });
  }
  const role = wire.role || '*';
  if (wire.reservation) return [reservationOf('dynamic', role, wire.reservation)];
  return role === '*' ? [] : [{ type: 'static', role }];
}

function reservationOf(type: Reservation['type'], role: string, wire: WireReservation): Reservation {
  const labels = readLabels(wire.labels);
  return {
    type,
    role,
    ...(wire.principal && { principal: wire.principal }),
    ...(labels.length > 0 && { labels }),
  };
}

function readLabels(wire: WireLabels | null | undefined): Label[] {
  return (wire?.labels ?? []).map(({ key, value }) => (value ? { key, value } : { key }));
}

function readDisk({ persistence, volume, source }: WireDisk, where: Where): Disk {
  return {
    ...(persistence && {
      persistence: {
        id: persistence.id ?? '',
        ...(persistence.principal && { principal: persistence.principal }),
      },
    }),
    ...(volume && { volume: readVolume(volume, where) }),
    ...(source && { source: readSource(source, where) }),
  };
}

function readVolume({ mode, containerPath, hostPath }: WireVolume, where: Where): Volume {
  const access = ([undefined, 'read-write', 'read-only'] as const)[mode ?? 0];
  if (access === undefined) refuse(where, 'the mode of its volume is missing or unknown', 'use 1 (RW) or 2 (RO)');
  if (!containerPath) refuse(where, 'its volume has no container path', "set 'container_path'");
  return { mode: access, containerPath, ...(hostPath && { hostPath }) };
}

function readSource(wire: WireDiskSource, where: Where): DiskSource {
  const type = ([undefined, 'path', 'mount', 'block', 'raw'] as const)[wire.type ?? 0];
  if (type === undefined) {
    refuse(where, 'the source of its disk is missing or unknown', 'use 1 (PATH), 2 (MOUNT), 3 (BLOCK) or 4 (RAW)');
  }
  const root = type === 'path' ? wire.path?.root : type === 'mount' ? wire.mount?.root : undefined;
  const metadata = readLabels(wire.metadata);
  return {
    type,
    ...(root && { root }),
    ...(wire.vendor && { vendor: wire.vendor }),
    ...(wire.id && { id: wire.id }),
    ...(metadata.length > 0 && { metadata }),
    ...(wire.profile && { profile: wire.profile }),
  };
}
