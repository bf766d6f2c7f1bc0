import { nameOf } from './container-request.ts';
import { type Daemon, statusOf } from './daemon.ts';

interface RemoverOptions {
  readonly removeDelayMs: number;
  readonly log: { warn(fields: object, message: string): void };
  readonly now?: () => number;
}

/** The longest that a timer takes. */
const maxTimeoutMs = 2 ** 31 - 1;
/** Docker may be away just then. */
const retryMs = 60_000;

/** Removes containers some time after their end. What is not removed by this process, the next one finds. */
export class Remover {
  readonly #daemon: Daemon;
  readonly #options: RemoverOptions;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(daemon: Daemon, options: RemoverOptions) {
    this.#daemon = daemon;
    this.#options = options;
  }

  removeAt(containerId: string, endedAtMs: number): void {
    const { removeDelayMs, now = Date.now } = this.#options;
    this.#removeIn(containerId, endedAtMs + removeDelayMs - now());
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #removeIn(containerId: string, delayMs: number): void {
    clearTimeout(this.#timers.get(containerId));
    const timer = setTimeout(() => void this.#remove(containerId), Math.min(Math.max(0, delayMs), maxTimeoutMs));
    timer.unref();
    this.#timers.set(containerId, timer);
  }

  async #remove(containerId: string): Promise<void> {
    this.#timers.delete(containerId);
    try {
      await this.#daemon.ask((docker) => docker.getContainer(nameOf(containerId)).remove({ v: true }));
    } catch (error) {
      if (statusOf(error) === 409) return; // it is being removed, or runs
      this.#options.log.warn({ err: error, container: containerId }, 'Cannot remove a container yet');
      this.#removeIn(containerId, retryMs);
    }
  }
}
