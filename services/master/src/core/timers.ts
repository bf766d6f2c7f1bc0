/** A deadline and what it is for. */
export interface Timer<What> {
  readonly atMs: number;
  readonly what: What;
}

/**
 * Deadlines in order: a binary heap. A deadline is never taken out early: whoever handles it looks whether it still
 * holds, and sets it again if it has moved.
 */
export class Timers<What> {
  readonly #heap: Timer<What>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  set(atMs: number, what: What): void {
    const heap = this.#heap;
    let at = heap.length;
    const timer = { atMs, what };
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Timer<What>;
      if (above.atMs <= atMs) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  /** The earliest deadline that has come; taken out. */
  take(nowMs: number): What | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    const last = this.#heap.pop() as Timer<What>;
    if (this.#heap.length > 0) this.#sink(last);
    return first.what;
  }

  #sink(timer: Timer<What>): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && right.atMs < (heap[child] as Timer<What>).atMs) child += 1;
      const below = heap[child] as Timer<What>;
      if (below.atMs >= timer.atMs) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = timer;
  }
}
