import { mesobus } from '@mesobus/protos';
import { isSynchronised } from './feed.ts';
import { offerMessage } from './offers.ts';
import type { State } from './state.ts';

/** Answers a question about what only the leader knows; undefined if the question is not known. */
export function answerQuery(
  state: State,
  query: mesobus.v1.MasterQuery,
  epoch: number,
): mesobus.v1.MasterAnswer | undefined {
  if (query.getOffers) return new mesobus.v1.MasterAnswer({ offers: { offers: [...openOffers(state)] } });
  if (query.getConnections) return new mesobus.v1.MasterAnswer({ connections: connectionsOf(state, epoch) });
  return undefined;
}

function* openOffers(state: State): Iterable<mesobus.v1.OpenOffer.$Properties> {
  for (const offer of state.offers.values()) {
    yield { offer: offerMessage(state, offer), offeredAtMs: offer.offeredAtMs };
  }
}

function connectionsOf(state: State, epoch: number): mesobus.v1.ConnectionList.$Properties {
  const { allocators, config, startedAtMs } = state;
  return {
    masterId: config.masterId,
    epoch,
    electedAtMs: startedAtMs,
    agents: [...state.agents.values()].map(({ agentId, connected, lastHeardMs }) => ({
      agentId,
      connected,
      lastHeardAtMs: Number.isFinite(lastHeardMs) ? lastHeardMs : 0,
    })),
    frameworks: [...state.frameworks.values()].map(({ frameworkId, connected }) => ({ frameworkId, connected })),
    allocators: [...allocators.feeds.values()].map((feed) => ({
      allocatorId: feed.allocatorId,
      appointed: feed.allocatorId === allocators.appointedId,
      synchronised: isSynchronised(feed),
    })),
  };
}
