import type { mesobus } from '@mesobus/protos';
import type { Bus, BusLogger, StreamSender, Subjects } from '@mesobus/sdk/bus';
import { feedWaits, type State, takeFeed } from '../core/index.ts';

/** The feed of the allocators: at most one batch in a turn of the event loop. */
export class FeedSender {
  readonly #state: State;
  readonly #sender: StreamSender<mesobus.v1.FeedBatch.$Properties>;
  readonly #log: BusLogger;
  #scheduled = false;
  #stopped = false;

  constructor(options: { state: State; bus: Bus; subjects: Subjects; log: BusLogger }) {
    this.#state = options.state;
    this.#log = options.log;
    this.#sender = options.bus.openStream(options.subjects.allocatorFeed);
  }

  restart(): void {
    this.#sender.restart();
  }

  /** Sends what has changed, soon. */
  flushSoon(): void {
    if (this.#scheduled || this.#stopped || !feedWaits(this.#state)) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#stopped) return;
      this.#flush();
      this.flushSoon();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#sender.close();
  }

  #flush(): void {
    const batch = takeFeed(this.#state);
    if (batch === undefined) return;
    try {
      this.#sender.send(batch);
    } catch (error) {
      this.#log.error({ err: error }, 'a batch of the feed could not be sent: the allocator will ask for a snapshot');
      this.#sender.restart();
    }
  }
}
