import { Readable } from 'node:stream';
import type { mesos } from '@mesobus/protos';
import type { NatsBus } from '@mesobus/sdk/bus';
import type { User } from '../users.ts';
import { FetchCache } from './fetch-cache.ts';
import { FetchProblem } from './fetch-problem.ts';
import { type FetchTarget, fetchTargetOf } from './fetch-target.ts';
import { type Notes, Sandbox } from './sandbox.ts';
import { Slots } from './slots.ts';
import { type OpenSource, type Source, sourceOf } from './sources.ts';

type Uri = mesos.v1.CommandInfo.URI.$Properties;

export interface FetcherOptions {
  /** The folder of the cache: of nobody else, and emptied at the start. */
  readonly cacheDir: string;
  readonly cacheBytes: number;
  /** What brings nothing for so long is given up. */
  readonly stallTimeoutMs: number;
  /** Where the object stores are; absent: there are none. */
  readonly connection?: NatsBus['connection'] | undefined;
  /** How much comes between two notes of a large download; 64 MB unless given. */
  readonly noteBytes?: number;
}

export interface FetcherCounts {
  readonly succeeded: number;
  readonly failed: number;
  readonly usedBytes: number;
  readonly maxBytes: number;
}

export interface FetchRequest {
  readonly uris: readonly Uri[];
  readonly sandboxDir: string;
  /** Whose sandbox it is; absent: the agent's own. */
  readonly user: User | undefined;
  /** The task is not wanted any more. */
  readonly signal: AbortSignal;
}

/** Tasks that are fetched for at a time; the others wait. */
const maxFetching = 64;
const usualNoteBytes = 64 * 2 ** 20;

/** Brings what the commands of tasks need into their sandboxes. */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #cache: FetchCache;
  readonly #slots = new Slots(maxFetching);
  #succeeded = 0;
  #failed = 0;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#cache = new FetchCache(options.cacheDir, options.cacheBytes);
  }

  /** Tasks that got all they need, those that did not, and the size of the cache. */
  get counts(): FetcherCounts {
    return { succeeded: this.#succeeded, failed: this.#failed, ...this.#cache.size };
  }

  /**
   * Fetches everything, in its order, as the task's user. It may be done again: what is there is replaced.
   *
   * @throws {Error} the first that cannot be fetched, and why; what was fetched before stays
   */
  async fetch({ uris, sandboxDir, user, signal }: FetchRequest): Promise<void> {
    await this.#slots.run(signal, async () => {
      const sandbox = new Sandbox(sandboxDir, user, signal);
      const notes = sandbox.openNotes();
      try {
        for (const uri of uris) await this.#fetchOne(uri, { sandbox, user, notes, signal });
        this.#succeeded += 1;
      } catch (error) {
        this.#failed += 1;
        throw error;
      } finally {
        await notes.close();
      }
    });
  }

  async #fetchOne(uri: Uri, job: Job): Promise<void> {
    const { notes, signal } = job;
    const shown = withoutPassword(uri.value);
    try {
      const target = fetchTargetOf(uri);
      notes.write(`Fetching '${shown}' to '${target.path}'`);
      await this.#bring(uri, target, job);
      if (target.archive) await job.sandbox.extract(target.path, target.archive);
      notes.write(`Fetched '${shown}'${target.archive ? ' and unpacked it' : ''}`);
    } catch (cause) {
      signal.throwIfAborted();
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `Cannot fetch '${shown}': ${why}`;
      notes.write(message);
      throw new Error(message, { cause });
    }
  }

  async #bring(uri: Uri, target: FetchTarget, job: Job): Promise<void> {
    const { user, notes, signal } = job;
    const { connection, cacheBytes } = this.#options;
    const open = this.#watched(sourceOf(uri.value, { user, connection }), notes);
    if (uri.cache) {
      const lease = await this.#cache.take(`${user?.uid ?? ''} ${uri.value}`, open, signal);
      if (lease !== undefined) {
        try {
          await job.sandbox.place(target.path, lease.open(), target.executable);
        } finally {
          lease.release();
        }
        return;
      }
      notes.write(`The cache of ${cacheBytes} bytes has no room for it: fetching it for this task alone`);
    }
    const { stream } = await open(signal);
    await job.sandbox.place(target.path, stream, target.executable);
  }

  /** Gives up a source that brings nothing any more, and notes how far a large one is. */
  #watched(open: OpenSource, notes: Notes): OpenSource {
    const { stallTimeoutMs, noteBytes = usualNoteBytes } = this.#options;
    return async (signal) => {
      const stall = new Stall(stallTimeoutMs, signal);
      let source: Source;
      try {
        source = await open(stall.signal);
      } catch (error) {
        stall.end();
        throw stall.reason ?? error;
      }
      const { size } = source;
      const note = (bytes: number, before: number): void => {
        if (Math.floor(bytes / noteBytes) > Math.floor(before / noteBytes)) notes.write(progress(bytes, size));
      };
      return { stream: Readable.from(watch(source.stream, stall, note), { objectMode: false }), size };
    };
  }
}

interface Job {
  readonly sandbox: Sandbox;
  readonly user: User | undefined;
  readonly notes: Notes;
  readonly signal: AbortSignal;
}

/** Ends what has brought nothing for a while. */
class Stall {
  readonly signal: AbortSignal;
  reason: FetchProblem | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(timeoutMs: number, signal: AbortSignal) {
    const controller = new AbortController();
    this.signal = AbortSignal.any([controller.signal, signal]);
    this.#timer = setTimeout(() => {
      const remedy = 'see that the server answers, or give --fetcher-stall-timeout more';
      this.reason = new FetchProblem(`nothing has come for ${timeoutMs} ms`, remedy);
      controller.abort(this.reason);
    }, timeoutMs);
  }

  onBytes(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Passes a stream on as it is taken. */
async function* watch(
  stream: Readable,
  stall: Stall,
  onBytes: (bytes: number, before: number) => void,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      stall.onBytes();
      onBytes(bytes + chunk.length, bytes);
      bytes += chunk.length;
      yield chunk;
    }
  } catch (error) {
    throw stall.reason ?? error;
  } finally {
    stall.end();
  }
}

function progress(bytes: number, size: number | undefined): string {
  const of = size === undefined || size === 0 ? '' : ` of ${megabytes(size)} (${Math.floor((100 * bytes) / size)} %)`;
  return `... ${megabytes(bytes)}${of}`;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;

/** What somebody may read: a task's stderr, a status, a log. */
const withoutPassword = (uri: string): string => uri.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1');
