import type { mesobus } from '@mesobus/protos';
import type { Bus, Clock, Delivery, Subjects, Subscription } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { ledgerHash } from '../core/ledger-hash.ts';
import { answerQuery, type RegistryFacts } from '../core/queries.ts';
import type { LogFollower } from './follow.ts';

export interface QueryServiceOptions {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly follower: LogFollower;
  readonly registryId: string;
}

type Query = Delivery<mesobus.v1.RegistryQuery, mesobus.v1.RegistryAnswer>;

interface Waiting {
  readonly query: Query;
  readonly index: number;
  cancel(): void;
}

/** How long a query waits for the index that it demands; the asker then asks again, perhaps another registry. */
const indexWaitMs = 2_000;
/** So many may wait at once; more are refused. */
const maxWaiting = 10_000;

/** Answers queries from the ledger that a follower keeps. */
export class QueryService {
  readonly #options: QueryServiceOptions;
  readonly #subscription: Subscription;
  readonly #waiting = new Set<Waiting>();
  #hash: { index: number; value: Uint8Array } | undefined;

  constructor(options: QueryServiceOptions) {
    this.#options = options;
    const { bus, subjects } = options;
    this.#subscription = bus.serve(subjects.registryQuery.any, (query) => this.#onQuery(query), { queue: 'registry' });
  }

  /** Call it when the ledger has got another entry. */
  onIndex(index: number): void {
    for (const waiting of this.#waiting) {
      if (waiting.index > index) continue;
      this.#forget(waiting);
      this.#answer(waiting.query);
    }
  }

  stop(): void {
    this.#subscription.stop();
    for (const waiting of this.#waiting) this.#giveUp(waiting);
  }

  #onQuery(query: Query): void {
    const index = query.message.atLeastIndex;
    if (index <= this.#options.follower.lastIndex) this.#answer(query);
    else if (this.#waiting.size >= maxWaiting) query.refuse(new RefusedError('overloaded', 'registry'));
    else this.#wait(query, index);
  }

  #wait(query: Query, index: number): void {
    const cancel = this.#options.clock.after(indexWaitMs, () => this.#giveUp(waiting));
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
    const result = answerQuery(this.#options.follower.ledger, this.#facts(), query.message);
    if ('answer' in result) query.reply(result.answer);
    else query.refuse(new RefusedError('call_invalid', 'RegistryQuery', result.refused));
  }

  #facts(): RegistryFacts {
    const { follower, registryId } = this.#options;
    const { epoch, masterId, lastIndex: logIndex } = follower;
    return { registryId, epoch, masterId, logIndex, ledgerHash: () => this.#ledgerHash() };
  }

  /** Takes time in proportion to the ledger, so once per entry at most. */
  #ledgerHash(): Uint8Array {
    const { ledger, lastIndex } = this.#options.follower;
    if (this.#hash?.index !== lastIndex) {
      this.#hash = { index: lastIndex, value: Uint8Array.from(Buffer.from(ledgerHash(ledger), 'hex')) };
    }
    return this.#hash.value;
  }
}
