import { mesobus, type mesos } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { type MaySee, sightOf } from './authorization.ts';
import { heldSeconds, maxOpenOffers, offerTimeoutMs } from './conduct.ts';
import { consumedBy } from './consumption.ts';
import { isSynchronised } from './feed.ts';
import { inverseOfferStatuses } from './inverse-offers.ts';
import { type Machine, machineKey } from './machines.ts';
import { offerMessage } from './offers.ts';
import { scalarsOf } from './quota.ts';
import type { FrameworkLink, State } from './state.ts';

/**
 * Answers a question about what only the leader knows, with what the principal may see of it; undefined if the question
 * is not known.
 */
export function answerQuery(
  state: State,
  principal: string,
  query: mesobus.v1.MasterQuery,
  epoch: number,
  at: number,
): mesobus.v1.MasterAnswer | undefined {
  const maySee = sightOf(state, principal);
  if (query.getOffers) return new mesobus.v1.MasterAnswer({ offers: { offers: [...openOffers(state, maySee)] } });
  if (query.getConnections) {
    return new mesobus.v1.MasterAnswer({ connections: connectionsOf(state, maySee, epoch, at) });
  }
  if (query.getRoleUse) return new mesobus.v1.MasterAnswer({ roleUse: { roles: [...roleUses(state, maySee)] } });
  if (query.getMaintenance) return new mesobus.v1.MasterAnswer({ maintenance: maintenanceOf(state, maySee) });
  return undefined;
}

function* roleUses(state: State, maySee: MaySee): Iterable<mesobus.v1.RoleUse.$Properties> {
  for (const [role, { quota }] of state.ledger.roles) {
    if (quota && maySee('get_quotas', role)) yield { quota, consumed: scalarsOf(consumedBy(state, role)) };
  }
}

function maintenanceOf(state: State, maySee: MaySee): mesobus.v1.MaintenanceState.$Properties {
  const { machines, ledger } = state;
  const answers = new Map<Machine, mesos.v1.allocator.InverseOfferStatus.$Properties[]>();
  for (const [agentId, machine] of machines.agents) {
    answers.set(machine, [...(answers.get(machine) ?? []), ...inverseOfferStatuses(state, agentId)]);
  }
  const may = (action: 'get_maintenance_schedules' | 'get_maintenance_statuses') => (id: mesos.v1.MachineID) =>
    maySee(action, machineKey(id));
  const all = [...machines.scheduled.values()].filter(({ id }) => may('get_maintenance_statuses')(id));
  const windows = ledger.maintenance?.schedule?.windows ?? [];
  const seen = windows.map(({ machineIds, unavailability }) => ({
    machineIds: machineIds.filter(may('get_maintenance_schedules')),
    unavailability,
  }));
  const draining = all.filter(({ down }) => !down);
  return {
    schedule: { windows: seen.filter(({ machineIds }) => machineIds.length > 0) },
    status: {
      drainingMachines: draining.map((machine) => ({ id: machine.id, statuses: answers.get(machine) ?? [] })),
      downMachines: all.filter(({ down }) => down).map(({ id }) => id),
    },
  };
}

function* openOffers(state: State, maySee: MaySee): Iterable<mesobus.v1.OpenOffer.$Properties> {
  for (const offer of state.offers.values()) {
    if (!maySee('view_frameworks', userOf(state, offer.frameworkId))) continue;
    yield { offer: offerMessage(state, offer), offeredAtMs: offer.offeredAtMs };
  }
}

const userOf = ({ ledger }: State, frameworkId: string): string | undefined =>
  ledger.frameworks.get(frameworkId)?.record.info?.user;

function connectionsOf(state: State, maySee: MaySee, epoch: number, at: number): mesobus.v1.ConnectionList.$Properties {
  const { allocators, config, startedAtMs } = state;
  const frameworks = [...state.frameworks.values()];
  const seen = frameworks.filter(({ frameworkId }) => maySee('view_frameworks', userOf(state, frameworkId)));
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
    frameworks: seen.map((link) => frameworkConnection(state, link, at)),
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
