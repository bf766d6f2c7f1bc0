import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { BusLogger, Clock } from '../bus/index.ts';
import { ConfigError } from './config-error.ts';

const readEveryMs = 5_000;

export interface WatchedFileOptions<T> {
  /** A path, or `file://…`. */
  readonly file: string;
  /** The option that names it, without dashes. */
  readonly flag: string;
  /** For people, such as 'the whitelist'. */
  readonly what: string;
  /** What to do if it cannot be used at the start, such as 'name a file with …'. */
  readonly remedy: string;
  /** Throws with what is wrong with the text. */
  readonly parse: (text: string) => T;
  readonly clock: Clock;
  readonly log: BusLogger;
}

/** A file of settings that is read again every 5 s. One that cannot be read, or is wrong, counts as it was. */
export class WatchedFile<T> {
  #value: T;
  #text: string;
  readonly #path: string;
  readonly #options: WatchedFileOptions<T>;
  readonly #listeners = new Set<(value: T) => void>();
  #cancel = (): void => undefined;
  #stopped = false;
  /** Said last of what is wrong with it. */
  #complaint: string | undefined;

  /** @throws {ConfigError} the file cannot be read, or is wrong */
  constructor(options: WatchedFileOptions<T>) {
    this.#options = options;
    const { file, flag, remedy } = options;
    try {
      this.#path = file.startsWith('file://') ? fileURLToPath(file) : file;
      this.#text = readFileSync(this.#path, 'utf8');
      this.#value = options.parse(this.#text);
    } catch (cause) {
      throw new ConfigError([`--${flag}: '${file}': ${messageOf(cause)}; ${remedy}`], { cause });
    }
    this.#wait();
  }

  get value(): T {
    return this.#value;
  }

  /** @returns ends it */
  onChange(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #wait(): void {
    this.#cancel = this.#options.clock.after(readEveryMs, () => void this.#read());
  }

  async #read(): Promise<void> {
    const { what, log } = this.#options;
    try {
      this.#take(await readFile(this.#path, 'utf8'));
      this.#complaint = undefined;
    } catch (err) {
      const complaint = messageOf(err);
      if (complaint !== this.#complaint) log.warn({ err }, `${what} cannot be used: it counts as it was`);
      this.#complaint = complaint;
    }
    if (!this.#stopped) this.#wait();
  }

  #take(text: string): void {
    if (text === this.#text || this.#stopped) return;
    const value = this.#options.parse(text);
    this.#text = text;
    this.#value = value;
    this.#options.log.info({ file: this.#path }, `${this.#options.what} has changed`);
    for (const listener of this.#listeners) listener(value);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
