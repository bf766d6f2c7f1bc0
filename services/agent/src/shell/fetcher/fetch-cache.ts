import { createReadStream, createWriteStream, mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { OpenSource } from './sources.ts';

/** A file of the cache that is in use: it stays until it is released. */
export interface Lease {
  open(): Readable;
  release(): void;
}

interface Entry {
  readonly key: string;
  readonly path: string;
  /** Set aside for it. */
  bytes: number;
  users: number;
  /** False: it does not fit. */
  ready: Promise<boolean>;
  isReady: boolean;
  readonly abandoned: AbortController;
}

class DoesNotFitError extends Error {}

/** However small they are. */
const usualMaxFiles = 10_000;

/**
 * Keeps what was fetched, up to a size: what was not used for longest goes first, and never what is in use. Nothing is
 * asked again of where it came from. It begins empty.
 */
export class FetchCache {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #maxFiles: number;
  /** The one that was used last comes last. */
  readonly #entries = new Map<string, Entry>();
  /** Set aside for what is there and for what is coming. */
  #bytes = 0;
  #count = 0;

  constructor(dir: string, maxBytes: number, maxFiles: number = usualMaxFiles) {
    this.#dir = dir;
    this.#maxBytes = maxBytes;
    this.#maxFiles = maxFiles;
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  /** Set aside for what is there and for what is coming, and at most. */
  get size(): { readonly usedBytes: number; readonly maxBytes: number } {
    return { usedBytes: this.#bytes, maxBytes: this.#maxBytes };
  }

  /**
   * What is known by a key, fetched if it is not there; whoever asks for it meanwhile waits for the same.
   *
   * @returns undefined if there is no room for it
   * @throws what the fetching throws, for all who wait for it
   */
  async take(key: string, open: OpenSource, signal: AbortSignal): Promise<Lease | undefined> {
    signal.throwIfAborted();
    const entry = this.#entries.get(key) ?? this.#begin(key, open);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users += 1;
    let used = true;
    const release = (): void => {
      if (!used) return;
      used = false;
      entry.users -= 1;
      if (entry.users > 0 || entry.isReady) return;
      this.#drop(entry); // nobody waits for it
      entry.abandoned.abort();
    };
    try {
      if (await unlessAborted(entry.ready, signal)) return { open: () => createReadStream(entry.path), release };
    } catch (error) {
      release();
      throw error;
    }
    release();
    return undefined;
  }

  #begin(key: string, open: OpenSource): Entry {
    this.#evictUntil(() => this.#entries.size < this.#maxFiles);
    this.#count += 1;
    const entry: Entry = {
      key,
      path: join(this.#dir, String(this.#count)),
      bytes: 0,
      users: 0,
      ready: Promise.resolve(false),
      isReady: false,
      abandoned: new AbortController(),
    };
    entry.ready = this.#fetch(entry, open);
    entry.ready.catch(() => {}); // who waits for it is told
    return entry;
  }

  async #fetch(entry: Entry, open: OpenSource): Promise<boolean> {
    const { path, abandoned } = entry;
    try {
      const { stream, size } = await open(abandoned.signal);
      if (size !== undefined && !this.#reserve(entry, size)) {
        stream.destroy();
        throw new DoesNotFitError();
      }
      let received = 0;
      const count = async function* (this: FetchCache, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const chunk of chunks) {
          received += chunk.length;
          if (received > entry.bytes && !this.#reserve(entry, received - entry.bytes)) throw new DoesNotFitError();
          yield chunk;
        }
      }.bind(this);
      await pipeline(stream, count, createWriteStream(path, { flags: 'wx', mode: 0o600 }), {
        signal: abandoned.signal,
      });
      abandoned.signal.throwIfAborted();
      entry.isReady = true;
      return true;
    } catch (error) {
      this.#drop(entry);
      await rm(path, { force: true });
      if (error instanceof DoesNotFitError) return false;
      throw error;
    }
  }

  /** Sets bytes aside; for that, others may have to go. */
  #reserve(entry: Entry, bytes: number): boolean {
    if (entry.bytes + bytes > this.#maxBytes) return false;
    const fits = (): boolean => this.#bytes + bytes <= this.#maxBytes;
    this.#evictUntil(fits);
    if (!fits()) return false;
    entry.bytes += bytes;
    this.#bytes += bytes;
    return true;
  }

  /** What was not used for longest goes first, as far as nobody uses it. */
  #evictUntil(isEnough: () => boolean): void {
    for (const entry of this.#entries.values()) {
      if (isEnough()) return;
      if (!entry.isReady || entry.users > 0) continue;
      this.#drop(entry);
      rmSync(entry.path, { force: true });
    }
  }

  #drop(entry: Entry): void {
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    this.#bytes -= entry.bytes;
    entry.bytes = 0;
  }
}

/** Waits, but not longer than the signal allows. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
