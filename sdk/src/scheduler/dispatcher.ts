import type { Span } from '../service/tracing.ts';
import type { SchedulerCallbacks } from './callbacks.ts';
import { EventSink } from './event-sink.ts';
import type { TracedEvent } from './leader-link.ts';
import type { OpenOffers } from './open-offers.ts';
import { type Placing, placeOn } from './placing.ts';
import type { SchedulerEvent } from './scheduler-event.ts';
import { SeenUpdates } from './seen-updates.ts';
import { noteError, spanBelow, within } from './spans.ts';
import type { OperationStatus, TaskStatus } from './task-status.ts';

export interface DispatcherSettings {
  /** Without any, events wait for a loop. */
  readonly callbacks: SchedulerCallbacks | undefined;
  /** Answers offers in place of the callback. */
  readonly placing: Placing | undefined;
  readonly offers: OpenOffers;
  /** Called for each update that the author is done with, and for each repetition of one that was acknowledged. */
  readonly acknowledge: (status: TaskStatus) => void;
  readonly acknowledgeOperation: (status: OperationStatus) => void;
  readonly automatic: boolean;
}

/** Brings events to the author: to the callbacks and to the `for await` loop. */
export class Dispatcher {
  readonly #settings: DispatcherSettings;
  readonly #seen = new SeenUpdates();
  /** Of updates that are traced, for what comes of them later. */
  readonly #spans = new WeakMap<TaskStatus, Span>();
  #sink: EventSink | undefined;
  #sinkComes = Promise.withResolvers<void>();
  #ended: { readonly error: Error | undefined } | undefined;

  constructor(settings: DispatcherSettings) {
    this.#settings = settings;
  }

  /** @throws {TypeError} a loop is under way */
  events(): EventSink {
    if (this.#sink !== undefined) {
      throw new TypeError('Cannot iterate events() twice at a time: leave the other loop first');
    }
    const sink = new EventSink(() => {
      this.#sink = undefined;
      this.#sinkComes = Promise.withResolvers();
    });
    this.#sink = sink;
    this.#sinkComes.resolve();
    if (this.#ended !== undefined) sink.end(this.#ended.error);
    return sink;
  }

  /** Ends the loop, which throws the error if there is one. */
  end(error: Error | undefined): void {
    this.#ended = { error };
    this.#sink?.end(error);
    this.#sinkComes.resolve();
  }

  /** The span of a status update, if it is traced. */
  spanOf(status: TaskStatus): Span | undefined {
    return this.#spans.get(status);
  }

  /** The author has acknowledged the update: a repetition is acknowledged again without asking him. */
  noteAcknowledged(uuid: string): void {
    this.#seen.set(uuid, 'acknowledged');
  }

  /** Never rejects: what a callback throws goes to its `error`. */
  async handle(item: TracedEvent): Promise<void> {
    try {
      await this.#handle(item);
    } catch (error) {
      await this.#report(error instanceof Error ? error : new Error(String(error), { cause: error }));
    }
  }

  async #handle({ event, traceparent, offerTraces }: TracedEvent): Promise<void> {
    const { offers } = this.#settings;
    switch (event.kind) {
      case 'offers': {
        const span = offers.add(event.offers, offerTraces);
        await within(span, () => this.#tell(event));
        return;
      }
      case 'rescinded':
        offers.rescind(event.offerId, 'the offer was rescinded');
        await this.#tell(event);
        return;
      case 'disconnected':
        offers.clear(`contact was lost: ${event.why}`);
        await this.#tell(event);
        return;
      case 'update':
        return this.#onUpdate(event, traceparent);
      case 'operation_update': {
        const taken = await this.#tell(event);
        if (taken && this.#settings.automatic) this.#settings.acknowledgeOperation(event.status);
        return;
      }
      case 'error':
        return this.#report(event.error);
      default:
        await this.#tell(event);
    }
  }

  async #onUpdate(event: SchedulerEvent & { kind: 'update' }, traceparent: string): Promise<void> {
    const { status } = event;
    const { uuid, taskId, state } = status;
    const seen = uuid === undefined ? undefined : this.#seen.stateOf(uuid);
    if (seen === 'acknowledged') return this.#settings.acknowledge(status); // the agent has not heard of it
    if (seen === 'delivered') return;
    if (uuid !== undefined) this.#seen.set(uuid, 'delivered');

    const span = spanBelow(traceparent, 'statusUpdate', { 'mesobus.task_id': taskId, 'mesobus.task_state': state });
    if (span !== undefined) this.#spans.set(status, span);
    try {
      const taken = await within(span, () => this.#tell(event));
      if (!taken && uuid !== undefined) this.#seen.forget(uuid);
      if (taken && this.#settings.automatic) this.#settings.acknowledge(status);
    } catch (error) {
      if (uuid !== undefined) this.#seen.forget(uuid); // it was not dealt with: let it come again
      noteError(span, error as Error);
      throw error;
    } finally {
      span?.end();
    }
  }

  /** Tells the author of an error. */
  async #report(error: Error): Promise<void> {
    const { callbacks } = this.#settings;
    try {
      if (callbacks?.error !== undefined) await callbacks.error(error);
      // In the loop an end for good is thrown, so it need not come as an event before.
      else if (this.#sink === undefined) process.emitWarning(error);
    } catch (another) {
      process.emitWarning(another instanceof Error ? another : String(another));
    }
    if (this.#ended === undefined) await this.#sink?.deliver({ kind: 'error', error });
  }

  /** @returns false if the loop was left while it dealt with this event */
  async #tell(event: SchedulerEvent): Promise<boolean> {
    const { callbacks } = this.#settings;
    if (callbacks === undefined) {
      await this.#sinkComes.promise;
    } else {
      const { placing } = this.#settings;
      const placed = placing !== undefined && event.kind === 'offers';
      const done = placed ? placeOn(event.offers, placing) : call(callbacks, event);
      if (done !== undefined) await done;
    }
    if (this.#sink === undefined) return callbacks !== undefined;
    return this.#sink.deliver(event);
  }
}

function call(callbacks: SchedulerCallbacks, event: SchedulerEvent): void | Promise<void> {
  switch (event.kind) {
    case 'registered':
      return callbacks.registered?.(event.frameworkId, event.master);
    case 'reregistered':
      return callbacks.reregistered?.(event.master);
    case 'disconnected':
      return callbacks.disconnected?.(event.why);
    case 'offers':
      return callbacks.resourceOffers?.(event.offers);
    case 'rescinded':
      return callbacks.offerRescinded?.(event.offerId);
    case 'inverse_offers':
      return callbacks.inverseOffers?.(event.inverseOffers);
    case 'inverse_offer_rescinded':
      return callbacks.inverseOfferRescinded?.(event.inverseOfferId);
    case 'update':
      return callbacks.statusUpdate?.(event.status);
    case 'operation_update':
      return callbacks.operationUpdate?.(event.status);
    case 'message':
      return callbacks.frameworkMessage?.(event.agentId, event.executorId, event.data);
    case 'agent_lost':
      return callbacks.agentLost?.(event.agentId);
    case 'executor_lost':
      return callbacks.executorLost?.(event.agentId, event.executorId, event.status);
    case 'error':
      return callbacks.error?.(event.error);
  }
}
