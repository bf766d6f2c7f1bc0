import { execFile } from 'node:child_process';
import { existsSync, readdirSync, statfsSync } from 'node:fs';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { fromJson, MalformedJsonError, mesos } from '@mesobus/protos';
import {
  type Attribute,
  add,
  attributesFromWire,
  attributesToWire,
  MalformedResourceError,
  parseAttributes,
  parseResourceEntries,
  parseResources,
  toWire,
} from '@mesobus/sdk/resources';
import { ConfigError } from '@mesobus/sdk/service';
import type { MachineFacts } from './look-at-machine.ts';

/** The machine as it is. */
export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
  /** Of the file system that holds the work directory. */
  readonly diskBytes: number;
  /** That a driver of NVIDIA has. */
  readonly gpus: number;
  /** Such as `debian`. */
  readonly os: string;
  /** Such as `x64`. */
  readonly arch: string;
}

const megabyte = 2 ** 20;
const gigabyte = 2 ** 30;

const run = promisify(execFile);
const lookTimeoutMs = 60_000;

/** @throws {Error} if the machine cannot be read */
export async function measureMachine(workDir: string): Promise<Machine> {
  const { cores, memoryBytes, disks, distro, arch } = await lookAtMachine();
  const os = /[a-z]+/.exec(distro.toLowerCase())?.[0] ?? 'linux'; // 'Debian GNU/Linux' is debian
  const gpus = countOf('/proc/driver/nvidia/gpus');
  return { cores, memoryBytes, diskBytes: diskBelow(workDir, disks), gpus, os, arch };
}

async function lookAtMachine(): Promise<MachineFacts> {
  const program = join(import.meta.dirname, `look-at-machine${extname(import.meta.filename)}`); // as built, or its source
  const options = { env: { PATH: process.env['PATH'] ?? '' }, timeout: lookTimeoutMs, maxBuffer: 1 << 24 };
  try {
    const { stdout } = await run(process.execPath, [program], options);
    return JSON.parse(stdout) as MachineFacts;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot find out what the machine has: ${why}`, { cause });
  }
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

/** The driver has a folder for each. */
const countOf = (folder: string): number => (existsSync(folder) ? readdirSync(folder).length : 0);

/**
 * What an agent offers: what the operator says, and of the kinds that he does not mention what the machine has, less
 * what it needs for itself. An explicit zero is a mention.
 *
 * @param written - text as of `--resources`, or JSON
 * @param defaultRole - whom everything is reserved to that names no role; `*`: nobody
 * @throws {MalformedResourceError}
 */
export function detectResources(machine: Machine, written = '', defaultRole = '*'): mesos.v1.Resource.$Properties[] {
  const mentioned = new Set(parseResourceEntries(written).map(({ name }) => name));
  const found = Object.entries(defaultsOf(machine)).filter(([name]) => !mentioned.has(name));
  const detected = found.map(([name, value]) => `${name}:${value}`).join(';');
  const options = { defaultRole };
  return toWire(add(parseResources(written, options), parseResources(detected, options)));
}

/** Mesos' defaults: a gigabyte of memory and five of disk stay with the machine, or half where there is little. */
function defaultsOf({ cores, memoryBytes, diskBytes, gpus }: Machine): Record<string, number | string> {
  const memory = memoryBytes >= 2 * gigabyte ? memoryBytes - gigabyte : memoryBytes / 2;
  const disk = diskBytes > 10 * gigabyte ? diskBytes - 5 * gigabyte : diskBytes / 2;
  return {
    cpus: cores,
    mem: Math.floor(memory / megabyte),
    disk: Math.floor(disk / megabyte),
    ports: '[31000-32000]',
    ...(gpus > 0 && { gpus }), // an agent that says that it has some is kept for those who use them
  };
}

/**
 * What an agent says of itself: what the operator says, and of `os` and `arch`, where he does not mention them, what the
 * machine is.
 *
 * @throws {MalformedResourceError}
 */
export function detectAttributes({ os, arch }: Machine, written = ''): mesos.v1.Attribute.$Properties[] {
  const said = readAttributes(written);
  const mentioned = new Set(said.map(({ name }) => name));
  const found = Object.entries({ os, arch }).filter(([name]) => !mentioned.has(name));
  return attributesToWire([...said, ...found.map(([name, text]) => ({ name, kind: 'text', text }) as const)]);
}

/** Text, or a JSON list of Attribute. */
function readAttributes(written: string): Attribute[] {
  if (!/^\s*\[/.test(written)) return parseAttributes(written);
  try {
    const list = JSON.parse(written) as unknown[];
    return attributesFromWire(list.map((json) => fromJson(mesos.v1.Attribute, json)));
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof MalformedJsonError)) throw cause;
    const remedy = `write it as in [{"name": "rack", "type": "TEXT", "text": {"value": "abc"}}]`;
    throw new MalformedResourceError('the list of attributes', { problem: cause.message, remedy }, { cause });
  }
}

/** @throws {ConfigError} naming the flag, if what the operator says cannot be read */
export function checkWritten(written: {
  readonly resources?: string | undefined;
  readonly defaultRole?: string;
  readonly attributes?: string | undefined;
}): void {
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
  check('default-role', () => parseResources('cpus:1', { defaultRole: written.defaultRole ?? '*' }));
  check('attributes', () => readAttributes(written.attributes ?? ''));
  if (problems.length > 0) throw new ConfigError(problems);
}
