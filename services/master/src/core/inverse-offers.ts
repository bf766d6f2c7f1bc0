import { mesos } from '@mesobus/protos';
import type { AgentEntry, FrameworkEntry } from '@mesobus/registry/core';
import { sameUnavailability, unavailabilityOf } from './machines.ts';
import type { SchedulerEvent } from './messages.ts';
import { refuseMs } from './offers.ts';
import type { FrameworkLink, State } from './state.ts';
import type { Turn } from './turn.ts';

const EventType = mesos.v1.scheduler.Event.Type;
const { UNKNOWN, ACCEPT, DECLINE } = mesos.v1.allocator.InverseOfferStatus.Status;

type Status = mesos.v1.allocator.InverseOfferStatus.Status;

/** What one framework was asked about one agent, and what it said. */
export interface Asked {
  readonly agentId: string;
  readonly frameworkId: string;
  /** Whom it was asked: another subscription knows nothing of it. */
  readonly link: FrameworkLink;
  readonly unavailability: mesos.v1.Unavailability;
  /** Of the latest inverse offer; it is open until it is answered. */
  offerId: string;
  open: boolean;
  /** The latest answer; UNKNOWN until there is one. Since when, in ms since 1970. */
  status: Status;
  statusAtMs: number;
  /** It has answered: it is not asked again before. */
  notBeforeMs: number;
}

/**
 * Requests to leave the machines of the maintenance schedule: one open at a time for each framework and agent. Soft
 * state: a new leader asks again.
 */
export interface InverseOffers {
  /** By agent and framework. */
  readonly asked: Map<string, Map<string, Asked>>;
  /** Those that are open, by their ids. */
  readonly open: Map<string, Asked>;
}

export const createInverseOffers = (): InverseOffers => ({ asked: new Map(), open: new Map() });

/** Asks whoever has something on a machine of the schedule and is not asked, and takes back what holds no longer. */
export function reviseInverseOffers(turn: Turn): void {
  const { inverseOffers, machines, ledger } = turn.state;
  for (const ofAgent of [...inverseOffers.asked.values()]) {
    for (const asked of [...ofAgent.values()]) if (!isCurrent(turn.state, asked)) withdraw(turn, asked);
  }
  for (const [agentId, { unavailability, down }] of machines.agents) {
    const agent = ledger.agents.get(agentId);
    if (agent === undefined || down || !turn.state.agents.get(agentId)?.connected) continue;
    for (const frameworkId of holdersOn(turn.state, agent)) askIfDue(turn, agentId, frameworkId, unavailability);
  }
}

function isCurrent(state: State, { agentId, frameworkId, link, unavailability }: Asked): boolean {
  if (state.frameworks.get(frameworkId) !== link || !link.connected) return false;
  if (!state.agents.get(agentId)?.connected) return false;
  const now = unavailabilityOf(state, agentId);
  return now !== undefined && sameUnavailability(now, unavailability);
}

function withdraw(turn: Turn, { offerId, agentId, frameworkId, link, open }: Asked): void {
  const { inverseOffers, frameworks } = turn.state;
  const ofAgent = inverseOffers.asked.get(agentId);
  ofAgent?.delete(frameworkId);
  if (ofAgent?.size === 0) inverseOffers.asked.delete(agentId);
  inverseOffers.open.delete(offerId);
  if (open && frameworks.get(frameworkId) === link) turn.tell(frameworkId, [rescindEvent(offerId)]);
}

/** Frameworks that have something offered or allocated there. */
function holdersOn({ agents }: State, { id, holdings }: AgentEntry): Set<string> {
  const holders = new Set<string>();
  for (const { frameworkId } of holdings.values()) holders.add(frameworkId);
  for (const { frameworkId } of agents.get(id)?.offers ?? []) holders.add(frameworkId);
  return holders;
}

function askIfDue(turn: Turn, agentId: string, frameworkId: string, unavailability: mesos.v1.Unavailability): void {
  const { state, at } = turn;
  const { asked, open } = state.inverseOffers;
  const link = state.frameworks.get(frameworkId);
  const before = asked.get(agentId)?.get(frameworkId);
  if (!link?.connected || before?.open || at < (before?.notBeforeMs ?? at)) return;
  state.offerNumber += 1;
  const offerId = `${state.config.masterId}-O${state.offerNumber}`;
  const answered = before ?? { status: UNKNOWN, statusAtMs: at, notBeforeMs: at };
  const now: Asked = { ...answered, agentId, frameworkId, link, unavailability, offerId, open: true };
  const ofAgent = asked.get(agentId) ?? new Map<string, Asked>();
  asked.set(agentId, ofAgent.set(frameworkId, now));
  open.set(offerId, now);
  turn.tell(frameworkId, [inverseOffersEvent(now)]);
}

/** A framework answers. What is not open, or not its own, counts for nothing. */
export function onInverseOffersAnswered(
  turn: Turn,
  framework: FrameworkEntry,
  answer: 'accept' | 'decline',
  { inverseOfferIds, filters }: mesos.v1.scheduler.Call.AcceptInverseOffers,
): void {
  const { open } = turn.state.inverseOffers;
  for (const { value: id } of inverseOfferIds) {
    const asked = open.get(id);
    if (asked?.frameworkId !== framework.id) continue;
    open.delete(id);
    asked.open = false;
    asked.status = answer === 'accept' ? ACCEPT : DECLINE;
    asked.statusAtMs = turn.at;
    asked.notBeforeMs = turn.at + refuseMs(filters);
  }
}

/** The framework wants to be asked again. */
export function reviveInverseOffers({ inverseOffers }: State, frameworkId: string): void {
  for (const ofAgent of inverseOffers.asked.values()) {
    const asked = ofAgent.get(frameworkId);
    if (asked !== undefined) asked.notBeforeMs = 0;
  }
}

/** What frameworks say to the absence of an agent. */
export function* inverseOfferStatuses(
  { inverseOffers }: State,
  agentId: string,
): Iterable<mesos.v1.allocator.InverseOfferStatus.$Properties> {
  for (const { frameworkId, status, statusAtMs } of inverseOffers.asked.get(agentId)?.values() ?? []) {
    yield { status, frameworkId: { value: frameworkId }, timestamp: { nanoseconds: nanosecondsOf(statusAtMs) } };
  }
}

const nanosecondsOf = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;

function rescindEvent(offerId: string): SchedulerEvent {
  const rescindInverseOffer = { inverseOfferId: { value: offerId } };
  return { event: { type: EventType.RESCIND_INVERSE_OFFER, rescindInverseOffer } };
}

function inverseOffersEvent(asked: Asked): SchedulerEvent {
  const inverseOffers = { inverseOffers: [inverseOfferMessage(asked)] };
  return { event: { type: EventType.INVERSE_OFFERS, inverseOffers } };
}

/** As schedulers see it. It asks for the whole agent, so it names no resources. */
function inverseOfferMessage({
  offerId,
  agentId,
  frameworkId,
  unavailability,
}: Asked): mesos.v1.InverseOffer.$Properties {
  return { id: { value: offerId }, frameworkId: { value: frameworkId }, agentId: { value: agentId }, unavailability };
}
