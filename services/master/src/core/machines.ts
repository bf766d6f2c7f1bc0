import { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry, Ledger } from '@mesobus/registry/core';
import type { State } from './state.ts';

const { GONE } = mesobus.v1.AgentRecord.Lifecycle;

/** A machine that is in the maintenance schedule. */
export interface Machine {
  readonly id: mesos.v1.MachineID;
  readonly unavailability: mesos.v1.Unavailability;
  /** Away: its agents are removed, and none is taken. */
  readonly down: boolean;
}

/** The machines of the maintenance schedule and their agents, as the log has them. */
export interface Machines {
  /** By {@link machineKey}. */
  scheduled: ReadonlyMap<string, Machine>;
  /** Agents that run on one of them, with what its machine was when the agent was last looked at. */
  readonly agents: Map<string, Machine>;
}

/**
 * A machine is known by its host name, or by its IP address if it is named by that alone. An agent runs on the machine
 * whose name is what it says as its hostname. Case does not count.
 */
export const machineKey = ({ hostname, ip }: mesos.v1.MachineID.$Properties): string =>
  (hostname || ip || '').toLowerCase();

export function createMachines(ledger: Ledger): Machines {
  const machines: Machines = { scheduled: scheduledIn(ledger), agents: new Map() };
  placeAgents(machines, ledger);
  return machines;
}

/** The schedule has changed. */
export function readSchedule({ machines, ledger }: State): void {
  machines.scheduled = scheduledIn(ledger);
  machines.agents.clear();
  placeAgents(machines, ledger);
}

function placeAgents(machines: Machines, ledger: Ledger): void {
  if (machines.scheduled.size === 0) return;
  for (const agent of ledger.agents.values()) place(machines, agent);
}

/** An agent has come, or says something else of itself than before. */
export function placeAgent({ machines }: State, agent: AgentEntry): void {
  place(machines, agent);
}

function place({ scheduled, agents }: Machines, { id, record }: AgentEntry): void {
  const machine = record.lifecycle === GONE ? undefined : scheduled.get((record.info?.hostname ?? '').toLowerCase());
  if (machine === undefined) agents.delete(id);
  else agents.set(id, machine);
}

function scheduledIn({ maintenance }: Ledger): Map<string, Machine> {
  const down = new Set((maintenance?.machines ?? []).filter(isDownMode).map(({ id }) => machineKey(id)));
  const scheduled = new Map<string, Machine>();
  for (const { machineIds, unavailability } of maintenance?.schedule?.windows ?? []) {
    for (const id of machineIds) {
      const key = machineKey(id);
      scheduled.set(key, { id, unavailability, down: down.has(key) });
    }
  }
  return scheduled;
}

const isDownMode = ({ mode }: mesos.v1.MachineInfo): boolean => mode === mesos.v1.MachineInfo.Mode.DOWN;

/** When the machine of an agent is planned to be away. */
export const unavailabilityOf = ({ machines }: State, agentId: string): mesos.v1.Unavailability | undefined =>
  machines.agents.get(agentId)?.unavailability;

export const isDown = ({ machines }: State, agentId: string): boolean => machines.agents.get(agentId)?.down ?? false;

/** The machine of that name that is away for maintenance. */
export function downMachine({ machines }: State, hostname: string): Machine | undefined {
  const machine = machines.scheduled.get(hostname.toLowerCase());
  return machine?.down ? machine : undefined;
}

export const sameUnavailability = (a: mesos.v1.Unavailability, b: mesos.v1.Unavailability): boolean =>
  a.start.nanoseconds === b.start.nanoseconds && a.duration?.nanoseconds === b.duration?.nanoseconds;
