import { readFileSync, readlinkSync } from 'node:fs';
import type { InnerCommand, InnerProcess } from '../containerizer.ts';
import { type EnteredProcess, enter } from './enter.ts';
import type { Isolation } from './isolation.ts';

/** In the order in which they are entered: as long as nothing has been mounted by a task, files are what they seem. */
const namespaceSettings = {
  ...{ user: 'outer-namespace', pid: 'outer-namespace' },
  ...{ ipc: 'namespace', uts: 'namespace', net: 'namespace', mnt: 'namespace' },
};

/** Commands that run beside those of the containers. They end with their container, and with this process. */
export class InnerProcesses {
  readonly #isolation: Isolation;
  /** The first process of each container that runs. */
  readonly #commands = new Map<string, number>();
  readonly #running = new Map<string, Set<EnteredProcess>>();

  constructor(isolation: Isolation) {
    this.#isolation = isolation;
  }

  onStarted(containerId: string, commandPid: number): void {
    this.#commands.set(containerId, commandPid);
  }

  onEnded(containerId: string): void {
    this.#commands.delete(containerId);
    for (const process of this.#running.get(containerId) ?? []) process.end();
  }

  run(containerId: string, command: InnerCommand): InnerProcess {
    const process = enter({ cwd: '/', ...command, settings: this.#settingsOf(containerId) });
    this.#watch(containerId, process);
    return process;
  }

  /** Ends them all. */
  async close(): Promise<void> {
    const processes = [...this.#running.values()].flatMap((some) => [...some]);
    for (const process of processes) process.end();
    await Promise.all(processes.map(({ closed }) => closed));
  }

  #watch(containerId: string, process: EnteredProcess): void {
    const siblings = this.#running.get(containerId) ?? new Set();
    this.#running.set(containerId, siblings.add(process));
    void process.closed.then(() => {
      siblings.delete(process);
      if (siblings.size === 0) this.#running.delete(containerId);
    });
  }

  /**
   * Looks at the first process of the container: whoever started it, it says how it is now. It does not say whose it is:
   * while it executes a set-user-ID program that is somebody else.
   */
  #settingsOf(containerId: string): string[] {
    const pid = this.#commands.get(containerId);
    if (pid === undefined) throw new Error(`Cannot run a command in container '${containerId}': it does not run`);
    try {
      const status = parseStatus(readFileSync(`/proc/${pid}/status`, 'utf8'));
      const own = parseStatus(readFileSync('/proc/self/status', 'utf8'));
      const settings = this.#isolation.cgroups?.joinsOf(containerId, true) ?? [];
      const limited = status.get('CapBnd') !== own.get('CapBnd');
      if (limited && this.#isolation.isRoot) {
        settings.push('capabilities', status.get('CapEff') ?? '0', status.get('CapBnd') ?? '0');
      }
      if (status.get('NoNewPrivs') === '1') settings.push('no-new-privileges');
      return [...settings, ...namespacesOf(pid)];
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`Cannot run a command in container '${containerId}': it has just ended (${why})`, { cause });
    }
  }
}

function parseStatus(text: string): Map<string, string> {
  return new Map(
    text.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(':\t');
      return [name, value.trim()];
    }),
  );
}

function namespacesOf(pid: number): string[] {
  const differs = (kind: string): boolean =>
    readlinkSync(`/proc/${pid}/ns/${kind}`) !== readlinkSync(`/proc/self/ns/${kind}`);
  return Object.entries(namespaceSettings).flatMap(([kind, name]) =>
    differs(kind) ? [name, `/proc/${pid}/ns/${kind}`] : [],
  );
}
