import type { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import {
  equals,
  fromWire,
  noResources,
  type Resource,
  type Resources,
  revocable,
  tryUse,
} from '@mesobus/sdk/resources';
import type { AgentTurn } from './agent-turn.ts';
import { freeOf } from './agents.ts';
import { agentChanged } from './feed.ts';
import { rescindOffers } from './offers.ts';
import type { AgentLink, Offer } from './state.ts';
import type { Turn } from './turn.ts';

/** An agent says what lies idle on it. Soft: the next leader hears it from the agent again. */
export function onRevocableEstimate(
  turn: AgentTurn,
  agent: AgentEntry,
  link: AgentLink,
  { resources, number }: mesobus.v1.RevocableEstimate,
): void {
  const estimate = readEstimate(resources);
  if (typeof estimate === 'string') {
    turn.refuse('call_invalid', turn.agentName, estimate);
    return;
  }
  if (number > link.estimateNumber) {
    link.estimateNumber = number;
    setEstimate(turn, agent, link, estimate);
  }
  turn.answer('now', { taken: {} });
}

/** @returns what is wrong with it, if that cannot be lent */
function readEstimate(wire: readonly mesos.v1.Resource[]): Resources | string {
  try {
    const resources = fromWire(wire);
    const unfit = resources.find((one) => !isLendable(one));
    return unfit === undefined ? resources : `its estimate of '${unfit.name}' is not a plain revocable scalar`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const isLendable = ({ kind, revocable: isRevocable, reservations, disk, shared, providerId }: Resource): boolean =>
  kind === 'scalar' && isRevocable === true && !reservations && !disk && !shared && providerId === undefined;

/** Nothing that a process before has said counts for the one that registers now. */
export function forgetEstimate(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  link.estimateNumber = 0;
  setEstimate(turn, agent, link, noResources);
}

/** Offers of what is not idle any more are taken back, the youngest first. What tasks hold the agent itself takes back. */
function setEstimate(turn: Turn, agent: AgentEntry, link: AgentLink, estimate: Resources): void {
  if (equals(link.revocable, estimate)) return;
  link.revocable = estimate;
  const unfit: Offer[] = [];
  let left = revocable(freeOf(turn.state, agent));
  for (const offer of link.offers) {
    const rest = tryUse(left, revocable(offer.resources));
    if (rest === undefined) unfit.push(offer);
    else left = rest;
  }
  rescindOffers(turn, unfit, 'rescinded', 'what is offered revocably is not idle any more');
  agentChanged(turn.state, agent.id);
}
