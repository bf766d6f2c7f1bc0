import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { isMainThread } from 'node:worker_threads';

/** One command to run. The control directory belongs to this run alone: a second start in it fails with EEXIST. */
export interface LaunchSpec {
  /** 1 to 64 visible ASCII characters without '@'. */
  readonly containerId: string;
  /** An existing directory of the agent's own, where the control FIFO and the exit record appear. Absolute. */
  readonly controlDir: string;
  /** The command's working directory. Absolute. */
  readonly sandboxDir: string;
  /** Appended to, created if missing; '' is /dev/null. With `user` it becomes the user's. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly argv: readonly [string, ...string[]];
  /** What to execute, looked up in the PATH of `env` unless it has a '/'. By default `argv[0]`. */
  readonly file?: string;
  /** The complete environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Whom to become; needs root. By default the command runs as the agent does. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  /** Groups, limits, namespaces and the like, each a name and its words: see `setting_kinds` in `native/launcher.c`. */
  readonly settings?: readonly string[];
}

/**
 * What the launcher had done to end the command: nothing; SIGTERM, and it ended within the grace; SIGTERM and, after
 * the grace, SIGKILL; SIGKILL on demand.
 */
export type Stop = 'none' | 'term' | 'escalated' | 'kill';

/** How a run ended. `status` is the raw wait status, see `decodeWaitStatus`; `exitedAtMs` is since 1970, with fraction. */
export type Ended = {
  readonly kind: 'exited';
  readonly status: number;
  readonly stop: Stop;
  readonly exitedAtMs: number;
  /** The kernel killed in it for its memory. -1: not known, or without limit. */
  readonly oom?: { readonly limitBytes: number; readonly peakBytes: number };
};

/** A command that never ran. `code` is the name of `errno`, like 'ENOENT'; `stage` says at which step. */
export type Failed = { readonly kind: 'failed'; readonly errno: number; readonly code: string; readonly stage: string };

/** What the exit record of a control directory says. */
export type ExitRecord = Ended | Failed;

export type Started = {
  readonly kind: 'started';
  readonly pid: number;
  readonly supervisorPid: number;
  readonly startedAtMs: number;
};

/**
 * The supervisor died, `status` is its raw wait status; its command has been sent SIGKILL. Look for an exit record
 * first: the supervisor may have written one and failed only to say so.
 */
export type Lost = { readonly kind: 'lost'; readonly status: number };

export type ContainerEvent = (Started | ExitRecord | Lost) & { readonly containerId: string };

/**
 * The launcher process died though nobody closed it. Call `restart()`; then every container of which nothing was heard
 * since its start is running (`isSupervised`), has ended (`findExit`), or was never started.
 */
export type LauncherExited = { readonly kind: 'launcher_exited'; readonly reason: string };

export type LauncherEvent = ContainerEvent | LauncherExited;

/**
 * A command for the supervisor of a container. 'report' has it send the 'started' event again; 'resize' is about its
 * terminal.
 */
export type Control =
  | { readonly kind: 'term'; readonly graceMs: number }
  | { readonly kind: 'kill' }
  | { readonly kind: 'signal'; readonly number: number }
  | { readonly kind: 'report' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'resize'; readonly rows: number; readonly columns: number };

export interface LauncherOptions {
  /** Created if missing. One launcher at a time: a second one waits for the first to end. */
  readonly runDir: string;
  readonly logger?: { warn(fields: object, message: string): void };
}

const readyTimeoutMs = 10_000;
const maxFrameBytes = 4 << 20;
const maxStrings = 1 << 16;
const maxEventBytes = 4096;
const maxStderrChars = 4096;
const containerIdPattern = /^[!-?A-~]{1,64}$/;

/**
 * Starts the process that starts the agent's commands. It and the supervisors it forks live in sessions of their own.
 *
 * After a restart of the agent ask for each container, in this order: `isSupervised`, then `findExit`. Supervised and
 * no record: its events will come. A record: that is how it ended. Neither: it was never started, or its supervisor
 * was killed while no agent was there.
 *
 * @throws {Error} on a platform without a binary, in a worker thread, or when an earlier launcher does not end in 10 s
 */
export async function startLauncher(options: LauncherOptions): Promise<Launcher> {
  // A worker thread that ends closes every number that `openSync` gave it and `closeSync` did not get back. The socket
  // on the events has closed its own by then, and the number may be another thread's pipe, or its event loop.
  if (!isMainThread) throw new Error('Cannot start the launcher in a worker thread: start it in the main one');
  mkdirSync(options.runDir, { recursive: true, mode: 0o700 });
  const launcher = new Launcher(options);
  await launcher.restart();
  return launcher;
}

/** The path of the binary for this machine. */
export function launcherBinary(platform: string = process.platform, arch: string = process.arch): string {
  if (platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) {
    throw new Error(
      `Cannot start command tasks on ${platform}-${arch}: the launcher is built for linux-x64 and linux-arm64; run the agent there`,
    );
  }
  return fileURLToPath(new URL(`../../../native/prebuilt/launcher-${platform}-${arch}`, import.meta.url));
}

/** A running launcher, made by `startLauncher`. */
export class Launcher {
  readonly #options: LauncherOptions;
  #child: ChildProcess | undefined;
  #events: Socket | undefined;
  #handler: ((event: LauncherEvent) => void) | undefined;
  #frames: Buffer[] = [];
  #closing = false;

  constructor(options: LauncherOptions) {
    this.#options = options;
  }

  /** The process id of the launcher, undefined when it is not running. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts a command; the outcome comes as events. Never throws: what the launcher cannot take comes back as 'failed'
   * (stage 'frame': a NUL character, a wrong id, more than 4 MB; stage 'launcher': it is not running).
   */
  start(spec: LaunchSpec): void {
    const frame = this.#child === undefined ? fault('EPIPE', 'launcher') : encodeStart(spec);
    if (!Buffer.isBuffer(frame)) {
      setImmediate(() => this.#handler?.({ ...frame, containerId: spec.containerId }));
      return;
    }
    this.#frames.push(frame);
    if (this.#frames.length === 1) setImmediate(() => this.#flush());
  }

  /** Sets the one handler. Events before that wait in the FIFO, so set it at once. */
  onEvent(handler: (event: LauncherEvent) => void): void {
    const first = this.#handler === undefined;
    this.#handler = handler;
    if (first) this.#read();
  }

  /** Starts the launcher process again after 'launcher_exited'. Running commands do not notice. */
  async restart(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`Cannot start the launcher: it runs as process ${this.#child.pid}`);
    if (this.#closing) throw new Error('Cannot start the launcher: it was closed; make a new one');
    const { child, stderr } = await spawnLauncher(this.#options.runDir);
    if (this.#closing) {
      child.stdin?.end();
      throw new Error('Cannot start the launcher: it was closed meanwhile');
    }
    this.#child = child;
    child.once('exit', (code, signal) => this.#onExit(describeExit(code, signal, stderr())));
    child.stdin?.on('error', () => {}); // it died: 'exit' says so
    if (this.#events !== undefined) return;
    const fd = openSync(join(this.#options.runDir, 'events'), constants.O_RDWR | constants.O_NONBLOCK);
    this.#events = new Socket({ fd, readable: true, writable: false });
    if (this.#handler !== undefined) this.#read();
  }

  /** Ends the launcher process after what was passed to `start`; commands live on. No event comes any more. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#handler = undefined;
    this.#events?.destroy();
    const child = this.#child;
    if (child === undefined) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    this.#flush();
    child.stdin?.end();
    await exited;
  }

  #flush(): void {
    const frames = this.#frames;
    this.#frames = [];
    if (frames.length > 0) this.#child?.stdin?.write(frames.length === 1 ? frames[0] : Buffer.concat(frames));
  }

  #read(): void {
    const decode = eventDecoder();
    this.#events?.on('data', (bytes) => {
      for (const event of decode(bytes)) this.#handler?.(event);
    });
    this.#events?.on('error', (error) => {
      this.#options.logger?.warn({ err: error }, 'Cannot read the events of the launcher; exit records are kept');
    });
  }

  #onExit(reason: string): void {
    this.#child = undefined;
    this.#frames = [];
    if (this.#closing) return;
    this.#options.logger?.warn({ reason }, 'The launcher ended unexpectedly; running commands are not affected');
    this.#handler?.({ kind: 'launcher_exited', reason });
  }
}

/** How the run in this control directory ended; undefined while it has not, or when its supervisor was killed. */
export function findExit(controlDir: string): ExitRecord | undefined {
  const path = join(controlDir, 'exit');
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (error) {
    if (isError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
  const [kind = '', ...fields] = text.trimEnd().split(' ');
  const record = parseFields(kind, fields);
  if (record?.kind === 'exited' || record?.kind === 'failed') return record;
  throw new Error(`Cannot read the exit record '${path}': it says '${text.slice(0, 80)}', which no launcher writes`);
}

/** Whether a supervisor lives for this control directory. False too until 'started' or 'failed' was heard. */
export function isSupervised(controlDir: string): boolean {
  const fd = openControl(controlDir);
  if (fd === undefined) return false;
  closeSync(fd);
  return true;
}

/**
 * Whether a supervisor has ever taken up this control directory: only then a command may have run in it. Its first act is
 * to make the control FIFO, which stays.
 */
export function hasBegun(controlDir: string): boolean {
  return existsSync(join(controlDir, 'control'));
}

/** Whether its supervisor has been told to pause it, and not to go on. */
export function isPaused(controlDir: string): boolean {
  return existsSync(join(controlDir, 'paused'));
}

/**
 * Tells the supervisor of a control directory to do something. The first 'term' sends SIGTERM to the command's process
 * group; a repeated one may only shorten the grace. The end of the command ends its descendants too.
 *
 * @returns false if there is no supervisor: the command has ended, or has not begun (wait for 'started' or 'failed')
 * @throws {Error} with code EAGAIN if the supervisor has been stopped and its FIFO is full
 */
export function control(controlDir: string, command: Control): boolean {
  const line = controlLine(command);
  const fd = openControl(controlDir);
  if (fd === undefined) return false;
  try {
    writeSync(fd, `\n${line}\n`); // the first newline ends what a writer that died may have left
    return true;
  } catch (error) {
    if (isError(error, 'EPIPE')) return false;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** What a raw wait status says. A shell's `exit 137` is an exit code, the SIGKILL that it stands for is a signal. */
export function decodeWaitStatus(status: number): { exitCode: number } | { signal: string } {
  const number = status & 0x7f;
  if (number === 0) return { exitCode: (status >> 8) & 0xff };
  return { signal: signalNames.get(number) ?? `SIG${number}` };
}

const signalNames: ReadonlyMap<number, string> = new Map(
  Object.entries(osConstants.signals)
    .reverse() // of two names for one number the first is the usual one
    .map(([name, number]) => [number, name]),
);

function openControl(controlDir: string): number | undefined {
  try {
    return openSync(join(controlDir, 'control'), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isError(error, 'ENXIO', 'ENOENT', 'ENOTDIR')) return undefined; // ENXIO: nobody has it open to read
    throw error;
  }
}

function controlLine(command: Control): string {
  if (command.kind === 'term') return `term ${Math.max(0, Math.ceil(command.graceMs))}`;
  if (command.kind === 'signal') return `signal ${command.number}`;
  if (command.kind === 'resize') return `resize ${command.rows} ${command.columns}`;
  return command.kind;
}

function isError(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

function fault(code: 'EPIPE' | 'EINVAL' | 'E2BIG', stage: string): Failed {
  return { kind: 'failed', errno: osConstants.errno[code], code, stage };
}

/** The frame as `native/launcher.c` describes it. */
export function encodeStart(spec: LaunchSpec): Buffer | Failed {
  const { user, settings = [], argv } = spec;
  const groups = user?.groups ?? [];
  const env = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`);
  const { containerId, controlDir, sandboxDir, stdoutPath, stderrPath } = spec;
  const fixed = [containerId, controlDir, sandboxDir, stdoutPath, stderrPath, spec.file ?? argv[0]];
  const strings = [...fixed, ...settings, ...argv, ...env];
  if (!containerIdPattern.test(containerId) || strings.some((string) => string.includes('\0'))) {
    return fault('EINVAL', 'frame');
  }
  const text = `${strings.join('\0')}\0`;
  const headBytes = 28 + 4 * groups.length;
  const length = headBytes + Buffer.byteLength(text);
  if (length > maxFrameBytes || strings.length > maxStrings || groups.length > 0xffff) return fault('E2BIG', 'frame');

  const frame = Buffer.allocUnsafe(length);
  frame.writeUInt32LE(length - 4, 0);
  frame.writeUInt8(1, 4);
  frame.writeUInt8(user === undefined ? 0 : 1, 5);
  frame.writeUInt16LE(groups.length, 6);
  const numbers = [user?.uid ?? 0, user?.gid ?? 0, argv.length, env.length, settings.length, ...groups];
  for (const [index, number] of numbers.entries()) frame.writeUInt32LE(number, 8 + 4 * index);
  frame.write(text, headBytes);
  return frame;
}

/** Decodes the bytes of the FIFO; a line may arrive in two parts, and the first line may lack its beginning. */
function eventDecoder(): (bytes: Buffer) => ContainerEvent[] {
  let rest = '';
  return (bytes) => {
    const lines = (rest + bytes.toString('latin1')).split('\n');
    rest = (lines.pop() ?? '').slice(-maxEventBytes);
    return lines.map(parseEvent).filter((event) => event !== undefined);
  };
}

function parseEvent(line: string): ContainerEvent | undefined {
  const [kind = '', containerId = '', ...fields] = line.split(' ');
  const event = kind.startsWith('@') ? parseFields(kind.slice(1), fields) : undefined;
  return event === undefined ? undefined : { ...event, containerId };
}

function parseFields(kind: string, fields: string[]): Started | ExitRecord | Lost | undefined {
  const [first = '', second = '', third = ''] = fields;
  switch (`${kind} ${fields.length}`) {
    case 'started 3':
      return { kind: 'started', pid: Number(first), supervisorPid: Number(second), startedAtMs: Number(third) };
    case 'exited 3':
    case 'exited 6':
      return parseExit(fields);
    case 'failed 2':
      return /^[1-9]\d*$/.test(first)
        ? { kind: 'failed', errno: Number(first), code: getSystemErrorName(-Number(first)), stage: second }
        : undefined;
    case 'lost 1':
      return { kind: 'lost', status: Number(first) };
    default:
      return undefined;
  }
}

function parseExit([status, stop = '', at, oom, limit, peak]: string[]): Ended | undefined {
  if (!isStop(stop)) return undefined;
  const end = { kind: 'exited', status: Number(status), stop, exitedAtMs: Number(at) } as const;
  return oom === undefined ? end : { ...end, oom: { limitBytes: Number(limit), peakBytes: Number(peak) } };
}

function isStop(word: string): word is Stop {
  return word === 'none' || word === 'term' || word === 'escalated' || word === 'kill';
}

/** Resolves when the launcher has the lock, that is when no earlier one can start anything any more. */
function spawnLauncher(runDir: string): Promise<{ child: ChildProcess; stderr: () => string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ child: ChildProcess; stderr: () => string }>();
  const child = spawn(launcherBinary(), [runDir], { detached: true, env: {}, stdio: 'pipe' });
  let stderr = '';
  child.stderr.on('data', (bytes) => {
    stderr = `${stderr}${bytes}`.slice(-maxStderrChars);
  });
  // After the promise is settled these two do nothing; 'error' must keep a listener.
  const fail = (why: string, cause?: Error): void => {
    clearTimeout(timer);
    reject(new Error(`Cannot start the launcher for '${runDir}': ${why}`, { cause }));
  };
  const timer = setTimeout(() => {
    fail('another launcher holds its lock; stop the other agent that uses this directory');
    child.kill('SIGKILL');
  }, readyTimeoutMs);
  child.on('error', (error) => fail(`${error.message}; reinstall the package if the file is damaged`, error));
  child.once('close', (code, signal) => fail(describeExit(code, signal, stderr))); // by then all of stderr is read
  child.stdout.once('data', () => {
    clearTimeout(timer);
    resolve({ child, stderr: () => stderr });
  });
  return promise;
}

function describeExit(code: number | null, signal: string | null, stderr: string): string {
  return `it ended by ${signal ?? `exit code ${code}`}${stderr === '' ? '' : `, saying '${stderr.trimEnd()}'`}`;
}
