import type { Quantities } from '@mesobus/sdk/resources';

export interface DominantShare {
  /** From 0; above 1 only while the cluster is losing agents. */
  readonly share: number;
  /** The resource that it is a share of; empty if nothing is held. */
  readonly resource: string;
}

/**
 * The largest fraction of any one resource that is held, divided by a weight.
 *
 * @param held - offered and allocated, in thousandths of the Mesos unit
 * @param total - the sum over all agents, in the same units; what it lacks does not count
 * @see Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, section 4
 */
export function dominantShare(held: Quantities, total: Quantities, weight: number): DominantShare {
  let share = 0;
  let resource = '';
  for (const name in held) {
    const whole = total[name] ?? 0;
    const fraction = whole > 0 ? (held[name] as number) / whole : 0;
    if (fraction > share) {
      share = fraction;
      resource = name;
    }
  }
  return { share: share / weight, resource };
}
