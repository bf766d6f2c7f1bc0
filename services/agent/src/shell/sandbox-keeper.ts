import { join } from 'node:path';
import type { Clock } from '@mesobus/sdk/bus';
import { type DiskUsage, isContainerAlive, runningContainers, type State } from '../core/index.ts';
import type { SandboxCare } from '../sandbox-options.ts';
import type { DiskMeter } from './disk-meter.ts';
import { type CollectorOptions, SandboxCollector } from './sandbox-collector.ts';

export interface KeeperOptions extends Pick<CollectorOptions, 'sandboxes' | 'clock' | 'now' | 'log'> {
  /** Absent: sandboxes are kept for ever, and nothing is held to its disk. */
  readonly care: SandboxCare | undefined;
  /** Looked at, never changed. */
  readonly state: State;
  readonly disk: DiskMeter;
  readonly onDiskUsage: (samples: readonly DiskUsage[]) => void;
}

/** Sees that sandboxes do not fill the disk: those of the past go, and those of the present are held to what they were given. */
export class SandboxKeeper {
  readonly #options: KeeperOptions;
  readonly #collector: SandboxCollector | undefined;
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#collector = options.care && new SandboxCollector({ ...options, ...options.care });
  }

  /** Once it is known what lives. */
  start(): void {
    const { state, care, clock } = this.#options;
    this.#collector?.start((containerId) => state.byContainer.has(containerId) || state.executors.has(containerId));
    if (care?.enforceContainerDiskQuota) this.#watch(clock, care.containerDiskWatchIntervalMs);
  }

  get counts(): SandboxCollector['counts'] {
    return this.#collector?.counts ?? { removed: 0, failed: 0, pending: 0 };
  }

  /** What ran in a sandbox has ended and is forgotten. */
  add(sandbox: string): void {
    if (sandbox !== '') this.#collector?.add(sandbox);
  }

  /** The disk is nearly full: there is no waiting for the next time. */
  hurry(): void {
    this.#collector?.collect().catch(() => {}); // it says so itself the next time
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#collector?.close();
  }

  #watch(clock: Clock, intervalMs: number): void {
    this.#cancel = clock.after(intervalMs, async () => {
      await this.#measure();
      if (!this.#closed) this.#watch(clock, intervalMs);
    });
  }

  async #measure(): Promise<void> {
    const { state, sandboxes, disk, onDiskUsage } = this.#options;
    const limited = runningContainers(state).filter(({ diskLimitBytes }) => diskLimitBytes > 0);
    if (limited.length === 0) return;
    const bytes = await disk.measure(limited.map(({ sandbox }) => join(sandboxes, sandbox)));
    if (this.#closed) return;
    const samples = limited.flatMap(({ containerId, sandbox }) => {
      const found = bytes.get(join(sandboxes, sandbox));
      return found === undefined || !isContainerAlive(state, containerId) ? [] : [{ containerId, bytes: found }];
    });
    onDiskUsage(samples);
  }
}
