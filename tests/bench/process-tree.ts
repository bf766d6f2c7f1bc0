import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: what the kernel counts CPU time in, on every Linux that Mesobus runs on. */
const ticksPerSecond = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Its own CPU time and that of its children that have ended, in ms. */
  readonly cpuMs: number;
}

function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the command stands in brackets and may contain anything.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [user, system, childUser, childSystem] = fields.slice(11, 15) as [number, number, number, number];
    const ticks = user + system + childUser + childSystem;
    return { pid, parent: fields[1] as number, cpuMs: (ticks * 1000) / ticksPerSecond };
  } catch {
    return undefined; // it has ended meanwhile
  }
}

/** The processes below `roots`, and they themselves. */
export function treeBelow(roots: readonly number[]): Stat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((stat) => stat !== undefined);
  const within = new Set(roots);
  for (let before = -1; before !== within.size; ) {
    before = within.size;
    for (const { pid, parent } of all) if (within.has(parent)) within.add(pid);
  }
  return all.filter(({ pid }) => within.has(pid));
}

/** CPU time that the processes below `roots`, and all that they have waited for, have used, in ms. */
export function cpuMsOf(roots: readonly number[]): number {
  return treeBelow(roots).reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}

/** The most memory that a process has held at a time, in MB. */
export function peakRssMb(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN) / 1024;
}
