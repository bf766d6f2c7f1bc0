import type { mesobus } from '@mesobus/protos';
import { fromWire, type Resources, trySubtract, unallocate } from '@mesobus/sdk/resources';
import { availableOf, isOffering } from './agents.ts';
import { agentChanged, allocatorSilenceMs, beginSnapshot } from './feed.ts';
import { findLiveFramework, rolesOf } from './frameworks.ts';
import type { Token } from './messages.ts';
import { offersEvent, openOffer } from './offers.ts';
import type { Offer, State } from './state.ts';
import { mintTrace } from './traces.ts';
import type { Turn } from './turn.ts';

/** An allocator wants to be appointed, to have the books, or has decided. */
export function onAllocatorRequest(
  turn: Turn,
  allocatorId: string,
  request: mesobus.v1.AllocatorRequest,
  token: Token,
): void {
  const { feed } = turn.state;
  const { hello, allocations } = request;
  if (feed.allocatorId === allocatorId) feed.lastHeardMs = turn.at;
  if (hello) onHello(turn, allocatorId, hello.incarnation);
  else if (allocations) onAllocations(turn, allocatorId, allocations);
  const { appointment, allocatorId: appointedAllocatorId, allocationsSeen } = feed;
  turn.emit({
    kind: 'answer_allocator',
    when: 'now',
    token,
    reply: { appointment, appointedAllocatorId, allocationsSeen },
  });
}

/** The first to come is appointed, and whoever comes when the appointed one is silent. */
function onHello(turn: Turn, allocatorId: string, incarnation: string): void {
  const { feed } = turn.state;
  const free = feed.allocatorId === '' || turn.at - feed.lastHeardMs >= allocatorSilenceMs;
  if (!free && feed.allocatorId !== allocatorId) return;
  // It asks until it has the snapshot: one that is under way is not begun again.
  const isUnderWay = feed.snapshotRest >= 0 && feed.allocatorId === allocatorId && feed.incarnation === incarnation;
  if (isUnderWay) return;
  feed.appointment += 1;
  feed.allocatorId = allocatorId;
  feed.incarnation = incarnation;
  feed.lastHeardMs = turn.at;
  feed.allocationsSeen = 0;
  feed.allocationsShown = 0;
  restartFeed(turn);
  turn.log('info', 'allocator appointed', { allocator: allocatorId, appointment: feed.appointment });
}

export function restartFeed(turn: Turn): void {
  beginSnapshot(turn.state);
  turn.emit({ kind: 'restart_feed', when: 'now' });
}

/** Judges allocations in the order of their numbers, each once, up to the first that is missing. */
function onAllocations(turn: Turn, allocatorId: string, message: mesobus.v1.Allocations): void {
  const { state } = turn;
  const { feed } = state;
  if (feed.allocatorId !== allocatorId || message.appointment !== feed.appointment) return;
  const offers = new Map<string, Offer[]>();
  for (const allocation of message.allocations) {
    if (allocation.number <= feed.allocationsSeen) continue;
    if (allocation.number > feed.allocationsSeen + 1) break;
    feed.allocationsSeen = allocation.number;
    const offer = judge(turn, allocation);
    if (offer === undefined) continue;
    const list = offers.get(offer.frameworkId);
    if (list === undefined) offers.set(offer.frameworkId, [offer]);
    else list.push(offer);
  }
  for (const [frameworkId, list] of offers) turn.tell(frameworkId, [offersEvent(state, list)]);
}

/** An allocation that fits the books becomes an offer; another is dropped: the allocator sees it in the feed. */
function judge(turn: Turn, allocation: mesobus.v1.Allocation): Offer | undefined {
  const { state } = turn;
  const { agentId, frameworkId, role } = allocation;
  const resources = readResources(allocation);
  const why = resources === undefined ? 'its resources are malformed' : refusal(state, allocation, resources);
  if (why !== undefined || resources === undefined) {
    agentChanged(state, agentId);
    turn.log('debug', 'an allocation is dropped', { agent: agentId, framework: frameworkId, role, why: why ?? '' });
    return undefined;
  }
  return makeOffer(turn, allocation, resources);
}

function readResources({ resources }: mesobus.v1.Allocation): Resources | undefined {
  try {
    return unallocate(fromWire(resources));
  } catch {
    return undefined;
  }
}

function refusal(state: State, allocation: mesobus.v1.Allocation, resources: Resources): string | undefined {
  const { agentId, frameworkId, role } = allocation;
  const agent = state.ledger.agents.get(agentId);
  const record = findLiveFramework(state, frameworkId)?.record;
  if (agent === undefined || !isOffering(state, agent)) return 'the agent is not active';
  if (record === undefined || !state.frameworks.get(frameworkId)?.connected) return 'the framework is not connected';
  if (!rolesOf(record.info).includes(role)) return 'the framework does not have the role';
  if (record.suppressedRoles.includes(role)) return 'the framework has suppressed the role';
  if (resources.length === 0) return 'it is empty';
  return trySubtract(availableOf(state, agent), resources) === undefined
    ? 'its resources are not available'
    : undefined;
}

function makeOffer(turn: Turn, allocation: mesobus.v1.Allocation, resources: Resources): Offer | undefined {
  const { state } = turn;
  const { agentId, frameworkId, role, roundBeganAtMs, decidedAtMs, roleShare, frameworkShare } = allocation;
  const framework = state.frameworks.get(frameworkId);
  const agent = state.agents.get(agentId);
  if (framework === undefined || agent === undefined) return undefined;
  state.offerNumber += 1;
  const number = state.offerNumber;
  const offer: Offer = {
    id: `${state.config.masterId}-O${number}`,
    number,
    agentId,
    frameworkId,
    role,
    resources,
    offeredAtMs: turn.at,
    trace: mintTrace(state, number),
    roundBeganAtMs: roundBeganAtMs || turn.at,
    decidedAtMs: decidedAtMs || turn.at,
    roleShare,
    frameworkShare,
  };
  openOffer(state, offer, framework, agent);
  const { offerTimeoutMs } = state.config;
  if (offerTimeoutMs > 0) state.timers.set(turn.at + offerTimeoutMs, { kind: 'offer', offerId: offer.id });
  return offer;
}
