import type { mesobus } from '@mesobus/protos';
import { RefusedError } from '../errors.ts';
import { ask } from './asking.ts';
import type { Connection } from './connection.ts';

/** A task, as everyone but its framework must name it. */
export interface TaskKey {
  readonly frameworkId: string;
  readonly taskId: string;
}

export interface FileEntry {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
  /** As `stat` has it. */
  readonly mode: number;
  readonly isDirectory: boolean;
}

export interface FileListing {
  /** Absolute path of the folder on the agent's machine. */
  readonly directory: string;
  readonly entries: readonly FileEntry[];
}

export interface FileRange {
  readonly data: Uint8Array;
  readonly offset: number;
  /** Of the whole file, now. */
  readonly sizeBytes: number;
  /** No more will be written: the task has ended. */
  readonly ended: boolean;
}

/** Where a task is, as far as files go. */
export interface TaskPlace {
  readonly agentName: string;
  readonly ended: boolean;
}

/** The most that comes back of one read, bytes. */
const maxReadBytes = 65_536;
const firstPollMs = 100;
const maxPollMs = 2000;
const timeoutMs = 10_000;

/** Looks into the sandboxes of tasks, on whatever agent they are. */
export class SandboxFiles {
  readonly #connection: Connection;
  readonly #placeOf: (task: TaskKey) => Promise<TaskPlace>;

  constructor(connection: Connection, placeOf: (task: TaskKey) => Promise<TaskPlace>) {
    this.#connection = connection;
    this.#placeOf = placeOf;
  }

  /**
   * @param path - within the sandbox; the sandbox itself unless given
   * @throws {RefusedError} path_unknown, path_forbidden; call_invalid if the task is unknown
   */
  async list(task: TaskKey, path = ''): Promise<FileListing> {
    const { agentName } = await this.#placeOf(task);
    const { list } = await this.#ask(agentName, { task: { ...task }, path, list: {} });
    return {
      directory: list?.directory ?? '',
      entries: (list?.entries ?? []).map(({ name, size, modifiedAtMs, mode, directory }) => ({
        name,
        sizeBytes: size,
        modifiedAt: new Date(modifiedAtMs),
        mode,
        isDirectory: directory,
      })),
    };
  }

  /**
   * Reads a part of a file; less comes back at its end, and never more than 65,536 bytes.
   *
   * @throws {RefusedError} as `list` does
   */
  async read(task: TaskKey, path: string, range: { offset?: number; length?: number } = {}): Promise<FileRange> {
    const { agentName } = await this.#placeOf(task);
    return this.#read(agentName, task, path, range.offset ?? 0, range.length ?? maxReadBytes);
  }

  /**
   * Gives what is in the file and what is written to it, until the task has ended.
   *
   * @param path - for example `stdout`; it need not be there yet
   * @param options.offset - where to begin, in bytes
   * @throws {RefusedError} path_unknown: the task has ended and there is no such file; else as `list` does
   */
  async *follow(
    task: TaskKey,
    path: string,
    options: { readonly offset?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array, void> {
    const { signal } = options;
    let { agentName } = await this.#placeOf(task);
    let offset = options.offset ?? 0;
    let pollMs = firstPollMs;
    while (!signal?.aborted) {
      const range = await this.#read(agentName, task, path, offset, maxReadBytes).catch((error) =>
        this.#later(task, error),
      );
      if (range !== undefined && range.data.length > 0) {
        yield range.data;
        offset = range.offset + range.data.length;
        pollMs = firstPollMs;
        continue;
      }
      if (range?.ended) return;
      await pause(pollMs, signal);
      pollMs = Math.min(pollMs * 2, maxPollMs);
      if (range === undefined) ({ agentName } = await this.#placeOf(task));
    }
  }

  /** A file that is not there may still come while the task goes on. */
  async #later(task: TaskKey, error: unknown): Promise<undefined> {
    const isMissing = error instanceof RefusedError && error.code === 'path_unknown';
    if (!isMissing || (await this.#placeOf(task)).ended) throw error;
    return undefined;
  }

  async #read(agentName: string, task: TaskKey, path: string, offset: number, length: number): Promise<FileRange> {
    const { data } = await this.#ask(agentName, { task: { ...task }, path, read: { offset, length } });
    return {
      data: data?.data ?? new Uint8Array(),
      offset: data?.offset ?? offset,
      sizeBytes: data?.size ?? 0,
      ended: data?.ended ?? false,
    };
  }

  #ask(agentName: string, request: mesobus.v1.FileRequest.$Properties): Promise<mesobus.v1.FileReply> {
    const { bus, subjects, principal } = this.#connection;
    return ask(bus, subjects.agentFiles(agentName).of(principal), request, timeoutMs);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
}
