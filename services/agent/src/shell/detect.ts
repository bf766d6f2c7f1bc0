import { statfsSync } from 'node:fs';
import type { mesos } from '@mesobus/protos';
import {
  add,
  attributesToWire,
  MalformedResourceError,
  parseAttributes,
  parseResourceEntries,
  parseResources,
  toWire,
} from '@mesobus/sdk/resources';
import { ConfigError } from '@mesobus/sdk/service';
import { cpu, fsSize, mem, osInfo } from 'systeminformation';

/** The machine as it is. */
export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
  /** Of the file system that holds the work directory. */
  readonly diskBytes: number;
  /** Such as `debian`. */
  readonly os: string;
  /** Such as `x64`. */
  readonly arch: string;
}

const megabyte = 2 ** 20;
const gigabyte = 2 ** 30;

/** @throws {Error} if the machine cannot be read */
export async function measureMachine(workDir: string): Promise<Machine> {
  const [{ cores }, { total: memoryBytes }, disks, { distro, arch }] = await Promise.all([
    cpu(),
    mem(),
    fsSize(),
    osInfo(),
  ]);
  const os = /[a-z]+/.exec(distro.toLowerCase())?.[0] ?? 'linux'; // 'Debian GNU/Linux' is debian
  return { cores, memoryBytes, diskBytes: diskBelow(workDir, disks), os, arch };
}

/** The size of the file system that is mounted nearest above a folder; in a container it may not be in the list. */
function diskBelow(folder: string, disks: readonly { mount: string; size: number }[]): number {
  const above = disks.filter(({ mount }) => `${folder}/`.startsWith(mount === '/' ? '/' : `${mount}/`));
  const nearest = above.reduce((best, disk) => (disk.mount.length > best.mount.length ? disk : best), {
    mount: '',
    size: 0,
  });
  if (nearest.size > 0) return nearest.size;
  const { blocks, bsize } = statfsSync(folder);
  return blocks * bsize;
}

/**
 * What an agent offers: what the operator says, and of the kinds that he does not mention what the machine has, less
 * what it needs for itself. An explicit zero is a mention.
 *
 * @param written - text as of `--resources`, or JSON
 * @throws {MalformedResourceError}
 */
export function detectResources(machine: Machine, written = ''): mesos.v1.Resource.$Properties[] {
  const mentioned = new Set(parseResourceEntries(written).map(({ name }) => name));
  const found = Object.entries(defaultsOf(machine)).filter(([name]) => !mentioned.has(name));
  const detected = found.map(([name, value]) => `${name}:${value}`).join(';');
  return toWire(add(parseResources(written), parseResources(detected)));
}

/** Mesos' defaults: a gigabyte of memory and five of disk stay with the machine, or half where there is little. */
function defaultsOf({ cores, memoryBytes, diskBytes }: Machine): Record<string, number | string> {
  const memory = memoryBytes >= 2 * gigabyte ? memoryBytes - gigabyte : memoryBytes / 2;
  const disk = diskBytes > 10 * gigabyte ? diskBytes - 5 * gigabyte : diskBytes / 2;
  return {
    cpus: cores,
    mem: Math.floor(memory / megabyte),
    disk: Math.floor(disk / megabyte),
    ports: '[31000-32000]',
  };
}

/**
 * What an agent says of itself: what the operator says, and of `os` and `arch`, where he does not mention them, what the
 * machine is.
 *
 * @throws {MalformedResourceError}
 */
export function detectAttributes({ os, arch }: Machine, written = ''): mesos.v1.Attribute.$Properties[] {
  const said = parseAttributes(written);
  const mentioned = new Set(said.map(({ name }) => name));
  const found = Object.entries({ os, arch }).filter(([name]) => !mentioned.has(name));
  return attributesToWire([...said, ...found.map(([name, text]) => ({ name, kind: 'text', text }) as const)]);
}

/** @throws {ConfigError} naming the flag, if what the operator says cannot be read */
export function checkWritten(written: { resources?: string | undefined; attributes?: string | undefined }): void {
  const problems: string[] = [];
  const check = (flag: string, read: () => unknown): void => {
    try {
      read();
    } catch (error) {
      if (!(error instanceof MalformedResourceError)) throw error;
      problems.push(`--${flag}: ${error.message}`);
    }
  };
  check('resources', () => {
    const lent = parseResourceEntries(written.resources ?? '').find(({ revocable }) => revocable);
    if (lent === undefined) return;
    const problem = { problem: 'they are revocable', remedy: 'leave that out, and give --resource-estimator measured' };
    throw new MalformedResourceError(`the resources '${lent.name}'`, problem);
  });
  check('attributes', () => parseAttributes(written.attributes ?? ''));
  if (problems.length > 0) throw new ConfigError(problems);
}
