import { mesobus, type mesos } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { heldSeconds, maxOpenOffers, offerTimeoutMs } from './conduct.ts';
import { consumedBy } from './consumption.ts';
import { isSynchronised } from './feed.ts';
import { inverseOfferStatuses } from './inverse-offers.ts';
import type { Machine } from './machines.ts';
import { offerMessage } from './offers.ts';
import { scalarsOf } from './quota.ts';
import type { FrameworkLink, State } from './state.ts';

/** Answers a question about what only the leader knows; undefined if the question is not known. */
export function answerQuery(
  state: State,
  query: mesobus.v1.MasterQuery,
  epoch: number,
  at: number,
): mesobus.v1.MasterAnswer | undefined {
  if (query.getOffers) return new mesobus.v1.MasterAnswer({ offers: { offers: [...openOffers(state)] } });
  if (query.getConnections) return new mesobus.v1.MasterAnswer({ connections: connectionsOf(state, epoch, at) });
  if (query.getRoleUse) return new mesobus.v1.MasterAnswer({ roleUse: { roles: [...roleUses(state)] } });
  if (query.getMaintenance) return new mesobus.v1.MasterAnswer({ maintenance: maintenanceOf(state) });
  return undefined;
}

function* roleUses(state: State): Iterable<mesobus.v1.RoleUse.$Properties> {
  for (const [role, { quota }] of state.ledger.roles) {
    if (quota) yield { quota, consumed: scalarsOf(consumedBy(state, role)) };
  }
}

function maintenanceOf(state: State): mesobus.v1.MaintenanceState.$Properties {
  const { machines, ledger } = state;
  const answers = new Map<Machine, mesos.v1.allocator.InverseOfferStatus.$Properties[]>();
  for (const [agentId, machine] of machines.agents) {
    answers.set(machine, [...(answers.get(machine) ?? []), ...inverseOfferStatuses(state, agentId)]);
  }
  const all = [...machines.scheduled.values()];
  const draining = all.filter(({ down }) => !down);
  return {
    schedule: ledger.maintenance?.schedule ?? {},
    status: {
      drainingMachines: draining.map((machine) => ({ id: machine.id, statuses: answers.get(machine) ?? [] })),
      downMachines: all.filter(({ down }) => down).map(({ id }) => id),
    },
  };
}

function* openOffers(state: State): Iterable<mesobus.v1.OpenOffer.$Properties> {
  for (const offer of state.offers.values()) {
    yield { offer: offerMessage(state, offer), offeredAtMs: offer.offeredAtMs };
  }
}

function connectionsOf(state: State, epoch: number, at: number): mesobus.v1.ConnectionList.$Properties {
  const { allocators, config, startedAtMs } = state;
  return {
    masterId: config.masterId,
    epoch,
    electedAtMs: startedAtMs,
    agents: [...state.agents.values()].map(({ agentId, connected, lastHeardMs, revocable }) => ({
      agentId,
      connected,
      lastHeardAtMs: Number.isFinite(lastHeardMs) ? lastHeardMs : 0,
      revocable: toWire(revocable),
    })),
    frameworks: [...state.frameworks.values()].map((link) => frameworkConnection(state, link, at)),
    allocators: [...allocators.feeds.values()].map((feed) => ({
      allocatorId: feed.allocatorId,
      appointed: feed.allocatorId === allocators.appointedId,
      synchronised: isSynchronised(feed),
    })),
  };
}

function frameworkConnection(
  { config }: State,
  link: FrameworkLink,
  at: number,
): mesobus.v1.FrameworkConnection.$Properties {
  const { frameworkId, connected, offers, conduct, demands } = link;
  const held = Object.entries(heldSeconds(link, at));
  return {
    frameworkId,
    connected,
    openOffers: offers.size,
    maxOpenOffers: maxOpenOffers(link),
    answeredOffers: conduct.answered,
    expiredOffers: conduct.expired,
    offerTimeoutMs: offerTimeoutMs(config, link),
    decisionMs: conduct.decisionMs,
    heldSeconds: Object.fromEntries(held.map(([name, value]) => [name, { value }])),
    demands: [...demands],
  };
}
