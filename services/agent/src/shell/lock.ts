import { readFileSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';

const SQLITE_BUSY = 5;

/** Held until the process ends, however it ends. */
export interface Lock {
  release(): void;
}

/**
 * Takes a file for this process alone. The lock is one of the kernel's (fcntl), which SQLite takes for us: it ends with
 * its process even after SIGKILL, and holds across containers that share the folder, unlike sockets and process ids.
 *
 * @throws {Error} another process holds it, or the file cannot be used
 */
export async function lockFile(path: string, holder: string): Promise<Lock> {
  const database = await openDatabase(path);
  try {
    // Without a journal beside it the lock writes nothing: it can be taken on a full disk too.
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE');
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    const isHeld = cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY;
    const why = isHeld
      ? `${readHolder(path)} uses this work directory; stop it`
      : `${cause instanceof Error ? cause.message : String(cause)}; mend the work directory`;
    throw new Error(`Cannot take the lock '${path}': ${why}, or give another --work-dir`, { cause });
  }
  try {
    writeFileSync(`${path}.holder`, `${holder}\n`);
  } catch {
    // A full disk: others will not learn who holds it, only that it is held.
  }
  return { release: () => database.close() };
}

function readHolder(path: string): string {
  try {
    return readFileSync(`${path}.holder`, 'utf8').trim();
  } catch {
    return 'another agent';
  }
}

/** Node calls SQLite experimental, with a warning for everyone who starts an agent: of all of it we use one lock. */
async function openDatabase(path: string): Promise<DatabaseSync> {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const sqlite = await import('node:sqlite');
    return new sqlite.DatabaseSync(path);
  } finally {
    process.emitWarning = emitWarning;
  }
}
