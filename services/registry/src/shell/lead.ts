import { DisconnectedError } from '@mesobus/sdk/errors';
import {
  type Campaign,
  type CampaignEffect,
  type CampaignInput,
  createCampaign,
  defaultLeaseMs,
  masterCapabilities,
  maxSpreadMs,
  nextCampaignAt,
  stepCampaign,
} from '../core/leadership.ts';
import { leaderKey } from '../core/log-keys.ts';
import { type Leadership, startLeadership } from './leadership.ts';
import { onClosed } from './log-store.ts';
import { type LogReading, type LogTools, startReading, UnfitLogError } from './reading.ts';

export interface LeadOptions {
  /** Another for each call, among all masters ever; at most 64 characters. */
  readonly masterId: string;
  /** How long this leader may go unconfirmed; 15 s unless given. */
  readonly leaseMs?: number;
  /** Sees and hears other leaders beside the log: with it, one that is gone is replaced within about two seconds. */
  readonly witness?: Witness;
  /** What a master has from the leadership that it lost lately. */
  readonly after?: LostTerm;
  /** What this master can do that a cluster may demand; all that this code can do unless given. */
  readonly capabilities?: readonly string[];
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

export interface LostTerm {
  /** Its id then. */
  readonly masterId: string;
  /** For so long it replaces nobody else who holds the log. */
  readonly pauseMs: number;
}

/** What a standby perceives of leaders beside the log. */
export interface Witness {
  /** Calls back on each beat of a master; `leading`: it serves. Returns the call that ends it. */
  onBeat(listener: (masterId: string, leading: boolean) => void): () => void;
  /** Calls back now and on every change of this standby's own connection. Returns the call that ends it. */
  onConnection(listener: (connected: boolean) => void): () => void;
  /** Asks whether anybody serves what only a leader serves. 'nobody' only on a server's word; never rejects. */
  probe(): Promise<'nobody' | 'unknown'>;
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
  readonly #stops: (() => void)[] = [];
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
      onRestart: () => this.#step({ kind: 'restarted' }),
    });
    const { masterId, witness, after, capabilities = masterCapabilities } = options;
    const former = { formerId: after?.masterId ?? '', pauseMs: after?.pauseMs ?? 0 };
    const timing = { leaseMs: this.#leaseMs, spreadMs: tools.random() * maxSpreadMs, at: tools.clock.now() };
    const witnessed = witness !== undefined;
    this.#campaign = createCampaign({ masterId, ...timing, ...former, witnessed, capabilities }, this.#reading);
    if (witness !== undefined) {
      this.#stops.push(
        witness.onConnection((connected) => this.#step({ kind: 'connection', connected })),
        witness.onBeat((id, leading) => this.#step({ kind: 'beat', masterId: id, leading })),
      );
    }
    this.#stops.push(onClosed(tools.store, () => this.#fail(new DisconnectedError(closedMessage))));
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
        void this.#write(effect.bytes, effect.expectedSequence);
        return;
      case 'probe':
        void this.#probe(effect.probe);
        return;
      case 'won':
        this.#win(effect);
        return;
      case 'unfit':
        this.#fail(new UnfitLogError(effect.why));
    }
  }

  async #write(bytes: Uint8Array, expectedSequence: number): Promise<void> {
    await this.#tools.store.append(leaderKey, bytes, expectedSequence);
    this.#step({ kind: 'campaign_ended' });
  }

  async #probe(probe: number): Promise<void> {
    const answer = (await this.#options.witness?.probe()) ?? 'unknown';
    this.#step({ kind: 'probed', probe, answer });
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
    for (const stop of this.#stops) stop();
    this.#reading.stop();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }
}
