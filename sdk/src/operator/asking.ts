import {
  type AnyMessage,
  type Bus,
  type Channel,
  compareEpochs,
  type Decoded,
  type Encodable,
  type EpochGate,
} from '../bus/index.ts';
import { DeadlineError, NoRespondersError, RefusedError } from '../errors.ts';

const firstRetryMs = 100;
const maxRetryMs = 1000;

/**
 * Asks until there is an answer: again while nobody serves the subject or the refusal is one of the moment.
 *
 * @param timeoutMs - for all tries together
 * @param gate - of questions to the leader: what one says that was deposed before the last answer is not heard
 * @throws what the last try met
 */
export async function ask<Request extends AnyMessage, Reply extends AnyMessage>(
  bus: Bus,
  channel: Channel<Request, Reply>,
  message: Encodable<Request>,
  timeoutMs: number,
  gate?: EpochGate,
): Promise<Decoded<Reply>> {
  const deadline = performance.now() + timeoutMs;
  for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, maxRetryMs)) {
    const leftMs = Math.max(1, deadline - performance.now());
    try {
      // One try has half of the time: a process that died with the question does not answer for another.
      const answer = await bus.request(channel, message, {
        timeoutMs: Math.min(leftMs, Math.max(1000, timeoutMs / 2)),
        ...(gate !== undefined && { accepts: (epoch) => compareEpochs(epoch, gate.highest) >= 0 }),
      });
      gate?.observe(answer.epoch);
      return answer.message;
    } catch (error) {
      const again =
        error instanceof NoRespondersError ||
        error instanceof DeadlineError ||
        (error instanceof RefusedError && error.transient);
      if (!again || performance.now() + retryMs >= deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}
