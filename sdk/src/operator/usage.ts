import { has, type mesobus } from '@mesobus/protos';

/** What an agent's containers use, and what its machine has left; measured at most once a second. */
export interface AgentUsage {
  readonly measuredAt: Date;
  readonly containers: readonly ContainerUsage[];
  readonly machine: MachineUsage;
}

/** What is absent could not be measured there. What adds up counts from the start of the container. */
export interface ContainerUsage {
  readonly containerId: string;
  readonly frameworkId: string;
  readonly executorId: string;
  /** One, unless an executor runs several. */
  readonly taskIds: readonly string[];
  readonly paused: boolean;
  /** That it was given. */
  readonly cpus: number;
  /** 0: none. */
  readonly memoryLimitBytes: number;
  /** 0: none. */
  readonly diskLimitBytes: number;
  readonly measuredAt?: Date;
  readonly cpuSeconds?: number;
  /** Time in which it wanted more cpu than it may have. */
  readonly throttledSeconds?: number;
  readonly memoryBytes?: number;
  readonly memoryPeakBytes?: number;
  readonly processes?: number;
  /** Of its sandbox. */
  readonly diskBytes?: number;
  readonly ioReadBytes?: number;
  readonly ioWriteBytes?: number;
}

export interface MachineUsage {
  readonly cpus: number;
  /** Over the last minute. */
  readonly load: number;
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  /** Of the disk with the sandboxes. */
  readonly diskBytes: number;
  readonly diskAvailableBytes: number;
}

export function agentUsageOf({ measuredAtMs, containers, machine }: mesobus.v1.AgentUsage): AgentUsage {
  return {
    measuredAt: new Date(measuredAtMs),
    containers: containers.map(containerUsageOf),
    machine: {
      cpus: machine?.cpus ?? 0,
      load: machine?.load ?? 0,
      memoryBytes: machine?.memoryBytes ?? 0,
      memoryAvailableBytes: machine?.memoryAvailableBytes ?? 0,
      diskBytes: machine?.diskBytes ?? 0,
      diskAvailableBytes: machine?.diskAvailableBytes ?? 0,
    },
  };
}

const measured = [
  ...(['cpuSeconds', 'throttledSeconds', 'memoryBytes', 'memoryPeakBytes', 'processes'] as const),
  ...(['diskBytes', 'ioReadBytes', 'ioWriteBytes'] as const),
];

function containerUsageOf(raw: mesobus.v1.ContainerUsage): ContainerUsage {
  const { containerId, frameworkId, executorId, taskIds, paused, cpus, memoryLimitBytes, diskLimitBytes } = raw;
  return {
    ...{ containerId, frameworkId, executorId, taskIds, paused, cpus, memoryLimitBytes, diskLimitBytes },
    ...(has(raw, 'measuredAtMs') && { measuredAt: new Date(raw.measuredAtMs) }),
    ...Object.fromEntries(measured.filter((name) => has(raw, name)).map((name) => [name, raw[name]])),
  };
}
