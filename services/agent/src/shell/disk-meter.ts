import { execFile } from 'node:child_process';

/** Paths for one process. */
const maxPaths = 200;
const maxOutputBytes = 1 << 20;

/** Measures what folders take, in their own file system and without what links lead to. */
export class DiskMeter {
  readonly #now: () => number;
  readonly #intervalMs: number;
  #bytes: ReadonlyMap<string, number> = new Map();
  #measuring: Promise<void> | undefined;
  #measuredAt = Number.NEGATIVE_INFINITY;

  /** @param intervalMs - nothing is measured more often, except at the wish of `measure` */
  constructor(intervalMs: number, now: () => number) {
    this.#intervalMs = intervalMs;
    this.#now = now;
  }

  /** Bytes by path, as they were measured last. What is older than the interval is measured anew meanwhile. */
  known(paths: readonly string[]): ReadonlyMap<string, number> {
    if (this.#now() - this.#measuredAt >= this.#intervalMs) void this.measure(paths);
    return this.#bytes;
  }

  /** Measures now; one at a time. */
  async measure(paths: readonly string[]): Promise<ReadonlyMap<string, number>> {
    this.#measuring ??= this.#measure(paths).finally(() => {
      this.#measuring = undefined;
    });
    await this.#measuring;
    return this.#bytes;
  }

  async #measure(paths: readonly string[]): Promise<void> {
    this.#measuredAt = this.#now();
    const bytes = new Map<string, number>();
    for (let from = 0; from < paths.length; from += maxPaths) {
      const text = await du(paths.slice(from, from + maxPaths));
      for (const line of text.split('\n')) {
        const tab = line.indexOf('\t');
        if (tab > 0) bytes.set(line.slice(tab + 1), Number(line.slice(0, tab)) * 1024);
      }
    }
    this.#bytes = bytes;
  }
}

/** What vanishes while it looks makes it fail, and says nothing of the rest. */
function du(paths: readonly string[]): Promise<string> {
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' };
  return new Promise((resolve) => {
    execFile('du', ['-skx', '--', ...paths], { env, maxBuffer: maxOutputBytes }, (_error, stdout) => resolve(stdout));
  });
}
