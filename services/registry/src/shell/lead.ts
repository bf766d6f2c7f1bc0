import { DisconnectedError } from '@mesobus/sdk/errors';
import {
  type Campaign,
  type CampaignEffect,
  type CampaignInput,
  createCampaign,
  defaultLeaseMs,
  maxSpreadMs,
  nextCampaignAt,
  stepCampaign,
} from '../core/leadership.ts';
import { leaderKey } from '../core/log-keys.ts';
import { type LogReading, type LogTools, startReading, UnfitLogError } from './follow.ts';
import { type Leadership, startLeadership } from './leadership.ts';

export interface LeadOptions {
  /** Unique per start of a process; at most 64 characters. */
  readonly masterId: string;
  /** How long this leader may go unconfirmed; 15 s unless given. */
  readonly leaseMs?: number;
  /**
   * The silence of the log after which another leader is replaced; the lease that it names, and a little more, unless
   * given. Any value is safe, since a deposed leader's appends are refused; a short one replaces leaders that only hang.
   */
  readonly takeoverAfterMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

/** Follows the log until this master has won it. */
export function lead(tools: LogTools, options: LeadOptions): Promise<Leadership> {
  return new Candidate(tools, options).result;
}

const closedMessage = 'Cannot campaign for the log: the connection to NATS is closed; open another';

class Candidate {
  readonly result: Promise<Leadership>;
  readonly #tools: LogTools;
  readonly #leaseMs: number;
  readonly #options: LeadOptions;
  readonly #settle: { resolve(leadership: Leadership): void; reject(error: unknown): void };
  readonly #reading: LogReading;
  readonly #campaign: Campaign;
  readonly #onAbort = (): void => this.#fail(this.#options.signal?.reason);
  #cancelTick: () => void = () => {};
  #done = false;

  constructor(tools: LogTools, options: LeadOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<Leadership>();
    this.result = promise;
    this.#settle = { resolve, reject };
    this.#tools = tools;
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? defaultLeaseMs;
    this.#reading = startReading(tools, {
      onEffect: (effect) => this.#step({ kind: 'read', effect }),
      onCaughtUp: () => this.#step({ kind: 'caught_up' }),
    });
    const { masterId, takeoverAfterMs } = options;
    const spreadMs = tools.random() * maxSpreadMs;
    const timing = { leaseMs: this.#leaseMs, spreadMs, at: tools.clock.now() };
    const patience = takeoverAfterMs === undefined ? {} : { takeoverAfterMs };
    this.#campaign = createCampaign({ masterId, ...timing, ...patience }, this.#reading.reader);
    void tools.store.closed().then(() => this.#fail(new DisconnectedError(closedMessage)));
    options.signal?.addEventListener('abort', this.#onAbort);
    if (options.signal?.aborted) this.#onAbort();
  }

  #step(input: CampaignInput): void {
    if (this.#done) return;
    for (const effect of stepCampaign(this.#campaign, this.#tools.clock.now(), input)) this.#carryOut(effect);
    this.#cancelTick();
    const at = this.#done ? undefined : nextCampaignAt(this.#campaign);
    if (at === undefined) return;
    const delayMs = Math.max(1, at - this.#tools.clock.now());
    this.#cancelTick = this.#tools.clock.after(delayMs, () => this.#step({ kind: 'tick' }));
  }

  #carryOut(effect: CampaignEffect): void {
    switch (effect.kind) {
      case 'campaign':
        void this.#write(effect.bytes, effect.expectedLeaderSequence);
        return;
      case 'won':
        this.#win(effect);
        return;
      case 'unfit':
        this.#fail(new UnfitLogError(effect.why));
    }
  }

  async #write(bytes: Uint8Array, expectedLeaderSequence: number): Promise<void> {
    const { kind } = await this.#tools.store.update(leaderKey, bytes, expectedLeaderSequence);
    this.#step({ kind: 'campaign_ended', outcome: kind === 'appended' ? 'written' : kind });
  }

  #win({ incarnation, epoch, sequence }: Extract<CampaignEffect, { kind: 'won' }>): void {
    this.#end();
    const { ledger, reader } = this.#reading;
    const { lastIndex, lastHash } = reader;
    const { masterId } = this.#options;
    this.#tools.log.info({ masterId, epoch, incarnation, lastIndex }, 'this master leads');
    const position = { incarnation, epoch, masterId, lastSequence: sequence, lastIndex, lastHash };
    this.#settle.resolve(startLeadership(this.#tools, ledger, { ...position, leaseMs: this.#leaseMs }));
  }

  #fail(error: unknown): void {
    if (this.#done) return;
    this.#end();
    this.#settle.reject(error);
  }

  #end(): void {
    this.#done = true;
    this.#cancelTick();
    this.#reading.stop();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }
}
