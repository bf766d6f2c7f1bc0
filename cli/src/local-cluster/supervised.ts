import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import type { ClusterEvent } from './cluster-event.ts';
import { logTail } from './log-tail.ts';

/** A program to keep running. */
export interface Program {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The complete environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Its standard output and error go here, appended. */
  readonly log: string;
  /** Resolves when it does its work. Unless given, it says so on the descriptor that MESOBUS_READY_FD names. */
  readonly untilReady?: (signal: AbortSignal) => Promise<void>;
  /** Asks it to end in order. */
  readonly stopSignal: NodeJS.Signals;
  /** How long it may take to end when asked before it gets SIGKILL. */
  readonly stopDeadlineMs: number;
}

export interface SupervisedOptions {
  readonly report: (event: ClusterEvent) => void;
  /** The process with this pid exists now: to be recorded before anything else happens. */
  readonly onSpawn: (pid: number) => void;
  /** Start it again when it dies. */
  readonly restart: boolean;
}

/** A process of the cluster cannot be started. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

const readyDeadlineMs = 60_000;
const firstRetryMs = 100;
const maxRetryMs = 5000;
/** Whoever has lived so long is not in a crash loop. */
const soundAfterMs = 10_000;

interface Run {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly startedAtMs: number;
  isReady: boolean;
  /** What it calls itself in logs and on the bus, once it is ready; empty if it says nothing of the kind. */
  instance: string;
  /** Resolves with how it ended. */
  readonly ended: Promise<string>;
  /** Resolves with its instance when it does its work; rejects with a StartError. */
  readonly ready: Promise<string>;
}

/** Keeps one process running: a supervisor of the simplest kind. */
export class Supervised {
  readonly program: Program;
  private readonly options: SupervisedOptions;
  private run: Run | undefined;
  /** It is to run; only then a death is a surprise. */
  private wanted = false;
  private wasReady = false;
  private retryMs = firstRetryMs;
  private retry: NodeJS.Timeout | undefined;
  private nextRun: PromiseWithResolvers<Run> = awaitedByFew();

  constructor(program: Program, options: SupervisedOptions) {
    this.program = program;
    this.options = options;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.run?.pid;
  }

  /** Of the process that runs now; empty while it is not ready. */
  get instance(): string {
    return this.run?.instance ?? '';
  }

  /** It has done its work at least once. */
  get everReady(): boolean {
    return this.wasReady;
  }

  /**
   * Starts it and waits until it is ready.
   *
   * @throws {StartError} it ended before it was ready, or took too long; it is not tried again
   */
  async start(): Promise<void> {
    if (this.run !== undefined) {
      await this.run.ready;
      return;
    }
    clearTimeout(this.retry);
    const run = this.launch();
    await run.ready;
    this.wanted = true;
    if (this.run !== run) this.startAgain(run, await run.ended);
  }

  /** Waits until it is ready, through restarts. @throws {StartError} it is stopped meanwhile */
  async untilReady(): Promise<number> {
    for (;;) {
      const run = this.run ?? (await this.nextRun.promise);
      try {
        await run.ready;
        return run.pid;
      } catch (error) {
        if (!this.wanted) throw error;
        await run.ended;
      }
    }
  }

  /** Sends a signal. Waits for the end if it is one that ends the process; then it is started again. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const { run } = this;
    if (run === undefined) return;
    run.child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT') await run.ended;
  }

  /** Ends it in order; by SIGKILL if that takes too long. It stays down. */
  async stop(signal: NodeJS.Signals = this.stopSignal): Promise<void> {
    this.wanted = false;
    clearTimeout(this.retry);
    this.nextRun.reject(new StartError(`Cannot wait for ${this.program.name}: it is stopped`));
    this.nextRun = awaitedByFew();
    const { run } = this;
    if (run === undefined) return;
    const { name, stopDeadlineMs: deadlineMs } = this.program;
    run.child.kill(signal);
    run.child.kill('SIGCONT'); // one that was paused hears nothing else
    const overdue = setTimeout(() => {
      this.options.report({ kind: 'overdue', name, pid: run.pid, deadlineMs });
      run.child.kill('SIGKILL');
    }, deadlineMs);
    await run.ended;
    clearTimeout(overdue);
    this.options.report({ kind: 'stopped', name, pid: run.pid });
  }

  /** Asks it to end where nothing can be waited for. */
  signalNow(): void {
    this.run?.child.kill(this.stopSignal);
  }

  /** What is not ready may not listen to its own signal yet, SIGTERM ends every process. */
  private get stopSignal(): NodeJS.Signals {
    return this.run?.isReady === true ? this.program.stopSignal : 'SIGTERM';
  }

  private launch(): Run {
    const { program, options } = this;
    const child = spawnLogged(program);
    const startedAtMs = performance.now();
    const ended = untilEnded(child);
    const { pid } = child;
    if (pid === undefined) throw new StartError(`Cannot start ${program.name}: '${program.command}' does not run`);
    options.onSpawn(pid);
    options.report({ kind: 'started', name: program.name, pid });
    const run: Run = {
      child,
      pid,
      startedAtMs,
      isReady: false,
      instance: '',
      ended,
      ready: untilReady(program, child, ended),
    };
    const restarted = this.wasReady;
    run.ready.then(
      (instance) => {
        run.isReady = true;
        run.instance = instance;
        this.wasReady = true;
        options.report({ kind: 'ready', name: program.name, pid, restarted });
      },
      () => child.kill('SIGKILL'),
    );
    this.run = run;
    this.nextRun.resolve(run);
    void ended.then((how) => this.onEnded(run, how));
    return run;
  }

  private onEnded(run: Run, how: string): void {
    this.run = undefined;
    this.nextRun = awaitedByFew();
    if (this.wanted) this.startAgain(run, how);
  }

  private startAgain(run: Run, how: string): void {
    if (!this.options.restart) return;
    if (performance.now() - run.startedAtMs >= soundAfterMs) this.retryMs = firstRetryMs;
    const { retryMs } = this;
    this.retryMs = Math.min(retryMs * 2, maxRetryMs);
    this.options.report({ kind: 'died', name: this.program.name, pid: run.pid, how, retryMs });
    this.retry = setTimeout(() => this.tryAgain(), retryMs);
  }

  /** A program that cannot even be executed now may be on a disk that is full or being updated. */
  private tryAgain(): void {
    try {
      this.launch();
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.retry = setTimeout(() => this.tryAgain(), maxRetryMs);
    }
  }
}

/** Whoever waits for it hears of a failure; where nobody does, it is nobody's concern. */
function awaitedByFew<T>(): PromiseWithResolvers<T> {
  const awaited = Promise.withResolvers<T>();
  awaited.promise.catch(() => undefined);
  return awaited;
}

/** In a session of its own: a Ctrl-C at the terminal is for us, and we tell each process when it is its turn. */
function spawnLogged({ command, args, env, log, untilReady }: Program): ChildProcess {
  const output = openSync(log, 'a', 0o600);
  const byDescriptor = untilReady === undefined;
  try {
    return spawn(command, args, {
      env: { ...env, ...(byDescriptor && { MESOBUS_READY_FD: '3' }) },
      stdio: ['ignore', output, output, byDescriptor ? 'pipe' : 'ignore'],
      detached: true,
    });
  } finally {
    closeSync(output);
  }
}

/** How the process ended, for people: `exited with 1`, `was ended by SIGKILL`. */
async function untilEnded(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return signal === null ? `exited with ${code}` : `was ended by ${signal}`;
  } catch (error) {
    return `did not start: ${(error as Error).message}`;
  }
}

async function untilReady(program: Program, child: ChildProcess, ended: Promise<string>): Promise<string> {
  const controller = new AbortController();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(problem(program, `was not ready within ${readyDeadlineMs / 1000} s`)),
    readyDeadlineMs,
  );
  const tooSoon = ended.then((how) => Promise.reject(problem(program, `${how} before it was ready`)));
  const ready = program.untilReady?.(controller.signal) ?? saysReady(child, tooSoon);
  try {
    return (await Promise.race([ready, tooSoon, late])) ?? '';
  } finally {
    clearTimeout(timer);
    controller.abort();
    // The first has been heard; the others fail later, as they must.
    tooSoon.catch(() => undefined);
    ready.catch(() => undefined);
  }
}

/** Gives its instance. A descriptor that closes without a word is no readiness: then the end of the process tells. */
async function saysReady(child: ChildProcess, otherwise: Promise<never>): Promise<string> {
  const said = /^ready (\S+)\n$/.exec(await readAll(child.stdio[3] as Readable));
  return said?.[1] ?? (await otherwise);
}

function problem({ name, log }: Program, what: string): StartError {
  const tail = logTail(log);
  return new StartError(`Cannot start ${name}: it ${what}; ${log} ${tail === '' ? 'is empty' : `ends with:\n${tail}`}`);
}
