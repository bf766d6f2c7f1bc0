/** Hands items to a handler, one after the other: the next one when the promise of the one before has settled. */
export class EventPump<Item> {
  readonly #limit: number;
  readonly #handle: (item: Item) => Promise<void>;
  readonly #onDrained: () => void;
  #items: Item[] = [];
  /** Where the next one stands in `items`; those before it are done. */
  #head = 0;
  #running = false;
  #closed = false;
  #full = false;

  /**
   * @param limit - so many may wait
   * @param handle - never rejects
   * @param onDrained - half of them are done after one was lost
   */
  constructor(limit: number, handle: (item: Item) => Promise<void>, onDrained: () => void) {
    this.#limit = limit;
    this.#handle = handle;
    this.#onDrained = onDrained;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /**
   * Once too many wait, items are lost until half of those are done.
   *
   * @param mustNotBeLost - of a kind that comes rarely and is always taken
   */
  push(item: Item, mustNotBeLost = false): void {
    if (this.#closed) return;
    this.#full ||= this.size >= this.#limit;
    if (this.#full && !mustNotBeLost) return;
    this.#items.push(item);
    if (!this.#running) void this.#run();
  }

  /** Takes out of the queue what is of no use any more. */
  discard(isUseless: (item: Item) => boolean): void {
    this.#items = this.#items.slice(this.#head).filter((item) => !isUseless(item));
    this.#head = 0;
  }

  /** Takes no more; what waits is dropped unless `drain`. */
  close(options: { readonly drain: boolean }): void {
    this.#closed = true;
    if (!options.drain) this.discard(() => true);
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.size > 0) {
      await this.#handle(this.#take());
      if (!this.#full || this.size > this.#limit / 2) continue;
      this.#full = false;
      this.#onDrained();
    }
    this.#running = false;
  }

  #take(): Item {
    const item = this.#items[this.#head] as Item;
    this.#head += 1;
    if (this.#head * 2 >= this.#items.length) this.discard(() => false); // forgets those that are done
    return item;
  }
}
