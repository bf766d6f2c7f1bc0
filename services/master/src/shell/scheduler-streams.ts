import type { mesobus } from '@mesobus/protos';
import type { Bus, BusLogger, Clock, StreamSender, Subjects } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { SchedulerEvent, Stream } from '../core/index.ts';

/** Between two questions whether anybody follows a stream, and how long one waits for an answer. */
const probeEveryMs = 3_000;
const probeTimeoutMs = 2_000;
/** A follower that stays silent for so many probes is as good as gone. */
const maxSilentProbes = 5;
/** Events in one message. */
const eventsPerMessage = 500;
/** Events that wait for their message; with more the stream begins anew. */
const maxWaitingEvents = 200_000;

interface Open {
  to: Stream;
  readonly sender: StreamSender<mesobus.v1.SchedulerEvents.$Properties>;
  waiting: SchedulerEvent[];
  /** Something could not be told. Nothing more is, until the scheduler subscribes anew. */
  broken: 'no' | 'now' | 'told';
  silentProbes: number;
  cancelProbe: () => void;
}

export interface SchedulerStreamsOptions {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly log: BusLogger;
  onProbed(frameworkId: string, instanceId: string, alive: boolean): void;
}

/** The event streams of all schedulers. What is emitted for one of them in a turn of the event loop is one message. */
export class SchedulerStreams {
  readonly #options: SchedulerStreamsOptions;
  readonly #open = new Map<string, Open>();
  readonly #dirty = new Set<Open>();
  #scheduled = false;
  #stopped = false;

  constructor(options: SchedulerStreamsOptions) {
    this.#options = options;
  }

  /** Opens a stream, or starts an open one again. */
  open(to: Stream): void {
    const open = this.#open.get(keyOf(to));
    if (open !== undefined) {
      open.waiting = [];
      open.to = to;
      open.broken = 'no';
      open.silentProbes = 0;
      open.sender.restart();
      return;
    }
    const { bus, subjects } = this.#options;
    const sender = bus.openStream(subjects.schedulerEvents(to.principal, to.instanceId));
    const fresh: Open = { to, sender, waiting: [], broken: 'no', silentProbes: 0, cancelProbe: () => {} };
    this.#open.set(keyOf(to), fresh);
    this.#probeLater(fresh);
  }

  send(to: Stream, events: readonly SchedulerEvent[]): void {
    const open = this.#open.get(keyOf(to));
    if (open === undefined || this.#stopped || open.broken !== 'no') return;
    if (open.waiting.length + events.length > maxWaitingEvents) {
      this.#break(open, new Error(`more than ${maxWaitingEvents} events wait`));
    } else for (const event of events) open.waiting.push(event);
    this.#dirty.add(open);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (const dirty of this.#dirty) {
        this.#flush(dirty);
        if (dirty.broken === 'now') this.#startAnew(dirty);
      }
      this.#dirty.clear();
    });
  }

  close(to: Stream): void {
    const open = this.#open.get(keyOf(to));
    if (open === undefined || open.to.generation !== to.generation) return;
    this.#flush(open);
    this.#end(open);
    this.#open.delete(keyOf(to));
  }

  stop(): void {
    this.#stopped = true;
    for (const open of this.#open.values()) this.#end(open);
    this.#open.clear();
  }

  #end(open: Open): void {
    open.cancelProbe();
    this.#dirty.delete(open);
    open.sender.close();
  }

  #flush(open: Open): void {
    const events = open.waiting;
    open.waiting = [];
    for (let from = 0; from < events.length && open.broken === 'no'; from += eventsPerMessage) {
      this.#tell(open, events.slice(from, from + eventsPerMessage));
    }
  }

  /** In one message, or in as many as it takes. */
  #tell(open: Open, events: readonly SchedulerEvent[]): void {
    const { frameworkId, instanceId, generation } = open.to;
    try {
      open.sender.send({ frameworkId, instanceId, generation, events: [...events] });
    } catch (error) {
      const tooLarge = error instanceof RefusedError && error.code === 'message_too_large';
      if (!tooLarge) this.#break(open, error);
      else if (events.length > 1) {
        const half = Math.ceil(events.length / 2);
        this.#tell(open, events.slice(0, half));
        if (open.broken === 'no') this.#tell(open, events.slice(half));
      } else {
        // It would come again after every fresh start, and never arrive.
        const about = { err: error, framework: frameworkId };
        this.#options.log.error(about, 'an event is dropped: no message can hold it');
      }
    }
  }

  #break(open: Open, error: unknown): void {
    open.broken = 'now';
    open.waiting = [];
    const about = { err: error, framework: open.to.frameworkId };
    this.#options.log.warn(about, 'events for a scheduler are lost: it has to subscribe anew');
  }

  /** A stream that begins without SUBSCRIBED tells its follower that something is lost. */
  #startAnew(open: Open): void {
    open.broken = 'told';
    const { frameworkId, instanceId, generation } = open.to;
    try {
      open.sender.restart();
      open.sender.send({ frameworkId, instanceId, generation, events: [] });
    } catch (error) {
      this.#options.log.warn({ err: error, framework: frameworkId }, 'a scheduler could not be told of its loss');
    }
    this.#options.onProbed(frameworkId, instanceId, false);
  }

  #probeLater(open: Open): void {
    open.cancelProbe = this.#options.clock.after(probeEveryMs, () => {
      open.sender.probe(probeTimeoutMs).then(
        (answer) => this.#onProbed(open, answer),
        () => {}, // the bus is closed
      );
    });
  }

  #onProbed(open: Open, answer: 'alive' | 'gone' | 'silent'): void {
    if (this.#stopped || this.#open.get(keyOf(open.to)) !== open) return;
    open.silentProbes = answer === 'silent' && this.#options.bus.connected ? open.silentProbes + 1 : 0;
    const { frameworkId, instanceId } = open.to;
    this.#probeLater(open);
    if (open.broken !== 'no') this.#options.onProbed(frameworkId, instanceId, false);
    else if (answer === 'alive') this.#options.onProbed(frameworkId, instanceId, true);
    else if (answer === 'gone' || open.silentProbes >= maxSilentProbes) {
      this.#options.onProbed(frameworkId, instanceId, false);
    }
  }
}

const keyOf = ({ principal, instanceId }: Stream): string => `${principal}\0${instanceId}`;
