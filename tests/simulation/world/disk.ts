import { constants } from 'node:fs';
import type { Disk, OpenFile } from '@mesobus/agent/shell/journal';
import type { Dice } from '../engine/dice.ts';
import type { Engine, SimulatedProcess } from '../engine/engine.ts';

interface File {
  /** With room behind the end. */
  bytes: Buffer;
  length: number;
}

/** A write that is under way. */
interface Writing {
  readonly file: File;
  readonly bytes: Buffer;
  readonly position: number;
  cancel(): void;
}

/**
 * The disk of one machine. Writes return when they are durable, as with O_DSYNC; a crash leaves any beginning of the one
 * that is under way. What a folder names is durable once the folder is synced: a power cut may take a rename back.
 */
export class SimulatedDisk {
  readonly #engine: Engine;
  readonly #dice: Dice;
  readonly #files = new Map<string, File>();
  readonly #writing = new Set<Writing>();
  /** Names as they were before renames that no sync of their folder has made durable. */
  readonly #before = new Map<string, File | undefined>();
  /** How much slower than usual. */
  slowness = 1;
  tornWrites = 0;
  /** Bytes that files may still grow by. */
  #room = Number.POSITIVE_INFINITY;
  /** Called once, when something is being written: half of it is on the disk by then. */
  onNextWrite: (() => void) | undefined;

  constructor(engine: Engine, dice: Dice) {
    this.#engine = engine;
    this.#dice = dice;
  }

  get isFull(): boolean {
    return this.#room < Number.POSITIVE_INFINITY;
  }

  /** Something else fills the disk, but for a few bytes, or is removed again. */
  fill(room: number): void {
    this.#room = room;
  }

  /** The disk as one process sees it. */
  of(process: SimulatedProcess): Disk {
    return {
      readFile: (path) => this.#done(process, () => this.#read(path)),
      open: (path, flags) => this.#done(process, () => this.#open(process, path, flags)),
      rename: (from, to) => this.#done(process, () => this.#rename(from, to)),
    };
  }

  /** The process that wrote has died: of what it was writing any beginning is there. */
  crash(): void {
    for (const { file, bytes, position, cancel } of this.#writing) {
      cancel();
      const length = Math.min(this.#dice.below(bytes.length + 1), Math.max(0, file.length + this.#room - position));
      if (length > 0) this.#put(file, bytes.subarray(0, length), position);
      if (length > 0 && length < bytes.length) this.tornWrites += 1;
    }
    this.#writing.clear();
  }

  /** So has the whole machine: renames that were not synced may be undone. */
  cutPower(): void {
    this.crash();
    for (const [path, file] of this.#before) {
      if (this.#dice.chance(0.5)) continue;
      if (file === undefined) this.#files.delete(path);
      else this.#files.set(path, file);
    }
    this.#before.clear();
  }

  /** A new disk. */
  wipe(): void {
    this.crash();
    this.#files.clear();
    this.#before.clear();
  }

  #done<T>(process: SimulatedProcess, call: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#engine.after(this.#dice.between(0.05, 0.4) * this.slowness, process, () => {
        try {
          resolve(call());
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  #read(path: string): Buffer {
    const file = this.#files.get(path);
    if (file === undefined) throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' });
    return Buffer.from(file.bytes.subarray(0, file.length));
  }

  #rename(from: string, to: string): void {
    const file = this.#files.get(from);
    if (file === undefined) throw Object.assign(new Error(`no such file: ${from}`), { code: 'ENOENT' });
    if (!this.#before.has(to)) this.#before.set(to, this.#files.get(to));
    this.#room += this.#files.get(to)?.length ?? 0;
    this.#files.set(to, file);
    this.#files.delete(from);
  }

  #open(process: SimulatedProcess, path: string, flags: number | 'r'): OpenFile {
    const isFolder = flags === 'r';
    const isNew = !isFolder && (flags & constants.O_TRUNC) !== 0;
    if (isNew) this.#room += this.#files.get(path)?.length ?? 0;
    const file = (isNew ? undefined : this.#files.get(path)) ?? { bytes: Buffer.alloc(1_024), length: 0 };
    if (!isFolder) this.#files.set(path, file);
    return {
      write: (bytes, offset, length, position) =>
        this.#write(process, file, Buffer.from(bytes.subarray(offset, offset + length)), position),
      truncate: (length) =>
        this.#done(process, () => {
          this.#room += Math.max(0, file.length - length);
          file.bytes.fill(0, length);
          file.length = length;
        }),
      sync: () =>
        this.#done(process, () => {
          if (isFolder) this.#before.clear();
        }),
      close: () => this.#done(process, () => {}),
    };
  }

  #write(process: SimulatedProcess, file: File, bytes: Buffer, position: number): Promise<{ bytesWritten: number }> {
    return new Promise((resolve, reject) => {
      // The disk goes on while the process stands still; only its death cuts the write off.
      const cancel = this.#engine.after(this.#dice.between(0.1, 1) * this.slowness, undefined, () => {
        this.#writing.delete(writing);
        const fitting = bytes.subarray(0, Math.max(0, file.length + this.#room - position));
        this.#put(file, fitting, position);
        this.#engine.after(0, process, () => {
          if (fitting.length > 0) resolve({ bytesWritten: fitting.length });
          else reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
        });
      });
      const writing: Writing = { file, bytes, position, cancel };
      this.#writing.add(writing);
      const { onNextWrite } = this;
      this.onNextWrite = undefined;
      if (onNextWrite !== undefined) this.#engine.after(0, undefined, onNextWrite);
    });
  }

  #put(file: File, bytes: Buffer, position: number): void {
    const end = position + bytes.length;
    if (end > file.bytes.length) {
      const grown = Buffer.alloc(2 * end);
      file.bytes.copy(grown);
      file.bytes = grown;
    }
    bytes.copy(file.bytes, position);
    this.#room -= Math.max(0, end - file.length);
    file.length = Math.max(file.length, end);
  }
}
