import type { SchedulerEvent } from './scheduler-event.ts';

type Result = IteratorResult<SchedulerEvent, undefined>;
interface Asking {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

/** Hands events over one at a time to a `for await` loop. */
export class EventSink implements AsyncIterableIterator<SchedulerEvent, undefined> {
  readonly #onClosed: () => void;
  #offered: { readonly event: SchedulerEvent; readonly onDone: (taken: boolean) => void } | undefined;
  /** The event in the body of the loop. */
  #held: ((taken: boolean) => void) | undefined;
  #asking: Asking | undefined;
  #end: { readonly error: Error | undefined } | undefined;

  /** @param onClosed - the loop was left */
  constructor(onClosed: () => void) {
    this.#onClosed = onClosed;
  }

  /** Resolves when the loop asks for the next event (true), or was left with this one (false). */
  deliver(event: SchedulerEvent): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#offered = { event, onDone: resolve };
      this.#serve();
    });
  }

  /** Ends the loop after what was delivered; with an error, the loop throws it. */
  end(error?: Error): void {
    this.#end ??= { error };
    this.#serve();
  }

  next(): Promise<Result> {
    this.#held?.(true);
    this.#held = undefined;
    return new Promise((resolve, reject) => {
      this.#asking = { resolve, reject };
      this.#serve();
    });
  }

  return(): Promise<Result> {
    this.#held?.(false);
    this.#offered?.onDone(false);
    this.#held = undefined;
    this.#offered = undefined;
    this.#end ??= { error: undefined };
    this.#onClosed();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #serve(): void {
    const asking = this.#asking;
    if (asking === undefined) return;
    if (this.#offered !== undefined) {
      this.#asking = undefined;
      this.#held = this.#offered.onDone;
      asking.resolve({ done: false, value: this.#offered.event });
      this.#offered = undefined;
    } else if (this.#end !== undefined) {
      this.#asking = undefined;
      if (this.#end.error === undefined) asking.resolve({ done: true, value: undefined });
      else asking.reject(this.#end.error);
    }
  }
}
