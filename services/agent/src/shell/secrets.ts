import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { mesos } from '@mesobus/protos';
import { ConfigError, type Option, optional, text } from '@mesobus/sdk/service';
import type { User } from './users.ts';
import type { WorkDir } from './work-dir.ts';

export interface SecretSettings {
  readonly secretsDir: string | undefined;
  readonly secretFilesDir: string | undefined;
}

export const secretOptions: { readonly [Key in keyof SecretSettings]: Option<SecretSettings[Key]> } = {
  secretsDir: optional(
    text({
      help:
        'the folder with the secrets that tasks refer to by name: a file each, or a folder with a file for each key; ' +
        'without it tasks that refer to one fail',
      example: '/etc/mesobus/secrets',
    }),
  ),
  secretFilesDir: optional(
    text({
      help: 'a folder in memory for the files of secrets of containers; left out: one in /dev/shm',
      example: '/run/mesobus/secrets',
    }),
  ),
};

type Log = { warn(fields: object, message: string): void };
type Secret = mesos.v1.Secret.$Properties;

const maxSecretBytes = 512 * 1024;
const namePattern = /^(?!\.{1,2}$)[\w.-]{1,255}$/;
/** What statfs calls file systems in memory: tmpfs and ramfs. */
const inMemory: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** Finds the secrets that tasks refer to, and keeps the files that containers have of them. */
export class Secrets {
  readonly #dir: string;
  readonly #files: string;

  /** @param files - a folder of this agent's own */
  constructor(dir: string, files: string) {
    this.#dir = dir;
    this.#files = files;
  }

  /**
   * The value of a secret, as its file has it.
   *
   * @throws {Error} with what is wrong with the reference, or its file
   */
  read(secret: Secret | null | undefined): Buffer {
    const { name, key } = referenceOf(secret);
    const said = key ? `secret '${name}' with the key '${key}'` : `secret '${name}'`;
    const fd = this.#open(key ? join(this.#dir, name, key) : join(this.#dir, name), said);
    try {
      // A name may lead elsewhere in the folder, as where Kubernetes mounts it.
      if (!readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${realpathSync(this.#dir)}/`)) {
        throw new Error(`the file of ${said} lies outside of --secrets-dir; put it there`);
      }
      const found = fstatSync(fd);
      if (!found.isFile()) throw new Error(`${said} is no file; name one, with its key if it has several`);
      if (found.size > maxSecretBytes) throw new Error(`${said} has more than ${maxSecretBytes} bytes`);
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  #open(path: string, said: string): number {
    try {
      return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        throw new Error(`there is no ${said} on this agent; put a file of that name into its --secrets-dir`, { cause });
      }
      throw new Error(`the file of ${said} cannot be read (${code}); let the agent read it`, { cause });
    }
  }

  /** The same for a variable of an environment. */
  readText(secret: Secret | null | undefined): string {
    const bytes = this.read(secret);
    try {
      const value = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      if (!value.includes('\0')) return value;
    } catch {
      // said below
    }
    throw new Error(`secret '${referenceOf(secret).name}' is no text, which a variable needs; use it in a volume`);
  }

  /**
   * Puts a secret into a file that a container may read.
   *
   * @param user - whose it becomes; absent: of the agent's own
   * @param isShown - the container sees the file alone, whoever its user is
   * @returns its path
   */
  place(containerId: string, secret: Secret | null | undefined, user: User | undefined, isShown: boolean): string {
    const value = this.read(secret);
    const folder = join(this.#files, containerId);
    mkdirSync(folder, { mode: 0o700, recursive: true });
    // Passed through by the user, and never the user's own: what is removed as root must be what was put there.
    if (!isShown && user !== undefined) chmodSync(folder, 0o711);
    const path = join(folder, String(readdirSync(folder).length));
    const fd = openSync(path, 'wx', 0o400);
    try {
      writeFileSync(fd, value);
      if (isShown) fchmodSync(fd, 0o444);
      else if (user !== undefined) fchownSync(fd, user.uid, user.gid);
    } finally {
      closeSync(fd);
    }
    return path;
  }

  /** Nothing runs any more that needs them. */
  remove(containerId: string): void {
    rmSync(join(this.#files, containerId), { recursive: true, force: true });
  }

  /** Leaves nothing where no container has any. */
  close(): void {
    if (readdirSync(this.#files).length === 0) rmdirSync(this.#files);
  }

  /** Removes those of containers that are not there any more. */
  sweep(containerIds: ReadonlySet<string>): void {
    for (const name of readdirSync(this.#files)) if (!containerIds.has(name)) this.remove(name);
  }
}

/** A name must not be a path: it would lead out of the folder. */
function referenceOf(secret: Secret | null | undefined): { readonly name: string; readonly key: string } {
  const { name = '', key } = secret?.reference ?? {};
  if (secret?.type !== mesos.v1.Secret.Type.REFERENCE || name === '') {
    throw new Error('a secret is no reference with a name; this agent knows no others');
  }
  for (const part of [name, ...(key ? [key] : [])]) {
    if (!namePattern.test(part))
      throw new Error(`'${part}' cannot be a secret's name: use letters, digits, '.', '_', '-'`);
  }
  return { name, key: key ?? '' };
}

/**
 * Opens the folder of the secrets, and makes one for the files of containers.
 *
 * @returns undefined if no folder is named: tasks that refer to secrets fail
 * @throws {ConfigError} one of the folders cannot be used
 */
export function openSecrets(
  { secretsDir, secretFilesDir }: SecretSettings,
  { workDir, switchUser, log }: { readonly workDir: WorkDir; readonly switchUser: boolean; readonly log: Log },
): Secrets | undefined {
  if (secretsDir === undefined) return undefined;
  const dir = resolve(secretsDir);
  try {
    const { mode } = statSync(dir);
    readdirSync(dir);
    if ((mode & 0o7) !== 0) {
      log.warn({ dir }, 'Every user of the machine may look into --secrets-dir; take that from them: chmod o= on it');
    }
  } catch (cause) {
    throw new ConfigError([`--secrets-dir: '${dir}': ${messageOf(cause)}; name a folder that the agent may read`], {
      cause,
    });
  }
  if (!switchUser) log.warn({ dir }, 'Tasks run as the user of the agent, who may read all of --secrets-dir');
  const files = filesDir(secretFilesDir, workDir, log);
  if (!inMemory.has(statfsSync(files).type)) {
    log.warn({ files }, 'Files of secrets are not kept in memory, but on a disk; name a --secret-files-dir on a tmpfs');
  }
  return new Secrets(dir, files);
}

/** Of this agent alone, whose tasks pass through it to their own. */
function filesDir(wanted: string | undefined, workDir: WorkDir, log: Log): string {
  const own = `mesobus-${createHash('sha256').update(workDir.root).digest('hex').slice(0, 16)}`;
  if (wanted !== undefined) {
    try {
      mkdirSync(resolve(wanted), { recursive: true, mode: 0o755 });
      return makeOwn(join(resolve(wanted), own));
    } catch (cause) {
      throw new ConfigError([`--secret-files-dir: '${wanted}': ${messageOf(cause)}; name another folder`], { cause });
    }
  }
  try {
    return makeOwn(join('/dev/shm', own));
  } catch (err) {
    log.warn({ err }, 'There is no folder in memory for the files of secrets');
    return makeOwn(join(workDir.root, 'secrets'));
  }
}

/** What is there may have been put there by somebody who wants to read what comes into it. */
function makeOwn(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(path);
  const isOwn = lstatSync(path).isDirectory() && uid === process.getuid?.() && (mode & 0o022) === 0;
  if (!isOwn) throw new Error(`'${path}' is there, and is not a folder of the agent's own; remove it`);
  chmodSync(path, 0o711);
  return path;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
