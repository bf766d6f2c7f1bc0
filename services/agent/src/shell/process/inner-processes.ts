import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import { getSystemErrorMessage } from 'node:util';
import type { InnerCommand, InnerEnd, InnerProcess } from '../containerizer.ts';
import type { User } from '../users.ts';
import type { Isolation } from './isolation.ts';
import { encodeStart, launcherBinary } from './launcher.ts';

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
  readonly #running = new Map<string, Set<ChildProcess>>();

  constructor(isolation: Isolation) {
    this.#isolation = isolation;
  }

  onStarted(containerId: string, commandPid: number): void {
    this.#commands.set(containerId, commandPid);
  }

  onEnded(containerId: string): void {
    this.#commands.delete(containerId);
    for (const child of this.#running.get(containerId) ?? []) end(child);
  }

  run(containerId: string, command: InnerCommand): InnerProcess {
    const surroundings = this.#surroundingsOf(containerId);
    const { namespaces, settings } = surroundings;
    const program = [...(namespaces.length === 0 ? [] : ['/usr/bin/nsenter', ...namespaces, '--']), launcherBinary()];
    const [file = '', ...args] = [...program, '--enter'];
    const child = spawn(file, args, { stdio: Array<'pipe'>(5).fill('pipe'), env: {}, detached: true });
    const terminal = command.tty === undefined ? [] : ['terminal', `${command.tty.rows}`, `${command.tty.columns}`];
    const frame = encodeStart({
      containerId,
      controlDir: '/',
      sandboxDir: command.cwd ?? surroundings.sandboxDir,
      stdoutPath: '',
      stderrPath: '',
      argv: command.argv,
      env: command.env,
      ...(command.file !== undefined && { file: command.file }),
      // Without root there is no other user to become.
      ...(this.#isolation.isRoot && { user: command.user ?? surroundings.user }),
      settings: [...terminal, ...settings],
    });
    const control = child.stdio[3] as Duplex;
    control.on('error', () => {}); // it has ended: its report says so
    if (Buffer.isBuffer(frame)) control.write(frame);
    else end(child);
    this.#watch(containerId, child);
    return {
      stdin: child.stdin as Writable,
      stdout: child.stdout as Readable,
      stderr: child.stderr as Readable,
      ended: Buffer.isBuffer(frame) ? endOf(child) : Promise.resolve(failure(frame.errno, frame.stage)),
      kill: (signal) => control.write(`signal ${constants.signals[signal]}\n`),
      resize: ({ rows, columns }) => control.write(`resize ${rows} ${columns}\n`),
    };
  }

  /** Ends them all. */
  async close(): Promise<void> {
    const children = [...this.#running.values()].flatMap((some) => [...some]);
    const ended = children.map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of children) end(child);
    await Promise.all(ended);
  }

  #watch(containerId: string, child: ChildProcess): void {
    const siblings = this.#running.get(containerId) ?? new Set();
    this.#running.set(containerId, siblings.add(child));
    child.once('close', () => {
      siblings.delete(child);
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

/** Its end of the control pipe is what keeps it alive. */
function end(child: ChildProcess): void {
  (child.stdio[3] as Duplex).destroy();
}

function endOf(child: ChildProcess): Promise<InnerEnd> {
  const { promise, resolve } = Promise.withResolvers<InnerEnd>();
  createInterface({ input: child.stdio[4] as Readable }).on('line', (line) => {
    const [kind, number, stage] = line.split(' ');
    if (kind === 'exited') resolve({ kind: 'exited', status: Number(number) });
    if (kind === 'failed') resolve(failure(Number(number), stage ?? ''));
  });
  child.once('error', (error) => resolve({ kind: 'failed', message: error.message }));
  child.once('close', (code, signal) =>
    resolve({ kind: 'failed', message: `it ended by ${signal ?? `exit code ${code}`} before it said how` }),
  );
  return promise;
}

const failure = (errno: number, stage: string): InnerEnd => ({
  kind: 'failed',
  message: `${getSystemErrorMessage(-errno)} (at ${stage})`,
});

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
