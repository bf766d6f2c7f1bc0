import type { AgentEntry } from '@mesobus/registry/core';
import { availableOf, inactiveBecause } from './agents.ts';
import { chargedBy, consumedBy, looseQuantities, pathOf } from './consumption.ts';
import { rescindOffers } from './offers.ts';
import { guarantorOf, type Quotas, quotaOf } from './quota.ts';
import type { Offer, State } from './state.ts';
import type { Turn } from './turn.ts';

type Amounts = Map<string, number>;
type Loose = Readonly<Record<string, number>>;

/** Takes back offers, the youngest first, so that roles come below their new limits and new guarantees can be met. */
export function rescindForQuotas(turn: Turn, quotas: Quotas, changed: ReadonlySet<string>): void {
  for (const role of changed) comeBelowLimits(turn, role, `role '${role}' is above its new limit`);
  const promises = [...changed].some((role) => (quotas.get(role)?.guarantees.size ?? 0) > 0);
  if (promises) makeHeadroom(turn, quotas);
}

/** The same where roles have come to more without an offer: an operator reserves, or an agent brings reservations and tasks. */
export function rescindAboveLimits(turn: Turn, { id, record }: AgentEntry): void {
  for (const role of chargedBy(turn.state, id)) {
    comeBelowLimits(turn, role, `role '${role}' is above its limit with what agent '${record.agentName}' has`);
  }
}

const youngestFirst = ({ offers }: State): Offer[] => [...offers.values()].reverse();

function comeBelowLimits(turn: Turn, role: string, why: string): void {
  const { state } = turn;
  const quota = state.ledger.roles.get(role)?.quota;
  if (!quota) return;
  const { limits } = quotaOf(quota);
  const passed = (name: string): boolean =>
    (consumedBy(state, role).get(name) ?? 0) > (limits.get(name) ?? Number.POSITIVE_INFINITY);
  const isAbove = (): boolean => [...limits.keys()].some(passed);
  for (const offer of isAbove() ? youngestFirst(state) : []) {
    if (!isAbove()) return;
    if (![...pathOf(offer.role)].includes(role)) continue;
    if (!Object.keys(looseQuantities(offer.resources)).some(passed)) continue;
    rescindOffers(turn, [offer], 'rescinded', why);
  }
}

/** What is free must reach for all that is guaranteed and not consumed yet. */
function makeHeadroom(turn: Turn, quotas: Quotas): void {
  const { state } = turn;
  const available = headroomOf(state);
  let required = requiredHeadroom(state, quotas);
  for (const offer of youngestFirst(state)) {
    const short = shortOf(required, available);
    if (short === 0) return;
    const back = looseQuantities(offer.resources);
    // What other roles consume changes nothing of what guarantees lack.
    const isGuaranteed = [...pathOf(offer.role)].some((role) => (quotas.get(role)?.guarantees.size ?? 0) > 0);
    const then = isGuaranteed ? requiredHeadroom(state, quotas, offer.role, back) : required;
    const agent = state.ledger.agents.get(offer.agentId);
    if (agent === undefined || inactiveBecause(state, agent) !== undefined) continue;
    if (shortOf(then, available, back) >= short) continue;
    rescindOffers(turn, [offer], 'rescinded', 'a new guarantee needs it');
    addAll(available, back);
    required = then;
  }
}

/** @param back - what would be available besides */
function shortOf(required: Amounts, available: Amounts, back: Loose = {}): number {
  let short = 0;
  for (const [name, amount] of required) {
    short += Math.max(0, amount - (available.get(name) ?? 0) - (back[name] ?? 0));
  }
  return short;
}

/** What is free on active agents, unreserved and not revocable. */
function headroomOf(state: State): Amounts {
  const headroom: Amounts = new Map();
  for (const agent of state.ledger.agents.values()) {
    if (inactiveBecause(state, agent) === undefined) addAll(headroom, looseQuantities(availableOf(state, agent)));
  }
  return headroom;
}

function addAll(sum: Amounts, more: Loose): void {
  for (const name in more) sum.set(name, (sum.get(name) ?? 0) + (more[name] as number));
}

/**
 * What must stay free for guarantees: of each role what it has not consumed, or what its subroles have not if that is more.
 *
 * @param without - what a role would consume less
 */
function requiredHeadroom(state: State, quotas: Quotas, role = '', without: Loose = {}): Amounts {
  const path = new Set(pathOf(role));
  const forSubroles = new Map<string, Amounts>();
  const required: Amounts = new Map();
  // The deepest first: what is kept for a role counts for the one above.
  const deepestFirst = [...quotas.keys()].sort((a, b) => b.split('/').length - a.split('/').length);
  for (const each of deepestFirst) {
    const consumed = consumedBy(state, each);
    for (const [name, guarantee] of quotas.get(each)?.guarantees ?? []) {
      const less = path.has(each) ? (without[name] ?? 0) : 0;
      const unmet = guarantee - (consumed.get(name) ?? 0) + less;
      const kept = Math.max(0, unmet, forSubroles.get(each)?.get(name) ?? 0);
      const above = guarantorOf(quotas, each, name);
      const sum = above === undefined ? required : (forSubroles.get(above) ?? new Map<string, number>());
      sum.set(name, (sum.get(name) ?? 0) + kept);
      if (above !== undefined) forSubroles.set(above, sum);
    }
  }
  return required;
}
