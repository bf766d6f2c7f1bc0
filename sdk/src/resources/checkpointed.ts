import { isPersistentVolume, type Resource, type ResourceSpec } from './resource.ts';
import { add, collect, type Resources, trySubtract } from './resources.ts';
import { select } from './selections.ts';

/*
 * An agent checkpoints what conversions have made of its resources: those with dynamic reservations, and volumes. The
 * rest is its configuration.
 */

/** The resources of an agent with what it has checkpointed made in them. What they do not hold any more is left out. */
export function withCheckpointed(configured: Resources, checkpointed: Resources): Resources {
  let total = configured;
  for (const one of checkpointed) {
    const rest = trySubtract(total, madeOf(one));
    if (rest !== undefined) total = add(rest, single(one));
  }
  return total;
}

/** The part of its resources that an agent has to checkpoint. */
export function checkpointedIn(total: Resources): Resources {
  return select(total, (one) => isPersistentVolume(one) || one.reservations?.some(isDynamic) === true);
}

/** Resources in which something was made of something else; undefined if they do not hold that. */
export function exchange(whole: Resources, consumed: Resources, converted: Resources): Resources | undefined {
  const rest = trySubtract(whole, consumed);
  return rest && add(rest, converted);
}

const single = (one: Resource): Resources => [one] as readonly Resource[] as Resources;

const isDynamic = ({ type }: { readonly type: 'static' | 'dynamic' }): boolean => type === 'dynamic';

/** What a reserved resource or a volume was made of: without dynamic reservations and without the volume. */
function madeOf({ reservations, disk, shared: _, copies: __, ...rest }: Resource): Resources {
  const configured = reservations?.filter(({ type }) => type === 'static') ?? [];
  const spec: ResourceSpec = {
    ...rest,
    ...(configured.length > 0 && { reservations: configured }),
    ...(disk?.source !== undefined && { disk: { source: disk.source } }),
  };
  return collect([spec]);
}
