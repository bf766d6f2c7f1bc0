import { formatAmount } from './amount.ts';
import type { Resource, ResourceValue } from './resource.ts';
import { toResourceJson } from './resource-json.ts';
import type { Resources } from './resources.ts';
import { toWire } from './to-wire.ts';

/**
 * Writes resources so that `parseResources` reads the same again: as `cpus:24;mem(ads):512` where that can say it all,
 * else as a JSON list of Mesos' Resource objects.
 */
export function formatResources(resources: Resources): string {
  if (resources.every(fitsText)) return resources.map(formatResource).join(';');
  return JSON.stringify(toWire(resources).map(toResourceJson));
}

/** Writes a value as `--resources` does. */
export function formatValue(value: ResourceValue): string {
  switch (value.kind) {
    case 'scalar':
      return formatAmount(value.amount);
    case 'ranges':
      return `[${value.ranges.map(({ begin, end }) => `${begin}-${end}`).join(',')}]`;
    case 'set':
      return `{${value.items.join(',')}}`;
  }
}

function formatResource(resource: Resource): string {
  const role = resource.reservations?.[0]?.role;
  return `${resource.name}${role === undefined ? '' : `(${role})`}:${formatValue(resource)}`;
}

/** The text can tell a name, one static reservation without principal and labels, and a value. */
function fitsText(resource: Resource): boolean {
  const { reservations, disk, revocable, shared, copies, providerId, allocationRole } = resource;
  if (disk || revocable || shared || copies || providerId !== undefined || allocationRole !== undefined) return false;
  if (/[:;()]|^[[\s]/.test(resource.name)) return false;
  if (resource.kind === 'set' && resource.items.some((item) => /[,;]|^\s|\s$/.test(item))) return false;
  if (reservations === undefined) return true;
  const [first, ...more] = reservations;
  if (first?.type !== 'static' || first.principal !== undefined || first.labels !== undefined) return false;
  return more.length === 0 && !/[();]/.test(first.role);
}
