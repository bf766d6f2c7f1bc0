import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** What there still is of an agent on this machine, each by a text for people. */
export interface LeftOver {
  readonly processes: readonly string[];
  readonly groups: readonly string[];
  readonly fifos: readonly string[];
  readonly control_folders: readonly string[];
}

/** @param name - of the agent; its control groups bear it */
export const leftOver = (name: string, workDir: string): LeftOver => ({
  processes: processesAt(workDir).map((pid) => `${pid} ${commandOf(pid)}`),
  groups: groupsOf(name),
  // The launcher keeps one for itself, over all its lives.
  fifos: [path.join(workDir, 'meta'), path.join(workDir, 'sandboxes')].flatMap(fifosIn),
  control_folders: namesIn(path.join(workDir, 'meta', 'containers')),
});

/** Whoever was told of the folder, runs in it or has a file of it open: the agent, its launcher, supervisors, tasks. */
function processesAt(folder: string): number[] {
  const isAt = (pid: string): boolean =>
    [readOr(`/proc/${pid}/environ`), readOr(`/proc/${pid}/cmdline`), linkOr(`/proc/${pid}/cwd`)].some((text) =>
      text.includes(folder),
    ) || namesIn(`/proc/${pid}/fd`).some((fd) => linkOr(`/proc/${pid}/fd/${fd}`).startsWith(folder));
  return namesIn('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid && isAt(entry))
    .map(Number);
}

const commandOf = (pid: number): string => readOr(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 100);

/** Ends and removes what a run that failed, or was itself killed, has left. Its files stay. */
export async function clearAway(name: string, workDir: string): Promise<void> {
  for (let again = 0; again < 100; again += 1) {
    for (const pid of processesAt(workDir)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended
      }
    }
    for (const owner of groupsOf(name)) {
      for (const folder of [...namesIn(owner).map((group) => path.join(owner, group)), owner]) removeGroup(folder);
    }
    const left = leftOver(name, workDir);
    if (left.processes.length + left.groups.length === 0) return;
    await wait(50);
  }
}

function removeGroup(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // a file of the group, or somebody is still in it
  }
}

/** In every hierarchy; the agent's own folder counts too. */
function groupsOf(name: string): string[] {
  const mounts = readOr('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => path.join(line.split(' ')[4] ?? '', 'mesobus'));
  return mounts.flatMap((mount) =>
    namesIn(mount)
      .filter((owner) => owner.startsWith(`${name}-`))
      .map((owner) => path.join(mount, owner)),
  );
}

function fifosIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFIFO())
    .map(({ parentPath, name }) => path.join(parentPath, name));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // it has ended, or was never there
  }
}

function readOr(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function linkOr(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}
