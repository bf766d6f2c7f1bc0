import type { mesobus } from '@mesobus/protos';
import type { Bus, BusLogger, Clock, StreamSender, Subjects } from '@mesobus/sdk/bus';
import { type State, takeFeed, waitingFeeds } from '../core/index.ts';

/** Who does not allocate is told of changes so often: many of one entity become one. */
const standbyEveryMs = 100;

export interface FeedSenderOptions {
  readonly state: State;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly log: BusLogger;
  /** Something could not be sent: that allocator has to ask anew. */
  onFailed(allocatorId: string): void;
}

/** The feeds of the allocators: at most one batch for each in a turn of the event loop. */
export class FeedSender {
  readonly #options: FeedSenderOptions;
  readonly #senders = new Map<string, StreamSender<mesobus.v1.FeedBatch.$Properties>>();
  #scheduled = false;
  #cancelStandbys: (() => void) | undefined;
  #stopped = false;

  constructor(options: FeedSenderOptions) {
    this.#options = options;
  }

  open(allocatorId: string, incarnation: string): void {
    this.close(allocatorId);
    const { bus, subjects } = this.#options;
    this.#senders.set(allocatorId, bus.openStream(subjects.allocatorFeed(allocatorId, incarnation)));
  }

  close(allocatorId: string): void {
    this.#senders.get(allocatorId)?.close();
    this.#senders.delete(allocatorId);
  }

  /** Sends what has changed, soon. */
  flushSoon(): void {
    if (this.#stopped) return;
    for (const { urgent } of waitingFeeds(this.#options.state)) {
      if (urgent) this.#flushNextTurn();
      else this.#cancelStandbys ??= this.#options.clock.after(standbyEveryMs, () => this.#flush(true));
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelStandbys?.();
    for (const sender of this.#senders.values()) sender.close();
    this.#senders.clear();
  }

  #flushNextTurn(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush(false);
    });
  }

  #flush(standbysToo: boolean): void {
    if (standbysToo) this.#cancelStandbys = undefined;
    if (this.#stopped) return;
    for (const { allocatorId, urgent } of [...waitingFeeds(this.#options.state)]) {
      if (urgent || standbysToo) this.#send(allocatorId);
    }
    this.flushSoon();
  }

  #send(allocatorId: string): void {
    const { state, log, onFailed } = this.#options;
    try {
      const batch = takeFeed(state, allocatorId);
      if (batch !== undefined) this.#senders.get(allocatorId)?.send(batch);
    } catch (error) {
      log.error({ err: error, allocator: allocatorId }, 'a batch of the feed could not be sent: it begins anew');
      onFailed(allocatorId);
    }
  }
}
