import type { mesobus } from '@mesobus/protos';
import type { Delivery } from '@mesobus/sdk/bus';
import { type RefusalCode, refusalMessage } from '@mesobus/sdk/errors';

type Reply = mesobus.v1.SchedulerReply.$Properties;
type CallsDelivery = Delivery<mesobus.v1.SchedulerCalls, mesobus.v1.SchedulerReplies.$Properties>;

/** The answers to the calls of one request: sent when all are there, in the order of the calls. */
export class CallReplies {
  readonly #delivery: CallsDelivery;
  readonly #replies: (Reply | undefined)[];
  #missing: number;

  constructor(delivery: CallsDelivery) {
    this.#delivery = delivery;
    this.#missing = delivery.message.calls.length;
    this.#replies = new Array<Reply | undefined>(this.#missing).fill(undefined);
    if (this.#missing === 0) delivery.reply({ replies: [] });
  }

  /** @param index - of the call in its request */
  set(index: number, reply: Reply): void {
    if (this.#replies[index] !== undefined) return;
    this.#replies[index] = reply;
    this.#missing -= 1;
    if (this.#missing === 0) this.#delivery.reply({ replies: this.#replies.filter((one) => one !== undefined) });
  }
}

/** Stands for one call of a request. */
export interface CallToken {
  readonly replies: CallReplies;
  readonly index: number;
}

export function refusalOf(
  callId: string,
  { code, subject, why }: { code: RefusalCode; subject: string; why?: string },
): Reply {
  return { callId, refusal: { code, subject, message: refusalMessage(code, subject, why) } };
}
