import { decode, mesos } from '@mesobus/protos';
import { fromWire, type Resource, type Resources } from '@mesobus/sdk/resources';
import { Fields } from './fields.ts';

const maxShared = 10_000;

/**
 * Tasks mostly come in few sizes: equal resources become one object, so that a million tasks hold a few lists instead of
 * a million. Only those of which nothing is left out when they are compared: plain scalars.
 */
export interface SharedResources {
  readonly byText: Map<string, Resources>;
  /** By their bytes, so that most are not even decoded. */
  readonly byBytes: Map<string, Resources>;
}

export const createSharedResources = (): SharedResources => ({ byText: new Map(), byBytes: new Map() });

export function share({ byText }: SharedResources, resources: Resources): Resources {
  if (!resources.every(isPlain)) return resources;
  const text = resources.map(textOf).join('\0');
  return byText.get(text) ?? keep(byText, text, resources);
}

/**
 * As {@link share}, for encoded resources.
 *
 * @param from - where the first of them begins, tag included
 * @param to - where the last ends; whatever else may stand between them is passed over
 * @param field - the number of their field
 * @throws {MalformedResourceError | MalformedMessageError} one of them is malformed
 */
export function shareEncoded(
  shared: SharedResources,
  bytes: Buffer,
  from: number,
  to: number,
  field: number,
): Resources {
  const text = bytes.latin1Slice(from, to);
  const known = shared.byBytes.get(text);
  if (known !== undefined) return known;
  const wire: mesos.v1.Resource[] = [];
  for (const fields = new Fields(bytes, from, to); fields.next(); ) {
    if (fields.number === field) wire.push(decode(mesos.v1.Resource, bytes.subarray(fields.from, fields.to)));
  }
  const resources = share(shared, fromWire(wire));
  return resources.every(isPlain) ? keep(shared.byBytes, text, resources) : resources;
}

function keep(known: Map<string, Resources>, text: string, resources: Resources): Resources {
  if (known.size >= maxShared) known.clear();
  known.set(text, resources);
  return resources;
}

const isPlain = ({ kind, disk, reservations, copies }: Resource): boolean =>
  kind === 'scalar' && disk === undefined && reservations === undefined && copies === undefined;

const textOf = (resource: Resource): string => `${resource.key}\0${resource.kind === 'scalar' ? resource.amount : ''}`;
