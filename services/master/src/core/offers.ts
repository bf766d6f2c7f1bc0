import { mesos } from '@mesobus/protos';
import type { AgentEntry, FrameworkEntry } from '@mesobus/registry/core';
import { allocate, type Resources, toWire } from '@mesobus/sdk/resources';
import type { CallTurn } from './call-turn.ts';
import { heldNoMore, maxOpenOffers, onAnswered, onAnsweredLate, onExpired, pauseMs } from './conduct.ts';
import { agentChanged, filterSet, filtersLifted, frameworkChanged } from './feed.ts';
import { unavailabilityOf } from './machines.ts';
import type { SchedulerEvent } from './messages.ts';
import type { AgentLink, FrameworkLink, Offer, State } from './state.ts';
import { traceOffer } from './traces.ts';
import type { Turn } from './turn.ts';

const EventType = mesos.v1.scheduler.Event.Type;

/** Takes an offer out of the books: its resources are available again, or the caller's to allocate. */
export function closeOffer(state: State, offer: Offer): void {
  state.offers.delete(offer.id);
  state.frameworks.get(offer.frameworkId)?.offers.delete(offer);
  state.agents.get(offer.agentId)?.offers.delete(offer);
  agentChanged(state, offer.agentId);
}

export function openOffer(state: State, offer: Offer, framework: FrameworkLink, agent: AgentLink): void {
  state.offers.set(offer.id, offer);
  framework.offers.add(offer);
  agent.offers.add(offer);
  agentChanged(state, offer.agentId);
}

/** Handles a framework's answer to offers, and notes how long each has taken. */
export function answering(turn: CallTurn, offerIds: readonly mesos.v1.OfferID[], handle: () => void): void {
  const { state, at, framework } = turn;
  const link = state.frameworks.get(framework.id);
  const named = new Set(offerIds.map(({ value }) => state.offers.get(value)));
  handle();
  if (link === undefined) return;
  const { conduct } = link;
  const before = maxOpenOffers(link);
  for (const offer of named) {
    if (offer === undefined || offer.frameworkId !== framework.id || state.offers.has(offer.id)) continue;
    heldNoMore(conduct, offer, at);
    onAnswered(conduct, offer, at);
  }
  let struck = false;
  for (const { value } of offerIds) struck = onAnsweredLate(conduct, value, at) || struck;
  if (struck && !link.mesosCompatible) filtersLifted(state, framework.id, []); // what it let expire may be wanted after all
  if (maxOpenOffers(link) !== before) frameworkChanged(state, framework.id);
}

/** An offer was not answered in time. Whoever lets them expire is offered less, and the same not again soon. */
export function expireOffer(turn: Turn, offer: Offer): void {
  const { state, at } = turn;
  const link = state.frameworks.get(offer.frameworkId);
  if (link !== undefined) {
    const { conduct } = link;
    const before = maxOpenOffers(link);
    onExpired(conduct, offer, link.offers.size, at);
    if (!link.mesosCompatible) {
      filterSet(state, { ...offer, refuseMs: pauseMs(conduct) });
      if (maxOpenOffers(link) !== before) frameworkChanged(state, offer.frameworkId);
    }
  }
  rescindOffers(turn, [offer], 'expired');
}

/**
 * Withdraws offers, and says so to their framework where it still listens.
 *
 * @param why - of those that are taken back for somebody else: it stands in their traces
 */
export function rescindOffers(
  turn: Turn,
  offers: Iterable<Offer>,
  outcome: 'rescinded' | 'expired',
  why?: string,
): void {
  for (const offer of [...offers]) {
    meterClosed(turn, offer);
    closeOffer(turn.state, offer);
    traceOffer(turn, offer, outcome, { why });
    turn.tell(offer.frameworkId, [rescindEvent(offer)]);
  }
}

/** Withdraws offers without a word: their framework starts afresh, or is gone. */
export function dropOffers(turn: Turn, offers: Iterable<Offer>): void {
  for (const offer of [...offers]) {
    meterClosed(turn, offer);
    closeOffer(turn.state, offer);
    traceOffer(turn, offer, 'rescinded');
  }
}

function meterClosed({ state, at }: Turn, offer: Offer): void {
  const link = state.frameworks.get(offer.frameworkId);
  if (link !== undefined) heldNoMore(link.conduct, offer, at);
}

function rescindEvent(offer: Offer): SchedulerEvent {
  return { event: { type: EventType.RESCIND, rescind: { offerId: { value: offer.id } } } };
}

/** The event that tells a framework of new offers, each with its trace. */
export function offersEvent(state: State, offers: readonly Offer[]): SchedulerEvent {
  return {
    event: { type: EventType.OFFERS, offers: { offers: offers.map((offer) => offerMessage(state, offer)) } },
    offerTraces: Object.fromEntries(offers.map(({ id, trace }) => [id, trace])),
  };
}

/** As schedulers see it. */
export function offerMessage(state: State, offer: Offer): mesos.v1.Offer.$Properties {
  const agent = state.ledger.agents.get(offer.agentId);
  const info = agent?.record.info;
  const unavailability = unavailabilityOf(state, offer.agentId);
  return {
    id: { value: offer.id },
    frameworkId: { value: offer.frameworkId },
    agentId: { value: offer.agentId },
    hostname: info?.hostname ?? '',
    url: {
      scheme: 'http',
      address: { hostname: info?.hostname ?? '', port: info?.port ?? 5051 },
      path: '/slave(1)',
    },
    ...(info?.domain && { domain: info.domain }),
    resources: toWire(allocate(offer.resources, offer.role)),
    attributes: info?.attributes ?? [],
    executorIds: executorIdsOf(state, offer),
    ...(unavailability && { unavailability }),
    allocationInfo: { role: offer.role },
  };
}

/** Of the framework, on the agent. */
function executorIdsOf({ ledger }: State, { agentId, frameworkId }: Offer): mesos.v1.ExecutorID.$Properties[] {
  const executors = [...(ledger.agents.get(agentId)?.executors.values() ?? [])];
  return executors
    .filter((executor) => executor.frameworkId === frameworkId)
    .map(({ executorId }) => ({ value: executorId }));
}

/** How long a framework does not want to be offered what it has just refused, in ms. */
export function refuseMs(filters: mesos.v1.Filters | null | undefined): number {
  const seconds = filters?.refuseSeconds ?? defaultRefuseSeconds;
  if (Number.isNaN(seconds) || seconds < 0) return defaultRefuseSeconds * 1000;
  return Math.round(Math.min(seconds, maxRefuseSeconds) * 1000);
}

const defaultRefuseSeconds = 5;
const maxRefuseSeconds = 365 * 24 * 3600;

export type OffersJudged =
  | {
      readonly ok: true;
      readonly offers: readonly Offer[];
      readonly agent: AgentEntry;
      readonly role: string;
      readonly resources: readonly Resources[];
    }
  | { readonly ok: false; readonly offers: readonly Offer[]; readonly why: string };

/** Whether the offers of one ACCEPT may be used together; if not, which of them are the framework's all the same. */
export function judgeOffers(
  state: State,
  framework: FrameworkEntry,
  offerIds: readonly mesos.v1.OfferID[],
): OffersJudged {
  const offers = new Set<Offer>();
  let why: string | undefined;
  for (const { value: id } of offerIds) {
    const offer = state.offers.get(id);
    if (offer === undefined) why ??= `Offer ${id} is no longer valid`;
    else if (offer.frameworkId !== framework.id) why ??= `Offer ${id} belongs to another framework`;
    else if (offers.has(offer)) why ??= `Offer ${id} is named twice`;
    else offers.add(offer);
  }
  const [first, ...rest] = offers;
  for (const offer of rest) {
    if (offer.agentId !== first?.agentId) why ??= `Offers ${first?.id} and ${offer.id} are of two agents`;
    else if (offer.role !== first.role) why ??= `Offers ${first.id} and ${offer.id} are for two roles`;
  }
  if (first === undefined) return { ok: false, offers: [], why: why ?? 'No offer is named' };
  const agent = state.ledger.agents.get(first.agentId);
  if (agent === undefined) why ??= `Agent ${first.agentId} is no longer there`;
  if (why !== undefined || agent === undefined) return { ok: false, offers: [...offers], why: why ?? '' };
  const list = [...offers];
  return { ok: true, offers: list, agent, role: first.role, resources: list.map(({ resources }) => resources) };
}
