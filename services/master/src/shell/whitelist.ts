import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { BusLogger, Clock } from '@mesobus/sdk/bus';
import { ConfigError } from '@mesobus/sdk/service';

const readEveryMs = 5_000;

export interface WhitelistOptions {
  /** A path, or `file://…`. */
  readonly file: string;
  readonly clock: Clock;
  readonly log: BusLogger;
}

/** Hostnames of the agents whose resources are offered, one per line of a file that is read again every 5 s. */
export class Whitelist {
  #hostnames: ReadonlySet<string>;
  readonly #path: string;
  readonly #options: WhitelistOptions;
  readonly #listeners = new Set<(hostnames: ReadonlySet<string>) => void>();
  #stop = (): void => undefined;
  #stopped = false;
  #failing = false;

  /** @throws {ConfigError} the file cannot be read */
  constructor(options: WhitelistOptions) {
    this.#options = options;
    this.#path = options.file.startsWith('file://') ? fileURLToPath(options.file) : options.file;
    try {
      this.#hostnames = hostnamesIn(readFileSync(this.#path, 'utf8'));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ConfigError([`--whitelist: ${why}: name a file with a hostname on each line`], { cause });
    }
    this.#wait();
  }

  get hostnames(): ReadonlySet<string> {
    return this.#hostnames;
  }

  /** @returns ends it */
  onChange(listener: (hostnames: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
  }

  #wait(): void {
    this.#stop = this.#options.clock.after(readEveryMs, () => void this.#read());
  }

  /** A file that cannot be read now counts as it was. */
  async #read(): Promise<void> {
    try {
      this.#take(hostnamesIn(await readFile(this.#path, 'utf8')));
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#options.log.warn({ err }, 'the whitelist cannot be read: it counts as it was');
      this.#failing = true;
    }
    if (!this.#stopped) this.#wait();
  }

  #take(hostnames: ReadonlySet<string>): void {
    const same = hostnames.size === this.#hostnames.size && [...hostnames].every((name) => this.#hostnames.has(name));
    if (same || this.#stopped) return;
    this.#hostnames = hostnames;
    this.#options.log.info({ agents: hostnames.size }, 'the whitelist has changed');
    for (const listener of this.#listeners) listener(hostnames);
  }
}

function hostnamesIn(text: string): Set<string> {
  const lines = text.split('\n').map((line) => line.trim());
  return new Set(lines.filter((line) => line !== ''));
}
