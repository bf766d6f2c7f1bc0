import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import type { ContainerUsage } from './containerizer.ts';

/** Tells what containers use. */
export interface Usage {
  /** Of those that can be measured now, in any order. */
  of(containerIds: readonly string[]): Promise<ContainerUsage[]>;
}

/** Of the times in /proc, on every Linux that the launcher is built for. */
const ticksPerSecond = 100;
/** Files that are read at a time: what else the agent does goes between. */
const readAtOnce = 100;

interface ProcessFacts {
  readonly pid: number;
  /** Of its own and of its children that have ended and were waited for. */
  readonly ticks: number;
  readonly residentPages: number;
}

/**
 * Measures containers by the trees of processes below their supervisors. These wait for all that a task leaves behind, so
 * the time of what has ended is found in its parent. Memory that processes share is counted for each of them.
 */
export class ProcessUsage implements Usage {
  readonly #supervisorOf: (containerId: string) => number | undefined;
  readonly #now: () => number;
  readonly #pageBytes = pageBytes();

  constructor(supervisorOf: (containerId: string) => number | undefined, now: () => number) {
    this.#supervisorOf = supervisorOf;
    this.#now = now;
  }

  async of(containerIds: readonly string[]): Promise<ContainerUsage[]> {
    if (containerIds.length === 0) return [];
    const { processes, children } = await readProcesses();
    const atMs = this.#now();
    return containerIds.flatMap((containerId) => {
      const supervisor = processes.get(this.#supervisorOf(containerId) ?? 0);
      if (supervisor === undefined) return [];
      let ticks = 0;
      let pages = 0;
      const tree = [supervisor];
      for (const { pid, ...facts } of tree) {
        ticks += facts.ticks;
        pages += facts.residentPages;
        tree.push(...(children.get(pid) ?? []));
      }
      const [cpuSeconds, memoryBytes] = [ticks / ticksPerSecond, pages * this.#pageBytes];
      return [{ containerId, atMs, cpuSeconds, memoryBytes, processes: tree.length - 1 }]; // one of them supervises
    });
  }
}

/** All processes of the machine, and the children of each. */
async function readProcesses(): Promise<{
  processes: Map<number, ProcessFacts>;
  children: Map<number, ProcessFacts[]>;
}> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const processes = new Map<number, ProcessFacts>();
  const children = new Map<number, ProcessFacts[]>();
  for (let from = 0; from < pids.length; from += readAtOnce) {
    const some = pids.slice(from, from + readAtOnce);
    // One that has ended meanwhile is none.
    const texts = await Promise.all(some.map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')));
    for (const text of texts) {
      if (text === '') continue;
      const { parent, ...facts } = parseStat(text);
      processes.set(facts.pid, facts);
      const siblings = children.get(parent);
      if (siblings === undefined) children.set(parent, [facts]);
      else siblings.push(facts);
    }
  }
  return { processes, children };
}

/** A line of /proc/<pid>/stat: the name of the program, which may hold anything, ends at the last bracket. */
function parseStat(text: string): ProcessFacts & { readonly parent: number } {
  // From the third field on, which is the state: see proc(5).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3] ?? 0);
  return {
    pid: Number.parseInt(text, 10),
    parent: field(4),
    ticks: field(14) + field(15) + field(16) + field(17),
    residentPages: field(24),
  };
}

/** What the kernel calls a page: 4 KB, or more on some arm64. */
function pageBytes(): number {
  const pageSizeEntry = 6n;
  const bytes = readFileSync('/proc/self/auxv');
  const read = (at: number): bigint => bytes.readBigUInt64LE(at); // x64 and arm64 Linux are little-endian
  for (let at = 0; at + 16 <= bytes.length; at += 16) if (read(at) === pageSizeEntry) return Number(read(at + 8));
  return 4096;
}
