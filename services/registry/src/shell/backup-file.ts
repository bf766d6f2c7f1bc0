import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { encode, mesobus } from '@mesobus/protos';
import { tryDecode } from '../core/try-decode.ts';

/** What is written; a reader refuses others. */
export const backupFormat = 1;
const magic = Buffer.from('mesobus backup\n');
/** No block is larger: a value of a snapshot, an entry of the log, or a list of a snapshot's values. */
const maxBlockBytes = 64 * 1024 * 1024;

/** A file that is no backup, is damaged, or adds up to something else than it says. */
export class DamagedBackupError extends Error {
  override readonly name = 'DamagedBackupError';

  constructor(file: string, what: string) {
    super(`Cannot use the backup '${file}': ${what}; nothing was changed, use another backup`);
  }
}

/** Writes a backup under another name first: a file of the name wanted is always whole. */
export class BackupWriter implements Disposable {
  readonly #file: string;
  readonly #temporary: string;
  readonly #fd: number;
  readonly #hash = createHash('sha256');
  #bytes = 0;
  #closed = false;

  constructor(file: string) {
    this.#file = path.resolve(file);
    // In containers each process may have the same id: what one left that was killed must not stop the next.
    this.#temporary = `${this.#file}.${randomBytes(4).toString('hex')}.part`;
    this.#fd = openSync(this.#temporary, 'wx', 0o600); // it may hold secrets of tasks
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(block: mesobus.v1.BackupBlock.$Properties): void {
    if (this.#bytes === 0) this.#write(magic);
    const bytes = encode(mesobus.v1.BackupBlock, block);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    this.#write(length);
    this.#write(bytes);
  }

  /** The file is on the disk, under its name. */
  finish(end: mesobus.v1.BackupEnd.$Properties): void {
    this.add({ end });
    this.#write(this.#hash.copy().digest());
    fsyncSync(this.#fd);
    this.#close();
    renameSync(this.#temporary, this.#file);
    const folder = openSync(path.dirname(this.#file), 'r');
    fsyncSync(folder);
    closeSync(folder);
  }

  /** What was not finished is removed. */
  [Symbol.dispose](): void {
    this.#close();
    rmSync(this.#temporary, { force: true });
  }

  #close(): void {
    if (!this.#closed) closeSync(this.#fd);
    this.#closed = true;
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }
}

/** The blocks of a backup, in order. The end is given once it is known that no byte before, or of it, has changed. */
export function* readBlocks(file: string): Generator<mesobus.v1.BackupBlock> {
  const reader = new BlockReader(file);
  try {
    if (!reader.begins()) throw new DamagedBackupError(file, 'it is no backup of Mesobus');
    for (;;) {
      const block = reader.next();
      if (block.end !== null) reader.checkEnd();
      yield block;
      if (block.end !== null) return;
    }
  } finally {
    reader.close();
  }
}

function openToRead(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw new DamagedBackupError(file, `it cannot be read (${(error as Error).message})`);
  }
}

class BlockReader {
  readonly #file: string;
  readonly #fd: number;
  readonly #size: number;
  readonly #hash = createHash('sha256');
  #at = 0;
  #ended = false;

  constructor(file: string) {
    this.#file = file;
    this.#fd = openToRead(file);
    const about = fstatSync(this.#fd);
    this.#size = about.isFile() ? about.size : 0;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Whether it begins as every backup does. */
  begins(): boolean {
    return this.#size >= magic.length && this.read(magic.length).equals(magic);
  }

  checkEnd(): void {
    const hash = this.#hash.digest();
    this.#ended = true;
    if (!this.read(hash.length).equals(hash)) {
      throw new DamagedBackupError(this.#file, 'its bytes are not those that were written');
    }
    if (this.#at < this.#size)
      throw new DamagedBackupError(this.#file, `something follows its end, at byte ${this.#at}`);
  }

  next(): mesobus.v1.BackupBlock {
    const from = this.#at;
    const length = this.read(4).readUInt32LE();
    if (length > maxBlockBytes)
      throw new DamagedBackupError(this.#file, `the block at byte ${from} has no sensible length`);
    const block = tryDecode(mesobus.v1.BackupBlock, this.read(length));
    if (block === undefined) throw new DamagedBackupError(this.#file, `the block at byte ${from} cannot be decoded`);
    return block;
  }

  read(length: number): Buffer {
    if (this.#at + length > this.#size) {
      throw new DamagedBackupError(this.#file, `it ends at byte ${this.#size} in the middle of a block`);
    }
    const bytes = Buffer.alloc(length);
    for (let read = 0; read < length; ) read += readSync(this.#fd, bytes, read, length - read, this.#at + read);
    this.#at += length;
    if (!this.#ended) this.#hash.update(bytes);
    return bytes;
  }
}
