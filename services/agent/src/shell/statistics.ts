import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import { type ContainerFacts, runningContainers, type State } from '../core/index.ts';
import type { ContainerUsage } from './containerizer.ts';
import type { DiskMeter } from './disk-meter.ts';

/** However many ask, nothing is measured more often. */
const freshMs = 1_000;

export interface StatisticsOptions {
  readonly state: State;
  readonly sandboxes: string;
  /** Of those that can be measured. */
  readonly usage: (containerIds: readonly string[]) => Promise<readonly ContainerUsage[]>;
  readonly disk: DiskMeter;
  /** Ms since 1970. */
  readonly now: () => number;
}

/** Tells what the containers of an agent use, and what its machine has left. */
export class Statistics {
  readonly #options: StatisticsOptions;
  #latest: Promise<mesobus.v1.AgentUsage.$Properties> | undefined;
  #latestAt = Number.NEGATIVE_INFINITY;

  constructor(options: StatisticsOptions) {
    this.#options = options;
  }

  answer(): Promise<mesobus.v1.AgentUsage.$Properties> {
    const at = this.#options.now();
    if (this.#latest === undefined || at - this.#latestAt >= freshMs) {
      this.#latestAt = at;
      this.#latest = this.#measure(at);
    }
    return this.#latest;
  }

  async #measure(measuredAtMs: number): Promise<mesobus.v1.AgentUsage.$Properties> {
    const { state, sandboxes, usage, disk } = this.#options;
    const facts = runningContainers(state);
    const pathOf = ({ sandbox }: ContainerFacts): string => join(sandboxes, sandbox);
    const onDisk = disk.known(facts.map(pathOf));
    const measured = await usage(facts.map(({ containerId }) => containerId));
    const byContainer = new Map(measured.map((one) => [one.containerId, one]));
    const containers = facts.map((one) => {
      const { sandbox: _, ...rest } = one;
      return { ...rest, ...measuredOf(byContainer.get(one.containerId)), ...diskOf(onDisk.get(pathOf(one))) };
    });
    return { measuredAtMs, containers, machine: await machineUsage(sandboxes) };
  }
}

const diskOf = (diskBytes: number | undefined): mesobus.v1.ContainerUsage.$Properties =>
  diskBytes === undefined ? {} : { diskBytes };

function measuredOf(usage: ContainerUsage | undefined): mesobus.v1.ContainerUsage.$Properties {
  if (usage === undefined) return {};
  const { containerId: _, atMs: measuredAtMs, ...rest } = usage;
  return { measuredAtMs, ...rest };
}

async function machineUsage(folder: string): Promise<mesobus.v1.MachineUsage.$Properties> {
  const { blocks, bavail, bsize } = await statfs(folder);
  return {
    cpus: availableParallelism(),
    load: loadavg()[0] ?? 0,
    memoryBytes: totalmem(),
    memoryAvailableBytes: freemem(), // what node calls so is MemAvailable of /proc/meminfo
    diskBytes: blocks * bsize,
    diskAvailableBytes: bavail * bsize,
  };
}
