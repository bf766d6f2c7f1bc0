import { mesobus } from '@mesobus/protos';
import type { Leadership, Log, LostLeadership, LostTerm } from '@mesobus/registry';
import type { Bus, BusLogger, Clock, Subjects, Subscription } from '@mesobus/sdk/bus';
import type { Config, State } from '../core/index.ts';
import { regionOf, sayBeat } from './beats.ts';
import { type RunningMaster, type RunOptions, run } from './run.ts';
import { witnessOn } from './witness.ts';

const { LOADING, RESIGNED } = mesobus.v1.LeaderBeat.Phase;
/** A master that lost the log replaces nobody else for so long; twice as long each time again, up to the longest. */
const firstPauseMs = 15_000;
const longestPauseMs = 60_000;
/** After so long in office what was before is forgotten. */
const calmAfterMs = 600_000;

export interface ContendOptions {
  readonly log: Log;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  /** The time of day, in ms since 1970. */
  readonly wallMs: () => number;
  readonly logger: BusLogger;
  /** Of this process; unique among all masters ever. Each leadership but its first has an id of its own after it. */
  readonly masterId: string;
  readonly config: Omit<Config, 'masterId'>;
  readonly whitelist?: RunOptions['whitelist'];
  readonly acls?: RunOptions['acls'];
  readonly rateLimiter?: RunOptions['rateLimiter'];
  /** This process can lead no more: its state is broken, or it may not lead over this log, or beside these masters. */
  onFailed(error: unknown): void;
}

/** A master: stands by, leads, stands by again. */
export interface Contender {
  /** While it leads. */
  readonly leadership: Leadership | undefined;
  /** While it leads, for reading: its books. */
  readonly state: State | undefined;
  /** Hands over if it leads; contends no more. */
  stop(): Promise<void>;
}

export function contend(options: ContendOptions): Contender {
  return new Master(options);
}

interface Term {
  readonly leadership: Leadership;
  readonly master: RunningMaster;
}

class Master implements Contender {
  readonly #options: ContendOptions;
  readonly #ends = new AbortController();
  readonly #done: Promise<void>;
  readonly #beats: Subscription;
  #term: Term | undefined;
  #terms = 0;
  #losses = 0;

  constructor(options: ContendOptions) {
    this.#options = options;
    this.#beats = options.bus.serve(options.subjects.leader, ({ message }) => this.#onBeat(message));
    this.#done = this.#contend().catch((error: unknown) => {
      if (!this.#ends.signal.aborted) options.onFailed(error);
    });
  }

  get leadership(): Leadership | undefined {
    return this.#term?.leadership;
  }

  get state(): State | undefined {
    return this.#term?.master.state;
  }

  async stop(): Promise<void> {
    this.#ends.abort(new Error('this master stops'));
    this.#beats.stop();
    if (this.#term !== undefined) void handOver(this.#term);
    await this.#done;
  }

  /** What is far away depends on the region of whoever leads: no master of another may ever take over. */
  #onBeat({ masterId, phase, region }: mesobus.v1.LeaderBeat): void {
    const own = regionOf(this.#options.config.masterInfo);
    if (this.#term !== undefined || phase === RESIGNED || region === '' || region === own) return;
    void this.stop();
    const what = own === '' ? 'has no domain' : `is of region '${own}'`;
    const why = `this master ${what}, and '${masterId}', which leads, is of region '${region}'`;
    this.#options.onFailed(new Error(`Cannot stand by: ${why}; give all masters a --domain of the same region`));
  }

  async #contend(): Promise<void> {
    const { signal } = this.#ends;
    for (let after: LostTerm | undefined; !signal.aborted; ) after = await this.#standByAndLead(after);
  }

  /** A function of its own, so that nothing of a leadership that was lost is kept while the next is waited for. */
  async #standByAndLead(after: LostTerm | undefined): Promise<LostTerm> {
    const { bus, subjects, log, clock, logger } = this.#options;
    const { signal } = this.#ends;
    const masterId = this.#terms === 0 ? this.#options.masterId : `${this.#options.masterId}-${this.#terms + 1}`;
    this.#terms += 1;
    const witness = witnessOn(bus, subjects, masterId);
    const leadership = await log.lead({ masterId, witness, signal, ...(after !== undefined && { after }) });
    const since = clock.now();
    const lost = await this.#lead(masterId, leadership);
    const pauseMs = this.#pauseAfter(lost, clock.now() - since);
    if (!signal.aborted) logger.warn({ masterId, ...lost, pauseMs }, 'this master stands by again');
    return { masterId, pauseMs };
  }

  /** Serves until the leadership is lost. What it knew goes with it: the next begins with what the log says. */
  async #lead(masterId: string, leadership: Leadership): Promise<LostLeadership> {
    const { bus, subjects, clock, wallMs, logger, config, whitelist, acls, rateLimiter } = this.#options;
    bus.setEpoch({ incarnation: leadership.incarnation, epoch: leadership.epoch });
    const expected = { agents: leadership.ledger.agents.size, frameworks: leadership.ledger.frameworks.size };
    const region = regionOf(config.masterInfo);
    sayBeat(bus, subjects, masterId, { phase: LOADING, lastIndex: leadership.lastIndex, region, ...expected });
    await undefined; // the beat leaves before a large ledger keeps this process busy
    const wallOffsetMs = wallMs() - clock.now();
    const master = run({
      bus,
      subjects,
      leadership,
      config: { ...config, masterId, masterInfo: { ...config.masterInfo, id: masterId } },
      clock,
      now: () => clock.now() + wallOffsetMs,
      log: logger,
      whitelist,
      acls,
      rateLimiter,
      onFatal: (error) => {
        logger.error({ err: error }, 'this leadership cannot go on');
        this.#options.onFailed(error);
      },
      onOutranked: (epoch) => void handOver(term, epoch),
    });
    const term = { leadership, master };
    this.#term = term;
    if (this.#ends.signal.aborted) void handOver(term);
    const lost = await leadership.lost;
    this.#term = undefined;
    master.stop();
    return lost;
  }

  #pauseAfter({ reason }: LostLeadership, ledForMs: number): number {
    if (ledForMs >= calmAfterMs) this.#losses = 0;
    if (reason === 'resigned') return 0;
    this.#losses += 1;
    return Math.min(longestPauseMs, firstPauseMs * 2 ** (this.#losses - 1));
  }
}

/** Takes nothing more, answers what is on its way into the log, and lets the next begin. */
async function handOver({ leadership, master }: Term, aboveEpoch?: number): Promise<void> {
  master.close();
  await leadership.resign(aboveEpoch);
}
