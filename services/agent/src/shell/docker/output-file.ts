import { constants, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { User } from '../users.ts';

export interface OutputFileOptions {
  readonly path: string;
  /** Where it keeps what of the output has gone out of the file. */
  readonly folder: string;
  /** Whose it is. */
  readonly user?: User | undefined;
  /** Renamed and begun anew when it has so much; 0: never. */
  readonly maxBytes: number;
}

/** By inode: how many bytes of the output were before the first of the file; negative if others wrote into it before. */
type Bases = Readonly<Record<string, number>>;

/**
 * One output of a container in a file. Docker keeps all of it and says it from the beginning when it is asked again: what
 * the file has already is then left out. So there is no other record of how far it is, which could be wrong after a crash.
 */
export class OutputFile {
  readonly #options: OutputFileOptions;
  #handle: FileHandle;
  /** Of the output, so much is not in this file. */
  #base: number;
  #size: number;
  /** So much is in the files, and comes again. */
  #skip: number;

  private constructor(options: OutputFileOptions, handle: FileHandle, base: number, size: number) {
    this.#options = options;
    this.#handle = handle;
    this.#base = base;
    this.#size = size;
    this.#skip = base + size;
  }

  /** Before the container runs: what is in the file by now is of others. */
  static async prepare(options: OutputFileOptions): Promise<void> {
    const handle = await openFor(options.path, options.user);
    const { ino, size } = await handle.stat();
    await handle.close();
    writeBases(options, { [ino]: -size });
  }

  static async open(options: OutputFileOptions): Promise<OutputFile> {
    const { path } = options;
    const next = nextOf(path);
    // The process that began it anew did not live to finish that.
    if (existsSync(path)) rmSync(next, { force: true });
    else if (existsSync(next)) renameSync(next, path);
    const handle = await openFor(path, options.user);
    const { ino, size } = await handle.stat();
    return new OutputFile(options, handle, readBases(options)[ino] ?? 0, size);
  }

  /** Takes the output from its beginning, part by part. */
  async write(bytes: Buffer): Promise<void> {
    const known = Math.min(this.#skip, bytes.length);
    this.#skip -= known;
    if (known === bytes.length) return;
    const fresh = bytes.subarray(known);
    await this.#handle.appendFile(fresh);
    this.#size += fresh.length;
    const { maxBytes } = this.#options;
    if (maxBytes > 0 && this.#size >= maxBytes) await this.#beginAnew();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #beginAnew(): Promise<void> {
    const { path, user } = this.#options;
    const next = await openFor(nextOf(path), user);
    const base = this.#base + this.#size;
    const [before, after] = [await this.#handle.stat(), await next.stat()];
    writeBases(this.#options, { [before.ino]: this.#base, [after.ino]: base });
    renameSync(path, `${path}.1`);
    renameSync(nextOf(path), path);
    await this.#handle.close();
    this.#handle = next;
    this.#base = base;
    this.#size = 0;
  }
}

const nextOf = (path: string): string => `${path}.next`;

const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;

/**
 * The sandbox is the task's: neither a link may turn this into a write elsewhere, nor a FIFO into a wait.
 *
 * @throws {Error} the file cannot be opened, or it is no plain file of one name
 */
async function openFor(path: string, user: User | undefined): Promise<FileHandle> {
  const handle = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0o644);
  try {
    const about = await handle.stat();
    if (!about.isFile() || about.nlink !== 1) {
      throw new Error(`Cannot write output to '${path}': it is no plain file of its own; remove it from the sandbox`);
    }
    if (user !== undefined) await handle.chown(user.uid, user.gid);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

const basesOf = ({ folder, path }: OutputFileOptions): string => join(folder, `${basename(path)}.bases.json`);

function readBases(options: OutputFileOptions): Bases {
  try {
    return JSON.parse(readFileSync(basesOf(options), 'utf8')) as Bases;
  } catch {
    return {}; // nobody wrote before, and it was never begun anew
  }
}

function writeBases(options: OutputFileOptions, bases: Bases): void {
  const path = basesOf(options);
  writeFileSync(`${path}.new`, JSON.stringify(bases));
  renameSync(`${path}.new`, path);
}
