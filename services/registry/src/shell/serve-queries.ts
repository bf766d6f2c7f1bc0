import { mesobus } from '@mesobus/protos';
import type { Bus, Clock, Delivery, Subjects, Subscription } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { ledgerHash } from '../core/ledger-hash.ts';
import { answerQuery, type RegistryFacts, type SnapshotFacts } from '../core/queries.ts';
import type { LogFollower } from './follow.ts';

export interface QueryServiceOptions {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly follower: LogFollower;
  readonly registryId: string;
  /** Who has not read for so long what the leader has written answers nobody until it has; 5 s unless given. */
  readonly maxLagMs?: number;
  /** What is known of the snapshots. */
  readonly snapshots?: () => SnapshotFacts;
  /** Looks into the history; absent: it is not asked. */
  readonly readHistory?: (query: mesobus.v1.GetTaskHistory) => Promise<mesobus.v1.TaskHistory.$Properties>;
}

type Query = Delivery<mesobus.v1.RegistryQuery, mesobus.v1.RegistryAnswer>;

interface Waiting {
  readonly query: Query;
  readonly index: number;
  cancel(): void;
}

/** How long a query waits for the index that it demands if it does not say how long the asker waits. */
const indexWaitMs = 2_000;
/** Of the time that the asker waits: so that the refusal still reaches it. */
const shareOfWait = 0.9;
/** So many may wait at once; more are refused. */
const maxWaiting = 10_000;
const defaultMaxLagMs = 5_000;
/** The history is gone through for each query: so many at a time. */
const maxReading = 4;

/** Answers queries from the ledger that a follower keeps, as long as that does not lag. */
export class QueryService {
  readonly #options: QueryServiceOptions;
  readonly #beats: Subscription;
  readonly #waiting = new Set<Waiting>();
  /** Undefined while this registry lags. */
  #queries: Subscription | undefined;
  /** What the leader has written, and since when it has been missing here. */
  #missing: { readonly index: number; readonly since: number } | undefined;
  /** Queries that are looked up in the history. */
  #reading = 0;
  /** Of the ledger as it is; undefined until it is asked for. */
  #hash: Uint8Array | undefined;

  constructor(options: QueryServiceOptions) {
    this.#options = options;
    this.#beats = options.bus.serve(options.subjects.leader, ({ message }) => this.#onBeat(message.lastLogIndex));
    this.#join();
  }

  /** Whether it answers queries. */
  get serves(): boolean {
    return this.#queries !== undefined;
  }

  /** Call it when the ledger has got another entry, or is another one. */
  onIndex(index: number): void {
    this.#hash = undefined;
    if (this.#missing !== undefined && index >= this.#missing.index) this.#catchUp();
    for (const waiting of this.#waiting) {
      if (waiting.index > index) continue;
      this.#forget(waiting);
      this.#answer(waiting.query);
    }
  }

  stop(): void {
    this.#beats.stop();
    this.#queries?.stop();
    for (const waiting of this.#waiting) this.#giveUp(waiting);
  }

  // ---- lagging

  #join(): void {
    const { bus, subjects } = this.#options;
    this.#queries ??= bus.serve(subjects.registryQuery.any, (query) => this.#onQuery(query), { queue: 'registry' });
  }

  #catchUp(): void {
    this.#missing = undefined;
    this.#join();
  }

  #onBeat(index: number): void {
    const { follower, clock, maxLagMs = defaultMaxLagMs } = this.#options;
    if (index <= follower.lastIndex) {
      this.#catchUp();
      return;
    }
    const since = this.#missing?.since ?? clock.now();
    // While it serves the first index that it lacks counts; to serve again it must have them all.
    this.#missing = this.serves ? (this.#missing ?? { index, since }) : { index, since };
    if (clock.now() - since < maxLagMs) return;
    this.#missing = { index, since };
    this.#queries?.stop();
    this.#queries = undefined;
  }

  // ---- answering

  #onQuery(query: Query): void {
    const index = query.message.atLeastIndex;
    if (index <= this.#options.follower.lastIndex) this.#answer(query);
    else if (this.#waiting.size >= maxWaiting) query.refuse(new RefusedError('overloaded', 'registry'));
    else this.#wait(query, index);
  }

  #wait(query: Query, index: number): void {
    const waitMs = query.timeoutMs > 0 ? query.timeoutMs * shareOfWait : indexWaitMs;
    const cancel = this.#options.clock.after(waitMs, () => this.#giveUp(waiting));
    const waiting: Waiting = { query, index, cancel };
    this.#waiting.add(waiting);
  }

  #giveUp(waiting: Waiting): void {
    this.#forget(waiting);
    const why = `this registry is at ${this.#options.follower.lastIndex}`;
    waiting.query.refuse(new RefusedError('index_not_reached', String(waiting.index), why));
  }

  #forget(waiting: Waiting): void {
    waiting.cancel();
    this.#waiting.delete(waiting);
  }

  #answer(query: Query): void {
    if (query.message.getTaskHistory !== null) {
      void this.#answerFromHistory(query, query.message.getTaskHistory);
      return;
    }
    const result = answerQuery(this.#options.follower.ledger, this.#facts(), query.message);
    if ('answer' in result) query.reply(result.answer);
    else query.refuse(new RefusedError('call_invalid', 'RegistryQuery', result.refused));
  }

  async #answerFromHistory(query: Query, wanted: mesobus.v1.GetTaskHistory): Promise<void> {
    const { readHistory, follower } = this.#options;
    if (readHistory === undefined || wanted.taskId === '') {
      const why = readHistory === undefined ? 'this registry keeps no history' : 'it names no task';
      query.refuse(new RefusedError('call_invalid', 'GetTaskHistory', why));
    } else if (this.#reading >= maxReading) query.refuse(new RefusedError('overloaded', 'registry'));
    else {
      this.#reading += 1;
      try {
        const taskHistory = new mesobus.v1.TaskHistory(await readHistory(wanted));
        query.reply(new mesobus.v1.RegistryAnswer({ logIndex: follower.lastIndex, taskHistory }));
      } catch (error) {
        // Nothing is wrong with the question: JetStream did not answer all of it.
        query.refuse(new RefusedError('overloaded', 'GetTaskHistory', (error as Error).message));
      } finally {
        this.#reading -= 1;
      }
    }
  }

  #facts(): RegistryFacts {
    const { follower, registryId, snapshots } = this.#options;
    const { epoch, masterId, lastIndex: logIndex } = follower;
    const ledgerHash = (): Uint8Array => this.#ledgerHash();
    return { registryId, epoch, masterId, logIndex, ledgerHash, ...(snapshots && { snapshots: snapshots() }) };
  }

  /** Takes time in proportion to what has changed, so once per entry at most. */
  #ledgerHash(): Uint8Array {
    this.#hash ??= Uint8Array.from(Buffer.from(ledgerHash(this.#options.follower.ledger), 'hex'));
    return this.#hash;
  }
}
