import { constants } from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { decode, encode, mesobus } from '@mesobus/protos';
import { type Clock, systemClock } from '@mesobus/sdk/bus';
import type { DiskRoom } from '../core/index.ts';

type Record = mesobus.v1.JournalRecord.$Properties;

/** What the journal needs of a file that it has open. */
export interface OpenFile {
  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** What the journal needs of a file system: node:fs/promises has it. */
export interface Disk {
  /** Rejects with the code ENOENT if there is no such file. */
  readFile(path: string): Promise<Buffer>;
  /** `flags` as open(2) takes them; 'r' for a folder that is to be synced. */
  open(path: string, flags: number | 'r'): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
}

export interface JournalOptions {
  /** The one file; its folder exists. */
  readonly path: string;
  /** The first so many records of this process are on the disk. */
  readonly onDurable: (position: number) => void;
  /** One record that stands for all records so far, also for those that are not on the disk yet. */
  readonly takeSnapshot: () => Record;
  /** The disk failed: nothing more will be durable. Called once. */
  readonly onFailure: (error: Error) => void;
  /**
   * The disk was found full, or to have room again. A full disk is waited for: it ends nothing. Meanwhile what was set
   * aside is used up (`low`), and then nothing becomes durable any more (`full`).
   */
  readonly onRoom?: (room: DiskRoom) => void;
  /** Kept in a file of its own, to be given up when the disk is full; none unless given. */
  readonly reserveBytes?: number;
  /** Of the system unless given. */
  readonly clock?: Clock;
  /** Compaction waits until the file is larger than this; default 1 MB. */
  readonly compactAboveBytes?: number;
  /** Where the file stands; the machine's file system unless given. */
  readonly disk?: Disk;
}

/** What an agent must not forget, in one append-only file. docs/adr/0007-agent-journal.md has its format. */
export interface Journal {
  /** What the file held when it was opened. */
  readonly records: readonly mesobus.v1.JournalRecord[];
  /** Bytes that were cut off its end: the rest of a write that a crash interrupted. */
  readonly tornBytes: number;
  /** Adds records. They become durable together, and after all earlier ones. */
  append(records: readonly Record[]): void;
  /** Writes what was added and closes the file. */
  close(): Promise<void>;
}

/** The file holds something else than what was written. */
export class JournalCorruptError extends Error {
  override readonly name = 'JournalCorruptError';
  constructor(path: string, offset: number) {
    super(
      `Cannot read the journal '${path}': it is damaged at byte ${offset} while later parts are intact; the disk may be ` +
        'failing. Restore the file, or move the work directory away so that the agent joins as a new one',
    );
  }
}

/** Each write returns when the disk has it: one trip to it instead of two, for a task waits behind each. */
const { O_RDWR, O_CREAT, O_TRUNC, O_DSYNC } = constants;
const writing = O_RDWR | O_CREAT | O_DSYNC;

const headerBytes = 8;
/** How often a full disk is tried again. */
const retryMs = 1_000;
/** How many times larger than what it stands for the file may become. */
const maxGrowth = 4;

/**
 * Opens or creates a journal; the rest of an interrupted write is cut off.
 *
 * @throws {JournalCorruptError}
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { path, disk = fileSystem, clock = systemClock } = options;
  const bytes = await readOrEmpty(disk, path);
  const { records, end } = parse(path, bytes);
  const handle = await disk.open(path, writing);
  if (end < bytes.length) await handle.truncate(end);
  if (end !== bytes.length || bytes.length === 0) await handle.sync();
  await syncFolder(disk, path); // a process that died amid a compaction may have renamed the file and not synced that
  const journal = new FileJournal({ ...options, disk, clock }, handle, records, end, bytes.length - end);
  await journal.setAside();
  return journal;
}

const isFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');

async function readOrEmpty(disk: Disk, path: string): Promise<Buffer> {
  try {
    return await disk.readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

/** A file that is new or renamed is found after a crash only once its folder is on the disk. */
async function syncFolder(disk: Disk, path: string): Promise<void> {
  const folder = await disk.open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Reads frame after frame. What one write left incomplete stands at the end, or the file is damaged. */
function parse(path: string, bytes: Buffer): { records: mesobus.v1.JournalRecord[]; end: number } {
  const records: mesobus.v1.JournalRecord[] = [];
  let end = 0;
  for (let next = frameEnd(bytes, end); next !== undefined; next = frameEnd(bytes, end)) {
    for (const payload of payloadsOf(bytes.subarray(end + headerBytes, next))) {
      records.push(decode(mesobus.v1.JournalRecord, payload));
    }
    end = next;
  }
  for (let later = end + 1; later < bytes.length; later += 1) {
    if (frameEnd(bytes, later) !== undefined) throw new JournalCorruptError(path, end);
  }
  return { records, end };
}

/** Where the frame that begins at `start` ends; undefined if there is no whole frame. */
function frameEnd(bytes: Buffer, start: number): number | undefined {
  if (start + headerBytes >= bytes.length) return undefined;
  const length = bytes.readUInt32LE(start);
  const end = start + headerBytes + length;
  if (length === 0 || end > bytes.length) return undefined;
  return crc32(bytes.subarray(start + headerBytes, end)) === bytes.readUInt32LE(start + 4) ? end : undefined;
}

function* payloadsOf(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32LE(at);
    yield body.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
}

/** All records of one write in one frame: they are on the disk together or not at all. */
function frameOf(records: readonly Record[]): Buffer {
  const payloads = records.map((record) => encode(mesobus.v1.JournalRecord, record));
  const length = payloads.reduce((sum, payload) => sum + 4 + payload.length, 0);
  const frame = Buffer.allocUnsafe(headerBytes + length);
  let at = headerBytes;
  for (const payload of payloads) {
    frame.writeUInt32LE(payload.length, at);
    frame.set(payload, at + 4);
    at += 4 + payload.length;
  }
  frame.writeUInt32LE(length, 0);
  frame.writeUInt32LE(crc32(frame.subarray(headerBytes)), 4);
  return frame;
}

type Options = JournalOptions & { readonly disk: Disk; readonly clock: Clock };

class FileJournal implements Journal {
  readonly records: readonly mesobus.v1.JournalRecord[];
  readonly tornBytes: number;
  readonly #options: Options;
  #handle: OpenFile;
  /** Of the file. */
  #size: number;
  /** Of the file after its last compaction; 0 before the first. */
  #compactSize = 0;
  #waiting: Record[] = [];
  #appended = 0;
  #writing: Promise<void> | undefined;
  #failed = false;
  #room: DiskRoom = 'roomy';
  #endWait = (): void => {};
  #endWatch = (): void => {};
  #closed = false;

  constructor(
    options: Options,
    handle: OpenFile,
    records: readonly mesobus.v1.JournalRecord[],
    size: number,
    tornBytes: number,
  ) {
    this.#options = options;
    this.#handle = handle;
    this.records = records;
    this.#size = size;
    this.tornBytes = tornBytes;
  }

  append(records: readonly Record[]): void {
    if (this.#failed) return;
    this.#waiting.push(...records);
    this.#appended += records.length;
    this.#writing ??= this.#write();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#endWait();
    this.#endWatch();
    await this.#writing;
    await this.#handle.close();
  }

  /** One write at a time; what is added meanwhile goes into the next. */
  async #write(): Promise<void> {
    await Promise.resolve(); // what the same turn adds goes into the same write
    try {
      while (this.#waiting.length > 0) {
        const position = this.#appended;
        const records = this.#waiting;
        this.#waiting = [];
        if (!(this.#isBloated() && (await this.#compact())) && !(await this.#add(frameOf(records)))) return;
        this.#options.onDurable(position);
      }
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#writing = undefined;
    }
  }

  #fail(cause: unknown): void {
    this.#failed = true;
    const why = cause instanceof Error ? cause.message : String(cause);
    const what = `Cannot write the journal '${this.#options.path}': ${why}; make room or mend the disk, then start the agent again`;
    this.#options.onFailure(new Error(what, { cause }));
  }

  /**
   * Writes a frame, however long the disk is full: a write that found no room is done again at the same place.
   *
   * @returns false if the journal was closed before there was room
   */
  async #add(frame: Buffer): Promise<boolean> {
    while (!this.#closed || this.#room !== 'full') {
      try {
        await writeAll(this.#handle, frame, this.#size);
        this.#size += frame.length;
        if (this.#room === 'full') this.#setRoom('low');
        return true;
      } catch (error) {
        if (!isFull(error)) throw error;
        if (this.#room === 'roomy') await this.#giveUpReserve();
        else {
          this.#setRoom('full');
          await this.#wait();
        }
      }
    }
    return false;
  }

  // ---- a full disk

  #setRoom(room: DiskRoom): void {
    if (room === this.#room) return;
    this.#room = room;
    this.#options.onRoom?.(room);
  }

  #wait(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(retryMs, resolve);
      this.#endWait = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Sets room aside for the day on which the disk is full; from then on the journal looks for it again. */
  async setAside(): Promise<void> {
    const { path, disk, reserveBytes = 0 } = this.#options;
    if (reserveBytes > 0) {
      let reserve: OpenFile | undefined;
      try {
        reserve = await disk.open(`${path}.reserve`, writing);
        await writeAll(reserve, Buffer.alloc(reserveBytes), 0);
      } catch (error) {
        await reserve?.truncate(0);
        if (!isFull(error)) throw error;
        if (this.#room === 'roomy') this.#setRoom('low');
        this.#watch();
        return;
      } finally {
        await reserve?.close();
      }
    }
    this.#setRoom('roomy');
  }

  async #giveUpReserve(): Promise<void> {
    const { path, disk, reserveBytes = 0 } = this.#options;
    if (reserveBytes > 0) {
      const reserve = await disk.open(`${path}.reserve`, writing);
      await reserve.truncate(0);
      await reserve.close();
    }
    this.#setRoom('low');
    this.#watch();
  }

  #watch(): void {
    if (this.#closed) return;
    this.#endWatch = this.#options.clock.after(retryMs, () => {
      if (this.#room === 'full') this.#watch();
      else this.setAside().catch((error: unknown) => this.#fail(error));
    });
  }

  // ---- compaction

  #isBloated(): boolean {
    const { compactAboveBytes = 1 << 20 } = this.#options;
    return this.#size > Math.max(compactAboveBytes, maxGrowth * this.#compactSize);
  }

  /**
   * Writes what the records add up to into a new file, which then takes the place of the old one.
   *
   * @returns false if there is no room for it: it is put off until the file is twice as large
   */
  async #compact(): Promise<boolean> {
    const { path, takeSnapshot, disk } = this.#options;
    const frame = frameOf([takeSnapshot()]);
    let fresh: OpenFile | undefined;
    try {
      fresh = await disk.open(`${path}.new`, writing | O_TRUNC);
      await writeAll(fresh, frame, 0);
      await fresh.sync();
    } catch (error) {
      await fresh?.truncate(0);
      await fresh?.close();
      if (!isFull(error)) throw error;
      this.#compactSize = (2 * this.#size) / maxGrowth;
      return false;
    }
    const old = this.#handle;
    this.#handle = fresh;
    await disk.rename(`${path}.new`, path);
    await syncFolder(disk, path);
    this.#size = frame.length;
    this.#compactSize = frame.length;
    await old.close();
    return true;
  }
}

async function writeAll(handle: OpenFile, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
