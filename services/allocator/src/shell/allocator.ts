import { mesobus } from '@mesobus/protos';
import {
  type Bus,
  type Clock,
  compareEpochs,
  EpochGate,
  type RequestOptions,
  type Subjects,
  type Subscription,
} from '@mesobus/sdk/bus';
import { DisconnectedError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import { toWire } from '@mesobus/sdk/resources';
import type { Logger, Metrics } from '@mesobus/sdk/service';
import {
  type Decision,
  type Effect,
  type Input,
  initialState,
  mayAllocate,
  type Settings,
  type State,
  step,
} from '../core/index.ts';
import { allocatorMetrics, meterRounds, type RoundMeter } from './allocator-metrics.ts';
import { Queries } from './queries.ts';

const { OFFER } = mesobus.v1.Allocation.Kind;

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
  /** How is allocated; what is left out is as in Mesos. */
  readonly allocation?: Partial<Settings>;
}

/** How often the leader hears that this allocator is alive: an appointed one that says nothing for 500 ms is replaced. */
const helloEveryMs = 150;
const helloTimeoutMs = 450;
const requestTimeoutMs = 1_000;
/** The leader sends no more than four times as many batches before it hears that some are digested. */
const batchesPerHello = 8;
/** A quarter of what a message may hold, in bytes: the sizes are estimates. */
const maxMessageSize = 256 * 1024;
/** A standby has no rounds in which filters that have ended are forgotten. */
const tidyEveryMs = 1_000;

interface Outgoing {
  readonly masterId: string;
  readonly appointment: number;
  readonly allocations: readonly mesobus.v1.Allocation.$Properties[];
}

/** Carries the feed to the core, and its decisions to the leader. */
export class Allocator {
  readonly #settings: AllocatorSettings;
  readonly #state: State;
  readonly #queries: Queries;
  readonly #gate = new EpochGate();
  readonly #subscriptions: Subscription[] = [];
  readonly #outgoing: Outgoing[] = [];
  readonly #timers = new Set<() => void>();
  #sending = false;
  #greeting = false;
  /** There is something new to say since the greeting that is under way. */
  #greetAgain = false;
  /** Why the leader refused the last greeting. */
  #turnedAway = '';
  #cancelGreeting: () => void = () => undefined;
  /** Counts the feeds that were lost, from 1 for the start. */
  #losses = 1;
  /** The feed that is followed, and its last batch digested. */
  #feed = 0;
  #digested = 0;
  #digestedTold = 0;
  #stopped = false;
  #roundScheduled = false;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  /** No round before this time: the last one is to cost half of the time at most. */
  #notBeforeMs = 0;
  readonly #rounds;
  readonly #meter: RoundMeter;
  #wantedAtMs = 0;
  readonly #decided;
  readonly #takenBack;

  constructor(settings: AllocatorSettings) {
    this.#settings = settings;
    this.#state = initialState(settings.allocatorId, settings.seed, settings.allocation);
    this.#queries = new Queries(this.#state, () => settings.clock.now(), settings.log);
    const { metrics } = settings;
    this.#rounds = metrics.histogram('allocator_round_seconds', 'How long an allocation round took.');
    this.#meter = meterRounds(metrics);
    allocatorMetrics(metrics, this.#state, () => settings.clock.now());
    this.#decided = metrics.counter('allocator_allocations_total', 'Allocations decided.');
    this.#takenBack = metrics.counter('allocator_rescinds_total', 'Offers taken back for who has waited too long.');
  }

  start(): void {
    const { bus, subjects, allocatorId, incarnation } = this.#settings;
    this.#subscriptions.push(
      bus.followStream(subjects.allocatorFeed(allocatorId, incarnation), {
        onMessage: (batch, { epoch }) => this.#onBatch(batch, epoch),
        onGap: (why) => this.#onGap(why),
      }),
      bus.serve(subjects.leader, ({ epoch }) => {
        if (this.#gate.observe(epoch) === 'newer') this.#onGap('a new master leads');
      }),
      bus.serve(subjects.allocatorQuery.any, (delivery) => {
        // Any allocator of the cluster hears the question; the appointed one answers.
        if (this.#state.appointedAllocatorId !== this.#state.allocatorId) return;
        this.#queries.answer(delivery);
      }),
    );
    this.#greet();
    this.#tidy();
  }

  /** The leader's books are known completely. */
  get synchronised(): boolean {
    return this.#state.synchronised;
  }

  stop(): void {
    this.#stopped = true;
    this.#queries.stop();
    for (const subscription of this.#subscriptions) subscription.stop();
    for (const cancel of this.#timers) cancel();
  }

  #onBatch(batch: mesobus.v1.FeedBatch, epoch: { incarnation: number; epoch: number }): void {
    if (this.#gate.observe(epoch) === 'stale') return;
    if (batch.snapshotBegins) this.#digestedTold = 0;
    this.#feed = batch.feed;
    this.#digested = batch.number;
    this.#step({ kind: 'feed', batch });
    if (batch.snapshotEnds || this.#digested >= this.#digestedTold + batchesPerHello) this.#greet();
  }

  #onGap(why: string): void {
    this.#settings.log.info({ why }, 'asking the leader for its books');
    this.#losses += 1;
    this.#feed = 0;
    this.#digested = 0;
    this.#step({ kind: 'gap' });
    this.#outgoing.length = 0; // the next appointment decides afresh
    this.#greet();
  }

  #step(input: Input): void {
    this.#carryOutAll(step(this.#state, this.#settings.clock.now(), input));
  }

  #carryOutAll(effects: readonly Effect[]): void {
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'allocated':
        for (const { kind } of effect.decisions) (kind === OFFER ? this.#decided : this.#takenBack).inc(1);
        this.#post(effect);
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
    this.#wantedAtMs = now;
    if (now >= this.#notBeforeMs) queueMicrotask(() => this.#round(now));
    else this.#after(this.#notBeforeMs - now, () => this.#round(this.#settings.clock.now()));
  }

  #round(beganAt: number): void {
    this.#roundScheduled = false;
    if (this.#stopped) return;
    this.#roundBeganAtMs = this.#settings.now();
    const effects = step(this.#state, this.#settings.clock.now(), { kind: 'round' });
    const now = this.#settings.clock.now();
    this.#rounds.observe((now - beganAt) / 1000);
    this.#meter.note(now - beganAt, beganAt - this.#wantedAtMs);
    this.#notBeforeMs = now + Math.max(this.#settings.gatherMs, now - beganAt);
    this.#carryOutAll(effects);
  }

  #roundBeganAtMs = 0;

  #wake(atMs: number): void {
    const now = this.#settings.clock.now();
    if (this.#wakeAtMs > now && this.#wakeAtMs <= atMs) return;
    this.#wakeAtMs = atMs;
    this.#after(Math.max(1, atMs - now), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY; // a timer may ring a little early: then the round asks for another
      this.#scheduleRound();
    });
  }

  #post({ masterId, appointment, decisions }: Effect & { kind: 'allocated' }): void {
    for (const part of partsOf(decisions)) {
      this.#outgoing.push({ masterId, appointment, allocations: part.map(this.#toWire) });
    }
    void this.#send();
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
    kind: decision.kind,
    why: decision.why,
    victims: decision.victims.map(({ resources, ...whose }) => ({ ...whose, resources: toWire(resources) })),
  });

  /** One request at a time, in order. Repeating is harmless: the leader knows the numbers that it has judged. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let next = this.#outgoing[0]; next !== undefined && !this.#stopped; next = this.#outgoing[0]) {
        const { masterId, appointment } = this.#state;
        const isOver = next.masterId !== masterId || next.appointment !== appointment;
        const done = isOver || (await this.#deliver(next));
        if (done && this.#outgoing[0] === next) this.#outgoing.shift();
      }
    } finally {
      this.#sending = false;
    }
  }

  /** @returns whether it needs no repeating */
  async #deliver({ masterId, appointment, allocations }: Outgoing): Promise<boolean> {
    const { bus, subjects, allocatorId, incarnation, log } = this.#settings;
    const message = { allocations: { masterId, appointment, incarnation, allocations: [...allocations] } };
    try {
      await bus.request(subjects.masterAllocator.of(allocatorId), message, this.#asking(requestTimeoutMs));
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

  /** A deposed leader may still answer; its word counts for nothing. */
  readonly #asking = (timeoutMs: number): RequestOptions => ({
    timeoutMs,
    accepts: (epoch) => compareEpochs(epoch, this.#gate.highest) >= 0,
  });

  /** Tells the leader that this allocator is alive, what it has lost and what it has digested; now and then again and again. */
  #greet(): void {
    this.#greetAgain = this.#greeting;
    if (this.#greeting || this.#stopped) return;
    this.#greeting = true;
    this.#cancelGreeting();
    const { bus, subjects, allocatorId, incarnation, log } = this.#settings;
    const hello = { incarnation, losses: this.#losses, feed: this.#feed, digested: this.#digested };
    this.#digestedTold = this.#digested;
    bus
      .request(subjects.masterAllocator.of(allocatorId), { hello }, this.#asking(helloTimeoutMs))
      .then(
        () => {
          this.#turnedAway = '';
        },
        (error: unknown) => {
          if (!(error instanceof RefusedError) || error.message === this.#turnedAway) return;
          this.#turnedAway = error.message;
          log.warn({ err: error }, 'the leader does not listen to this allocator');
        },
      )
      .finally(() => {
        this.#greeting = false;
        if (this.#greetAgain) this.#greet();
        else this.#cancelGreeting = this.#after(helloEveryMs, () => this.#greet());
      });
  }

  #tidy(): void {
    if (!mayAllocate(this.#state)) this.#step({ kind: 'round' });
    this.#after(tidyEveryMs, () => this.#tidy());
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

/** As many decisions as a message may hold: they are numbered, so that it does not matter where they are cut. */
function* partsOf(decisions: readonly Decision[]): Iterable<readonly Decision[]> {
  let begin = 0;
  let size = 0;
  for (const [i, decision] of decisions.entries()) {
    size += sizeOf(decision);
    if (size <= maxMessageSize) continue;
    if (i > begin) yield decisions.slice(begin, i);
    begin = i;
    size = sizeOf(decision);
  }
  yield decisions.slice(begin);
}

/** About as many bytes as it takes: the key of a resource holds its texts. */
function sizeOf({ resources, victims }: Pick<Decision, 'resources'> & Partial<Pick<Decision, 'victims'>>): number {
  let size = 200;
  for (const victim of victims ?? []) size += sizeOf(victim);
  for (const resource of resources) {
    size += 40 + resource.key.length * 2 * (resource.copies ?? 1);
    if (resource.kind === 'ranges') size += resource.ranges.length * 24;
    else if (resource.kind === 'set') for (const item of resource.items) size += item.length + 8;
  }
  return size;
}
