import type { Operator } from '@mesobus/sdk/operator';
import { formatResources } from '@mesobus/sdk/resources';
import { ageOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** An open offer as `mesobus offers` shows it. */
export interface OfferRow {
  readonly id: string;
  readonly frameworkId: string;
  readonly agentId: string;
  readonly hostname: string;
  readonly role: string;
  /** As `--resources` takes them. */
  readonly resources: string;
  /** ISO 8601. */
  readonly offeredAt: string;
}

export async function listOffers(operator: Operator): Promise<OfferRow[]> {
  const offers = await operator.offers();
  return offers.map(({ offer, offeredAt }) => ({
    id: offer.id,
    frameworkId: offer.frameworkId,
    agentId: offer.agentId,
    hostname: offer.hostname,
    role: offer.role,
    resources: formatResources(offer.resources),
    offeredAt: offeredAt.toISOString(),
  }));
}

export const offerColumns = (now: number): Column<OfferRow>[] => [
  { head: 'offer', cell: ({ id }) => id },
  { head: 'framework', cell: ({ frameworkId }) => frameworkId },
  { head: 'agent', cell: ({ agentId }) => agentId },
  { head: 'host', cell: ({ hostname }) => hostname },
  { head: 'role', cell: ({ role }) => role },
  { head: 'age', align: 'right', cell: ({ offeredAt }) => ageOf(new Date(offeredAt), now) },
  { head: 'resources', cell: ({ resources }) => resources },
];
