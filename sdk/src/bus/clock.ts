/** Time and timers, passed in so that tests decide when time passes. */
export interface Clock {
  /** Milliseconds; only differences mean something. Never goes back. */
  now(): number;
  /** Calls once after so many milliseconds. Returns the call that cancels it. */
  after(delayMs: number, call: () => void): () => void;
}

/** The machine's monotonic clock. Its timers keep a process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (delayMs, call) => {
    const timer = setTimeout(call, delayMs);
    return () => clearTimeout(timer);
  },
};

/** A clock that stands still until told to move. */
export class ManualClock implements Clock {
  #now = 0;
  #timers: { at: number; call: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(delayMs: number, call: () => void): () => void {
    const timer = { at: this.#now + delayMs, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves on, ringing each timer at its time, in order; also those that are set meanwhile. */
  advance(byMs: number): void {
    const end = this.#now + byMs;
    for (let next = this.#earliest(end); next !== undefined; next = this.#earliest(end)) {
      const due = next;
      this.#timers = this.#timers.filter((other) => other !== due);
      this.#now = due.at;
      due.call();
    }
    this.#now = end;
  }

  #earliest(end: number): { at: number; call: () => void } | undefined {
    return this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}
