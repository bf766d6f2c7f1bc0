import { formatAmount } from './amount.ts';
import { ConversionError } from './conversion-error.ts';
import { describeResources } from './describe-resources.ts';
import { specsFromWire } from './from-wire.ts';
import type { Problem } from './malformed-resource-error.ts';
import { isPersistentVolume, type Resource, type ResourceSpec, reservationRole } from './resource.ts';
import { add, collect, contains, equals, isEmpty, type Resources, trySubtract } from './resources.ts';
import { isSubroleOf } from './roles.ts';
import { popReservation, select, toUnreserved, unallocate } from './selections.ts';
import type { WireResourceInput } from './wire-resource.ts';

/** A change of what resources of one agent are: of whom they are, or whether a volume is made of them. */
export type Conversion =
  /** The resources as they shall be. Of `source`, if given: of what is reserved otherwise; else of what lacks the last reservation. */
  | { readonly kind: 'reserve'; readonly resources: Resources; readonly source?: Resources | undefined }
  /** The resources as they are: they lose their last reservation. */
  | { readonly kind: 'unreserve'; readonly resources: Resources }
  | { readonly kind: 'create' | 'destroy'; readonly volumes: Resources }
  /** One volume, and disk of the same stuff. */
  | { readonly kind: 'grow'; readonly volume: Resources; readonly addition: Resources }
  /** @property subtract - in thousandths of MB */
  | { readonly kind: 'shrink'; readonly volume: Resources; readonly subtract: number };

/** What is known where the conversion is to take place; what is not said is not checked. */
export interface ConversionContext {
  /** All that the agent has: a persistence id is used once per role on it. */
  readonly total?: Resources;
  /** Of this it must be made: what is offered, or what is free. */
  readonly available?: Resources;
  /** Held by tasks. */
  readonly used?: Resources;
  /** In whose name a framework acts: it may reserve for this role and for those below. Operators may for any. */
  readonly role?: string;
  /** Who acts: nobody reserves in the name of another. */
  readonly principal?: string;
}

export type Converted =
  | { readonly ok: true; readonly consumed: Resources; readonly converted: Resources }
  | { readonly ok: false; readonly error: ConversionError };

/**
 * What becomes of which resources, or why it cannot be. Quantities stay the same: what is consumed and what is made of
 * it differ only in reservations and volumes.
 */
export function convert(conversion: Conversion, context: ConversionContext = {}): Converted {
  const problem = problemOf(conversion, context);
  if (problem !== undefined) return refused(conversion, problem);
  const { consumed, converted } = sidesOf(conversion);
  const missing = missingProblem(conversion, consumed, context);
  return missing === undefined ? { ok: true, consumed, converted } : refused(conversion, missing);
}

const refused = (conversion: Conversion, problem: Problem): Converted => ({
  ok: false,
  error: new ConversionError(nameOf(conversion), describeResources(subjectOf(conversion)), problem),
});

const names = {
  reserve: 'RESERVE',
  unreserve: 'UNRESERVE',
  create: 'CREATE',
  destroy: 'DESTROY',
  grow: 'GROW_VOLUME',
  shrink: 'SHRINK_VOLUME',
} as const;

const nameOf = ({ kind }: Conversion): string => names[kind];

function subjectOf(conversion: Conversion): Resources {
  if ('resources' in conversion) return conversion.resources;
  return 'volumes' in conversion ? conversion.volumes : conversion.volume;
}

// ---- both sides

function sidesOf(conversion: Conversion): { consumed: Resources; converted: Resources } {
  switch (conversion.kind) {
    case 'reserve':
      return { consumed: conversion.source ?? popReservation(conversion.resources), converted: conversion.resources };
    case 'unreserve':
      return { consumed: conversion.resources, converted: popReservation(conversion.resources) };
    case 'create':
      return { consumed: withoutVolumes(conversion.volumes), converted: conversion.volumes };
    case 'destroy':
      return { consumed: conversion.volumes, converted: withoutVolumes(conversion.volumes) };
    case 'grow': {
      const { volume, addition } = conversion;
      return { consumed: add(volume, addition), converted: resized(volume, amountOf(addition)) };
    }
    case 'shrink': {
      const { volume, subtract } = conversion;
      const freed = withoutVolumes(resized(volume, subtract - amountOf(volume)));
      return { consumed: volume, converted: add(resized(volume, -subtract), freed) };
    }
  }
}

/** The disk that volumes are made of. */
export function withoutVolumes(volumes: Resources): Resources {
  return collect(
    volumes.map(({ disk, shared: _, ...rest }): ResourceSpec => {
      const { source } = disk ?? {};
      return { ...rest, ...(source !== undefined && { disk: { source } }) };
    }),
  );
}

function resized(volume: Resources, by: number): Resources {
  return collect(volume.map((one) => (one.kind === 'scalar' ? { ...one, amount: one.amount + by } : one)));
}

const amountOf = (resources: Resources): number =>
  resources.reduce((sum, one) => sum + (one.kind === 'scalar' ? one.amount : 0), 0);

// ---- what may be wrong

function problemOf(conversion: Conversion, context: ConversionContext): Problem | undefined {
  if (isEmpty(subjectOf(conversion))) return { problem: 'it names no resources', remedy: 'name at least one' };
  switch (conversion.kind) {
    case 'reserve':
      return conversion.source === undefined
        ? reserveProblem(conversion.resources, context)
        : updateProblem(conversion.source, conversion.resources, context);
    case 'unreserve':
      return unreserveProblem(conversion.resources);
    case 'create':
      return createProblem(conversion.volumes, context);
    case 'destroy':
      return volumesProblem(conversion.volumes) ?? useProblem(conversion.volumes, context);
    case 'grow':
      return growProblem(conversion.volume, conversion.addition) ?? useProblem(conversion.volume, context);
    case 'shrink':
      return shrinkProblem(conversion.volume, conversion.subtract) ?? useProblem(conversion.volume, context);
  }
}

/** The first problem of any of the resources. */
function each(resources: Resources, problemOfOne: (one: Resource) => Problem | undefined): Problem | undefined {
  for (const one of resources) {
    const problem = problemOfOne(one);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const reserveProblem = (resources: Resources, context: ConversionContext): Problem | undefined =>
  each(resources, (one) => {
    if (isPersistentVolume(one)) {
      return { problem: 'it is a persistent volume', remedy: "reserve its disk before, or move it with 'source'" };
    }
    return reservationProblem(one, context);
  });

/** Of the last reservation, which is to be made. */
function reservationProblem(one: Resource, { role, principal }: ConversionContext): Problem | undefined {
  const last = one.reservations?.at(-1);
  if (last === undefined) {
    const remedy = "add a reservation with a role such as 'ads'";
    return { problem: `'${one.name}' has no reservation: nothing can be reserved to '*'`, remedy };
  }
  if (one.revocable) {
    return { problem: `'${one.name}' is revocable`, remedy: 'reserve what cannot be taken back' };
  }
  if (last.type === 'static') {
    return {
      problem: `the last reservation of '${one.name}' is static`,
      remedy: 'make it dynamic; static ones are the configuration of the agent',
    };
  }
  if (role !== undefined && last.role !== role && !isSubroleOf(last.role, role)) {
    return {
      problem: `its role '${last.role}' is neither '${role}', for which it was offered, nor below`,
      remedy: role === '*' ? 'subscribe with the role' : `reserve to '${role}' or to a role below such as '${role}/x'`,
    };
  }
  return principalProblem(last.principal, principal, 'reservation');
}

function principalProblem(given: string | undefined, own: string | undefined, of: string): Problem | undefined {
  if (given === undefined || own === undefined || given === own) return undefined;
  return {
    problem: `the principal of the ${of} is '${given}', but '${own}' acts`,
    remedy: `give '${own}', or none`,
  };
}

/** A reservation is moved: both sides are the same but for their dynamic reservations. */
function updateProblem(source: Resources, resources: Resources, context: ConversionContext): Problem | undefined {
  if (context.role !== undefined) {
    return { problem: "frameworks cannot give a 'source'", remedy: 'unreserve first, or have an operator move it' };
  }
  if (isEmpty(source)) return { problem: "its 'source' names no resources", remedy: 'name what is to be moved' };
  if (!equals(toUnreserved(source), toUnreserved(resources))) {
    return {
      problem: `its 'source' is '${describeResources(source)}', which differs in more than reservations`,
      remedy: 'give the same resources on both sides',
    };
  }
  if (equals(source, resources)) return { problem: 'it changes nothing', remedy: 'give another reservation' };
  for (const side of [source, resources]) {
    if (new Set(side.map(stackOf)).size > 1) {
      return { problem: 'not all of it is reserved the same way', remedy: 'move one reservation at a time' };
    }
  }
  if (staticOf(source) !== staticOf(resources)) {
    return { problem: 'a static reservation would change', remedy: 'only dynamic ones can be moved' };
  }
  const wrong =
    each(source, (one) =>
      one.reservations ? undefined : { problem: "its 'source' is not reserved", remedy: 'reserve it' },
    ) ?? each(resources, (one) => reservationProblem(one, context));
  if (wrong !== undefined) return wrong;
  const total = context.total && (trySubtract(context.total, source) ?? context.total);
  return (
    useProblem(select(source, isPersistentVolume), context) ??
    takenProblem(select(resources, isPersistentVolume), { ...context, ...(total && { total }) })
  );
}

const stackOf = ({ reservations }: Resource): string => JSON.stringify(reservations ?? []);

const staticOf = (resources: Resources): string =>
  JSON.stringify(resources[0]?.reservations?.filter(({ type }) => type === 'static') ?? []);

const unreserveProblem = (resources: Resources): Problem | undefined =>
  each(resources, (one) => {
    const last = one.reservations?.at(-1);
    if (isPersistentVolume(one)) return { problem: 'it is a persistent volume', remedy: 'destroy the volume first' };
    if (last === undefined) return { problem: `'${one.name}' is not reserved`, remedy: 'name it as it is reserved' };
    if (last.type === 'dynamic') return undefined;
    const remedy = 'only dynamic ones can be undone; change the --resources of the agent';
    return { problem: `the last reservation of '${one.name}' is static`, remedy };
  });

function createProblem(volumes: Resources, context: ConversionContext): Problem | undefined {
  return (
    volumesProblem(volumes) ?? each(volumes, (one) => newVolumeProblem(one, context)) ?? takenProblem(volumes, context)
  );
}

const volumesProblem = (volumes: Resources): Problem | undefined =>
  each(volumes, (one) =>
    isPersistentVolume(one)
      ? undefined
      : { problem: `'${one.name}' is no persistent volume`, remedy: "give it 'disk.persistence' with an id" },
  );

const maxIdLength = 255;

function newVolumeProblem(one: Resource, { principal }: ConversionContext): Problem | undefined {
  const { disk, reservations, revocable } = one;
  const id = disk?.persistence?.id ?? '';
  if (reservations === undefined) {
    return { problem: `volume '${id}' is made of disk that is not reserved`, remedy: 'reserve the disk first' };
  }
  if (revocable) return { problem: `volume '${id}' is made of revocable disk`, remedy: 'use disk that is not' };
  if (id.length > maxIdLength || /[/\p{Cc}]/u.test(id) || id === '.' || id === '..') {
    return {
      problem: `its id '${id.slice(0, maxIdLength)}' cannot name a folder`,
      remedy: `give at most ${maxIdLength} characters without slashes and control characters`,
    };
  }
  if (disk?.source?.type === 'block' || disk?.source?.type === 'raw') {
    return {
      problem: `volume '${id}' is made of a ${disk.source.type} disk`,
      remedy: 'use a root, path or mount disk',
    };
  }
  if (disk?.source?.type === 'mount' && disk.source.root === undefined) {
    return {
      problem: `volume '${id}' is made of a mount disk that does not say where it is`,
      remedy: "give its 'root' in the --resources of the agent",
    };
  }
  if (disk?.volume === undefined || disk.volume.mode !== 'read-write' || disk.volume.hostPath !== undefined) {
    return {
      problem: `volume '${id}' does not say how tasks see it`,
      remedy: "give it 'disk.volume' with a container path, mode RW and no host path",
    };
  }
  return principalProblem(disk.persistence?.principal, principal, 'volume');
}

const volumeKey = (one: Resource): string => `${reservationRole(one)}\n${one.disk?.persistence?.id}`;

/** A persistence id names one volume of a role on an agent. */
function takenProblem(volumes: Resources, { total }: ConversionContext): Problem | undefined {
  const taken = new Set((total ?? []).filter(isPersistentVolume).map(volumeKey));
  return each(volumes, (one) => {
    const key = volumeKey(one);
    if (!taken.has(key) && one.copies === undefined) {
      taken.add(key);
      return undefined;
    }
    const id = one.disk?.persistence?.id;
    const problem = `role '${reservationRole(one)}' has a volume '${id}' on the agent already`;
    return { problem, remedy: 'use that, or give another id' };
  });
}

function useProblem(volumes: Resources, { used }: ConversionContext): Problem | undefined {
  const keys = new Set((used ?? []).map(({ key }) => key));
  return each(volumes, ({ key, disk }) => {
    if (!keys.has(key)) return undefined;
    return {
      problem: `a task uses volume '${disk?.persistence?.id}'`,
      remedy: 'wait for the end of the task, or kill it',
    };
  });
}

/** Only a part of a disk can become larger or smaller, and only while nobody else looks at it. */
function resizeProblem(volume: Resources): Problem | undefined {
  const [one, ...more] = volume;
  if (one === undefined || more.length > 0 || one.copies !== undefined) {
    return { problem: 'it names more than one volume', remedy: 'resize one at a time' };
  }
  const wrong = volumesProblem(volume);
  if (wrong !== undefined) return wrong;
  if (one.shared) return { problem: 'the volume is shared', remedy: 'make another volume' };
  const source = one.disk?.source?.type ?? 'path';
  if (source !== 'path')
    return { problem: `the volume is a whole ${source} disk`, remedy: 'resize root or path volumes' };
  if (one.providerId === undefined) return undefined;
  return { problem: 'the volume is of a resource provider', remedy: 'resize volumes of the agent itself' };
}

function growProblem(volume: Resources, addition: Resources): Problem | undefined {
  const wrong = resizeProblem(volume);
  if (wrong !== undefined) return wrong;
  const [more, ...others] = addition;
  if (more === undefined || others.length > 0)
    return { problem: 'it adds nothing, or more than one kind of disk', remedy: 'add disk' };
  if (more.key === withoutVolumes(volume)[0]?.key) return undefined;
  return {
    problem: `what is added, '${describeResources(addition)}', is not of the disk that the volume is made of`,
    remedy: 'add disk of the same source, reserved the same way',
  };
}

function shrinkProblem(volume: Resources, subtract: number): Problem | undefined {
  const wrong = resizeProblem(volume);
  if (wrong !== undefined) return wrong;
  const size = amountOf(volume);
  if (subtract > 0 && subtract < size) return undefined;
  const problem = `${formatAmount(subtract)} MB cannot be taken from ${formatAmount(size)} MB`;
  return { problem, remedy: 'give more than 0 and less than its size, or destroy it' };
}

function missingProblem(
  { kind }: Conversion,
  consumed: Resources,
  { available, total, role }: ConversionContext,
): Problem | undefined {
  const from = available ?? total;
  if (from === undefined || contains(from, consumed)) return undefined;
  const missing = select(
    consumed,
    (one) =>
      !contains(
        from,
        select(consumed, ({ key }) => key === one.key),
      ),
  );
  const same = select(from, ({ name }) => missing.some((one) => one.name === name));
  const there = isEmpty(same) ? 'there is none' : `there is '${describeResources(same)}'`;
  const where = available === undefined ? 'of the agent' : role === undefined ? 'that is free' : 'that is offered';
  const remedy =
    kind === 'reserve' && role !== undefined ? 'reserve what is offered' : 'name what is there, as it is there';
  return { problem: `it takes '${describeResources(missing)}', and ${there} ${where}`, remedy };
}

// ---- the wire

type Maybe<T> = T | null | undefined;
type List = Maybe<readonly WireResourceInput[]>;

/** `mesos.v1.Offer.Operation` as far as it converts resources. */
export interface WireConversion {
  readonly reserve?: Maybe<{ readonly resources?: List; readonly source?: List }>;
  readonly unreserve?: Maybe<{ readonly resources?: List }>;
  readonly create?: Maybe<{ readonly volumes?: List }>;
  readonly destroy?: Maybe<{ readonly volumes?: List }>;
  readonly growVolume?: Maybe<{ readonly volume: WireResourceInput; readonly addition: WireResourceInput }>;
  readonly shrinkVolume?: Maybe<{
    readonly volume: WireResourceInput;
    readonly subtract: { readonly value?: Maybe<number> };
  }>;
}

/**
 * Reads an operation; its resources are in nobody's name.
 *
 * @returns undefined if it converts nothing
 * @throws {MalformedResourceError} naming the first resource that is malformed
 */
export function conversionFromWire(wire: WireConversion): Conversion | undefined {
  const { reserve, unreserve, create, destroy, growVolume, shrinkVolume } = wire;
  if (reserve) {
    const source = reserve.source?.length ? read(reserve.source) : undefined;
    return { kind: 'reserve', resources: read(reserve.resources), source };
  }
  if (unreserve) return { kind: 'unreserve', resources: read(unreserve.resources) };
  if (create) return { kind: 'create', volumes: read(create.volumes) };
  if (destroy) return { kind: 'destroy', volumes: read(destroy.volumes) };
  if (growVolume) {
    return { kind: 'grow', volume: read([growVolume.volume]), addition: read([growVolume.addition]) };
  }
  if (!shrinkVolume) return undefined;
  const [subtract] = specsFromWire([{ name: 'disk', type: 0, scalar: shrinkVolume.subtract }]);
  const amount = subtract?.kind === 'scalar' ? subtract.amount : 0;
  return { kind: 'shrink', volume: read([shrinkVolume.volume]), subtract: amount };
}

const read = (list: List): Resources => unallocate(collect(specsFromWire(list ?? [])));
