import { randomUUID } from 'node:crypto';
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { readJson } from './context-file.ts';
import { identify, isRunning, type ProcessIdentity } from './process-identity.ts';

const lockContent = z.object({ pid: z.number(), started: z.string() });

/** The folder belongs to a cluster that runs. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError';
  readonly owner: ProcessIdentity;

  constructor(lock: string, owner: ProcessIdentity) {
    super(`Cannot start a cluster: process ${owner.pid} runs one here (${lock}); stop it with 'mesobus down'`);
    this.owner = owner;
  }
}

/**
 * Claims the folder of a cluster for this process. A lock whose process is gone, also by SIGKILL, counts for nothing.
 *
 * @returns the call that gives the folder back
 * @throws {FolderInUseError} another process has it
 */
export function claimFolder(lock: string): () => void {
  const self = identify(process.pid);
  if (self === undefined) throw new Error(`Cannot find this process (pid ${process.pid}) in the list of processes`);
  const mine = `${lock}.${randomUUID()}`;
  writeFileSync(mine, JSON.stringify(self), { mode: 0o600, flag: 'wx' });
  try {
    while (!linked(mine, lock)) {
      const owner = lockOwner(lock);
      if (owner !== undefined && isRunning(owner)) throw new FolderInUseError(lock, owner);
      setAside(lock);
    }
  } finally {
    rmSync(mine, { force: true });
  }
  return () => rmSync(lock, { force: true });
}

/** The process that the lock names, running or not. */
export function lockOwner(lock: string): ProcessIdentity | undefined {
  const read = lockContent.safeParse(readJson(lock));
  return read.success ? read.data : undefined;
}

/** A link, unlike a write, appears whole or not at all, and never over another. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes a stale lock away; puts it back if somebody has claimed the folder in the meantime. */
function setAside(lock: string): void {
  const aside = `${lock}.${randomUUID()}`;
  try {
    renameSync(lock, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const owner = lockOwner(aside);
  if (owner !== undefined && isRunning(owner)) linked(aside, lock);
  rmSync(aside, { force: true });
}
