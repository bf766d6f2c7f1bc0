import { formatResources, resources } from '@mesobus/sdk/resources';

/** What a machine has. */
export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

const mebibyte = 2 ** 20;
const gibibyteMb = 1024;
const firstPort = 31_000;
const lastPort = 32_000;

/**
 * What each of so many agents may promise, so that together they do not promise more than there is. As Mesos does, a
 * gibibyte of memory and five of disk are left to the machine, or the half where that is less.
 *
 * @returns one text per agent as `--resources` takes it; only the ports differ
 * @throws {RangeError} there are more agents than the ports or the hundredths of a CPU go round
 */
export function splitResources(machine: Machine, agents: number): string[] {
  const share = {
    cpus: Math.floor((machine.cpus * 100) / agents) / 100,
    mem: Math.floor(spared(machine.memoryBytes / mebibyte, gibibyteMb) / agents),
    disk: Math.floor(spared(machine.diskBytes / mebibyte, 5 * gibibyteMb) / agents),
  };
  const ports = Math.floor((lastPort - firstPort + 1) / agents);
  if (share.cpus < 0.01 || share.mem < 1 || ports < 1) {
    throw new RangeError(
      `Cannot divide this machine between ${agents} agents: start fewer, or say --resources yourself`,
    );
  }
  return Array.from({ length: agents }, (_, index) => {
    const begin = firstPort + index * ports;
    return formatResources(resources({ ...share, ports: [[begin, begin + ports - 1]] }));
  });
}

const spared = (whole: number, spare: number): number => (whole > 2 * spare ? whole - spare : whole / 2);
