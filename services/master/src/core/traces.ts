import type { Offer, State } from './state.ts';
import type { Turn } from './turn.ts';

/** One declined or expired offer in so many has its spans written. */
const declinedSampledOneIn = 100;

const hex16 = (value: number): string => value.toString(16).padStart(16, '0');

/**
 * The ids of one offer's trace: its first half is the master's, its second counts the offers. `allocate` is the root,
 * `offer` its child; the traceparent that the scheduler gets is the offer's.
 */
export function mintTrace(state: State, offerNumber: number): { allocate: string; offer: string } {
  const traceId = `${state.tracePrefix}${hex16(offerNumber)}`;
  return { allocate: `00-${traceId}-${hex16(1)}-01`, offer: `00-${traceId}-${hex16(2)}-01` };
}

/** The first half of this master's trace ids, from the end of its id, where its leaderships differ: never all zeros. */
export function tracePrefixOf(masterId: string): string {
  const digits = masterId.replaceAll(/[^\da-f]/gi, '').toLowerCase();
  const prefix = digits.padStart(16, '0').slice(-16);
  return /^0+$/.test(prefix) ? '0000000000000001' : prefix;
}

/** Says how an offer ended. Accepted ones, and those that were taken back for a reason, are always kept, others now and then. */
export function traceOffer(
  turn: Turn,
  offer: Offer,
  outcome: 'accepted' | 'declined' | 'rescinded' | 'expired',
  why?: string,
): void {
  if (outcome !== 'accepted' && why === undefined && offer.number % declinedSampledOneIn !== 0) return;
  const { frameworkId, agentId, role } = offer;
  const about = { 'mesobus.framework_id': frameworkId, 'mesobus.agent_id': agentId, 'mesobus.role': role };
  turn.span({
    name: 'allocate',
    identity: offer.trace.allocate,
    startMs: offer.roundBeganAtMs,
    endMs: offer.decidedAtMs,
    attributes: {
      ...about,
      'mesobus.role_share': offer.roleShare,
      'mesobus.framework_share': offer.frameworkShare,
    },
  });
  turn.span({
    name: 'offer',
    identity: offer.trace.offer,
    parent: offer.trace.allocate,
    startMs: offer.offeredAtMs,
    endMs: turn.at,
    attributes: {
      ...about,
      'mesobus.offer_id': offer.id,
      'mesobus.outcome': outcome,
      ...(why !== undefined && { 'mesobus.why': why }),
    },
  });
}
