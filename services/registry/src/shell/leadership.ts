import { encode, mesobus } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import { type LeaseState, leaseState } from '../core/leadership.ts';
import type { Ledger } from '../core/ledger.ts';
import {
  abandon,
  barrier,
  createLogWriter,
  type LogWriter,
  type LogWriterEffect,
  type LogWriterInput,
  type LogWriterOptions,
  laggingBytes,
  type Moment,
  nextTickAt,
  resign,
  type SubmitResult,
  stepLogWriter,
  submit,
} from '../core/log-writer.ts';
import { onClosed } from './log-store.ts';
import type { LogTools } from './reading.ts';
import { sha256 } from './sha256.ts';

/** Why a leadership has ended. Whatever was not committed by then has an unknown outcome, and is never refused. */
export interface LostLeadership {
  readonly reason: 'deposed' | 'expired' | 'resigned';
  readonly why: string;
}

/** The sole right to write the log, until `lost`. */
export interface Leadership {
  readonly epoch: number;
  readonly incarnation: number;
  /**
   * Holds every entry before this leadership. It is the caller's from now on: nothing here applies the records that are
   * submitted, the caller does so when it decides.
   */
  readonly ledger: Ledger;
  /** Of the last entry in the log for good. */
  readonly lastIndex: number;
  /** `frozen`: no write has been confirmed for 10 s; accept nothing new until it is `fresh` again. */
  readonly lease: LeaseState;
  /** Waiting for the log. */
  readonly queuedBytes: number;
  /** So much waits for the log that nothing new should be decided. */
  readonly lagging: boolean;
  /**
   * Queues records for the log. Those given together stand in one entry, if they fit in one (512 KB). What is not urgent
   * waits up to 100 ms for company.
   *
   * @returns the position after the last of them
   * @throws {RefusedError} `message_too_large`: a single record does not fit in an entry; `overloaded`: too much waits
   * already; `not_leading`: this leadership has ended or is being handed over
   */
  submit(records: readonly mesobus.v1.Record.$Properties[], options: { readonly urgent: boolean }): number;
  /**
   * Demands a write that begins after now. Once its position is committed, this was still the leader after the call.
   *
   * @throws {RefusedError} `not_leading`
   */
  barrier(): number;
  /** Calls back when everything up to a position is in the log for good, with the index of the entry that holds it. */
  onCommitted(listener: (position: number, index: number) => void): void;
  /** Calls back when `lease` changes. */
  onLease(listener: (lease: LeaseState) => void): void;
  /** Resolves when it has ended, by whatever cause. */
  readonly lost: Promise<LostLeadership>;
  /**
   * Writes what is queued, then that nobody leads, so that a standby takes over at once. Gives up after 5 s.
   *
   * @param aboveEpoch - somebody obeys this epoch already, which is higher than this one: the next leader's is higher still
   */
  resign(aboveEpoch?: number): Promise<void>;
}

const whatToDo =
  'see that more than half of the NATS servers that keep the log run, reach each other, and have room on their disks; ' +
  'a server whose disk was full writes again only when it was restarted';
const leaseCheckMs = 250;
const resignTimeoutMs = 5_000;

export function startLeadership(
  tools: LogTools,
  ledger: Ledger,
  options: Omit<LogWriterOptions, 'hash' | 'now'>,
): Leadership {
  return new Leader(tools, ledger, options);
}

class Leader implements Leadership {
  readonly epoch: number;
  readonly incarnation: number;
  readonly ledger: Ledger;
  readonly lost: Promise<LostLeadership>;
  readonly #tools: LogTools;
  readonly #writer: LogWriter;
  readonly #lose: (lost: LostLeadership) => void;
  readonly #committedListeners: ((position: number, index: number) => void)[] = [];
  readonly #leaseListeners: ((lease: LeaseState) => void)[] = [];
  #lease: LeaseState = 'fresh';
  #ended = false;
  #tickSoon = false;
  #cancelTick: () => void = () => {};
  #cancelLeaseCheck: () => void = () => {};
  readonly #forgetClosing: () => void;

  constructor(tools: LogTools, ledger: Ledger, options: Omit<LogWriterOptions, 'hash' | 'now'>) {
    this.#tools = tools;
    this.ledger = ledger;
    this.epoch = options.epoch;
    this.incarnation = options.incarnation;
    const { promise, resolve } = Promise.withResolvers<LostLeadership>();
    this.lost = promise;
    this.#lose = resolve;
    this.#writer = createLogWriter({ ...options, hash: sha256, now: this.#now() });
    this.#checkLease();
    this.#step({ kind: 'tick' });
    const why = 'the connection to NATS is closed';
    this.#forgetClosing = onClosed(tools.store, () => this.#end({ reason: 'expired', why }));
  }

  get lastIndex(): number {
    return this.#writer.lastIndex;
  }

  get lease(): LeaseState {
    return this.#lease;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  get lagging(): boolean {
    return this.#writer.queuedBytes > laggingBytes;
  }

  submit(records: readonly mesobus.v1.Record.$Properties[], options: { readonly urgent: boolean }): number {
    const encoded = records.map((record) => encode(mesobus.v1.Record, record));
    return this.#positionOf(submit(this.#writer, this.#now(), encoded, options));
  }

  barrier(): number {
    return this.#positionOf(barrier(this.#writer, this.#now()));
  }

  onCommitted(listener: (position: number, index: number) => void): void {
    this.#committedListeners.push(listener);
  }

  onLease(listener: (lease: LeaseState) => void): void {
    this.#leaseListeners.push(listener);
  }

  async resign(aboveEpoch?: number): Promise<void> {
    if (this.#ended) return;
    resign(this.#writer, this.#now(), aboveEpoch);
    const why = `handing over took more than ${resignTimeoutMs} ms`;
    const giveUp = this.#tools.clock.after(resignTimeoutMs, () => this.#end({ reason: 'resigned', why }));
    this.#step({ kind: 'tick' });
    await this.lost;
    giveUp();
  }

  #positionOf(result: SubmitResult): number {
    if ('position' in result) {
      this.#soon();
      return result.position;
    }
    const codes = { too_large: 'message_too_large', overloaded: 'overloaded', ended: 'not_leading' } as const;
    throw new RefusedError(codes[result.refused], this.#tools.store.name, result.why);
  }

  /** What is submitted in the same turn goes into the same entry. */
  #soon(): void {
    if (this.#tickSoon) return;
    this.#tickSoon = true;
    queueMicrotask(() => {
      this.#tickSoon = false;
      this.#step({ kind: 'tick' });
    });
  }

  #step(input: LogWriterInput): void {
    if (this.#ended) return;
    for (const effect of stepLogWriter(this.#writer, this.#now(), input)) this.#carryOut(effect);
    this.#cancelTick();
    const at = this.#ended ? undefined : nextTickAt(this.#writer);
    if (at === undefined) return;
    const delayMs = Math.max(0, at - this.#tools.clock.now());
    this.#cancelTick = this.#tools.clock.after(delayMs, () => this.#step({ kind: 'tick' }));
  }

  #carryOut(effect: LogWriterEffect): void {
    switch (effect.kind) {
      case 'append':
        void this.#append(effect.key, effect.bytes, effect.expectedSequence);
        return;
      case 'read':
        void this.#read(effect.sequence);
        return;
      case 'committed':
        for (const listener of this.#committedListeners) listener(effect.position, effect.index);
        return;
      case 'ended':
        this.#end({ reason: effect.reason, why: effect.why });
    }
  }

  async #append(key: string, bytes: Uint8Array, expectedSequence: number): Promise<void> {
    const { store, clock, onAppended } = this.#tools;
    const began = clock.now();
    const outcome = await store.append(key, bytes, expectedSequence);
    onAppended?.(clock.now() - began);
    if (outcome.kind === 'unknown') this.#tools.log.warn({ key, why: outcome.why }, 'an append has an unknown outcome');
    this.#step(outcome);
  }

  async #read(sequence: number): Promise<void> {
    const answer = await this.#tools.store.readAt(sequence).then(
      (read): LogWriterInput => ({ kind: 'read', ...read }),
      (error: unknown): LogWriterInput => ({ kind: 'read_failed', why: (error as Error).message }),
    );
    this.#step(answer);
  }

  #checkLease(): void {
    const { confirmedAt, options } = this.#writer;
    const lease = leaseState(confirmedAt, options.leaseMs, this.#tools.clock.now());
    if (lease === 'expired') {
      this.#end({ reason: 'expired', why: `nothing was confirmed by NATS for ${options.leaseMs} ms` });
      return;
    }
    this.#cancelLeaseCheck = this.#tools.clock.after(leaseCheckMs, () => this.#checkLease());
    if (lease === this.#lease) return;
    this.#lease = lease;
    if (lease === 'fresh') this.#tools.log.info({ lease }, 'JetStream confirms writes again');
    else
      this.#tools.log.error({ lease, todo: whatToDo }, 'JetStream confirms no writes: this leader takes nothing new');
    for (const listener of this.#leaseListeners) listener(lease);
  }

  #end(lost: LostLeadership): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#lease = 'expired';
    abandon(this.#writer, lost.why);
    this.#cancelTick();
    this.#cancelLeaseCheck();
    this.#forgetClosing();
    this.#tools.log.info({ ...lost }, 'this master leads no more');
    this.#lose(lost);
  }

  /** Time for the core: pauses by the clock, and the time of day. */
  #now(): Moment {
    return { at: this.#tools.clock.now(), wallMs: this.#tools.wallMs() };
  }
}
