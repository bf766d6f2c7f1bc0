import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Happening, Work } from './happening.ts';

/** What is wrong with the work when it is over. All zeros, or something was lost or doubled. */
export interface Tally {
  /** Items without a line in the file. */
  readonly lost: number;
  /** Lines beyond the first of an item. */
  readonly doubled: number;
  /** Items without a TASK_FINISHED that the framework has seen. */
  readonly unreported: number;
  /** Items with more than one; what comes again after the framework was killed has the same uuid and counts once. */
  readonly reported_twice: number;
}

/** The first launch after a moment: ms from then. */
export interface NextLaunch {
  /** Until the leader has answered an ACCEPT that was sent after that moment, so that it stands in the log. */
  readonly acceptedMs: number;
  /** Until one of its tasks was reported as TASK_RUNNING. */
  readonly runningMs: number;
}

const program = fileURLToPath(new URL('framework.ts', import.meta.url));

export const wallMs = (): number => performance.timeOrigin + performance.now();

/** A framework in a process of its own that launches real tasks, and the books about it. */
export class Workload {
  readonly work: Work;
  readonly #say: (line: string) => void;
  readonly #signal: AbortSignal;
  readonly #changed = new EventEmitter();
  readonly #launched = new Set<string>();
  /** The uuids of its TASK_FINISHED, by item; one that comes twice to the same process stands here twice. */
  readonly #finished = new Map<string, string[]>();
  /** What this process of the framework was told. */
  #told = new Set<string>();
  readonly #ended = new Set<string>();
  /** When its ACCEPT was sent, by task. */
  readonly #sentAt = new Map<string, number>();
  readonly #launches: { readonly sentAt: number; readonly acceptedAt: number; readonly tasks: readonly string[] }[] =
    [];
  readonly #runningAt = new Map<string, number>();
  #child: ChildProcess | undefined;
  #failure: Error | undefined;
  #again = 0;

  constructor(work: Work, { say, signal }: { say: (line: string) => void; signal: AbortSignal }) {
    this.work = work;
    this.#say = say;
    this.#signal = signal;
    this.#changed.setMaxListeners(0);
  }

  /** Starts the framework's process; after a kill another one, which goes on with the same framework. */
  start(): void {
    const child = spawn(process.execPath, ['-C', 'mesobus-source', program, JSON.stringify(this.work)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#told = new Set();
    createInterface({ input: child.stdout as Readable }).on('line', (line) =>
      this.#note(JSON.parse(line) as Happening),
    );
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      this.#fail(new Error(`the framework has ended by itself (${signal ?? code})`));
    });
  }

  /** Ends the framework's process without warning. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Has the framework removed. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
  }

  /** Items launched so far, however often. */
  get launched(): number {
    return this.#launched.size;
  }

  get finished(): number {
    return this.#finished.size;
  }

  /** Tasks that did not run and were launched again under another id. */
  get again(): number {
    return this.#again;
  }

  async untilLaunched(items: number): Promise<void> {
    await this.#until(() => this.launched >= items || undefined);
  }

  /** All items have ended, as far as the framework knows. */
  async untilDone(): Promise<void> {
    await this.#until(() => this.#ended.size >= this.work.items || undefined);
  }

  /**
   * The first launch that was decided after a moment (time of day, ms).
   *
   * @throws all work has ended without one
   */
  nextLaunch(after: number): Promise<NextLaunch> {
    return this.#until(() => {
      const later = this.#launches.filter(({ sentAt }) => sentAt > after);
      const running = later.flatMap(({ tasks }) => tasks.flatMap((task) => this.#runningAt.get(task) ?? []));
      if (running.length === 0) {
        if (this.#ended.size < this.work.items) return undefined;
        throw new Error('Nothing was left to be launched after the blow: give more --tasks');
      }
      const acceptedAt = Math.min(...later.map((one) => one.acceptedAt));
      return { acceptedMs: acceptedAt - after, runningMs: Math.min(...running) - after };
    });
  }

  /** The longest time between two launches that stand in the log, from a moment on, ms. */
  longestPause(after: number): number {
    const times = this.#launches.map(({ acceptedAt }) => acceptedAt).filter((at) => at > after);
    return [after, ...times].reduce((longest, at, index, all) => Math.max(longest, (all[index + 1] ?? at) - at), 0);
  }

  /** Judges the work by the file on disk and by what the framework was told. */
  tally(): Tally {
    const { items, output } = this.work;
    const lines = existsSync(output) ? readFileSync(output, 'utf8').split('\n').slice(0, -1) : [];
    const perItem = Map.groupBy(lines, (line) => line);
    const reports = [...this.#finished.values()].map((uuids) => uuids.length);
    return {
      lost: Array.from({ length: items }, (_, n) => `item-${n}`).filter((id) => !perItem.has(id)).length,
      doubled: lines.length - perItem.size,
      unreported: items - reports.length,
      reported_twice: reports.filter((count) => count > 1).length,
    };
  }

  #note(happening: Happening): void {
    switch (happening.kind) {
      case 'launch':
        for (const task of happening.tasks) {
          this.#launched.add(itemOf(task));
          this.#sentAt.set(task, happening.at);
        }
        break;
      case 'accepted': {
        const { tasks, at: acceptedAt } = happening;
        this.#launches.push({ sentAt: this.#sentAt.get(tasks[0] as string) ?? acceptedAt, acceptedAt, tasks });
        break;
      }
      case 'status':
        this.#onStatus(happening);
        break;
      case 'refused':
      case 'error':
        this.#say(`framework: ${'why' in happening ? happening.why : happening.message}`);
        break;
      case 'disconnected':
        this.#say(`framework: disconnected: ${happening.why}`);
        break;
      default:
        this.#say(`framework: ${happening.kind}`);
    }
    this.#changed.emit('change');
  }

  #onStatus({ task, state, uuid, message, outcome, at }: Extract<Happening, { kind: 'status' }>): void {
    const item = itemOf(task);
    if (state === 'TASK_RUNNING' && !this.#runningAt.has(task)) this.#runningAt.set(task, at);
    if (outcome === 'again') this.#again += 1;
    if (outcome !== 'done') return;
    this.#ended.add(item);
    if (state === 'TASK_FINISHED') {
      const known = this.#finished.get(item) ?? [];
      if (this.#told.has(uuid) || !known.includes(uuid)) this.#finished.set(item, [...known, uuid]);
      this.#told.add(uuid);
    } else {
      this.#say(`framework: ${task}: ${state} ${message}`);
    }
  }

  #fail(error: Error): void {
    this.#failure = error;
    this.#changed.emit('change');
  }

  async #until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const found = look();
      if (found !== undefined) return found;
      await once(this.#changed, 'change', { signal: this.#signal });
    }
  }
}

const itemOf = (task: string): string => task.split('.')[0] as string;
