import { type mesobus, mesos } from '@mesobus/protos';

/** A machine by its hostname, as its agents say it, or by its IP address if they say that. */
export interface Machine {
  readonly hostname?: string;
  readonly ip?: string;
}

/** Machines that will be away at the same time. */
export interface MaintenanceWindow {
  readonly machines: readonly Machine[];
  readonly start: Date;
  /** Absent: nobody knows how long. */
  readonly durationMs?: number;
}

/** What a framework says to a machine's absence. */
export interface InverseOfferAnswer {
  readonly frameworkId: string;
  /** It has said nothing yet: `unknown`. */
  readonly answer: 'unknown' | 'accept' | 'decline';
  readonly at: Date;
}

export interface MaintenanceStatus {
  /** Machines that are in the schedule and not away. */
  readonly draining: readonly { readonly machine: Machine; readonly answers: readonly InverseOfferAnswer[] }[];
  readonly down: readonly Machine[];
}

const { ACCEPT, DECLINE } = mesos.v1.allocator.InverseOfferStatus.Status;
const nanosecondsPerMs = 1_000_000n;

export function scheduleOf({ schedule }: mesobus.v1.MaintenanceState): MaintenanceWindow[] {
  return (schedule?.windows ?? []).map(({ machineIds, unavailability: { start, duration } }) => ({
    machines: machineIds.map(machineOf),
    start: dateOf(start),
    ...(duration && { durationMs: Number(duration.nanoseconds / nanosecondsPerMs) }),
  }));
}

export function maintenanceStatusOf({ status }: mesobus.v1.MaintenanceState): MaintenanceStatus {
  return {
    draining: (status?.drainingMachines ?? []).map(({ id, statuses }) => ({
      machine: machineOf(id),
      answers: statuses.map(answerOf),
    })),
    down: (status?.downMachines ?? []).map(machineOf),
  };
}

function answerOf({ status, frameworkId, timestamp }: mesos.v1.allocator.InverseOfferStatus): InverseOfferAnswer {
  const answer = status === ACCEPT ? 'accept' : status === DECLINE ? 'decline' : 'unknown';
  return { frameworkId: frameworkId.value, answer, at: dateOf(timestamp) };
}

const machineOf = ({ hostname, ip }: mesos.v1.MachineID): Machine => ({
  ...(hostname !== '' && { hostname }),
  ...(ip !== '' && { ip }),
});

const dateOf = ({ nanoseconds }: mesos.v1.TimeInfo): Date => new Date(Number(nanoseconds / nanosecondsPerMs));

export const wireWindowOf = ({
  machines,
  start,
  durationMs,
}: MaintenanceWindow): mesos.v1.maintenance.Window.$Properties => ({
  machineIds: wireMachinesOf(machines),
  unavailability: {
    start: { nanoseconds: BigInt(start.getTime()) * nanosecondsPerMs },
    ...(durationMs !== undefined && { duration: { nanoseconds: BigInt(Math.round(durationMs)) * nanosecondsPerMs } }),
  },
});

export const wireMachinesOf = (machines: readonly Machine[]): mesos.v1.MachineID.$Properties[] =>
  machines.map(({ hostname, ip }) => ({
    ...(hostname !== undefined && { hostname }),
    ...(ip !== undefined && { ip }),
  }));
