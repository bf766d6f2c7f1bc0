import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';

const exec = promisify(execFile);
const prefix = 'mesobus-rack-';
const bootTimeoutMs = 60_000;
const pollMs = 100;
const maxOutput = 64 * 2 ** 20;

const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
const environment = ['env', '-i', 'PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'TERM=dumb'];

/** Machines with Debian and systemd in namespaces of this one: they share its kernel and nothing else. */
export class Rack implements AsyncDisposable {
  readonly #work: string;
  readonly #group: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  /** Of the first process of each machine. */
  readonly #pids = new Map<string, number>();

  private constructor(work: string, group: string, process: ChildProcess) {
    this.#work = work;
    this.#group = group;
    this.#process = process;
    this.#ended = once(process, 'exit');
  }

  /**
   * @param debian - the folder of a system that has systemd; it is not changed
   * @param work - a folder, empty, on a disk that can hold layers of overlayfs
   * @throws {Error} a machine does not start; the message has the end of what it said
   */
  static async start(debian: string, work: string, names: readonly string[]): Promise<Rack> {
    const all = unifiedGroups();
    if (all === undefined) throw new Error('no control groups of version 2 are mounted here');
    removeLeftOver(all);
    const group = join(all, `${prefix}${process.pid}`);
    for (const name of names) mkdirSync(join(group, name), { recursive: true });
    const script = join(import.meta.dirname, 'rack.sh');
    const apart = ['--pid', '--mount', '--net', '--fork', '--kill-child', '--mount-proc'];
    const child = spawn('unshare', [...apart, 'sh', script, debian, work, group, ...names], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const rack = new Rack(work, group, child);
    try {
      for (const name of names) await rack.#untilBooted(name);
      rack.#writeSsh();
      return rack;
    } catch (error) {
      await rack[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A program that takes a machine and a command, as ssh does. */
  get ssh(): string {
    return join(this.#work, 'ssh');
  }

  /** What differs on a machine from the system that it began with. */
  layerOf(name: string): string {
    return join(this.#work, name, 'upper');
  }

  /** The command line that runs a command on a machine. */
  commandOn(name: string, ...command: readonly string[]): [string, string[]] {
    return ['nsenter', ['--target', String(this.#pids.get(name)), ...namespaces, ...environment, ...command]];
  }

  /** Runs a command there. @returns its output @throws {Error} it fails; the message has what it said */
  async on(name: string, ...command: readonly string[]): Promise<string> {
    const [program, args] = this.commandOn(name, ...command);
    return (await exec(program, args, { maxBuffer: maxOutput })).stdout;
  }

  async #untilBooted(name: string): Promise<void> {
    const deadline = performance.now() + bootTimeoutMs;
    while (performance.now() < deadline && this.#process.exitCode === null) {
      const pid = firstPidOf(join(this.#group, name, 'init.scope', 'cgroup.procs'));
      if (pid !== undefined) {
        this.#pids.set(name, pid);
        const state = await this.on(name, 'systemctl', 'is-system-running', '--wait').catch(String);
        if (/^(running|degraded)$/m.test(state)) return;
      }
      await wait(pollMs);
    }
    const console = join(this.#work, name, 'console');
    const said = existsSync(console) ? readFileSync(console, 'utf8').slice(-2000) : '';
    throw new Error(`Cannot start the machine ${name}: systemd does not come up in namespaces here\n${said}`);
  }

  #writeSsh(): void {
    const lines = [...this.#pids].map(
      ([name, pid]) =>
        `  ${name}) exec nsenter --target ${pid} ${[...namespaces, ...environment].join(' ')} sh -c "$2" ;;`,
    );
    const text = `#!/bin/sh\ncase $1 in\n${lines.join('\n')}\n  *) echo "there is no machine $1" >&2; exit 255 ;;\nesac\n`;
    writeFileSync(this.ssh, text, { mode: 0o755 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
    await removeGroup(this.#group);
  }
}

/** Where control groups of version 2 are mounted. */
export function unifiedGroups(): string | undefined {
  return / (\/\S*) \S+(?: \S+:\S+)* - cgroup2 /.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];
}

function firstPidOf(file: string): number | undefined {
  try {
    const [first = ''] = readFileSync(file, 'utf8').split('\n');
    return first === '' ? undefined : Number(first);
  } catch {
    return undefined; // not made yet
  }
}

/** Its processes have been killed, and go one after the other. */
async function removeGroup(folder: string): Promise<void> {
  for (const deadline = performance.now() + bootTimeoutMs; ; await wait(pollMs)) {
    try {
      removeTree(folder);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  }
  rmdirSync(folder);
}

/** Of a run that was killed: nothing runs in them any more. */
function removeLeftOver(all: string): void {
  for (const name of readdirSync(all).filter((one) => one.startsWith(prefix))) {
    try {
      removeTree(join(all, name));
    } catch {
      // Another run is using it.
    }
  }
}
