import { formatValue } from './format-resources.ts';
import type { Resource } from './resource.ts';
import type { Resources } from './resources.ts';

/**
 * Resources for people, who know what they mean: `cpus(ads):2;cpus{REV}:1;disk(ads)[v1]:100`. It does not say all; nothing
 * reads it.
 */
export function describeResources(resources: Resources): string {
  return resources.map(describe).join(';');
}

function describe(resource: Resource): string {
  const { name, reservations, disk, copies, revocable } = resource;
  const roles = reservations === undefined ? '' : `(${reservations.map(({ role }) => role).join(' > ')})`;
  const volume = disk?.persistence === undefined ? '' : `[${disk.persistence.id}]`;
  const what = `${name}${roles}${volume}${revocable ? '{REV}' : ''}`;
  return `${what}:${formatValue(resource)}${copies === undefined ? '' : ` × ${copies}`}`;
}
