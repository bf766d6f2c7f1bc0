import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as breathe, setTimeout as wait } from 'node:timers/promises';
import type { ContainerUsage, Limits } from '../containerizer.ts';
import { ioOfProcesses } from './process-io.ts';

/** Where the groups of an agent are: one folder per hierarchy, in which each container has a folder. */
interface Hierarchies {
  readonly version: 1 | 2;
  /** By controller; several may share one. Of version 2 all have the same. */
  readonly folders: Readonly<Partial<Record<Controller, string>>>;
}

type Controller = 'cpu' | 'cpuacct' | 'memory' | 'freezer' | 'pids' | 'io';

export interface CgroupsOptions {
  readonly agentName: string;
  /** Two agents of one name differ in it. */
  readonly workDir: string;
  /** Hold every container to its cpus, also when others need none: Mesos' `cgroups_enable_cfs`. */
  readonly enableCfs: boolean;
  /** Processes and threads of a container that says nothing else; undefined: any number. */
  readonly pidsLimit?: number | undefined;
  readonly log: { warn(fields: object, message: string): void };
}

const rootName = 'mesobus';
/** As in Mesos: less would not even start a shell. */
const minMemoryBytes = 32 * 2 ** 20;
const minShares = 2;
const sharesPerCpu = 1024;
/** What a group of version 2 has by default is what one cpu gets. */
const weightPerCpu = 100;
const periodUs = 100_000;
const minQuotaUs = 1_000;
const destroyTimeoutMs = 60_000;
const nanosecondsPerSecond = 1e9;
const microsecondsPerSecond = 1e6;
/** Measured at a time: what else the agent does goes between. */
const measuredAtOnce = 50;

/**
 * Finds the control groups of this machine, version 2 if its tree has cpu and memory, else version 1, and makes the
 * folders of this agent.
 *
 * @returns why there are none for this agent, if so
 */
export function openCgroups(options: CgroupsOptions): Cgroups | { readonly why: string } {
  const mounts = parseMounts(readText('/proc/self/mountinfo'));
  const unified = mounts.find(({ type }) => type === 'cgroup2')?.path;
  const owner = ownerOf(options);
  const reasons: string[] = [];
  for (const base of unified === undefined ? [] : basesOf(unified)) {
    try {
      const folder = makeUnified(base, owner);
      const folders = { cpu: folder, cpuacct: folder, memory: folder, freezer: folder, pids: folder, io: folder };
      return new Cgroups({ version: 2, folders }, options);
    } catch (error) {
      reasons.push(messageOf(error));
    }
  }
  try {
    return new Cgroups({ version: 1, folders: makeHierarchies(mounts, owner) }, options);
  } catch (error) {
    reasons.push(messageOf(error));
  }
  return { why: [...new Set(reasons)].join('; ') };
}

/** The control groups of an agent's containers. */
export class Cgroups {
  readonly #hierarchies: Hierarchies;
  readonly #options: CgroupsOptions;
  /** Each folder of the agent once. */
  readonly #folders: readonly string[];

  constructor(hierarchies: Hierarchies, options: CgroupsOptions) {
    this.#hierarchies = hierarchies;
    this.#options = options;
    const { pids, ...others } = hierarchies.folders;
    // An idle hierarchy costs a container a folder and an entry: pids only where they are limited.
    this.#folders = [...new Set(Object.values(options.pidsLimit === undefined ? others : hierarchies.folders))];
  }

  /** For people. */
  get description(): string {
    const { version, folders } = this.#hierarchies;
    return `control groups, version ${version} (${Object.keys(folders).sort().join(', ')})`;
  }

  /** What the launcher has to do to make the groups of a container and to have its command enter them. */
  settingsOf(containerId: string, limits: Limits): string[] {
    const { version, folders } = this.#hierarchies;
    const settings: string[] = [];
    for (const folder of this.#folders) settings.push('group', `${folder}/${containerId}`);
    for (const [file, value] of this.#files(containerId, limits, false)) settings.push('write', file, value);
    const memory = `${folders.memory}/${containerId}`;
    if (version === 2) {
      settings.push('write', `${memory}/memory.oom.group`, '1');
      settings.push('oom', `${memory}/memory.events`, `${memory}/memory.max`, `${memory}/memory.peak`, '');
      settings.push('freezer', `${memory}/cgroup.freeze`, '1', '0');
    } else {
      const [limit, most] = [`${memory}/memory.limit_in_bytes`, `${memory}/memory.max_usage_in_bytes`];
      settings.push('oom', `${memory}/memory.oom_control`, limit, most, `${memory}/cgroup.event_control`);
      const { freezer } = folders;
      if (freezer !== undefined) {
        settings.push('freezer', `${freezer}/${containerId}/freezer.state`, 'FROZEN', 'THAWED');
      }
    }
    settings.push(...this.joinsOf(containerId));
    return settings;
  }

  /** What the launcher has to do to have a command enter the groups of a container, if it has some. */
  joinsOf(containerId: string, onlyExisting = false): string[] {
    // A thread that moves itself alone does so without the lock of all forks and exits.
    const file = this.#hierarchies.version === 2 ? 'cgroup.procs' : 'tasks';
    return this.#folders
      .map((folder) => `${folder}/${containerId}`)
      .filter((folder) => !onlyExisting || existsSync(folder))
      .flatMap((folder) => ['join', `${folder}/${file}`]);
  }

  /** Whether there are groups of this container. */
  has(containerId: string): boolean {
    return existsSync(`${this.#hierarchies.folders.memory}/${containerId}`);
  }

  /** Throws if the container has ended meanwhile, or uses more memory than it is to have. */
  resize(containerId: string, limits: Limits): void {
    for (const [file, value] of this.#files(containerId, limits, true)) writeFileSync(file, value);
  }

  async usage(containerIds: readonly string[], now: () => number): Promise<ContainerUsage[]> {
    const measured: ContainerUsage[] = [];
    for (const [index, containerId] of containerIds.entries()) {
      if (index % measuredAtOnce === measuredAtOnce - 1) await breathe();
      try {
        measured.push({ containerId, atMs: now(), ...this.#measure(containerId) });
      } catch {
        // it has ended meanwhile
      }
    }
    return measured;
  }

  /** Kills whatever is in the groups of a container and removes them. */
  async destroy(containerId: string): Promise<void> {
    const folders = this.#everyFolder().map((folder) => `${folder}/${containerId}`);
    const deadline = performance.now() + destroyTimeoutMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 200)) {
      const left = folders.filter((folder) => !removed(folder));
      if (left.length === 0) return;
      if (performance.now() > deadline) {
        this.#options.log.warn({ container: containerId, groups: left }, 'Cannot remove the groups of a container');
        return;
      }
      for (const folder of left) killAll(folder);
      await wait(pauseMs);
    }
  }

  /** Destroys the groups of all containers but these: an agent or supervisor that was killed has left them. */
  async sweep(alive: ReadonlySet<string>): Promise<void> {
    const found = new Set(this.#everyFolder().flatMap(groupsIn));
    await Promise.all([...found].filter((name) => !alive.has(name)).map((name) => this.destroy(name)));
  }

  /** Removes the folders of the agent if there is nothing in them. */
  close(): void {
    for (const folder of this.#everyFolder()) removed(folder);
  }

  #everyFolder(): string[] {
    return [...new Set(Object.values(this.#hierarchies.folders))];
  }

  #files(containerId: string, limits: Limits, again: boolean): [file: string, value: string][] {
    const of = (controller: Controller, name: string): string =>
      `${this.#hierarchies.folders[controller]}/${containerId}/${name}`;
    const { enableCfs, pidsLimit } = this.#options;
    const { cpus, hardCpus = enableCfs ? cpus : Number.POSITIVE_INFINITY, memBytes, hardMemBytes } = limits;
    const pids = limits.pids ?? pidsLimit;
    const request = Math.max(memBytes, minMemoryBytes);
    const hard = Math.max(hardMemBytes, minMemoryBytes);
    const quota = Number.isFinite(hardCpus) ? Math.max(minQuotaUs, Math.round(hardCpus * periodUs)) : undefined;
    const files: [string, string][] = [];
    if (this.#hierarchies.version === 2) {
      const weight = Math.min(10_000, Math.max(1, Math.round(cpus * weightPerCpu)));
      files.push([of('cpu', 'cpu.weight'), String(weight)]);
      if (quota !== undefined || again) files.push([of('cpu', 'cpu.max'), `${quota ?? 'max'} ${periodUs}`]);
      if (request < hard || again) files.push([of('memory', 'memory.low'), String(request)]);
      if (Number.isFinite(hard) || again) files.push([of('memory', 'memory.max'), maxOr(hard)]);
    } else {
      files.push([of('cpu', 'cpu.shares'), String(Math.max(minShares, Math.round(cpus * sharesPerCpu)))]);
      if (quota !== undefined || again) files.push([of('cpu', 'cpu.cfs_quota_us'), String(quota ?? -1)]);
      if (request < hard || again) files.push([of('memory', 'memory.soft_limit_in_bytes'), String(request)]);
      if (Number.isFinite(hard) || again) {
        files.push([of('memory', 'memory.limit_in_bytes'), Number.isFinite(hard) ? String(hard) : '-1']);
      }
    }
    const { pids: pidsFolder } = this.#hierarchies.folders;
    if (pids !== undefined && pidsFolder !== undefined && this.#folders.includes(pidsFolder)) {
      files.push([of('pids', 'pids.max'), String(pids)]);
    }
    return files;
  }

  #measure(containerId: string): Omit<ContainerUsage, 'containerId' | 'atMs'> {
    const { version, folders } = this.#hierarchies;
    const [memory, cpu] = [`${folders.memory}/${containerId}`, `${folders.cpu}/${containerId}`];
    const cpuStat = parseCounters(readText(`${cpu}/cpu.stat`));
    const stat = parseCounters(readText(`${memory}/memory.stat`));
    const pids = readText(`${memory}/cgroup.procs`).split('\n').slice(0, -1);
    const processes = pids.length;
    if (version === 2) {
      const peak = existsSync(`${memory}/memory.peak`) ? Number(readText(`${memory}/memory.peak`)) : undefined;
      return {
        cpuSeconds: (cpuStat.get('usage_usec') ?? 0) / microsecondsPerSecond,
        throttledSeconds: (cpuStat.get('throttled_usec') ?? 0) / microsecondsPerSecond,
        memoryBytes: withoutCache(Number(readText(`${memory}/memory.current`)), stat.get('inactive_file')),
        ...(peak !== undefined && { memoryPeakBytes: peak }),
        processes,
        ...parseIo(`${folders.io}/${containerId}/io.stat`),
      };
    }
    const cpuacct = folders.cpuacct ?? folders.cpu;
    return {
      cpuSeconds: Number(readText(`${cpuacct}/${containerId}/cpuacct.usage`)) / nanosecondsPerSecond,
      throttledSeconds: (cpuStat.get('throttled_time') ?? 0) / nanosecondsPerSecond,
      memoryBytes: withoutCache(Number(readText(`${memory}/memory.usage_in_bytes`)), stat.get('total_inactive_file')),
      memoryPeakBytes: Number(readText(`${memory}/memory.max_usage_in_bytes`)),
      processes,
      ...ioOfProcesses(pids), // a hierarchy for it would cost each container a folder
    };
  }
}

const maxOr = (bytes: number): string => (Number.isFinite(bytes) ? String(bytes) : 'max');

/** What the kernel takes back before it kills anybody is not counted. */
const withoutCache = (used: number, cache = 0): number => Math.max(0, used - cache);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const readText = (path: string): string => readFileSync(path, 'latin1');

function parseCounters(text: string): Map<string, number> {
  const lines = text.split('\n').map((line) => line.split(' '));
  return new Map(lines.map(([name = '', value]) => [name, Number(value)]));
}

/** Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 …`, one per device. */
function parseIo(path: string): Pick<ContainerUsage, 'ioReadBytes' | 'ioWriteBytes'> {
  if (!existsSync(path)) return {};
  const text = readText(path);
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`${name}=(\\d+)`, 'g'))].reduce((total, [, bytes]) => total + Number(bytes), 0);
  return { ioReadBytes: sum('rbytes'), ioWriteBytes: sum('wbytes') };
}

interface CgroupMount {
  readonly type: string;
  readonly path: string;
  /** Of version 1. */
  readonly controllers: readonly string[];
}

/** Lines such as `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory`. */
export function parseMounts(mountinfo: string): CgroupMount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [type = '', , options = ''] = after.split(' ');
    const path = before.split(' ')[4];
    if (path === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
    return [{ type, path, controllers: options.split(',') }];
  });
}

/** The tree itself, or what its owner was given of it: what the service manager made for this service. */
function basesOf(unified: string): string[] {
  const own = /^0::(.*)$/m.exec(readText('/proc/self/cgroup'))?.[1] ?? '/';
  return [...new Set([unified, dirname(join(unified, own))])].filter((path) => path.startsWith(unified));
}

const wanted = ['cpu', 'memory', 'pids', 'io'];

/** Makes the folder of the agent in the tree of version 2 and hands the controllers down to it. */
function makeUnified(base: string, owner: string): string {
  const available = readText(join(base, 'cgroup.controllers')).trim().split(' ');
  for (const needed of ['cpu', 'memory']) {
    if (!available.includes(needed)) throw new Error(`the tree of version 2 at '${base}' lacks '${needed}'`);
  }
  const hand = wanted.filter((name) => available.includes(name)).map((name) => `+${name}`);
  const folder = join(base, rootName, owner);
  mkdirSync(folder, { recursive: true });
  for (const parent of [base, dirname(folder), folder]) {
    writeFileSync(join(parent, 'cgroup.subtree_control'), hand.join(' '));
  }
  return folder;
}

function makeHierarchies(mounts: readonly CgroupMount[], owner: string): Hierarchies['folders'] {
  const folders: Partial<Record<Controller, string>> = {};
  for (const controller of ['cpu', 'cpuacct', 'memory', 'freezer', 'pids'] as const) {
    const mount = mounts.find(({ type, controllers }) => type === 'cgroup' && controllers.includes(controller));
    if (mount === undefined) continue;
    const folder = join(mount.path, rootName, owner);
    mkdirSync(folder, { recursive: true });
    folders[controller] = folder;
  }
  for (const needed of ['cpu', 'memory'] as const) {
    if (folders[needed] === undefined) throw new Error(`no hierarchy of version 1 with '${needed}' is mounted`);
  }
  return folders;
}

/** A name that is a folder, the same each time for one agent, and no other's. */
function ownerOf({ agentName, workDir }: CgroupsOptions): string {
  const hash = createHash('sha256').update(workDir).digest('hex').slice(0, 8);
  return `${agentName.replaceAll(/[^\w.-]/g, '_').slice(0, 100)}-${hash}`;
}

/** Whether there is no such group any more. */
function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return !existsSync(folder);
  }
}

function groupsIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}

/** What is frozen dies when it is not any more. */
function killAll(folder: string): void {
  try {
    for (const line of readText(`${folder}/cgroup.procs`).split('\n')) {
      if (Number(line) > 1) process.kill(Number(line), 'SIGKILL');
    }
  } catch {
    // it has ended, or the group is gone
  }
  for (const [name, value] of [['freezer.state', 'THAWED'] as const, ['cgroup.freeze', '0'] as const]) {
    try {
      if (existsSync(`${folder}/${name}`)) writeFileSync(`${folder}/${name}`, value);
    } catch {
      // the same
    }
  }
}
