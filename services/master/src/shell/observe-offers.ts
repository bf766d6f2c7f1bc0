import type { Metrics } from '@mesobus/sdk/service';
import { heldSeconds, type State } from '../core/index.ts';

/** How frameworks deal with their offers: who holds what for how long, and who does not answer. */
export function observeOffers(metrics: Metrics, state: () => State | undefined, nowMs: () => number): void {
  const links = () => [...(state()?.frameworks.values() ?? [])];
  metrics.gauge('master_offers_held_resource_seconds', 'Scalars times the seconds for which they lay in offers.', {
    labels: ['framework', 'resource'],
    collect: (gauge) => {
      gauge.reset();
      for (const link of links()) {
        for (const [resource, seconds] of Object.entries(heldSeconds(link, nowMs()))) {
          gauge.set({ framework: link.frameworkId, resource }, seconds);
        }
      }
    },
  });
  metrics.gauge('master_framework_offers', 'Offers of this leader: open, answered, expired.', {
    labels: ['framework', 'state'],
    collect: (gauge) => {
      gauge.reset();
      for (const { frameworkId: framework, offers, conduct } of links()) {
        const counts = { open: offers.size, answered: conduct.answered, expired: conduct.expired };
        for (const [what, count] of Object.entries(counts)) gauge.set({ framework, state: what }, count);
      }
    },
  });
}
