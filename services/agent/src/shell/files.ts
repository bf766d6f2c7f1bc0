import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import { taskFolder } from '../core/index.ts';

/** At most so much of a file goes into one answer. */
export const maxReadBytes = 65_536;
/** Entries of a folder in one answer. */
const maxEntries = 10_000;

export interface FilesOptions {
  /** Without symbolic links. */
  readonly sandboxes: string;
  /** The container's command has not ended: its files may grow. */
  readonly isAlive: (containerId: string) => boolean;
}

/**
 * Lists a folder or reads a file of a sandbox.
 *
 * @throws {RefusedError} path_forbidden: it is, or leads, out of the sandboxes; path_unknown: it is not there
 */
export async function answerFileRequest(
  options: FilesOptions,
  request: mesobus.v1.FileRequest,
): Promise<mesobus.v1.FileReply.$Properties> {
  const path = await pathOf(options, request);
  const handle = await openInside(options.sandboxes, path);
  try {
    const ended = !options.isAlive(containerOf(options.sandboxes, path));
    return request.list ? { list: await list(path, handle) } : { data: await read(path, handle, request.read, ended) };
  } finally {
    await handle.close();
  }
}

/** The third name below the folder of sandboxes is the container. */
const containerOf = (sandboxes: string, path: string): string => relative(sandboxes, path).split('/')[2] ?? '';

async function pathOf({ sandboxes }: FilesOptions, { path, task }: mesobus.v1.FileRequest): Promise<string> {
  const base = task ? await latestSandbox(sandboxes, task) : sandboxes;
  const full = isAbsolute(path) ? resolve(path) : resolve(base, path);
  if (!isInside(base, full)) throw new RefusedError('path_forbidden', path);
  return full;
}

const isInside = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);

async function latestSandbox(sandboxes: string, { frameworkId, taskId }: mesobus.v1.TaskKey): Promise<string> {
  const folder = join(sandboxes, taskFolder(frameworkId, taskId));
  const runs = await readdir(folder).catch((error: unknown) => {
    throw unknown(taskId, error);
  });
  const times = await Promise.all(
    runs.map(async (run) => {
      const { birthtimeMs, ctimeMs } = await stat(join(folder, run));
      return { run, since: birthtimeMs || ctimeMs };
    }),
  );
  const latest = times.sort((a, b) => b.since - a.since)[0];
  if (latest === undefined) throw new RefusedError('path_unknown', taskId);
  return join(folder, latest.run);
}

/** Opens first and looks then where that led: a link cannot be exchanged in between. Never waits for a FIFO's writer. */
async function openInside(sandboxes: string, path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw unknown(path, error);
  }
  const real = await readlink(`/proc/self/fd/${handle.fd}`);
  if (isInside(sandboxes, real)) return handle;
  await handle.close();
  throw new RefusedError('path_forbidden', path, 'a symbolic link leads out of the sandboxes');
}

function unknown(path: string, error: unknown): RefusedError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ELOOP' || code === 'EACCES' || code === 'ENXIO') return new RefusedError('path_forbidden', path, code);
  return new RefusedError('path_unknown', path, code === 'ENOENT' ? undefined : String(code), { cause: error });
}

async function list(path: string, handle: FileHandle): Promise<mesobus.v1.FileList.$Properties> {
  if (!(await handle.stat()).isDirectory()) throw new RefusedError('path_unknown', path, 'it is a file, not a folder');
  const folder = `/proc/self/fd/${handle.fd}`;
  const names = (await readdir(folder)).sort().slice(0, maxEntries);
  const entries = await Promise.all(names.map((name) => describe(folder, name)));
  return { directory: path, entries: entries.filter((entry) => entry !== undefined) };
}

async function describe(folder: string, name: string): Promise<mesobus.v1.FileEntry.$Properties | undefined> {
  const found = await lstat(join(folder, name)).catch(() => undefined); // removed meanwhile
  if (found === undefined) return undefined;
  return { name, size: found.size, modifiedAtMs: found.mtimeMs, mode: found.mode, directory: found.isDirectory() };
}

async function read(
  path: string,
  handle: FileHandle,
  wanted: mesobus.v1.ReadFile | null,
  ended: boolean,
): Promise<mesobus.v1.FileData.$Properties> {
  const found = await handle.stat();
  if (!found.isFile()) throw new RefusedError('path_forbidden', path, 'it is not a regular file');
  const offset = wanted?.offset ?? 0;
  const room = Math.min(wanted?.length || maxReadBytes, maxReadBytes, Math.max(0, found.size - offset));
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(room), 0, room, offset);
  return { offset, size: found.size, data: buffer.subarray(0, bytesRead), ended };
}
