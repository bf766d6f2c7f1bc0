import { mesobus, type mesos } from '@mesobus/protos';
import { type Bus, type Clock, compareEpochs, type Epoch, type Subscription } from '../bus/index.ts';
import { DisconnectedError, RefusedError } from '../errors.ts';
import type { Connection } from '../operator/connection.ts';
import { CallLane, type Pausing, type QueuedCall, retryDelayMs } from './call-lane.ts';
import { createSession, nextTick, type SessionEffect, type SessionInput, stepSession } from './core/session.ts';
import { SchedulerEndedError } from './scheduler-ended-error.ts';
import { readWireEvent, type SchedulerEvent } from './scheduler-event.ts';

/** How long one try of a call waits for its answer, ms: the log may stall for several seconds when JetStream elects. */
const callTimeoutMs = 10_000;
const subscribeTimeoutMs = 5000;
/** All schedulers see a new leader at once: each comes at its own moment, within so long for each that there is, ms. */
const spreadMsPerFramework = 1;
const maxSpreadMs = 5000;
const { LEADING } = mesobus.v1.LeaderBeat.Phase;

export interface LinkSettings {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ms since 1970. */
  readonly now: () => number;
  /** Of this scheduler; unique among all. */
  readonly instanceId: string;
  readonly frameworkId: string | undefined;
  /** What SUBSCRIBE says now. */
  readonly subscribeOf: (frameworkId: string | undefined) => mesos.v1.scheduler.Call.Subscribe.$Properties;
  /** What goes with it; undefined if the author does not say what he wants. */
  readonly demandOf: () => mesobus.v1.Demand.$Properties | undefined;
}

/** An event with the trace contexts that came with it. */
export interface TracedEvent {
  readonly event: SchedulerEvent;
  readonly traceparent: string;
  /** Offer id to trace context; of OFFERS only. */
  readonly offerTraces: Readonly<Record<string, string>>;
}

export interface LinkListener {
  onEvent(event: TracedEvent): void;
  /** The leader is there; several times a second. */
  onBeat(): void;
  /** The subscription is over for good. The link is closed. */
  onEnded(error: SchedulerEndedError): void;
}

export type Lane = 'calls' | 'acknowledgements';

/**
 * The conversation with whichever master leads: subscribes, notices when contact is lost, subscribes again, and carries
 * calls until they are answered.
 */
export class LeaderLink {
  readonly #settings: LinkSettings;
  readonly #listener: LinkListener;
  readonly #bus: Bus;
  readonly #session: ReturnType<typeof createSession>;
  /** Apart, so that no launch waits behind acknowledgements. */
  readonly #lanes: Readonly<Record<Lane, CallLane>>;
  #subscriptions: Subscription[] = [];
  #calls = 0;
  #subscribeTurn = 0;
  /** How many schedulers the leader expects. */
  #frameworks = 0;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  /** Ends the wait for the next try of SUBSCRIBE. */
  #hurry = (): void => {};
  #closed = false;

  constructor(settings: LinkSettings, listener: LinkListener) {
    this.#settings = settings;
    this.#listener = listener;
    this.#bus = settings.connection.bus;
    this.#session = createSession(settings.clock.now(), settings.frameworkId);
    this.#lanes = { calls: this.#createLane(), acknowledgements: this.#createLane() };
  }

  /** Of the framework, once the master has given it one. */
  get frameworkId(): string | undefined {
    return this.#session.frameworkId;
  }

  /** Begins to subscribe. The event stream is followed first, so that nothing of it is missed. */
  async open(): Promise<void> {
    const { connection, instanceId } = this.#settings;
    const { subjects, principal } = connection;
    const events = this.#bus.followStream(subjects.schedulerEvents(principal, instanceId), {
      onMessage: (message, { epoch, first }) => this.#onEvents(message, epoch, first),
      onGap: (why) => this.#step({ kind: 'gap', why }),
    });
    const beats = this.#bus.serve(subjects.leader, ({ epoch, message }) => {
      if (compareEpochs(epoch, this.#session.highest) >= 0) this.#frameworks = message.frameworks;
      this.#onBeat(epoch, message.phase === LEADING);
    });
    this.#subscriptions.push(events, beats);
    await this.#bus.flush().catch(() => undefined); // cut off just now: the session hears of it below
    if (this.#closed) return;
    const stop = this.#bus.onConnection((connected) => this.#step({ kind: 'connection', connected }));
    this.#subscriptions.push({ stop });
  }

  /**
   * Sends a call until it is answered.
   *
   * @throws {RefusedError} it was refused for good
   * @throws {SchedulerEndedError} the subscription has ended meanwhile
   */
  call(
    call: mesos.v1.scheduler.Call.$Properties,
    options: { readonly lane?: Lane; readonly tasks?: number; readonly traceparent?: string } = {},
  ): Promise<mesobus.v1.SchedulerAccepted> {
    const { lane = 'calls', tasks = 0, traceparent = '' } = options;
    this.#calls += 1;
    return this.#lanes[lane].add({ id: `${this.#settings.instanceId}-${this.#calls}`, call, tasks, traceparent });
  }

  /** Says what is wanted, as it is when it is sent; otherwise as {@link call}. */
  tellDemand(demand: () => mesobus.v1.Demand.$Properties): Promise<mesobus.v1.SchedulerAccepted> {
    this.#calls += 1;
    const id = `${this.#settings.instanceId}-${this.#calls}`;
    return this.#lanes.calls.add({ id, demand, tasks: 0, traceparent: '' });
  }

  /** Has a task stand still, or go on; otherwise as {@link call}. */
  pause(pausing: Pausing): Promise<mesobus.v1.SchedulerAccepted> {
    this.#calls += 1;
    const id = `${this.#settings.instanceId}-${this.#calls}`;
    return this.#lanes.calls.add({ id, pausing, tasks: 0, traceparent: '' });
  }

  /** Events were lost on our side: asks for a fresh start. */
  startAnew(why: string): void {
    this.#step({ kind: 'gap', why });
  }

  /** Resolves when every call has its answer. */
  async idle(): Promise<void> {
    await Promise.all([this.#lanes.calls.idle(), this.#lanes.acknowledgements.idle()]);
  }

  /** Ends the conversation without a word to the master. */
  close(error: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#step({ kind: 'end' });
    this.#timer?.cancel();
    for (const subscription of this.#subscriptions) subscription.stop();
    for (const lane of Object.values(this.#lanes)) lane.close(error);
  }

  #createLane(): CallLane {
    const { clock, random } = this.#settings;
    return new CallLane({
      clock,
      random,
      send: (calls) => this.#send(calls),
      onRefused: (error) => this.#onRefused(error),
    });
  }

  #step(input: SessionInput, deliver?: (registered: 'registered' | 'reregistered' | undefined) => void): void {
    for (const effect of stepSession(this.#session, this.#settings.clock.now(), input)) {
      if (effect.kind === 'deliver') deliver?.(effect.registered);
      else this.#apply(effect);
    }
    this.#arm();
  }

  #apply(effect: Exclude<SessionEffect, { kind: 'deliver' }>): void {
    switch (effect.kind) {
      case 'subscribe':
        void this.#subscribe(effect.attempt, effect.frameworkId);
        return;
      case 'hurry':
        this.#settings.clock.after(effect.afterMs, () => this.#hurry());
        return;
      case 'open':
        this.#subscribeTurn += 1;
        for (const lane of Object.values(this.#lanes)) lane.open();
        return;
      case 'pause':
        this.#subscribeTurn += 1;
        for (const lane of Object.values(this.#lanes)) lane.pause();
        return;
      case 'disconnected':
        this.#tell({ kind: 'disconnected', why: effect.why });
        return;
    }
  }

  /** Rings when the session wants to be looked at next; a ring that comes too early only sets the next one. */
  #arm(): void {
    const at = nextTick(this.#session);
    if (at === undefined || (this.#timer !== undefined && this.#timer.at <= at)) return;
    this.#timer?.cancel();
    const cancel = this.#settings.clock.after(Math.max(0, at - this.#settings.clock.now()), () => {
      this.#timer = undefined;
      this.#step({ kind: 'tick' });
    });
    this.#timer = { at, cancel };
  }

  #onBeat(epoch: Epoch, serving: boolean): void {
    const withinMs = Math.min(maxSpreadMs, this.#frameworks * spreadMsPerFramework);
    this.#step({ kind: 'beat', epoch, serving, spreadMs: this.#settings.random() * withinMs });
    this.#listener.onBeat();
  }

  #onEvents(message: mesobus.v1.SchedulerEvents, epoch: Epoch, first: boolean): void {
    const { frameworkId, generation, instanceId } = message;
    if (instanceId !== this.#settings.instanceId) return;
    const events = message.events.map(({ event, traceparent, offerTraces }) => ({
      read: event === null ? ({ kind: 'nothing' } as const) : readWireEvent(event),
      traceparent,
      offerTraces,
    }));
    const ended = events.find(({ read }) => read.kind === 'ended')?.read;
    if (ended?.kind === 'ended' && generation >= this.#session.generation) this.#end(endedBy(ended.message));
    const subscribed = events.some(({ read }) => read.kind === 'subscribed');
    // A stream begins with SUBSCRIBED, unless the master had to begin it anew because too much waited in it.
    if (first && !subscribed) {
      this.#step({ kind: 'gap', why: 'the master has lost events on their way' });
      return;
    }
    this.#step({ kind: 'events', epoch, frameworkId, generation, subscribed }, (registered) => {
      for (const { read, traceparent, offerTraces } of events) {
        if (read.kind === 'tell') this.#listener.onEvent({ event: read.event, traceparent, offerTraces });
        if (read.kind !== 'subscribed' || registered === undefined) continue;
        this.#tell({ kind: registered, frameworkId, master: read.master });
      }
    });
  }

  #tell(event: SchedulerEvent): void {
    this.#listener.onEvent({ event, traceparent: '', offerTraces: {} });
  }

  async #subscribe(attempt: number, frameworkId: string | undefined): Promise<void> {
    const turn = ++this.#subscribeTurn;
    const subscribe = this.#settings.subscribeOf(frameworkId);
    const call = { type: 1, subscribe, ...(frameworkId !== undefined && { frameworkId: { value: frameworkId } }) };
    const queued = { id: `${this.#settings.instanceId}-subscribe-${attempt}`, call, tasks: 0, traceparent: '' };
    for (let failures = 0; turn === this.#subscribeTurn; failures += 1) {
      try {
        return this.#onSubscribeAnswered(attempt, turn, await this.#request([queued], subscribeTimeoutMs));
      } catch (error) {
        if (turn !== this.#subscribeTurn) return;
        if (error instanceof DisconnectedError) return this.#end(busClosed(error));
        if (isForGood(error)) return this.#end(refusedBy(error));
        if (await this.#wait(retryDelayMs(failures + 1, this.#settings.random()))) failures = -1;
      }
    }
  }

  /** @throws {RefusedError} as the master refused it */
  #onSubscribeAnswered(
    attempt: number,
    turn: number,
    answer: { replies: mesobus.v1.SchedulerReply[]; epoch: Epoch },
  ): void {
    if (turn !== this.#subscribeTurn) return;
    const reply = answer.replies[0];
    if (reply?.refusal) throw RefusedError.received(reply.refusal);
    if (!reply?.accepted) throw new RefusedError('outcome_unknown', 'SUBSCRIBE');
    const { frameworkId, generation } = reply.accepted;
    this.#step({ kind: 'accepted', attempt, epoch: answer.epoch, frameworkId, generation });
  }

  async #send(calls: readonly QueuedCall[]): Promise<mesobus.v1.SchedulerReply[]> {
    try {
      const { replies, epoch } = await this.#request(calls, callTimeoutMs);
      if (compareEpochs(epoch, this.#session.highest) > 0) this.#onBeat(epoch, true);
      return replies;
    } catch (error) {
      if (error instanceof DisconnectedError) this.#end(busClosed(error));
      throw error;
    }
  }

  async #request(
    calls: readonly QueuedCall[],
    timeoutMs: number,
  ): Promise<{ replies: mesobus.v1.SchedulerReply[]; epoch: Epoch }> {
    const { connection, instanceId } = this.#settings;
    const { frameworkId, generation, highest } = this.#session;
    const own = frameworkId === undefined ? {} : { frameworkId: { value: frameworkId } };
    const sentAtMs = this.#settings.now();
    const wire = calls.map(({ id, call, demand, pausing, traceparent }) => {
      const isSubscribe = call?.subscribe != null;
      const wanted = isSubscribe ? this.#settings.demandOf() : demand?.();
      return {
        callId: id,
        instanceId,
        generation, // of SUBSCRIBE too: whoever was superseded meanwhile must not take the framework back
        sentAtMs,
        traceparent,
        ...(call !== undefined && { call: isSubscribe ? call : { ...own, ...call } }),
        ...(pausing !== undefined && pausingToWire(pausing, frameworkId ?? '')),
        ...(wanted !== undefined && { demand: { ...wanted, frameworkId: frameworkId ?? '' } }),
        ...(isSubscribe && { highestEpoch: highest.epoch, highestClusterIncarnation: highest.incarnation }),
      };
    });
    const { message, epoch } = await this.#bus.request(
      connection.subjects.masterScheduler.of(connection.principal),
      { calls: wire },
      {
        timeoutMs,
        traceparent: '', // each call has its own
        accepts: (answering) => compareEpochs(answering, this.#session.highest) >= 0,
      },
    );
    return { replies: message.replies, epoch };
  }

  #onRefused(error: RefusedError): void {
    if (error.code === 'instance_superseded') this.#end(refusedBy(error));
    // The master has no such subscription (any more): subscribing again brings it back, or says why not.
    else if (error.code === 'framework_unknown') this.#step({ kind: 'gap', why: error.message });
  }

  #end(error: SchedulerEndedError): void {
    if (this.#closed) return;
    this.close(error);
    this.#listener.onEnded(error);
  }

  /** @returns whether it was cut short */
  #wait(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#settings.clock.after(ms, () => resolve(false));
      this.#hurry = () => {
        cancel();
        resolve(true);
      };
    });
  }
}

/** `failed` is a fault of the master, which the next one may not have. */
const isForGood = (error: unknown): error is Error =>
  error instanceof TypeError || (error instanceof RefusedError && !error.transient && error.code !== 'failed');

function refusedBy(error: Error): SchedulerEndedError {
  const superseded = error instanceof RefusedError && error.code === 'instance_superseded';
  return new SchedulerEndedError(superseded ? 'superseded' : 'refused', error.message, { cause: error });
}

function busClosed(error: Error): SchedulerEndedError {
  const message = `The scheduler has ended: ${error.message}; stop the scheduler before its bus`;
  return new SchedulerEndedError('bus_closed', message, { cause: error });
}

/** Mesos tells a superseded scheduler by this text alone. */
function endedBy(message: string): SchedulerEndedError {
  if (message !== 'Framework failed over') {
    return new SchedulerEndedError('ended', `The master has ended the subscription: ${message}`);
  }
  const what = 'Another scheduler has subscribed with the id of this framework and taken it over; this one has stopped';
  return new SchedulerEndedError('superseded', what);
}

function pausingToWire({ taskId, paused }: Pausing, frameworkId: string): mesobus.v1.SchedulerCall.$Properties {
  const which = { task: { frameworkId, taskId } };
  return paused ? { pauseTask: which } : { resumeTask: which };
}
