import { mesobus } from '@mesobus/protos';
import { fromWire, type Resources, tryUse, unallocate } from '@mesobus/sdk/resources';
import { availableOf, inactiveBecause } from './agents.ts';
import { appointIfNeeded, beginFeed, feedProblem } from './allocators.ts';
import { offerTimeoutMs } from './conduct.ts';
import { limitPassedBy } from './consumption.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework, rolesOf } from './frameworks.ts';
import type { Token } from './messages.ts';
import { offersEvent, openOffer, rescindOffers } from './offers.ts';
import { onReclaim } from './on-reclaim.ts';
import { onClaimantServed } from './reclaims.ts';
import type { Offer, State } from './state.ts';
import { mintTrace } from './traces.ts';
import type { Turn } from './turn.ts';

const { OFFER, RECLAIM } = mesobus.v1.Allocation.Kind;
const maxWhyLength = 500;

/** Offers in one event: what is too much for one message can still be told in several. */
const offersPerEvent = 100;

/** An allocator says that it is there, or has decided. */
export function onAllocatorRequest(
  turn: Turn,
  allocatorId: string,
  request: mesobus.v1.AllocatorRequest,
  token: Token,
): void {
  const { hello, allocations } = request;
  const problem = hello === null ? undefined : feedProblem(turn, allocatorId, hello.incarnation);
  if (problem !== undefined) {
    turn.emit({ kind: 'refuse', when: 'now', token, subject: allocatorId, ...problem });
    return;
  }
  if (hello) onHello(turn, allocatorId, hello);
  else if (allocations) onAllocations(turn, allocatorId, allocations);
  const { appointment, appointedId: appointedAllocatorId, allocationsSeen } = turn.state.allocators;
  turn.emit({
    kind: 'answer_allocator',
    when: 'now',
    token,
    reply: { appointment, appointedAllocatorId, allocationsSeen },
  });
}

function onHello(turn: Turn, allocatorId: string, hello: mesobus.v1.AllocatorHello): void {
  const { incarnation, losses } = hello;
  let feed = turn.state.allocators.feeds.get(allocatorId);
  if (feed === undefined || feed.incarnation !== incarnation || losses > feed.losses) {
    feed = beginFeed(turn, allocatorId, incarnation, losses);
  }
  feed.lastHeardMs = turn.at;
  if (hello.feed === feed.number) feed.digested = Math.min(Math.max(feed.digested, hello.digested), feed.sent);
  appointIfNeeded(turn);
}

/** Judges allocations in the order of their numbers, each once, up to the first that is missing. */
function onAllocations(turn: Turn, allocatorId: string, message: mesobus.v1.Allocations): void {
  const { state } = turn;
  const { allocators, config } = state;
  const feed = allocators.feeds.get(allocatorId);
  if (feed === undefined || feed.incarnation !== message.incarnation) return;
  feed.lastHeardMs = turn.at;
  // Of an appointment that is over, or of another master: whoever decided that has yet to hear of it.
  const isCurrent = message.masterId === config.masterId && message.appointment === allocators.appointment;
  if (!isCurrent || allocators.appointedId !== allocatorId) return;
  const offers = new Map<string, Offer[]>();
  for (const allocation of message.allocations) {
    if (allocation.number <= allocators.allocationsSeen) continue;
    if (allocation.number > allocators.allocationsSeen + 1) break;
    allocators.allocationsSeen = allocation.number;
    const offer = judged(turn, allocation);
    if (offer === undefined) continue;
    const list = offers.get(offer.frameworkId);
    if (list === undefined) offers.set(offer.frameworkId, [offer]);
    else list.push(offer);
  }
  for (const [frameworkId, list] of offers) {
    for (let from = 0; from < list.length; from += offersPerEvent) {
      turn.tell(frameworkId, [offersEvent(state, list.slice(from, from + offersPerEvent))]);
    }
  }
}

function judged(turn: Turn, allocation: mesobus.v1.Allocation): Offer | undefined {
  if (allocation.kind === OFFER) return judge(turn, allocation);
  const why = allocation.why.slice(0, maxWhyLength) || 'somebody with a better right waits';
  if (allocation.kind === RECLAIM) onReclaim(turn, allocation, why);
  else takeBack(turn, allocation, why);
  return undefined;
}

/** An allocator wants offers back: somebody with a better right waits. Those that were answered meanwhile are gone. */
function takeBack(turn: Turn, { agentId, frameworkId, role }: mesobus.v1.Allocation, why: string): void {
  agentChanged(turn.state, agentId);
  const offers = [...(turn.state.agents.get(agentId)?.offers ?? [])];
  const meant = offers.filter((offer) => offer.frameworkId === frameworkId && (role === '' || offer.role === role));
  rescindOffers(turn, meant, 'rescinded', why);
  const fields = { agent: agentId, framework: frameworkId, role, why, offers: meant.length };
  if (meant.length > 0) turn.log('info', 'offers are taken back', fields);
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
  if (agent === undefined || inactiveBecause(state, agent) !== undefined) return 'the agent is not active';
  if (record === undefined || !state.frameworks.get(frameworkId)?.connected) return 'the framework is not connected';
  if (!rolesOf(record.info).includes(role)) return 'the framework does not have the role';
  if (record.suppressedRoles.includes(role)) return 'the framework has suppressed the role';
  if (resources.length === 0) return 'it is empty';
  if (tryUse(availableOf(state, agent), resources) === undefined) return 'its resources are not available';
  const limited = limitPassedBy(state, role, resources);
  return limited === undefined ? undefined : `the limit of role '${limited}' would be passed`;
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
  onClaimantServed(turn, offer);
  const timeoutMs = offerTimeoutMs(state.config, framework);
  if (timeoutMs > 0) state.timers.set(turn.at + timeoutMs, { kind: 'offer', offerId: offer.id });
  return offer;
}
