import { mesos } from '@mesobus/protos';
import { type Clock, systemClock } from '../bus/clock.ts';
import { DisconnectedError } from '../errors.ts';
import { isEndState, taskStateOf } from '../scheduler/task-status.ts';
import { AgentLink, AgentRefusedError, type EventStream } from './agent-link.ts';
import { type ExecutorCallbacks, graceOf, launchedTaskOf, registrationOf } from './callbacks.ts';
import { type ExecutorEnvironment, readEnvironment } from './environment.ts';
import { type StatusUpdate, wireStatusOf } from './status.ts';
import { Unacknowledged } from './unacknowledged.ts';

export interface ExecutorOptions {
  /** Where the agent has said who and where it is; default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
  /** Ms since 1970. */
  readonly now?: () => number;
}

/** Why an executor has ended. */
export interface ExecutorEnd {
  /**
   * `shutdown`: the agent had it end; `stopped`: it did so itself; `lost`: the agent stayed away; `refused`: the agent
   * does not know it any more, or does not take what it says.
   */
  readonly kind: 'shutdown' | 'stopped' | 'lost' | 'refused';
  readonly message: string;
}

/** A task that was launched and whose end the agent does not know. */
interface RunningTask {
  readonly info: mesos.v1.TaskInfo;
  /** The agent has written down something that was said of it. */
  known: boolean;
  /** Its end was said. */
  ended: boolean;
}

/** What waits to be sent, or is being sent. */
interface Saying {
  readonly call: Parameters<AgentLink['send']>[0];
  readonly onSent?: () => void;
  /** It was not taken, or it is not known whether it was. */
  readonly onFailed: (error: Error) => void;
}

const { Type } = mesos.v1.executor.Event;
const CallType = mesos.v1.executor.Call.Type;

/** An agent that has just started an executor answers; beyond this it would end it. */
const firstPatienceMs = 60_000;
const firstBackoffMs = 50;
/** Messages and updates on their way to the agent. */
const maxSayings = 10_000;

/**
 * Connects a process that an agent has started as an executor, by what its environment says. It subscribes at once; the
 * callbacks begin after this call has returned.
 *
 * @throws {TypeError} the environment is not that of an executor
 */
export function connectExecutor(callbacks: ExecutorCallbacks, options: ExecutorOptions = {}): Executor {
  return new Executor(callbacks, readEnvironment(options.env ?? process.env), options);
}

/**
 * The half of a framework that runs its tasks, on one agent; several tasks share it. It outlives its agent's restarts: it
 * subscribes again and says once more whatever the agent may not have written down.
 */
export class Executor {
  readonly frameworkId: string;
  readonly executorId: string;
  /** The folder that it runs in. */
  readonly sandbox: string;
  readonly #callbacks: ExecutorCallbacks;
  readonly #env: ExecutorEnvironment;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #link: AgentLink;
  readonly #unacknowledged = new Unacknowledged();
  readonly #tasks = new Map<string, RunningTask>();
  readonly #ended = Promise.withResolvers<ExecutorEnd>();
  #sayings: Saying[] = [];
  #saying = false;
  #stream: EventStream | undefined;
  #connected = false;
  #registered = false;
  #leaving = false;
  #over = false;
  #cancelPause = (): void => {};

  constructor(callbacks: ExecutorCallbacks, env: ExecutorEnvironment, options: Omit<ExecutorOptions, 'env'> = {}) {
    this.frameworkId = env.frameworkId;
    this.executorId = env.executorId;
    this.sandbox = env.sandbox;
    this.#callbacks = callbacks;
    this.#env = env;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? Date.now;
    this.#link = new AgentLink(env);
    void this.#run();
  }

  /** Resolves when it has ended. The process has nothing more to do then: what it leaves running is killed. */
  get ended(): Promise<ExecutorEnd> {
    return this.#ended.promise;
  }

  /**
   * Says what became of a task: kept, and said again after every restart of the agent, until the agent has written it down.
   * Updates arrive in the order in which they are sent.
   *
   * @returns when the agent has written it down. Nobody has to wait; but who ends the process before may have said nothing
   * @throws {RangeError} too much waits already: the agent is away
   */
  sendStatusUpdate(update: StatusUpdate): Promise<void> {
    if (this.#over) return Promise.reject(endedError());
    const status = wireStatusOf(update, this.#env, this.#now());
    const written = this.#unacknowledged.add(status);
    const task = this.#tasks.get(update.taskId);
    if (task !== undefined && isEndState(update.state)) task.ended = true;
    this.#say({
      call: { type: CallType.UPDATE, update: { status } },
      onFailed: (error) => {
        if (!isAboutTheCall(error)) return; // it goes with the next subscription
        this.#unacknowledged.fail(status.uuid, error);
        this.#report(error);
      },
    });
    return written;
  }

  /**
   * Says something to the scheduler that only it understands: at most once, at most 64 KB.
   *
   * @returns when the agent has taken it
   * @throws {DisconnectedError} the agent is away; nothing is kept for later
   * @throws {AgentRefusedError} the agent does not carry it
   * @throws {RangeError} too much waits already
   */
  sendFrameworkMessage(data: Uint8Array | string): Promise<void> {
    if (!this.#connected) return Promise.reject(this.#over ? endedError() : awayError());
    if (this.#sayings.length >= maxSayings)
      return Promise.reject(new RangeError('Too many messages wait for the agent'));
    const message = { data: typeof data === 'string' ? Buffer.from(data) : data };
    return new Promise((resolve, reject) => {
      this.#say({ call: { type: CallType.MESSAGE, message }, onSent: resolve, onFailed: reject });
    });
  }

  /** Ends the executor when the agent has all updates, or after the grace of a shutdown; tasks that it still has are lost. */
  stop(): Promise<ExecutorEnd> {
    void this.#leave({ kind: 'stopped', message: 'The executor has stopped itself' }, async () => {});
    return this.ended;
  }

  // ---- the subscription

  async #run(): Promise<void> {
    await Promise.resolve(); // callbacks may use what connectExecutor returns
    let silentSince = this.#clock.now();
    let patienceMs = Math.max(firstPatienceMs, this.#env.recoveryTimeoutMs);
    for (let attempt = 0; !this.#over; attempt += 1) {
      const { wasSubscribed, error } = await this.#subscribe();
      if (this.#over) return;
      if (wasSubscribed) {
        silentSince = this.#clock.now();
        patienceMs = this.#env.recoveryTimeoutMs;
        attempt = 0;
        this.#onDisconnected(error);
      }
      if (isFinal(error)) return this.#giveUp({ kind: 'refused', message: error.message });
      if (this.#clock.now() - silentSince >= patienceMs) return this.#giveUp({ kind: 'lost', message: error.message });
      await this.#pause(attempt);
    }
  }

  /** One subscription, from its first attempt to its end. */
  async #subscribe(): Promise<{ readonly wasSubscribed: boolean; readonly error: Error }> {
    this.#sayings = []; // all of them are updates, and go with the subscription
    let wasSubscribed = false;
    try {
      const stream = await this.#link.subscribe({
        unacknowledgedTasks: this.#unknownTasks(),
        unacknowledgedUpdates: this.#unacknowledged.updates,
      });
      this.#stream = stream;
      if (this.#over) stream.cut();
      for await (const event of stream.events) {
        wasSubscribed ||= event.type === Type.SUBSCRIBED;
        this.#onEvent(event);
      }
      return { wasSubscribed, error: new Error('The agent has ended the stream of events') };
    } catch (error) {
      return { wasSubscribed, error: error as Error };
    } finally {
      this.#stream = undefined;
      this.#connected = false;
    }
  }

  /** Tasks of which the agent has written down nothing: it may not know that they came here. */
  #unknownTasks(): mesos.v1.TaskInfo.$Properties[] {
    const unknown = [...this.#tasks.values()].filter(({ known }) => !known);
    // Who they are is all that the agent needs.
    return unknown.map(({ info: { name, taskId, agentId } }) => ({ name, taskId, agentId }));
  }

  #onDisconnected(error: Error): void {
    const sayings = this.#sayings;
    this.#sayings = [];
    for (const { onFailed } of sayings) onFailed(awayError());
    this.#callBack(() => this.#callbacks.disconnected?.(error.message));
  }

  #pause(attempt: number): Promise<void> {
    // Half of what is allowed: the subscription itself takes its time too.
    const longest = Math.min(this.#env.maxBackoffMs / 2, firstBackoffMs * 2 ** attempt);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(longest * (0.5 + this.#random() / 2), resolve);
      this.#cancelPause = () => {
        cancel();
        resolve();
      };
    });
  }

  // ---- events

  #onEvent(event: mesos.v1.executor.Event): void {
    const { subscribed, launch, launchGroup, kill, acknowledged, message, error } = event;
    if (subscribed) this.#onSubscribed(subscribed);
    else if (launch) this.#launch([launch.task]);
    else if (launchGroup) this.#launch(launchGroup.taskGroup.tasks);
    else if (kill) this.#callBack(() => this.#callbacks.killTask(kill.taskId.value, graceOf(kill.killPolicy)));
    else if (acknowledged) this.#onAcknowledged(acknowledged.uuid);
    else if (message) this.#callBack(() => this.#callbacks.frameworkMessage?.(message.data));
    else if (error) this.#giveUp({ kind: 'refused', message: error.message });
    else if (event.type === Type.SHUTDOWN) this.#onShutdown();
    else if (event.type === Type.HEARTBEAT) this.#say({ call: { type: CallType.HEARTBEAT }, onFailed: () => {} });
  }

  #onSubscribed(subscribed: mesos.v1.executor.Event.Subscribed): void {
    const isFirst = !this.#registered;
    this.#registered = true;
    this.#connected = true;
    const registration = registrationOf(subscribed);
    this.#callBack(() => {
      return isFirst ? this.#callbacks.registered?.(registration) : this.#callbacks.reregistered?.(registration);
    });
    void this.#sayAll();
  }

  /** A launch that the executor knows of is one that it is told of again. */
  #launch(infos: readonly mesos.v1.TaskInfo[]): void {
    const fresh = infos.filter(({ taskId }) => this.#tasks.get(taskId.value)?.ended ?? true);
    if (fresh.length === 0) return;
    for (const info of fresh) this.#tasks.set(info.taskId.value, { info, known: false, ended: false });
    const { launchGroup } = this.#callbacks;
    const tasks = fresh.map(launchedTaskOf);
    const failed = (these: typeof tasks) => (error: Error) => this.#onLaunchFailed(these, error);
    if (tasks.length > 1 && launchGroup !== undefined) {
      this.#callBack(() => launchGroup.call(this.#callbacks, tasks), failed(tasks));
    } else {
      for (const task of tasks) this.#callBack(() => this.#callbacks.launchTask(task), failed([task]));
    }
  }

  #onLaunchFailed(tasks: readonly { readonly id: string }[], error: Error): void {
    this.#report(error);
    for (const { id } of tasks) {
      if (this.#tasks.get(id)?.ended !== false) continue;
      this.#callBack(() => this.sendStatusUpdate({ taskId: id, state: 'TASK_FAILED', message: error.message }));
    }
  }

  #onAcknowledged(uuid: Uint8Array): void {
    const status = this.#unacknowledged.acknowledge(uuid)?.status;
    const task = status && this.#tasks.get(status.taskId.value);
    if (task === undefined) return;
    task.known = true;
    if (isEndState(taskStateOf(status?.state ?? 0))) this.#tasks.delete(task.info.taskId.value);
  }

  // ---- what it says

  #say(saying: Saying): void {
    this.#sayings.push(saying);
    void this.#sayAll();
  }

  /** One after the other, so that they arrive in order. */
  async #sayAll(): Promise<void> {
    if (this.#saying) return;
    this.#saying = true;
    while (this.#connected) {
      const saying = this.#sayings.shift();
      if (saying === undefined) break;
      const stream = this.#stream;
      try {
        await this.#link.send(saying.call);
        saying.onSent?.();
      } catch (error) {
        saying.onFailed(error as Error);
        if (!isAboutTheCall(error) && stream === this.#stream) {
          // The agent is away, or takes the executor for not subscribed: a new subscription mends both.
          this.#connected = false;
          stream?.cut();
        }
      }
    }
    this.#saying = false;
  }

  // ---- its end

  #onShutdown(): void {
    const end: ExecutorEnd = { kind: 'shutdown', message: 'The agent has shut the executor down' };
    void this.#leave(end, async () => this.#callbacks.shutdown?.());
  }

  /** Nobody hears the executor any more. */
  #giveUp(end: ExecutorEnd): void {
    if (end.kind === 'refused') this.#report(new Error(end.message));
    this.#unacknowledged.failAll(endedError());
    void this.#leave(end, async () => this.#callbacks.shutdown?.());
  }

  async #leave(end: ExecutorEnd, shutDown: () => Promise<void>): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    const grace = Promise.withResolvers<void>();
    const cancelGrace = this.#clock.after(this.#env.shutdownGraceMs, grace.resolve);
    const done = shutDown()
      .catch((error: unknown) => this.#report(asError(error)))
      .then(() => this.#unacknowledged.settled());
    await Promise.race([done, grace.promise]);
    cancelGrace();
    this.#over = true;
    this.#connected = false;
    this.#cancelPause();
    this.#stream?.cut();
    this.#link.close();
    this.#unacknowledged.failAll(endedError());
    this.#ended.resolve(end);
  }

  #callBack(call: () => unknown, onError: (error: Error) => void = (error) => this.#report(error)): void {
    (async () => call())().catch((error: unknown) => onError(asError(error)));
  }

  #report(error: Error): void {
    const { error: callback } = this.#callbacks;
    if (callback === undefined) console.error(error);
    else (async () => callback.call(this.#callbacks, error))().catch((second: unknown) => console.error(second));
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

const endedError = (): Error => new DisconnectedError('The executor has ended: nothing that it says arrives any more');
const awayError = (): Error => new DisconnectedError('The agent is away: say it again after `reregistered`');

/** The same call would be refused again. */
const isAboutTheCall = (error: unknown): boolean =>
  error instanceof AgentRefusedError && (error.status === 400 || error.status === 413 || error.status === 501);

/** The agent does not take the executor, and will not. */
const isFinal = (error: Error): boolean =>
  error instanceof AgentRefusedError && (error.status === 400 || error.status === 403);
