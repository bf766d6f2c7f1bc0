import { readdirSync, rmdirSync, statSync, utimesSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '@mesobus/sdk/bus';
import { removeTree } from './remove-tree.ts';

export interface CollectorOptions {
  /** The folder with the sandboxes: `<framework>/<task>/<container>`. */
  readonly sandboxes: string;
  /** How long the sandbox of what has ended is kept at most. */
  readonly gcDelayMs: number;
  /** How much of the disk is to stay free: from 0 to 1. */
  readonly gcDiskHeadroom: number;
  readonly diskWatchIntervalMs: number;
  readonly clock: Clock;
  /** Ms since 1970. */
  readonly now: () => number;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  /** The part of the disk that is in use, from 0 to 1; the real one unless given. */
  readonly diskUsage?: (() => Promise<number>) | undefined;
}

/**
 * Removes the sandboxes of what has ended: as in Mesos the fuller the disk is, the earlier. When something has ended is
 * kept as the time of its folder, so that the next process knows it too.
 */
export class SandboxCollector {
  readonly #options: CollectorOptions;
  /** When each has ended, in ms since 1970; the oldest first. */
  #ended = new Map<string, number>();
  #cancel: (() => void) | undefined;
  #collecting: Promise<void> | undefined;
  #closed = false;
  #removed = 0;
  #failed = 0;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** @param isKept - of a container id: it has not ended, or is not forgotten */
  start(isKept: (containerId: string) => boolean): void {
    const now = this.#options.now();
    // A task may give its folder any time: it has not ended later than now.
    const found = this.#find()
      .filter(({ containerId }) => !isKept(containerId))
      .map(({ path, endedAt }) => ({ path, endedAt: Math.min(endedAt, now) }));
    found.sort((a, b) => a.endedAt - b.endedAt);
    this.#ended = new Map(found.map(({ path, endedAt }) => [path, endedAt]));
    this.#arm();
  }

  /** Sandboxes that were removed, those that could not be, and those that wait for it. */
  get counts(): { readonly removed: number; readonly failed: number; readonly pending: number } {
    return { removed: this.#removed, failed: this.#failed, pending: this.#ended.size };
  }

  /** What ran here has ended. */
  add(sandbox: string): void {
    const path = join(this.#options.sandboxes, sandbox);
    const at = this.#options.now();
    try {
      utimesSync(path, at / 1_000, at / 1_000);
    } catch {
      return; // there never was one
    }
    this.#ended.delete(path);
    this.#ended.set(path, at);
  }

  /** Removes what is older than the disk allows. */
  collect(): Promise<void> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#collecting;
  }

  #arm(): void {
    const { clock, diskWatchIntervalMs, log } = this.#options;
    this.#cancel = clock.after(diskWatchIntervalMs, () => {
      this.collect()
        .catch((error: unknown) => log.warn({ err: error }, 'Cannot look after old sandboxes'))
        .finally(() => this.#closed || this.#arm());
    });
  }

  async #collect(): Promise<void> {
    const { gcDelayMs, gcDiskHeadroom, sandboxes, now, log, diskUsage = () => usageOf(sandboxes) } = this.#options;
    const usage = await diskUsage();
    const allowedMs = gcDelayMs * Math.max(0, 1 - gcDiskHeadroom - usage);
    let removed = 0;
    for (const [path, endedAt] of this.#ended) {
      if (this.#closed || now() - endedAt < allowedMs) break;
      this.#ended.delete(path);
      try {
        await removeTree(path);
        removed += 1;
        this.#removed += 1;
      } catch (error) {
        this.#failed += 1;
        log.warn({ err: error }, 'Cannot remove an old sandbox');
      }
      removeEmpty(dirname(path), sandboxes);
    }
    if (removed > 0) log.info({ removed, diskUsage: usage, allowedAgeMs: allowedMs }, 'Removed old sandboxes');
  }

  #find(): { readonly path: string; readonly containerId: string; readonly endedAt: number }[] {
    const { sandboxes } = this.#options;
    const tasks = foldersIn(sandboxes).flatMap(foldersIn);
    return tasks.flatMap(foldersIn).map((path) => ({
      path,
      containerId: path.slice(path.lastIndexOf('/') + 1),
      endedAt: statSync(path).mtimeMs,
    }));
  }
}

async function usageOf(folder: string): Promise<number> {
  const { blocks, bavail } = await statfs(folder);
  return blocks === 0 ? 0 : 1 - bavail / blocks;
}

const foldersIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folder, name));

/** The folders of a task and a framework that has no other sandbox. At once: nobody makes one in them meanwhile. */
function removeEmpty(folder: string, root: string): void {
  for (let path = folder; path !== root && path.startsWith(root); path = dirname(path)) {
    try {
      rmdirSync(path);
    } catch {
      return; // there are others
    }
  }
}
