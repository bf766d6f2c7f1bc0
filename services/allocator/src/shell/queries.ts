import type { mesobus } from '@mesobus/protos';
import type { Delivery } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { Logger } from '@mesobus/sdk/service';
import { explain, quotas, type State, shares, WhatIfProblem, whatIf } from '../core/index.ts';

type Query = Delivery<mesobus.v1.AllocatorQuery, mesobus.v1.AllocatorAnswer.$Properties>;
type Answer = mesobus.v1.AllocatorAnswer.$Properties;

/** Long answers under way and waiting; whoever asks then is asked to come again. */
const maxLong = 16;

/** Answers questions about the books. Long answers are worked out a little at a time, between rounds. */
export class Queries {
  readonly #state: State;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #long: { readonly delivery: Query; readonly work: Iterator<undefined, Answer> }[] = [];
  #next: NodeJS.Immediate | undefined;

  /** @param now - ms, monotonic: the time of the rounds */
  constructor(state: State, now: () => number, log: Logger) {
    this.#state = state;
    this.#now = now;
    this.#log = log;
  }

  answer(delivery: Query): void {
    const { getShares, getQuotas, explain: explained, whatIf: supposed } = delivery.message;
    if (getShares) delivery.reply({ shares: shares(this.#state, this.#now()) });
    else if (getQuotas) delivery.reply({ quotas: quotas(this.#state) });
    else if (explained) this.#begin(delivery, this.#explain(explained));
    else if (supposed) this.#begin(delivery, this.#whatIf(supposed));
    else delivery.refuse(new RefusedError('call_invalid', 'query', 'it asks for nothing that this allocator knows'));
  }

  stop(): void {
    clearImmediate(this.#next);
    this.#long.length = 0;
  }

  *#explain(query: mesobus.v1.ExplainFramework): Generator<undefined, Answer> {
    return { explanation: yield* explain(this.#state, this.#now, query) };
  }

  *#whatIf(query: mesobus.v1.WhatIf): Generator<undefined, Answer> {
    return { whatIf: yield* whatIf(this.#state, this.#now(), query) };
  }

  #begin(delivery: Query, work: Iterator<undefined, Answer>): void {
    if (this.#long.length >= maxLong) {
      delivery.refuse(new RefusedError('overloaded', 'query', `${maxLong} long queries are under way`));
      return;
    }
    this.#long.push({ delivery, work });
    this.#next ??= setImmediate(() => this.#work());
  }

  /** One step of the oldest. */
  #work(): void {
    this.#next = undefined;
    const [oldest] = this.#long;
    if (oldest === undefined) return;
    if (this.#isDone(oldest)) this.#long.shift();
    if (this.#long.length > 0) this.#next = setImmediate(() => this.#work());
  }

  #isDone({ delivery, work }: { readonly delivery: Query; readonly work: Iterator<undefined, Answer> }): boolean {
    try {
      const step = work.next();
      if (step.done) delivery.reply(step.value);
      return step.done === true;
    } catch (error) {
      // Nobody's question ends the allocator.
      if (!(error instanceof WhatIfProblem)) this.#log.error({ err: error }, 'a query could not be answered');
      delivery.refuse(
        new RefusedError('call_invalid', 'query', error instanceof Error ? error.message : String(error)),
      );
      return true;
    }
  }
}
