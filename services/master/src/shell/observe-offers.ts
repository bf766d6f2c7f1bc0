import type { Metrics } from '@mesobus/sdk/service';
import { heldSeconds, type State } from '../core/index.ts';

/** How frameworks deal with their offers: who holds what for how long, and who does not answer. */
export function observeOffers(metrics: Metrics, state: () => State | undefined): void {
  metrics.gauge('master_offers_held_resource_seconds', 'Scalars times the seconds for which they lay in offers.', {
    labels: ['framework', 'resource'],
    collect: (gauge) => {
      gauge.reset();
      const { frameworks = [], nowMs = 0 } = state() ?? {};
      for (const [framework, link] of frameworks) {
        for (const [resource, seconds] of Object.entries(heldSeconds(link, nowMs))) {
          gauge.set({ framework, resource }, seconds);
        }
      }
    },
  });
  metrics.gauge('master_framework_offers', 'Offers of this leader: open, answered, expired.', {
    labels: ['framework', 'state'],
    collect: (gauge) => {
      gauge.reset();
      for (const [framework, { offers, conduct }] of state()?.frameworks ?? []) {
        const counts = { open: offers.size, answered: conduct.answered, expired: conduct.expired };
        for (const [what, count] of Object.entries(counts)) gauge.set({ framework, state: what }, count);
      }
    },
  });
}
