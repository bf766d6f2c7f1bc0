import { type BigIntStats, constants, lstatSync } from 'node:fs';
import { type FileHandle, lstat, open, opendir, readdir, readlink, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import { taskFolder } from '../core/index.ts';

/** At most so much of a file goes into one answer. */
export const maxReadBytes = 65_536;
/** Entries of a folder in one answer: the first by name of those that were looked at. */
const maxEntries = 10_000;
const maxEntriesSeen = 100_000;
/** Node has no name for it: opens what is there without asking it for anything. */
const pathOnly = 0o10_000_000;

export interface FilesOptions {
  /** Without symbolic links. */
  readonly sandboxes: string;
  /** The sandbox of the latest run of a task, below that folder; undefined if only the folders tell. */
  readonly sandboxOf: (task: mesobus.v1.TaskKey) => string | undefined;
  /** The container's command has not ended: its files may grow. */
  readonly isAlive: (containerId: string) => boolean;
  /** Throws if whoever asks may not look at a path, below the folder of sandboxes. */
  readonly checkPath?: (path: string) => void;
}

/** A path that was asked for, the folder that it must not lead out of, and who may look at what there. */
interface Place {
  readonly path: string;
  readonly within: string;
  /** Throws if it may not be looked at. */
  readonly check?: ((path: string) => void) | undefined;
}

/**
 * Lists a folder or reads a file of a sandbox.
 *
 * @throws {RefusedError} path_forbidden: it is, or leads, out of the sandboxes of its framework; path_unknown: it is not there;
 * not_authorized
 */
export async function answerFileRequest(
  options: FilesOptions,
  request: mesobus.v1.FileRequest,
): Promise<mesobus.v1.FileReply.$Properties> {
  const place = await placeOf(options, request);
  place.check?.(place.path);
  const ended = !options.isAlive(containerOf(options.sandboxes, place.path)); // asked first: then nothing more is written
  if (request.list) return { list: await list(place) };
  const { offset = 0, length = 0, fileId = '' } = request.read ?? {};
  return { data: { ...(await readOn(place, { offset, fileId }, length || maxReadBytes)), ended } };
}

/** The third name below the folder of sandboxes is the container. */
const containerOf = (sandboxes: string, path: string): string => relative(sandboxes, path).split('/')[2] ?? '';

async function placeOf(options: FilesOptions, { path, task }: mesobus.v1.FileRequest): Promise<Place> {
  const { sandboxes } = options;
  const base = task ? await sandboxOf(options, task) : sandboxes;
  const full = isAbsolute(path) ? resolve(path) : resolve(base, path);
  if (!isInside(base, full)) throw new RefusedError('path_forbidden', path);
  // A link may lead to what tasks of one framework share, and no further.
  const [framework = ''] = relative(sandboxes, full).split('/');
  return { path: full, within: join(sandboxes, framework), check: options.checkPath };
}

const isInside = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);

async function sandboxOf({ sandboxes, sandboxOf }: FilesOptions, task: mesobus.v1.TaskKey): Promise<string> {
  const known = sandboxOf(task);
  return known === undefined
    ? latestSandbox(join(sandboxes, taskFolder(task.frameworkId, task.taskId)), task.taskId)
    : join(sandboxes, known);
}

async function latestSandbox(folder: string, taskId: string): Promise<string> {
  const runs = await readdir(folder).catch((error: unknown) => {
    throw unknown(taskId, error);
  });
  const times = await Promise.all(
    runs.map(async (run) => {
      const found = await stat(join(folder, run)).catch(() => undefined); // collected meanwhile
      return { run, since: found === undefined ? -1 : found.birthtimeMs || found.ctimeMs };
    }),
  );
  const latest = times.sort((a, b) => b.since - a.since)[0];
  if (latest === undefined || latest.since < 0) throw new RefusedError('path_unknown', taskId);
  return join(folder, latest.run);
}

/**
 * Looks first where a path leads, and opens then what was found there: a link cannot be exchanged in between. A FIFO, or a
 * device that somebody links to, is never opened: that alone does something to it, or to who waits for it.
 */
async function openInside({ path, within, check }: Place): Promise<FileHandle> {
  await using found = await open(path, pathOnly).catch((error: unknown) => {
    throw unknown(path, error);
  });
  const real = await readlink(`/proc/self/fd/${found.fd}`);
  if (!isInside(within, real)) {
    throw new RefusedError('path_forbidden', path, 'a symbolic link leads out of the sandboxes');
  }
  if (real !== path) check?.(real);
  const about = await found.stat();
  if (!about.isFile() && !about.isDirectory()) {
    throw new RefusedError('path_forbidden', path, 'it is neither a file nor a folder');
  }
  return await open(`/proc/self/fd/${found.fd}`, constants.O_RDONLY).catch((error: unknown) => {
    throw unknown(path, error);
  });
}

function unknown(path: string, error: unknown): RefusedError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ELOOP' || code === 'EACCES' || code === 'ENXIO') return new RefusedError('path_forbidden', path, code);
  return new RefusedError('path_unknown', path, code === 'ENOENT' ? undefined : String(code), { cause: error });
}

async function list(place: Place): Promise<mesobus.v1.FileList.$Properties> {
  await using handle = await openInside(place);
  const { path } = place;
  if (!(await handle.stat()).isDirectory()) throw new RefusedError('path_unknown', path, 'it is a file, not a folder');
  const folder = `/proc/self/fd/${handle.fd}`;
  const names = await namesIn(folder);
  const entries = await Promise.all(
    names
      .sort()
      .slice(0, maxEntries)
      .map((name) => describe(folder, name)),
  );
  return { directory: path, entries: entries.filter((entry) => entry !== undefined) };
}

/** A task may have made any number of them. */
async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(folder, { bufferSize: 1_000 })) {
    names.push(name);
    if (names.length === maxEntriesSeen) break;
  }
  return names;
}

async function describe(folder: string, name: string): Promise<mesobus.v1.FileEntry.$Properties | undefined> {
  const found = await lstat(join(folder, name)).catch(() => undefined); // removed meanwhile
  if (found === undefined) return undefined;
  return { name, size: found.size, modifiedAtMs: found.mtimeMs, mode: found.mode, directory: found.isDirectory() };
}

// ---- reading on, also when an output is rotated

/** Where somebody has read up to. */
export interface Position {
  readonly offset: number;
  /** Of the file that the offset is of; empty: of whichever has the name. */
  readonly fileId: string;
}

export interface Piece extends Position {
  /** Of the whole file now. */
  readonly size: number;
  readonly data: Uint8Array;
}

/**
 * Reads on from a position. Where the file was renamed to `<path>.1` meanwhile, the rest of it comes first, and then what
 * has its name now. One that is gone, or has become shorter, is read from its beginning.
 */
export async function readOn(place: Place, { offset, fileId }: Position, maxBytes: number): Promise<Piece> {
  const length = Math.min(maxBytes, maxReadBytes);
  const current = await openFile(place).catch((error: unknown) => {
    if (fileId === '' || !(error instanceof RefusedError) || error.code !== 'path_unknown') throw error;
    return undefined; // it has been renamed a moment ago
  });
  try {
    if (current !== undefined && (fileId === '' || current.fileId === fileId)) {
      return await current.read(fileId !== '' && offset > current.size ? 0 : offset, length);
    }
    await using before = await openFile({ ...place, path: `${place.path}.1` }).catch(() => undefined);
    if (before?.fileId === fileId) {
      const rest = await before.read(offset, length);
      if (rest.data.length > 0 || current === undefined) return rest;
    }
    if (current !== undefined) return await current.read(0, length);
    throw new RefusedError('path_unknown', place.path);
  } finally {
    await current?.[Symbol.asyncDispose]();
  }
}

interface OpenFile extends AsyncDisposable {
  readonly fileId: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Piece>;
}

async function openFile(place: Place): Promise<OpenFile> {
  const handle = await openInside(place);
  try {
    const found = await handle.stat({ bigint: true });
    if (!found.isFile()) throw new RefusedError('path_forbidden', place.path, 'it is not a regular file');
    const fileId = idOf(found);
    const size = Number(found.size);
    return {
      fileId,
      size,
      async read(offset, length) {
        const room = Math.min(length, Math.max(0, size - offset));
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(room), 0, room, offset);
        return { fileId, offset, size, data: buffer.subarray(0, bytesRead) };
      },
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The number alone is used again when a file is removed. */
const idOf = ({ ino, birthtimeNs }: BigIntStats): string => `${ino}-${birthtimeNs}`;

/** Where a file ends now: what is written from then on comes after. The beginning of one that is not there. */
export function endOf(path: string): Position {
  try {
    const found = lstatSync(path, { bigint: true });
    if (found.isFile()) return { fileId: idOf(found), offset: Number(found.size) };
  } catch {
    // it is not there yet
  }
  return { fileId: '', offset: 0 };
}
