import type { mesobus, mesos } from '@mesobus/protos';
import type { Clock } from '../bus/clock.ts';
import { RefusedError } from '../errors.ts';

type WireCall = mesos.v1.scheduler.Call.$Properties;

/** Calls of one request; more wait for the next. */
export const maxBatchCalls = 1000;
/** Tasks in the calls of one request; a call with more goes alone. */
export const maxBatchTasks = 5000;
/** So many calls may wait; one more is refused. */
export const maxWaitingCalls = 100_000;

const firstRetryMs = 100;
const maxRetryMs = 2000;

/** Wait so long before try `failures + 1`: 100 ms, doubling to 2 s, each a quarter more or less by `dice` (0 to 1). */
export const retryDelayMs = (failures: number, dice: number): number =>
  Math.min(maxRetryMs, firstRetryMs * 2 ** Math.max(0, failures - 1)) * (0.75 + dice / 2);

/** A task of the framework that is to stand still, or to go on. */
export interface Pausing {
  readonly taskId: string;
  readonly paused: boolean;
}

/** A call that waits for its answer; its id stays the same however often it is sent. */
export interface QueuedCall {
  readonly id: string;
  /** Absent: it says what is wanted, as it is when it is sent. */
  readonly call?: WireCall;
  readonly demand?: () => mesobus.v1.Demand.$Properties;
  /** In place of `call`. */
  readonly pausing?: Pausing;
  /** How many tasks it carries: what makes a request large. */
  readonly tasks: number;
  readonly traceparent: string;
}

interface Waiting extends QueuedCall {
  readonly resolve: (accepted: mesobus.v1.SchedulerAccepted) => void;
  readonly reject: (error: Error) => void;
}

export interface CallLaneSettings {
  readonly clock: Clock;
  readonly random: () => number;
  /** Sends calls as one request. A rejection other than of a RefusedError or TypeError means: try again. */
  readonly send: (calls: readonly QueuedCall[]) => Promise<readonly mesobus.v1.SchedulerReply[]>;
  /** Sees each refusal for good, before the caller does. */
  readonly onRefused: (error: RefusedError) => void;
}

/**
 * Calls to the leader, in order: those made in one turn of the event loop travel together, one request is under way at
 * a time, and every call is repeated until it is answered.
 */
export class CallLane {
  readonly #settings: CallLaneSettings;
  #waiting: Waiting[] = [];
  #flying: Waiting[] = [];
  /** Changes when what is under way no longer counts. */
  #turn = 0;
  #open = false;
  #closed: Error | undefined;
  #failures = 0;
  #oneByOne = 0;
  #gathering = false;
  #cancelRetry: (() => void) | undefined;
  #onIdle: (() => void)[] = [];

  constructor(settings: CallLaneSettings) {
    this.#settings = settings;
  }

  /** Calls that have no answer yet. */
  get size(): number {
    return this.#waiting.length + this.#flying.length;
  }

  /**
   * Resolves when the leader has accepted the call.
   *
   * @throws {RefusedError} it was refused for good, or too many wait
   * @throws {TypeError} a field of the call has a value of the wrong type
   */
  add(call: QueuedCall): Promise<mesobus.v1.SchedulerAccepted> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.size >= maxWaitingCalls) {
      const why = `${maxWaitingCalls} calls already wait for the master`;
      return Promise.reject(new RefusedError('overloaded', call.id, why));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...call, resolve, reject });
      this.#gather();
    });
  }

  /** Calls may be sent. */
  open(): void {
    this.#open = true;
    this.#failures = 0;
    this.#gather();
  }

  /** Sends nothing until opened again; what is under way counts as not answered. */
  pause(): void {
    this.#open = false;
    this.#turn += 1;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#waiting = [...this.#flying, ...this.#waiting];
    this.#flying = [];
  }

  /** Fails everything that waits, and everything that comes. */
  close(error: Error): void {
    this.pause();
    this.#closed = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#settleIdle();
  }

  /** Resolves when no call waits. */
  idle(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #gather(): void {
    const busy = this.#gathering || this.#flying.length > 0 || this.#cancelRetry !== undefined;
    if (busy || !this.#open || this.#waiting.length === 0) return;
    this.#gathering = true;
    setImmediate(() => {
      this.#gathering = false;
      if (this.#open && this.#flying.length === 0 && this.#cancelRetry === undefined) this.#fly();
    });
  }

  #fly(): void {
    this.#flying = this.#takeBatch();
    if (this.#flying.length === 0) return;
    const turn = ++this.#turn;
    this.#settings.send(this.#flying).then(
      (replies) => turn === this.#turn && this.#onReplies(replies),
      (error: Error) => turn === this.#turn && this.#onFailure(error),
    );
  }

  #takeBatch(): Waiting[] {
    const limit = this.#oneByOne > 0 ? 1 : maxBatchCalls;
    if (this.#oneByOne > 0) this.#oneByOne -= 1;
    let tasks = 0;
    let count = 0;
    for (const call of this.#waiting) {
      tasks += call.tasks;
      if (count === limit || (count > 0 && tasks > maxBatchTasks)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  #onReplies(replies: readonly mesobus.v1.SchedulerReply[]): void {
    const byId = new Map(replies.map((reply) => [reply.callId, reply]));
    const again: Waiting[] = [];
    for (const call of this.#landed()) {
      const reply = byId.get(call.id);
      const refusal = reply?.refusal ? RefusedError.received(reply.refusal) : undefined;
      if (reply?.accepted) call.resolve(reply.accepted);
      else if (refusal === undefined || refusal.transient) again.push(call);
      else this.#refuse(call, refusal);
    }
    this.#continue(again);
  }

  #onFailure(error: Error): void {
    const calls = this.#landed();
    const isForGood = error instanceof TypeError || (error instanceof RefusedError && !error.transient);
    if (isForGood && calls.length > 1) {
      // One of them cannot be sent, or all together are too much: only alone it shows which.
      this.#oneByOne = calls.length;
      this.#waiting = [...calls, ...this.#waiting];
      this.#gather();
    } else if (isForGood) {
      for (const call of calls) this.#refuse(call, error);
      this.#continue([]);
    } else {
      this.#continue(calls);
    }
  }

  #landed(): Waiting[] {
    const calls = this.#flying;
    this.#flying = [];
    return calls;
  }

  #refuse(call: Waiting, error: Error): void {
    if (error instanceof RefusedError) this.#settings.onRefused(error);
    call.reject(error);
  }

  #continue(again: Waiting[]): void {
    // A refusal may have ended everything meanwhile.
    if (this.#closed !== undefined) for (const { reject } of again.splice(0)) reject(this.#closed);
    this.#waiting = [...again, ...this.#waiting];
    this.#settleIdle();
    this.#failures = again.length > 0 ? this.#failures + 1 : 0;
    if (again.length === 0) this.#gather();
    else if (this.#open) this.#gatherLater();
  }

  #gatherLater(): void {
    this.#cancelRetry = this.#settings.clock.after(retryDelayMs(this.#failures, this.#settings.random()), () => {
      this.#cancelRetry = undefined;
      this.#gather();
    });
  }

  #settleIdle(): void {
    if (this.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
