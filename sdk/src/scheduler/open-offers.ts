import type { Attributes, Span } from '../service/tracing.ts';
import type { Offer } from './offer.ts';
import { kept, noteError, spanBelow } from './spans.ts';

/** An offer that the author has been told of and has not answered. */
export interface OpenOffer {
  readonly agentId: string;
  /** The author's decision about it, in the trace of the offer. */
  readonly span: Span | undefined;
  /** What is needed to write that span after all: most offers are traced only if they are accepted. */
  readonly traceparent: string;
  readonly attributes: Attributes;
  readonly receivedMs: number;
}

/** So many are kept; the oldest beyond that are forgotten, and must be answered with the Offer itself. */
const maxOpenOffers = 100_000;

/** The offers at hand, and a span for each decision. */
export class OpenOffers {
  readonly #open = new Map<string, OpenOffer>();

  /** @returns the span of the first that has one */
  add(offers: readonly Offer[], traces: Readonly<Record<string, string>>): Span | undefined {
    let first: Span | undefined;
    const receivedMs = Date.now();
    for (const { id, agentId, hostname } of offers) {
      const attributes = { 'mesobus.offer_id': id, 'mesobus.agent_id': agentId, 'mesobus.hostname': hostname };
      const span = spanBelow(traces[id], 'resourceOffers', attributes);
      first ??= span;
      this.#open.set(id, { agentId, span, traceparent: traces[id] ?? '', attributes, receivedMs });
    }
    for (const [id, { span }] of this.#open) {
      if (this.#open.size <= maxOpenOffers) break;
      span?.end();
      this.#open.delete(id);
    }
    return first;
  }

  /** The decision to accept: it is in the trace, whatever the offer's flag says. */
  accept(offerIds: readonly string[]): Span | undefined {
    let decision: Span | undefined;
    for (const id of offerIds) {
      const offer = this.answer(id);
      if (offer === undefined || decision !== undefined) continue;
      const { span, traceparent, attributes, receivedMs } = offer;
      decision = span;
      if (span?.isRecording() !== false || traceparent === kept(traceparent)) continue;
      decision = spanBelow(kept(traceparent), 'resourceOffers', attributes, receivedMs);
      decision?.end();
    }
    return decision;
  }

  /** Takes an offer out because it is answered. */
  answer(offerId: string): OpenOffer | undefined {
    const offer = this.#open.get(offerId);
    offer?.span?.end();
    this.#open.delete(offerId);
    return offer;
  }

  find(offerId: string): OpenOffer | undefined {
    return this.#open.get(offerId);
  }

  /** The offer is void. */
  rescind(offerId: string, why: string): void {
    noteError(this.#open.get(offerId)?.span, new Error(why));
    this.answer(offerId);
  }

  /** All offers are void. */
  clear(why: string): void {
    for (const id of [...this.#open.keys()]) this.rescind(id, why);
  }
}
