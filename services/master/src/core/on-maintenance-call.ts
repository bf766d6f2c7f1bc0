import { encode, mesobus, mesos } from '@mesobus/protos';
import { sendLoose } from './commands.ts';
import { endAgent } from './end-agent.ts';
import { agentChanged } from './feed.ts';
import { reviseInverseOffers } from './inverse-offers.ts';
import { type Machine, machineKey, readSchedule, sameUnavailability } from './machines.ts';
import { rescindOffers } from './offers.ts';
import type { CallRefused } from './on-agent-call.ts';
import type { Turn } from './turn.ts';

const { DOWN } = mesos.v1.MachineInfo.Mode;
const { MaintenanceRecord } = mesobus.v1;

type Records = readonly mesobus.v1.Record.$Properties[];
type Schedule = mesos.v1.maintenance.Schedule;
type MachineID = mesos.v1.MachineID;

/** The record must fit in an entry of the log, with room to spare. */
const maxRecordBytes = 240 * 1024;
const maxNameLength = 256;

/**
 * An operator's call about the maintenance of machines.
 *
 * @param done - records that say that the call is carried out, for the same transaction
 * @returns why it is refused; undefined if it is carried out
 */
export function onMaintenanceCall(turn: Turn, call: mesos.v1.master.Call, done: Records): CallRefused | undefined {
  const { updateMaintenanceSchedule, startMaintenance, stopMaintenance } = call;
  const { schedule, down } = maintained(turn);
  if (updateMaintenanceSchedule) return update(turn, updateMaintenanceSchedule.schedule, down, done);
  const [name, machines] = startMaintenance
    ? ['START_MAINTENANCE', startMaintenance.machines]
    : ['STOP_MAINTENANCE', stopMaintenance?.machines ?? []];
  const problem = machinesProblem(machines) ?? modeProblem(turn, machines, startMaintenance ? 'start' : 'stop');
  if (problem !== undefined) return { code: 'call_invalid', subject: name, why: problem };
  const keys = new Set(machines.map(machineKey));
  if (startMaintenance) write(turn, schedule, new Set([...down, ...keys]), done);
  else write(turn, without(schedule, keys), down, done);
  removeAgentsOfDown(turn);
  return undefined;
}

/** The schedule, and the keys of those of its machines that are down. */
function maintained({ state }: Turn): { schedule: Schedule; down: Set<string> } {
  const down = [...state.machines.scheduled].filter(([, machine]) => machine.down).map(([key]) => key);
  return { schedule: state.ledger.maintenance?.schedule ?? new mesos.v1.maintenance.Schedule(), down: new Set(down) };
}

/** A machine that is up again leaves the schedule; a window without machines goes with it. */
function without({ windows }: Schedule, keys: ReadonlySet<string>): Schedule {
  const kept = windows.map(({ machineIds, unavailability }) => ({
    machineIds: machineIds.filter((id) => !keys.has(machineKey(id))),
    unavailability,
  }));
  return new mesos.v1.maintenance.Schedule({ windows: kept.filter(({ machineIds }) => machineIds.length > 0) });
}

function update(turn: Turn, schedule: Schedule, down: ReadonlySet<string>, done: Records): CallRefused | undefined {
  const problem = scheduleProblem(schedule, down);
  if (problem !== undefined) return { code: 'call_invalid', subject: 'UPDATE_MAINTENANCE_SCHEDULE', why: problem };
  write(turn, schedule, down, done);
  return undefined;
}

/**
 * The whole schedule, and of its machines those that are down: all others are being emptied. They stand as the schedule
 * names them, each once, so that the size of the schedule bounds that of the record.
 */
function write(turn: Turn, schedule: Schedule, down: ReadonlySet<string>, done: Records): void {
  const { state } = turn;
  const scheduled = schedule.windows.flatMap(({ machineIds }) => machineIds);
  const machines = scheduled.filter((id) => down.has(machineKey(id))).map((id) => ({ id, mode: DOWN }));
  const maintenance = new MaintenanceRecord({ schedule, machines });
  turn.transaction([{ maintenance }, ...done]);
  const before = new Map(state.machines.agents);
  readSchedule(state);
  for (const agentId of new Set([...before.keys(), ...state.machines.agents.keys()])) {
    if (isSame(before.get(agentId), state.machines.agents.get(agentId))) continue;
    rescindOffers(turn, state.agents.get(agentId)?.offers ?? [], 'rescinded', 'its maintenance schedule has changed');
    agentChanged(state, agentId);
  }
  reviseInverseOffers(turn);
  turn.log('info', 'maintenance schedule changed', { machines: state.machines.scheduled.size, down: machines.length });
}

function isSame(before: Machine | undefined, now: Machine | undefined): boolean {
  if (before === undefined || now === undefined) return before === now;
  return before.down === now.down && sameUnavailability(before.unavailability, now.unavailability);
}

/**
 * Agents on machines that are away are told to end and removed, their tasks count as gone. Looked at again and again: a
 * leader may have died between the record of the machine and those of its agents.
 */
export function removeAgentsOfDown(turn: Turn): void {
  const { state } = turn;
  for (const [agentId, { down }] of [...state.machines.agents]) {
    const agent = down ? state.ledger.agents.get(agentId) : undefined;
    if (agent === undefined) continue;
    const why = 'its machine is down for maintenance';
    const link = state.agents.get(agentId);
    endAgent(turn, agent, why);
    if (link !== undefined) sendLoose(turn, link, [{ number: 0, shutdownAgent: { message: why } }], 'committed');
  }
}

// ---- what can be wrong

function scheduleProblem(schedule: Schedule, down: ReadonlySet<string>): string | undefined {
  const seen = new Set<string>();
  for (const [index, { machineIds, unavailability }] of schedule.windows.entries()) {
    const problem = machinesProblem(machineIds);
    if (problem !== undefined) return `window ${index + 1}: ${problem}`;
    if ((unavailability.duration?.nanoseconds ?? 0n) < 0n) {
      return `window ${index + 1}: its duration is negative; leave it out if the end is not known`;
    }
    const twice = machineIds.find((id) => seen.size === seen.add(machineKey(id)).size);
    if (twice !== undefined) return `machine '${nameOf(twice)}' is named twice; put it in one window only`;
  }
  const dropped = [...down].find((key) => !seen.has(key));
  if (dropped !== undefined) {
    return `machine '${dropped}' is down and cannot leave the schedule; stop its maintenance first`;
  }
  const bytes = encode(MaintenanceRecord, new MaintenanceRecord({ schedule })).length * 2;
  if (bytes <= maxRecordBytes) return undefined;
  return `it takes ${bytes} bytes, of at most ${maxRecordBytes}; plan fewer machines at a time`;
}

function machinesProblem(machines: readonly MachineID[]): string | undefined {
  if (machines.length === 0) return 'no machine is named; name at least one by its hostname';
  for (const { hostname, ip } of machines) {
    if (hostname === '' && ip === '') return 'a machine has neither hostname nor ip; name it by its hostname';
    if (hostname.length > maxNameLength || ip.length > maxNameLength) {
      return `the name of a machine has more than ${maxNameLength} characters`;
    }
    if (ip !== '' && !/^[\da-f.:]+$/i.test(ip)) return `'${ip}' is no IP address; write it like 10.0.0.1`;
  }
  return undefined;
}

function modeProblem({ state }: Turn, machines: readonly MachineID[], what: 'start' | 'stop'): string | undefined {
  for (const id of machines) {
    const machine = state.machines.scheduled.get(machineKey(id));
    if (what === 'start' && machine === undefined) {
      return `machine '${nameOf(id)}' is not in the maintenance schedule; put it there first`;
    }
    if (what === 'start' && machine?.down) return `machine '${nameOf(id)}' is down already`;
    if (what === 'stop' && !machine?.down) return `machine '${nameOf(id)}' is not down for maintenance`;
  }
  return undefined;
}

const nameOf = ({ hostname, ip }: MachineID): string => hostname || ip;
