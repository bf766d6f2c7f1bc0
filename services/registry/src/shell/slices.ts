import type { Clock } from '@mesobus/sdk/bus';

/** So long may one thing be done before others are let in. */
const sliceMs = 20;

/** Lets other work in. */
export const pause = (clock: Clock, ms = 0): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));

/** Long work in short slices. */
export class Slices {
  readonly #clock: Clock;
  #startedAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  /** Call it often: it waits only if enough was done since the last time. */
  async rest(): Promise<void> {
    if (this.#clock.now() - this.#startedAt < sliceMs) return;
    await pause(this.#clock);
    this.#startedAt = this.#clock.now();
  }
}
