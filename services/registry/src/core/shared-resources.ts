import type { Resource, Resources } from '@mesobus/sdk/resources';

const maxShared = 10_000;

/**
 * Tasks mostly come in few sizes: equal resources become one object, so that a million tasks hold a few lists instead of
 * a million. Only those of which nothing is left out when they are compared: plain scalars.
 */
export type SharedResources = Map<string, Resources>;

export function share(known: SharedResources, resources: Resources): Resources {
  if (!resources.every(isPlain)) return resources;
  const text = resources.map(textOf).join('\0');
  const same = known.get(text);
  if (same !== undefined) return same;
  if (known.size >= maxShared) known.clear();
  known.set(text, resources);
  return resources;
}

const isPlain = ({ kind, disk, reservations, copies }: Resource): boolean =>
  kind === 'scalar' && disk === undefined && reservations === undefined && copies === undefined;

const textOf = (resource: Resource): string => `${resource.key}\0${resource.kind === 'scalar' ? resource.amount : ''}`;
