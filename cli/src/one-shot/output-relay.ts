import { followFile } from '../sandbox/follow-file.ts';
import type { SandboxReader, TaskPlace } from '../sandbox/sandbox-reader.ts';
import { LinePrefix } from './line-prefix.ts';

/** The two files of a sandbox that are relayed. */
export type StreamName = 'stdout' | 'stderr';

export interface RelayTarget {
  /** Resolves when more may be written. */
  write(task: TaskPlace, stream: StreamName, piece: Uint8Array): Promise<void>;
  /** The output of a task cannot be had, or not all of it. */
  complain(problem: string): void;
}

export interface RelayOptions {
  /** Whole lines only, with `[name] ` before each: for more than one task. */
  readonly lines: boolean;
  /** Empty for none. */
  readonly prefixOf: (taskId: string) => string;
}

/** One task has its output looked at this often, ms; with more of them each less often: agents have other work. */
const pollMs = 100;
const pollMsPerTask = 5;
const maxPollMs = 1000;
/** So many reads are under way at a time. */
const maxReads = 32;

/** Brings the output of tasks here while they run, and after their end what is left of it. */
export class OutputRelay {
  private readonly reader: Pick<SandboxReader, 'read'>;
  private readonly target: RelayTarget;
  private readonly options: RelayOptions;
  private readonly tasks = new Map<string, { readonly ended: PromiseWithResolvers<void>; hasEnded: boolean }>();
  private readonly following = new Set<Promise<void>>();
  private readonly queue: (() => void)[] = [];
  private reads = 0;

  constructor(reader: Pick<SandboxReader, 'read'>, target: RelayTarget, options: RelayOptions) {
    this.reader = { read: (...args) => this.inTurn(() => reader.read(...args)) };
    this.target = target;
    this.options = options;
  }

  /** The task has a sandbox now; said again, it changes nothing. */
  started(task: TaskPlace): void {
    if (this.tasks.has(task.taskId)) return;
    this.tasks.set(task.taskId, { ended: Promise.withResolvers(), hasEnded: false });
    for (const stream of ['stdout', 'stderr'] as const) this.track(this.follow(task, stream));
  }

  /** The task writes no more. */
  ended(taskId: string): void {
    const task = this.tasks.get(taskId);
    if (task === undefined) return;
    task.hasEnded = true;
    task.ended.resolve();
  }

  /** Whatever still runs, for all we know, is not waited for: what it has written so far is read. */
  endAll(): void {
    for (const taskId of this.tasks.keys()) this.ended(taskId);
  }

  /** Resolves when all output of all tasks that have started is written. */
  async idle(): Promise<void> {
    while (this.following.size > 0) await Promise.all(this.following);
  }

  private track(work: Promise<void>): void {
    this.following.add(work);
    void work.finally(() => this.following.delete(work));
  }

  private async follow(task: TaskPlace, stream: StreamName): Promise<void> {
    const state = this.tasks.get(task.taskId);
    const lines = this.options.lines ? new LinePrefix(this.options.prefixOf(task.taskId)) : undefined;
    const hasEnded = (): boolean => state?.hasEnded === true;
    const pause = (): Promise<void> => this.pause(state?.ended.promise, hasEnded());
    try {
      for await (const piece of followFile(this.reader, task, stream, { hasEnded, pause })) {
        await this.write(task, stream, lines === undefined ? piece : lines.push(piece));
      }
    } catch (error) {
      this.target.complain((error as Error).message);
    }
    if (lines !== undefined) await this.write(task, stream, lines.end());
  }

  private async write(task: TaskPlace, stream: StreamName, piece: Uint8Array): Promise<void> {
    if (piece.length > 0) await this.target.write(task, stream, piece);
  }

  /** Until it is time to look again, or the task has ended. */
  private async pause(ended: Promise<void> | undefined, hasEnded: boolean): Promise<void> {
    const { promise: elapsed, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(maxPollMs, pollMs + this.following.size * pollMsPerTask));
    await (hasEnded ? elapsed : Promise.race([elapsed, ended]));
    clearTimeout(timer);
  }

  private async inTurn<T>(read: () => Promise<T>): Promise<T> {
    if (this.reads >= maxReads) await new Promise<void>((resolve) => this.queue.push(resolve));
    else this.reads += 1;
    try {
      return await read();
    } finally {
      const next = this.queue.shift();
      if (next === undefined) this.reads -= 1;
      else next();
    }
  }
}
