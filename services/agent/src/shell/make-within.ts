import { closeSync, constants, fchownSync, mkdirSync, openSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { User } from './users.ts';

const folderOnly = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Makes what is missing of a folder below another, for the user, and does something in it: by another path that leads to it
 * whatever happens meanwhile. Whoever owns these folders may exchange one for a link at any time, and root must not follow.
 *
 * @param path - relative, without '..'
 * @throws {Error} there is something else in the way, such as a link
 */
export function makeWithin<T>(base: string, path: string, user: User | undefined, use: (folder: string) => T): T {
  let at = base;
  let fd = openSync(base, folderOnly);
  try {
    for (const name of normalize(path).split('/').filter(isName)) {
      if (name === '..') throw new Error(`'${path}' leads out of '${base}'`);
      at = join(at, name);
      const made = makeFolder(`/proc/self/fd/${fd}/${name}`);
      const next = openFolder(`/proc/self/fd/${fd}/${name}`, at);
      closeSync(fd);
      fd = next;
      if (made && user !== undefined) fchownSync(fd, user.uid, user.gid);
    }
    return use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

const isName = (part: string): boolean => part !== '' && part !== '.';

/** Whether it was not there. */
function makeFolder(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o755 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function openFolder(path: string, shown: string): number {
  try {
    return openSync(path, folderOnly);
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    if (code !== 'ELOOP' && code !== 'ENOTDIR') throw cause;
    throw new Error(`there is no folder at '${shown}', but something else`, { cause });
  }
}
