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
  /** Which file this is of: an output that is rotated begins another one under the same name. */
  readonly fileId: string;
}

/** Where a task is, as far as files go. */
export interface TaskPlace {
  readonly agentName: string;
  readonly ended: boolean;
}

/** What is to be read of a file. */
interface Wanted {
  readonly offset: number;
  readonly length: number;
  readonly fileId: string;
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
   * @param range.fileId - reads on in that file: if it goes by `<path>.1` now, what is left of it comes first, and then what
   *   has its name now, from its beginning. What came from where is in the answer
   * @throws {RefusedError} as `list` does
   */
  async read(task: TaskKey, path: string, range: Partial<Wanted> = {}): Promise<FileRange> {
    const { agentName } = await this.#placeOf(task);
    return this.#read(agentName, task, path, range);
  }

  /**
   * Gives what is in the file and what is written to it, until the task has ended, also when it is rotated meanwhile.
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
    let position = { offset: options.offset ?? 0, fileId: '' };
    let pollMs = firstPollMs;
    while (!signal?.aborted) {
      const range = await this.#read(agentName, task, path, position).catch((error) => this.#later(task, error));
      if (range !== undefined) position = { offset: range.offset + range.data.length, fileId: range.fileId };
      if (range !== undefined && range.data.length > 0) {
        yield range.data;
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

  async #read(agentName: string, task: TaskKey, path: string, wanted: Partial<Wanted>): Promise<FileRange> {
    const { offset = 0, length = maxReadBytes, fileId = '' } = wanted;
    const { data } = await this.#ask(agentName, { task: { ...task }, path, read: { offset, length, fileId } });
    return {
      data: data?.data ?? new Uint8Array(),
      offset: data?.offset ?? offset,
      sizeBytes: data?.size ?? 0,
      ended: data?.ended ?? false,
      fileId: data?.fileId ?? '',
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
