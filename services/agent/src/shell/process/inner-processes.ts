import { readFileSync, readlinkSync } from 'node:fs';
import type { InnerCommand, InnerProcess } from '../containerizer.ts';
import type { User } from '../users.ts';
import { type EnteredProcess, enter } from './enter.ts';
import type { Isolation } from './isolation.ts';

/** What a command has to share with the first one of its container. */
interface Surroundings {
  readonly user: User;
  readonly sandboxDir: string;
  /** Options of nsenter; none: it is in the namespaces of the agent. */
  readonly namespaces: readonly string[];
  readonly settings: readonly string[];
}

const namespaceOptions = { user: '--user', mnt: '--mount', pid: '--pid', ipc: '--ipc', uts: '--uts', net: '--net' };

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
    const { user, sandboxDir, namespaces, settings } = this.#surroundingsOf(containerId);
    const process = enter(
      {
        cwd: sandboxDir,
        ...command,
        settings,
        // Without root there is no other user to become.
        user: this.#isolation.isRoot ? (command.user ?? user) : undefined,
      },
      namespaces.length === 0 ? [] : ['/usr/bin/nsenter', ...namespaces, '--'],
    );
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

  /** Looks at the first process of the container: whoever started it, it says how it is now. */
  #surroundingsOf(containerId: string): Surroundings {
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
      return { user: userOf(status), sandboxDir: sandboxOf(pid), namespaces: namespacesOf(pid), settings };
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

/** The second of four numbers is the effective one. */
function userOf(status: Map<string, string>): User {
  const effective = (name: string): number => Number(status.get(name)?.split('\t')[1]);
  const groups = status.get('Groups')?.split(' ').filter(Boolean).map(Number) ?? [];
  return { uid: effective('Uid'), gid: effective('Gid'), groups };
}

function sandboxOf(pid: number): string {
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  const said = environment.find((variable) => variable.startsWith('MESOS_SANDBOX='));
  return said?.slice('MESOS_SANDBOX='.length) ?? readlinkSync(`/proc/${pid}/cwd`);
}

function namespacesOf(pid: number): string[] {
  const differs = (kind: string): boolean =>
    readlinkSync(`/proc/${pid}/ns/${kind}`) !== readlinkSync(`/proc/self/ns/${kind}`);
  const options = Object.entries(namespaceOptions).flatMap(([kind, option]) => (differs(kind) ? [option] : []));
  if (options.length === 0) return [];
  return ['--target', String(pid), ...options, ...(options.includes('--user') ? ['--preserve-credentials'] : [])];
}
