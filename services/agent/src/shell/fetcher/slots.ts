/** Lets so many work at a time; the others wait, in their order. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** @throws the signal's reason if it comes before there is a place */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      this.#free += 1;
      const [next] = this.#waiting;
      next?.();
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      this.#waiting.delete(begin);
      reject(signal.reason);
    };
    const begin = (): void => {
      this.#waiting.delete(begin);
      this.#free -= 1;
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    this.#waiting.add(begin);
    signal.addEventListener('abort', onAbort);
    await promise;
  }
}
