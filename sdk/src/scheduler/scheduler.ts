import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { mesos } from '@mesobus/protos';
import { systemClock } from '../bus/index.ts';
import { DeadlineError, DisconnectedError, RefusedError } from '../errors.ts';
import { type Connection, openConnection } from '../operator/connection.ts';
import { type ResourcesInput, toResources, toWire } from '../resources/index.ts';
import type { SchedulerCallbacks } from './callbacks.ts';
import { durationOf } from './command.ts';
import { demandOf } from './demand.ts';
import { DemandTeller } from './demand-teller.ts';
import { Dispatcher } from './dispatcher.ts';
import { EventPump } from './event-pump.ts';
import { type FrameworkSettings, frameworkInfoOf } from './framework.ts';
import { LeaderLink, type TracedEvent } from './leader-link.ts';
import type { InverseOffer, Offer } from './offer.ts';
import { OpenOffers } from './open-offers.ts';
import { type Operation, wireOperationsOf } from './operation.ts';
import type { Placing } from './placing.ts';
import type { SchedulerEndedError } from './scheduler-ended-error.ts';
import type { SchedulerEvent } from './scheduler-event.ts';
import type { CallResult, OfferOptions, SchedulerOptions, StopOptions } from './scheduler-options.ts';
import { activeTraceparent, childOf, contextOf, noteError } from './spans.ts';
import type { Task } from './task.ts';
import type { OperationStatus, TaskStatus } from './task-status.ts';
import { type UnheardTask, UnheardTasks } from './unheard-tasks.ts';

type Call = mesos.v1.scheduler.Call.$Properties;

const types = mesos.v1.scheduler.Call.Type;

/** So many events may wait for the author; beyond that the rest is lost and a fresh start is asked for. */
const maxWaitingEvents = 100_000;
const stopTimeoutMs = 10_000;
/** A master that waits for an agent does not answer about its tasks: it is asked again after this, doubling. */
const firstAskAgainMs = 2_000;
const lastAskAgainMs = 60_000;
/** Tasks in one question. */
const tasksPerQuestion = 1_000;

/**
 * The half of a framework that answers offers: it tells Mesobus what to run, and hears what becomes of it.
 *
 * Everything that fails for a while (no master, no connection, lost messages) is repaired inside: calls wait until they
 * are answered, and `disconnected` and `reregistered` say what happened.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #dispatcher: Dispatcher;
  readonly #pump: EventPump<TracedEvent>;
  readonly #offers = new OpenOffers();
  readonly #acknowledging = new Set<string>();
  readonly #unheard = new UnheardTasks();
  readonly #demand: DemandTeller;
  /** How often the framework was registered again. */
  #reregistrations = 0;
  #cancelAsking = (): void => {};
  readonly #registered = Promise.withResolvers<string>();
  readonly #stopped = Promise.withResolvers<void>();
  #framework: FrameworkSettings;
  #suppressedRoles: readonly string[];
  #connection: Connection | undefined;
  #link: LeaderLink | undefined;
  #starting: Promise<string> | undefined;
  #stopping: Promise<void> | undefined;

  /**
   * @param callbacks - left out, every event waits for `events()`
   * @throws {MalformedResourceError} `minOffers` cannot be read
   * @throws {TypeError} both `place` and `resourceOffers` are to answer offers
   */
  constructor(options: SchedulerOptions, callbacks?: SchedulerCallbacks) {
    this.#options = options;
    this.#dispatcher = new Dispatcher({
      callbacks,
      placing: this.#placing(callbacks),
      offers: this.#offers,
      // A refused acknowledgement needs no care: the agent repeats the update.
      acknowledge: (status) => void this.acknowledge(status).catch(() => undefined),
      acknowledgeOperation: (status) => void this.acknowledgeOperation(status).catch(() => undefined),
      automatic: options.acknowledge !== 'manual',
    });
    this.#framework = { ...options.framework, user: options.framework.user ?? ownUser() };
    frameworkInfoOf(this.#framework, '', undefined); // what cannot be said fails here, not at the first SUBSCRIBE
    this.#suppressedRoles = options.framework.suppressedRoles ?? [];
    this.#pump = new EventPump(
      maxWaitingEvents,
      (item) => this.#handle(item),
      () => this.#link?.startAnew(`more than ${maxWaitingEvents} events waited for the scheduler`),
    );
    this.#demand = new DemandTeller({
      read: () => this.#wanted(),
      send: (say) => (this.#link as LeaderLink).tellDemand(say),
      onError: (error) => this.#onEvent({ event: { kind: 'error', error }, traceparent: '', offerTraces: {} }),
    });
    // Whoever waits for them hears of it; nobody has to.
    this.#registered.promise.catch(() => undefined);
    this.#stopped.promise.catch(() => undefined);
  }

  /** Of the framework, once it is registered. */
  get frameworkId(): string | undefined {
    return this.#link?.frameworkId;
  }

  /**
   * Connects and subscribes; resolves with the framework's id when the master has registered it, however long that takes.
   *
   * @throws {NoContextError} no cluster was named and none was found
   * @throws {DisconnectedError} no NATS server could be reached
   * @throws {SchedulerEndedError} the master does not let the framework subscribe, or it was stopped before
   */
  start(): Promise<string> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /**
   * Starts, if that has not happened yet, and resolves when the scheduler was stopped.
   *
   * @throws {SchedulerEndedError} it has ended without being stopped: superseded, refused, torn down by an operator
   * @throws what `start` throws
   */
  async run(): Promise<void> {
    const starting = this.start();
    await Promise.race([this.#stopped.promise, starting.then(() => this.#stopped.promise)]);
  }

  /**
   * Ends the scheduler: tears the framework down, which kills its tasks, or, with `failover`, leaves them to a successor.
   * May be called from a callback. No callback runs afterwards.
   *
   * @throws {DeadlineError} the master could not be told in time; the scheduler has stopped, the framework stays until
   * its failover timeout has passed
   */
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  /** The same as `stop()`: removes the framework and kills its tasks. */
  teardown(): Promise<void> {
    return this.stop();
  }

  /**
   * Every event, for a `for await` loop; the next one comes when the loop asks for it, and a status update counts as dealt
   * with then. The loop ends when the scheduler stops, and throws when it ended otherwise. One loop at a time.
   */
  events(): AsyncIterableIterator<SchedulerEvent, undefined> {
    return this.#dispatcher.events();
  }

  /**
   * Uses offers of one agent: for tasks, and for operations on their resources, in the order given. What is left over goes
   * back. What is wrong with an offer or a task comes as a status update (TASK_DROPPED, TASK_ERROR), not here.
   *
   * @param offers - their ids will do, for as long as they are open
   * @throws {ConversionError} an operation on resources makes no sense: what, to what, why, what to do
   * @throws {RefusedError} offer_unknown (a task needs its agent's id and only ids of closed offers are given); otherwise as
   * the master refused the call
   */
  async accept(
    offers: Offer | string | readonly (Offer | string)[],
    what: readonly (Operation | Task)[],
    options: OfferOptions = {},
  ): Promise<CallResult> {
    const ids = idsOf(offers);
    const agentId = this.#agentOf(offers, what);
    const operations = wireOperationsOf(what, agentId ?? '');
    const tasks = operations.reduce((sum, one) => sum + (one.launch?.taskInfos?.length ?? 0), 0);
    const decision = this.#offers.accept(ids);
    const span = childOf(decision, 'accept', { 'mesobus.offer_id': ids.join(','), 'mesobus.tasks': tasks });
    const accept = { offerIds: ids.map((value) => ({ value })), operations, ...filtersOf(options) };
    const launches = this.#unheard.launching(accept);
    const before = this.#reregistrations;
    try {
      const result = await this.#call({ type: types.ACCEPT, accept }, { tasks, traceparent: contextOf(span) });
      this.#unheard.accepted(launches);
      if (this.#reregistrations !== before) this.#askAboutUnheard(); // the leader before may have accepted it, and died
      return result;
    } catch (error) {
      this.#unheard.refused(launches);
      noteError(span, error as Error);
      throw error;
    } finally {
      span?.end();
    }
  }

  /** Launches tasks on an offer: `accept` by its usual name. */
  launch(offer: Offer | string, tasks: readonly Task[], options?: OfferOptions): Promise<CallResult> {
    return this.accept(offer, tasks, options);
  }

  /** Gives offers back. */
  decline(offers: Offer | string | readonly (Offer | string)[], options: OfferOptions = {}): Promise<CallResult> {
    const ids = idsOf(offers);
    for (const id of ids) {
      this.#offers.find(id)?.span?.setAttribute('mesobus.declined', true);
      this.#offers.answer(id);
    }
    const decline = { offerIds: ids.map((value) => ({ value })), ...filtersOf(options) };
    return this.#call({ type: types.DECLINE, decline });
  }

  acceptInverseOffers(
    inverseOffers: readonly (InverseOffer | string)[],
    options: OfferOptions = {},
  ): Promise<CallResult> {
    const inverseOfferIds = idsOf(inverseOffers).map((value) => ({ value }));
    const acceptInverseOffers = { inverseOfferIds, ...filtersOf(options) };
    return this.#call({ type: types.ACCEPT_INVERSE_OFFERS, acceptInverseOffers });
  }

  declineInverseOffers(
    inverseOffers: readonly (InverseOffer | string)[],
    options: OfferOptions = {},
  ): Promise<CallResult> {
    const inverseOfferIds = idsOf(inverseOffers).map((value) => ({ value }));
    const declineInverseOffers = { inverseOfferIds, ...filtersOf(options) };
    return this.#call({ type: types.DECLINE_INVERSE_OFFERS, declineInverseOffers });
  }

  /** Wants offers again: ends what `suppress` and declined offers keep away. Without roles: for all of them. */
  revive(roles: readonly string[] = []): Promise<CallResult> {
    this.#suppressedRoles = roles.length === 0 ? [] : this.#suppressedRoles.filter((role) => !roles.includes(role));
    return this.#call({ type: types.REVIVE, revive: { roles: [...roles] } });
  }

  /** Wants no offers until revived. Without roles: for all of them. */
  suppress(roles: readonly string[] = []): Promise<CallResult> {
    const meant = roles.length === 0 ? (this.#framework.roles ?? ['*']) : roles;
    this.#suppressedRoles = [...new Set([...this.#suppressedRoles, ...meant])];
    return this.#call({ type: types.SUPPRESS, suppress: { roles: [...roles] } });
  }

  /** Has a task killed. That it was asked for is what this says; TASK_KILLED (or another end) comes as a status update. */
  kill(
    taskId: string,
    options: { readonly agentId?: string; readonly gracePeriodMs?: number } = {},
  ): Promise<CallResult> {
    const { agentId, gracePeriodMs } = options;
    const kill = {
      taskId: { value: taskId },
      ...(agentId !== undefined && { agentId: { value: agentId } }),
      ...(gracePeriodMs !== undefined && { killPolicy: { gracePeriod: durationOf(gracePeriodMs) } }),
    };
    return this.#call({ type: types.KILL, kill }, { traceparent: activeTraceparent() });
  }

  /**
   * Has a task stand still, with all that it holds, until it is resumed or killed. What Mesos does not have. That it does
   * comes as a status update: TASK_RUNNING with the label `mesobus.paused`.
   *
   * @throws {RefusedError} call_invalid: there is no such task, it has ended, or an executor of its framework runs it
   */
  pause(taskId: string): Promise<CallResult> {
    return this.#pause(taskId, true);
  }

  /** Has a paused task go on. That it does comes as a status update. Throws what `pause` throws. */
  resume(taskId: string): Promise<CallResult> {
    return this.#pause(taskId, false);
  }

  /** Ends an executor with all its tasks. */
  shutdownExecutor(agentId: string, executorId: string): Promise<CallResult> {
    const shutdown = { agentId: { value: agentId }, executorId: { value: executorId } };
    return this.#call({ type: types.SHUTDOWN, shutdown });
  }

  /** Says that a status update was dealt with: its agent forgets it. Needed with `acknowledge: 'manual'` only. */
  async acknowledge(status: TaskStatus): Promise<void> {
    const { uuid, taskId, agentId, raw } = status;
    if (uuid === undefined || agentId === undefined) return; // made by the master: nobody waits
    this.#dispatcher.noteAcknowledged(uuid);
    if (this.#acknowledging.has(uuid)) return;
    this.#acknowledging.add(uuid);
    const acknowledge = { taskId: { value: taskId }, agentId: { value: agentId }, uuid: raw.uuid };
    const span = childOf(this.#dispatcher.spanOf(status), 'acknowledge', { 'mesobus.task_id': taskId });
    try {
      const traceparent = contextOf(span);
      await this.#call({ type: types.ACKNOWLEDGE, acknowledge }, { lane: 'acknowledgements', traceparent });
    } catch (error) {
      noteError(span, error as Error);
      throw error;
    } finally {
      span?.end();
      this.#acknowledging.delete(uuid);
    }
  }

  /** Says that the status of an operation was dealt with. Needed with `acknowledge: 'manual'` only. */
  async acknowledgeOperation(status: OperationStatus): Promise<void> {
    const { raw, agentId, operationId } = status;
    if (raw.uuid === null || operationId === undefined) return;
    const acknowledgeOperationStatus = {
      operationId: { value: operationId },
      uuid: raw.uuid.value,
      ...(agentId !== undefined && { agentId: { value: agentId } }),
      ...(raw.resourceProviderId !== null && { resourceProviderId: raw.resourceProviderId }),
    };
    await this.#call(
      { type: types.ACKNOWLEDGE_OPERATION_STATUS, acknowledgeOperationStatus },
      { lane: 'acknowledgements' },
    );
  }

  /** Asks for the latest status of these tasks, or of all that are not over; they come as status updates. */
  reconcile(tasks: readonly { readonly taskId: string; readonly agentId?: string }[] = []): Promise<CallResult> {
    this.#unheard.askedByAuthor();
    return this.#reconcile(tasks);
  }

  /** Asks for the latest status of these operations, or of all that are not acknowledged; they come as operation updates. */
  reconcileOperations(
    operations: readonly { readonly operationId: string; readonly agentId?: string }[] = [],
  ): Promise<CallResult> {
    const asked = operations.map(({ operationId, agentId }) => ({
      operationId: { value: operationId },
      ...(agentId !== undefined && { agentId: { value: agentId } }),
    }));
    return this.#call({ type: types.RECONCILE_OPERATIONS, reconcileOperations: { operations: asked } });
  }

  /** Says something to an executor that only it understands. At most once. */
  sendMessage(agentId: string, executorId: string, data: Uint8Array): Promise<CallResult> {
    const message = { agentId: { value: agentId }, executorId: { value: executorId }, data };
    return this.#call({ type: types.MESSAGE, message });
  }

  /** Looks at `demand` now, and not only with the next event or within 300 ms: for work that comes from elsewhere. */
  demandChanged(): void {
    this.#checkDemand();
  }

  /** Hints at what is wanted, of one agent or any, as in Mesos, and as there nobody takes the hint: `demand` counts. */
  requestResources(
    requests: readonly { readonly agentId?: string; readonly resources: ResourcesInput }[],
  ): Promise<CallResult> {
    const asked = requests.map(({ agentId, resources }) => ({
      resources: toWire(toResources(resources)),
      ...(agentId !== undefined && { agentId: { value: agentId } }),
    }));
    return this.#call({ type: types.REQUEST, request: { requests: asked } });
  }

  /** Changes how the framework presents itself: its roles, name, labels, which offers it wants. */
  async updateFramework(changes: Partial<Omit<FrameworkSettings, 'id'>>): Promise<CallResult> {
    const before = [this.#framework, this.#suppressedRoles] as const;
    this.#framework = { ...this.#framework, ...changes };
    this.#suppressedRoles = changes.suppressedRoles ?? this.#suppressedRoles;
    try {
      return await this.#call({ type: types.UPDATE_FRAMEWORK, updateFramework: this.#subscribeOf(this.frameworkId) });
    } catch (error) {
      [this.#framework, this.#suppressedRoles] = before;
      throw error;
    }
  }

  async #start(): Promise<string> {
    if (this.#stopping !== undefined) throw stoppedError();
    this.#connection = await openConnection(this.#options, `framework ${this.#framework.name}`);
    if (this.#stopping !== undefined) {
      await this.#connection.close();
      throw stoppedError();
    }
    const link = new LeaderLink(
      {
        connection: this.#connection,
        clock: this.#options.clock ?? systemClock,
        random: this.#options.random ?? Math.random,
        now: this.#options.now ?? Date.now,
        instanceId: this.#options.instanceId ?? randomUUID(),
        frameworkId: this.#framework.id,
        subscribeOf: (frameworkId) => this.#subscribeOf(frameworkId),
        demandOf: () => this.#demand.current(),
      },
      {
        onEvent: (item) => this.#onEvent(item),
        onBeat: () => this.#checkDemand(),
        onEnded: (error) => void this.#onEnded(error),
      },
    );
    this.#link = link;
    await link.open();
    return this.#registered.promise;
  }

  async #stop({ failover = false, timeoutMs = stopTimeoutMs }: StopOptions): Promise<void> {
    this.#pump.close({ drain: false });
    this.#cancelAsking();
    const link = this.#link;
    let untold: Error | undefined;
    try {
      if (link?.frameworkId !== undefined) {
        const done = failover ? link.idle() : this.#call({ type: types.TEARDOWN });
        await this.#within(timeoutMs, done);
      }
    } catch (error) {
      // Whoever is already gone for the master needs no tearing down.
      const isGone = error instanceof RefusedError && /^framework_(unknown|removed)$/.test(error.code);
      if (!isGone && !failover) untold = error as Error;
    }
    const stopped = stoppedError();
    link?.close(stopped);
    this.#dispatcher.end(undefined);
    this.#registered.reject(stopped);
    await this.#connection?.close();
    this.#stopped.resolve();
    if (untold !== undefined) throw untold;
  }

  async #onEnded(error: SchedulerEndedError): Promise<void> {
    if (this.#stopping !== undefined) return;
    this.#stopping = this.#stopped.promise.catch(() => undefined);
    this.#cancelAsking();
    // What waits cannot be answered any more; the callback that runs may end before the author hears of this.
    this.#dispatcher.end(error);
    this.#pump.discard(() => true);
    this.#pump.push({ event: { kind: 'error', error }, traceparent: '', offerTraces: {} }, true);
    this.#pump.close({ drain: true });
    this.#registered.reject(error);
    await this.#connection?.close();
    this.#stopped.reject(error);
  }

  async #handle(item: TracedEvent): Promise<void> {
    const { event } = item;
    if (event.kind === 'update' && !this.#unheard.hear(event.status)) return;
    if (event.kind === 'reregistered') {
      this.#reregistrations += 1;
      this.#askAboutUnheard();
    }
    await this.#dispatcher.handle(item);
    this.#checkDemand();
  }

  #wanted(): ReturnType<typeof demandOf> | undefined {
    const { demand } = this.#options;
    return demand && demandOf(demand(), this.#framework.roles ?? ['*']);
  }

  #checkDemand(): void {
    if (this.frameworkId !== undefined && this.#stopping === undefined) this.#demand.check();
  }

  /** How offers are answered if the author only says which tasks go on each. */
  #placing(callbacks: SchedulerCallbacks | undefined): Placing | undefined {
    if (callbacks?.place === undefined) return undefined;
    if (callbacks.resourceOffers !== undefined) {
      throw new TypeError("Cannot answer offers twice: give either 'place' or 'resourceOffers'");
    }
    return {
      place: (offer) => callbacks.place?.(offer) ?? [],
      launch: (offer, tasks) => this.launch(offer, tasks),
      giveBack: async (offer) => this.#offers.find(offer.id) && this.decline(offer),
    };
  }

  /** What a master finds of a launch it says once: a status that was lost with it is asked for. */
  #askAboutUnheard(): void {
    void this.#askAbout(this.#unheard.ask(), firstAskAgainMs).catch(() => undefined); // the scheduler has ended
  }

  async #askAbout(tasks: readonly UnheardTask[], againMs: number): Promise<void> {
    this.#cancelAsking();
    const before = this.#reregistrations;
    for (let from = 0; from < tasks.length; from += tasksPerQuestion) {
      await this.#reconcile(tasks.slice(from, from + tasksPerQuestion));
    }
    if (tasks.length === 0 || this.#reregistrations !== before || this.#stopping !== undefined) return;
    this.#cancelAsking();
    this.#cancelAsking = (this.#options.clock ?? systemClock).after(againMs, () => {
      const again = this.#askAbout(this.#unheard.unanswered(), Math.min(againMs * 2, lastAskAgainMs));
      again.catch(() => undefined);
    });
  }

  #reconcile(tasks: readonly { readonly taskId: string; readonly agentId?: string }[]): Promise<CallResult> {
    const asked = tasks.map(({ taskId, agentId }) => ({
      taskId: { value: taskId },
      ...(agentId && { agentId: { value: agentId } }),
    }));
    return this.#call({ type: types.RECONCILE, reconcile: { tasks: asked } }, { tasks: tasks.length });
  }

  #onEvent(item: TracedEvent): void {
    const { event } = item;
    if (event.kind === 'disconnected') this.#pump.discard((waiting) => isVoidAfterLoss(waiting.event));
    if (event.kind === 'registered' || event.kind === 'reregistered') {
      this.#registered.resolve(event.frameworkId);
      this.#demand.startAnew();
    }
    const isRare = event.kind === 'disconnected' || event.kind === 'registered' || event.kind === 'reregistered';
    this.#pump.push(item, isRare);
  }

  async #pause(taskId: string, paused: boolean): Promise<CallResult> {
    const { logIndex } = await this.#started().pause({ taskId, paused });
    return { logIndex };
  }

  #started(): LeaderLink {
    if (this.#link !== undefined) return this.#link;
    throw new DisconnectedError('Cannot call the master: the scheduler has not started; call start() first');
  }

  async #call(call: Call, options?: Parameters<LeaderLink['call']>[1]): Promise<CallResult> {
    const answered = this.#started().call(call, options);
    if (options?.lane !== 'acknowledgements') this.#checkDemand(); // what is launched is wanted no more: in one breath
    const { logIndex } = await answered;
    return { logIndex };
  }

  #subscribeOf(frameworkId: string | undefined): mesos.v1.scheduler.Call.Subscribe.$Properties {
    const { principal } = this.#connection as Connection;
    const { offerConstraints } = this.#framework;
    return {
      frameworkInfo: frameworkInfoOf(this.#framework, principal, frameworkId),
      suppressedRoles: [...this.#suppressedRoles],
      ...(offerConstraints !== undefined && { offerConstraints }),
    };
  }

  #agentOf(
    offers: Offer | string | readonly (Offer | string)[],
    what: readonly (Operation | Task)[],
  ): string | undefined {
    const list = asList(offers);
    for (const offer of list) {
      const agentId = typeof offer === 'string' ? this.#offers.find(offer)?.agentId : offer.agentId;
      if (agentId !== undefined) return agentId;
    }
    const tasks = what.flatMap((one) => ('kind' in one ? ('tasks' in one ? one.tasks : []) : [one]));
    if (tasks.every((task) => task.agentId !== undefined)) return undefined;
    throw new RefusedError('offer_unknown', idsOf(offers).join(','));
  }

  /** @throws {DeadlineError} it takes longer */
  async #within(timeoutMs: number, done: Promise<unknown>): Promise<void> {
    const clock = this.#options.clock ?? systemClock;
    const late = Promise.withResolvers<never>();
    const { masterScheduler } = (this.#connection as Connection).subjects;
    const { subject } = masterScheduler.of((this.#connection as Connection).principal);
    const cancel = clock.after(timeoutMs, () => late.reject(new DeadlineError(subject, timeoutMs)));
    await Promise.race([done, late.promise]).finally(cancel);
  }
}

function ownUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    const why = 'the user of this process has no name; set framework.user to one that the agents know';
    throw new TypeError(`Cannot tell which user tasks run as: ${why}`, { cause: error });
  }
}

const asList = <T>(one: T | readonly T[]): readonly T[] => (Array.isArray(one) ? one : [one as T]);

const idsOf = (offers: OfferLike | readonly OfferLike[]): string[] =>
  asList(offers).map((offer) => (typeof offer === 'string' ? offer : offer.id));

type OfferLike = string | { readonly id: string };

const filtersOf = ({ refuseSeconds }: OfferOptions) =>
  refuseSeconds === undefined ? {} : { filters: { refuseSeconds } };

/** Status updates still count: what was not acknowledged would only come again. */
const isVoidAfterLoss = ({ kind }: SchedulerEvent): boolean =>
  kind === 'offers' || kind === 'rescinded' || kind === 'inverse_offers' || kind === 'inverse_offer_rescinded';

const stoppedError = () => new DisconnectedError('The scheduler was stopped: make a new one to go on');
