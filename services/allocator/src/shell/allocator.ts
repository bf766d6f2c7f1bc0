import type { mesobus } from '@mesobus/protos';
import { type Bus, type Clock, EpochGate, type Subjects, type Subscription } from '@mesobus/sdk/bus';
import { DisconnectedError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import { toWire } from '@mesobus/sdk/resources';
import type { Logger, Metrics } from '@mesobus/sdk/service';
import { type Decision, type Effect, type Input, initialState, type State, shares, step } from '../core/index.ts';

export interface AllocatorSettings {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly allocatorId: string;
  /** Changes at each start of the process. */
  readonly incarnation: string;
  readonly seed: number;
  readonly clock: Clock;
  /** Ms since 1970. */
  readonly now: () => number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Changes within this time of the last round are gathered into the next, in ms. */
  readonly gatherMs: number;
}

const helloRepeatMs = 500;
const requestTimeoutMs = 1_000;
/** An appointed allocator that says nothing for 2 s may be replaced by another one. */
const presenceMs = 1_000;

interface Outgoing {
  readonly appointment: number;
  readonly allocations: readonly mesobus.v1.Allocation.$Properties[];
}

/** Carries the feed to the core, and its decisions to the leader. */
export class Allocator {
  readonly #settings: AllocatorSettings;
  readonly #state: State;
  readonly #gate = new EpochGate();
  readonly #subscriptions: Subscription[] = [];
  readonly #outgoing: Outgoing[] = [];
  readonly #timers = new Set<() => void>();
  #sending = false;
  #greeting = false;
  #cancelGreeting: () => void = () => undefined;
  #stopped = false;
  #roundScheduled = false;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  /** No round before this time: the last one is to cost half of the time at most. */
  #notBeforeMs = 0;
  readonly #rounds;
  readonly #decided;

  constructor(settings: AllocatorSettings) {
    this.#settings = settings;
    this.#state = initialState(settings.allocatorId, settings.seed);
    const { metrics } = settings;
    this.#rounds = metrics.histogram('allocator_round_seconds', 'How long an allocation round took.');
    this.#decided = metrics.counter('allocator_allocations_total', 'Allocations decided.');
  }

  start(): void {
    const { bus, subjects } = this.#settings;
    this.#subscriptions.push(
      bus.followStream(subjects.allocatorFeed, {
        onMessage: (batch, { epoch }) => this.#onBatch(batch, epoch),
        onGap: (why) => this.#onGap(why),
      }),
      bus.serve(subjects.leader, ({ epoch }) => {
        if (this.#gate.observe(epoch) === 'newer') this.#onGap('a new master leads');
      }),
      bus.serve(subjects.allocatorQuery.any, (delivery) => {
        // Any allocator of the cluster hears the question; the appointed one answers.
        if (this.#state.appointedAllocatorId !== this.#state.allocatorId) return;
        if (delivery.message.getShares) delivery.reply({ shares: shares(this.#state) });
        else delivery.refuse(new RefusedError('call_invalid', 'query', 'the allocator answers get_shares only'));
      }),
    );
    this.#greet();
    this.#tellPresence();
  }

  /** The leader's books are known completely. */
  get synchronised(): boolean {
    return this.#state.synchronised;
  }

  stop(): void {
    this.#stopped = true;
    for (const subscription of this.#subscriptions) subscription.stop();
    for (const cancel of this.#timers) cancel();
  }

  #onBatch(batch: mesobus.v1.FeedBatch, epoch: { incarnation: number; epoch: number }): void {
    if (this.#gate.observe(epoch) === 'stale') return;
    this.#step({ kind: 'feed', batch });
  }

  #onGap(why: string): void {
    this.#settings.log.info({ why }, 'asking the leader for its books');
    this.#step({ kind: 'gap' });
    this.#outgoing.length = 0; // the next appointment decides afresh
    this.#greet();
  }

  #step(input: Input): void {
    for (const effect of step(this.#state, this.#settings.clock.now(), input)) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'allocated':
        this.#decided.inc(effect.decisions.length);
        this.#outgoing.push({ appointment: effect.appointment, allocations: effect.decisions.map(this.#toWire) });
        void this.#send();
        break;
      case 'round_wanted':
        this.#scheduleRound();
        break;
      case 'wake':
        this.#wake(effect.atMs);
        break;
    }
  }

  /** At once if the last round is long enough ago, so that a freed resource is offered without delay; else gathered. */
  #scheduleRound(): void {
    if (this.#roundScheduled) return;
    this.#roundScheduled = true;
    const now = this.#settings.clock.now();
    if (now >= this.#notBeforeMs) queueMicrotask(() => this.#round(now));
    else this.#after(this.#notBeforeMs - now, () => this.#round(this.#settings.clock.now()));
  }

  #round(beganAt: number): void {
    this.#roundScheduled = false;
    if (this.#stopped) return;
    this.#roundBeganAtMs = this.#settings.now();
    this.#step({ kind: 'round' });
    const now = this.#settings.clock.now();
    this.#rounds.observe((now - beganAt) / 1000);
    this.#notBeforeMs = now + Math.max(this.#settings.gatherMs, now - beganAt);
  }

  #roundBeganAtMs = 0;

  #wake(atMs: number): void {
    const now = this.#settings.clock.now();
    if (this.#wakeAtMs > now && this.#wakeAtMs <= atMs) return;
    this.#wakeAtMs = atMs;
    this.#after(Math.max(1, atMs - now), () => this.#scheduleRound());
  }

  readonly #toWire = (decision: Decision): mesobus.v1.Allocation.$Properties => ({
    number: decision.number,
    agentId: decision.agentId,
    frameworkId: decision.frameworkId,
    role: decision.role,
    resources: toWire(decision.resources),
    roundBeganAtMs: this.#roundBeganAtMs,
    decidedAtMs: this.#settings.now(),
    roleShare: decision.roleShare,
    frameworkShare: decision.frameworkShare,
  });

  /** One request at a time, in order. Repeating is harmless: the leader knows the numbers that it has judged. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let next = this.#outgoing[0]; next !== undefined && !this.#stopped; next = this.#outgoing[0]) {
        const done = next.appointment !== this.#state.appointment || (await this.#deliver(next));
        if (done && this.#outgoing[0] === next) this.#outgoing.shift();
      }
    } finally {
      this.#sending = false;
    }
  }

  /** @returns whether it needs no repeating */
  async #deliver({ appointment, allocations }: Outgoing): Promise<boolean> {
    const { bus, subjects, allocatorId, log } = this.#settings;
    try {
      const message = { allocations: { appointment, allocations: [...allocations] } };
      await bus.request(subjects.masterAllocator.of(allocatorId), message, { timeoutMs: requestTimeoutMs });
      return true;
    } catch (error) {
      if (error instanceof DisconnectedError) return true;
      if (error instanceof RefusedError && !error.transient) {
        log.warn({ err: error }, 'the leader refused allocations');
        this.#onGap('the leader refused allocations');
        return true;
      }
      await this.#pause(error instanceof NoRespondersError ? 100 : 10);
      return false;
    }
  }

  /** Tells the leader that this allocator is there and wants a snapshot, until one comes. */
  #greet(): void {
    if (this.#greeting || this.#stopped) return;
    this.#greeting = true;
    const { bus, subjects, allocatorId, incarnation, log } = this.#settings;
    bus
      .request(subjects.masterAllocator.of(allocatorId), { hello: { incarnation } }, { timeoutMs: requestTimeoutMs })
      .catch((error: unknown) => {
        if (!(error instanceof NoRespondersError)) log.warn({ err: error }, 'no leader has heard this allocator yet');
      })
      .finally(() => {
        this.#greeting = false;
        this.#cancelGreeting();
        this.#cancelGreeting = this.#after(helloRepeatMs, () => {
          if (!this.#state.synchronised) this.#greet();
        });
      });
  }

  /** An empty list of allocations, while there is nothing else to say. */
  #tellPresence(): void {
    const { appointment, appointedAllocatorId, allocatorId, synchronised } = this.#state;
    if (synchronised && appointedAllocatorId === allocatorId && this.#outgoing.length === 0) {
      this.#outgoing.push({ appointment, allocations: [] });
      void this.#send();
    }
    this.#after(presenceMs, () => this.#tellPresence());
  }

  /** @returns the call that cancels it */
  #after(ms: number, call: () => void): () => void {
    const cancelTimer = this.#settings.clock.after(ms, () => {
      this.#timers.delete(cancel);
      if (!this.#stopped) call();
    });
    const cancel = (): void => {
      this.#timers.delete(cancel);
      cancelTimer();
    };
    this.#timers.add(cancel);
    return cancel;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#settings.clock.after(ms, resolve));
  }
}
