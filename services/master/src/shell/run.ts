import { mesobus } from '@mesobus/protos';
import type { Leadership } from '@mesobus/registry';
import type { Acls } from '@mesobus/sdk/authorization';
import type { Bus, BusLogger, Clock, Delivery, Subjects } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { startSpan, type WatchedFile } from '@mesobus/sdk/service';
import {
  answerQuery,
  type Config,
  createState,
  type Effect,
  type Input,
  type SpanFact,
  type State,
  step,
} from '../core/index.ts';
import { regionOf, sayBeat } from './beats.ts';
import { CallReplies, type CallToken, refusalOf } from './call-replies.ts';
import { CommandSender } from './command-sender.ts';
import { FeedSender } from './feed-sender.ts';
import { Outbox } from './outbox.ts';
import type { RateLimiter } from './rate-limits.ts';
import { SchedulerStreams } from './scheduler-streams.ts';

const beatEveryMs = 300;
const tickEveryMs = 100;
/** Effects that wait for the log; with more, requests are turned away until it has caught up. */
const maxWaitingEffects = 50_000;
const { LEADING, FROZEN, RESIGNED } = mesobus.v1.LeaderBeat.Phase;

export type LeadershipInUse = Pick<
  Leadership,
  | 'epoch'
  | 'incarnation'
  | 'ledger'
  | 'lastIndex'
  | 'lease'
  | 'lagging'
  | 'submit'
  | 'barrier'
  | 'onCommitted'
  | 'onLease'
>;

export interface RunOptions {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly leadership: LeadershipInUse;
  readonly config: Config;
  readonly clock: Clock;
  /** Ms since 1970, from a clock that never goes back. */
  readonly now: () => number;
  readonly log: BusLogger;
  /** Absent: all agents are offered. */
  readonly whitelist?: WatchedFile<ReadonlySet<string>> | undefined;
  /** Absent: everybody may do everything. */
  readonly acls?: WatchedFile<Acls> | undefined;
  /** Absent: schedulers may call as often as they like. */
  readonly rateLimiter?: RateLimiter | undefined;
  /** The state is broken, or the log takes nothing more: this leadership must end. */
  onFatal(error: unknown): void;
  /** Somebody obeys this higher epoch already, so that nothing said here counts: an even higher one must lead. */
  onOutranked(epoch: number): void;
}

export interface RunningMaster {
  readonly state: State;
  /** Hands over: takes nothing new and rescinds its offers. What is on its way into the log is still answered. */
  close(): void;
  /** Serves nobody any more, and says so. */
  stop(): void;
}

/** Leads: deliveries in, the core's step, effects out. Never waits for the log. */
export function run(options: RunOptions): RunningMaster {
  return new Master(options);
}

/** Whoever obeys an epoch so far above is of another cluster, or lies. */
const maxEpochJump = 1_000_000;

type Obeyed = Pick<mesobus.v1.Heartbeat, 'highestEpoch' | 'highestClusterIncarnation'>;
type AnyDelivery = Delivery<unknown, never>;

class Master implements RunningMaster {
  readonly state: State;
  readonly #options: RunOptions;
  readonly #outbox: Outbox;
  readonly #streams: SchedulerStreams;
  readonly #feed: FeedSender;
  readonly #commands: CommandSender;
  /** Ends everything that comes in. */
  readonly #stops: (() => void)[] = [];
  #warned = false;
  #closed = false;
  #stopped = false;

  constructor(options: RunOptions) {
    this.#options = options;
    const { bus, subjects, leadership, config, clock, log } = options;
    bus.setEpoch({ incarnation: leadership.incarnation, epoch: leadership.epoch });
    this.state = createState(leadership.ledger, config, options.now());
    this.#outbox = new Outbox(leadership, (effect, index) => this.#carryOut(effect, index));
    const onProbed = (frameworkId: string, instanceId: string, alive: boolean): void =>
      this.#step({ kind: 'stream_probed', frameworkId, instanceId, alive });
    this.#streams = new SchedulerStreams({ bus, subjects, clock, log, onProbed });
    const onFailed = (allocatorId: string): void => this.#step({ kind: 'feed_failed', allocatorId });
    this.#feed = new FeedSender({ state: this.state, bus, subjects, clock, log, onFailed });
    const onAnswered = (agentId: string, incarnation: string, cursor: number): void =>
      this.#step({ kind: 'commands_answered', agentId, incarnation, cursor });
    this.#commands = new CommandSender({ bus, subjects, log, onAnswered });
    this.#follow(options.whitelist, (hostnames) => this.#step({ kind: 'whitelist', hostnames }));
    this.#follow(options.acls, (acls) => this.#step({ kind: 'acls', acls }));
    this.#serve();
    this.#stops.push(bus.onConnection(() => this.#onSeeing()));
    leadership.onLease((lease) => {
      this.#onSeeing();
      if (lease === 'frozen') this.#step({ kind: 'frozen' });
    });
    this.#repeat(tickEveryMs, () => this.#step({ kind: 'tick', logStands: this.#outbox.stands() }));
    this.#beat();
    this.#repeat(beatEveryMs, () => this.#beat());
  }

  /** Takes what a file says, now and whenever it changes. */
  #follow<T>(file: WatchedFile<T> | undefined, take: (value: T) => void): void {
    if (file === undefined) return;
    take(file.value);
    this.#stops.push(file.onChange(take));
  }

  close(): void {
    this.#step({ kind: 'frozen' });
    this.#takeNothing();
  }

  #takeNothing(): void {
    this.#closed = true;
    for (const stop of this.#stops.splice(0)) stop();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#takeNothing();
    this.#stopped = true;
    this.#streams.stop();
    this.#feed.stop();
    this.#commands.stop();
    this.#say(RESIGNED);
  }

  // ---- in

  #serve(): void {
    const { bus, subjects } = this.#options;
    const subscriptions = [
      bus.serve(subjects.masterScheduler.any, (delivery) => this.#whenOpen(delivery, () => this.#onCalls(delivery))),
      bus.serve(subjects.masterAgent.any, (delivery) =>
        this.#whenOpen(delivery, () => {
          const { id: agentName, message: request } = delivery;
          if (request.register && this.#isOutranked(agentName, request.register)) this.#refuseToLead(delivery);
          else this.#step({ kind: 'agent_request', agentName, request, token: delivery });
        }),
      ),
      bus.serve(subjects.heartbeat.any, ({ id: agentName, message: heartbeat }) => {
        if (!this.#isOutranked(agentName, heartbeat)) this.#step({ kind: 'heartbeat', agentName, heartbeat });
      }),
      bus.serve(subjects.masterOperator.any, (delivery) =>
        this.#whenOpen(delivery, () =>
          this.#step({ kind: 'operator_call', principal: delivery.id, call: delivery.message, token: delivery }),
        ),
      ),
      bus.serve(subjects.masterAllocator.any, (delivery) =>
        this.#whenOpen(delivery, () =>
          this.#step({
            kind: 'allocator_request',
            allocatorId: delivery.id,
            request: delivery.message,
            token: delivery,
          }),
        ),
      ),
      bus.serve(subjects.masterQuery.any, (delivery) => {
        const { leadership, now } = this.#options;
        const answer = answerQuery(this.state, delivery.id, delivery.message, leadership.epoch, now());
        if (answer !== undefined) delivery.reply(answer);
        else delivery.refuse(new RefusedError('call_invalid', 'query', 'the master does not know this question'));
      }),
    ];
    for (const subscription of subscriptions) this.#stops.push(() => subscription.stop());
  }

  /** A leader that cannot be sure that it leads, or whose log lags, takes nothing new; asking again later is right. */
  #whenOpen(delivery: AnyDelivery, take: () => void): void {
    const { leadership } = this.#options;
    if (leadership.lease !== 'fresh') this.#refuseToLead(delivery);
    else if (this.#outbox.waiting > maxWaitingEffects) this.#refuseForNow(delivery);
    else take();
  }

  #refuseToLead(delivery: AnyDelivery): void {
    const why = 'its writes are not confirmed at the moment, or another obeys a higher epoch';
    delivery.refuse(new RefusedError('not_leading', this.#options.config.masterId, why));
  }

  #refuseForNow(delivery: AnyDelivery): void {
    delivery.refuse(new RefusedError('overloaded', this.#options.config.masterId, 'too much waits for the log'));
  }

  /**
   * Whether an agent or scheduler obeys somebody above this leader. It hears nothing of what is said here, so that an
   * even higher epoch must lead: JetStream has lost the end of the log, which a power cut can do.
   */
  #isOutranked(who: string, { highestEpoch, highestClusterIncarnation }: Obeyed): boolean {
    const { leadership, log, onOutranked } = this.#options;
    const { epoch, incarnation } = leadership;
    const obeys = { who, highestEpoch, highestClusterIncarnation };
    const absurd = highestClusterIncarnation > incarnation || highestEpoch > epoch + maxEpochJump;
    if (absurd) {
      if (!this.#warned)
        log.error(
          { ...obeys, epoch, incarnation },
          'somebody obeys what never led here: it is of another cluster; wipe an agent, start a scheduler anew',
        );
      this.#warned = true;
      return true;
    }
    if (highestClusterIncarnation < incarnation || highestEpoch <= epoch) return false;
    log.warn({ ...obeys, epoch }, 'somebody obeys a higher epoch, so the log has lost its end: handing over above it');
    onOutranked(highestEpoch);
    return true;
  }

  #onCalls(delivery: Delivery<mesobus.v1.SchedulerCalls, mesobus.v1.SchedulerReplies.$Properties>): void {
    // Only schedulers send what is large; what agents say makes room.
    const { leadership, rateLimiter, clock } = this.#options;
    if (leadership.lagging) {
      this.#refuseForNow(delivery);
      return;
    }
    if (rateLimiter?.take(delivery.id, delivery.message.calls.length, clock.now()) === false) {
      delivery.refuse(new RefusedError('overloaded', delivery.id, 'it calls more often than --rate-limits allows'));
      return;
    }
    const isOutranked = delivery.message.calls.some(
      (call) => call.call?.subscribe && this.#isOutranked(delivery.id, call),
    );
    if (isOutranked) {
      this.#refuseToLead(delivery);
      return;
    }
    const replies = new CallReplies(delivery);
    for (const [index, call] of delivery.message.calls.entries()) {
      if (call.traceparent === '') call.traceparent = delivery.traceparent;
      const token: CallToken = { replies, index };
      this.#step({ kind: 'scheduler_call', principal: delivery.id, call, token });
    }
  }

  /** The silence of others counts only while this master can hear them and may act on it. */
  #onSeeing(): void {
    const { bus, leadership } = this.#options;
    this.#step({ kind: 'bus_connection', connected: bus.connected && leadership.lease === 'fresh' });
  }

  #step(input: Input): void {
    if (!this.#closed) this.#apply(input);
  }

  #apply(input: Input): void {
    try {
      this.#outbox.add(step(this.state, this.#options.now(), input));
    } catch (error) {
      // Whatever was decided and not submitted is void: nobody may see this state any more.
      this.stop();
      const over = error instanceof RefusedError && error.code === 'not_leading'; // `lost` says why
      if (!over) this.#options.onFatal(error);
      return;
    }
    this.#feed.flushSoon();
  }

  // ---- out

  #carryOut(effect: Exclude<Effect, { kind: 'commit' }>, index: number): void {
    if (this.#stopped) return;
    switch (effect.kind) {
      case 'accept_call': {
        const { callId, frameworkId = '', generation = 0, durable } = effect;
        const accepted = { logIndex: durable ? index : 0, frameworkId, generation };
        answerCall(effect.token, { callId, accepted });
        return;
      }
      case 'refuse_call':
        answerCall(effect.token, refusalOf(effect.callId, effect));
        return;
      case 'answer_agent':
      case 'answer_allocator':
        (effect.token as Delivery<unknown, typeof effect.reply>).reply(effect.reply);
        return;
      case 'accept_operator': {
        const reply = { logIndex: index };
        (effect.token as Delivery<unknown, typeof reply>).reply(reply);
        return;
      }
      case 'refuse':
        (effect.token as AnyDelivery).refuse(new RefusedError(effect.code, effect.subject, effect.why));
        return;
      case 'events':
        this.#streams.send(effect.to, effect.events);
        return;
      case 'open_stream':
        this.#streams.open(effect.to);
        return;
      case 'close_stream':
        this.#streams.close(effect.to);
        return;
      case 'commands':
        this.#commands.send(effect.agentName, effect.message);
        return;
      case 'give_up':
        this.stop();
        this.#options.onFatal(new Error(effect.why));
        return;
      case 'open_feed':
        this.#feed.open(effect.allocatorId, effect.incarnation);
        return;
      case 'close_feed':
        this.#feed.close(effect.allocatorId);
        return;
      case 'committed':
        // Whoever asked before the hand-over is answered.
        if (effect.input.kind === 'answers_confirmed') this.#apply(effect.input);
        else this.#step(effect.input);
        return;
      case 'span':
        writeSpan(effect.span, this.#options.now());
        return;
      case 'log':
        if (effect.level !== 'debug') this.#options.log[effect.level](effect.fields, effect.message);
    }
  }

  #beat(): void {
    this.#say(this.#options.leadership.lease === 'fresh' ? LEADING : FROZEN);
  }

  #say(phase: mesobus.v1.LeaderBeat.Phase): void {
    const { bus, subjects, leadership, config } = this.#options;
    const { lastIndex } = leadership;
    const expected = { agents: this.state.agents.size, frameworks: this.state.frameworks.size };
    sayBeat(bus, subjects, config.masterId, { phase, lastIndex, region: regionOf(config.masterInfo), ...expected });
  }

  #repeat(everyMs: number, call: () => void): void {
    let cancel = (): void => {};
    const arm = (): void => {
      cancel = this.#options.clock.after(everyMs, () => {
        if (this.#closed) return;
        arm();
        call();
      });
    };
    arm();
    this.#stops.push(() => cancel());
  }
}

function answerCall(token: unknown, reply: mesobus.v1.SchedulerReply.$Properties): void {
  const { replies, index } = token as CallToken;
  replies.set(index, reply);
}

function writeSpan({ name, identity, parent, link, startMs, endMs, attributes }: SpanFact, nowMs: number): void {
  startSpan(name, { identity, traceparent: parent, link, startTime: startMs, attributes }).end(endMs ?? nowMs);
}
