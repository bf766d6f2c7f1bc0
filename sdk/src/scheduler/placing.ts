import type { Offer } from './offer.ts';
import type { Task } from './task.ts';

export interface Placing {
  /** The author's: which tasks go on an offer. */
  readonly place: (offer: Offer) => readonly Task[] | Promise<readonly Task[]>;
  readonly launch: (offer: Offer, tasks: readonly Task[]) => Promise<unknown>;
  /** Gives an offer back that is still open. */
  readonly giveBack: (offer: Offer) => Promise<unknown>;
}

/**
 * Answers each offer with the tasks that the author puts on it. The author is asked about one after the other, without
 * waiting until the last is launched.
 *
 * @throws the first of what the author or a launch threw; every offer is answered all the same
 */
export async function placeOn(offers: readonly Offer[], { place, launch, giveBack }: Placing): Promise<void> {
  const problems: unknown[] = [];
  const answers: Promise<unknown>[] = [];
  const giveUp = (offer: Offer, problem: unknown): Promise<unknown> => {
    problems.push(problem);
    return giveBack(offer);
  };
  for (const offer of offers) {
    try {
      const tasks = await place(offer);
      const answer = tasks.length === 0 ? giveBack(offer) : launch(offer, tasks);
      answers.push(answer.catch((error: unknown) => giveUp(offer, error)));
    } catch (error) {
      answers.push(giveUp(offer, error));
    }
  }
  for (const { status, ...result } of await Promise.allSettled(answers)) {
    if (status === 'rejected' && 'reason' in result) problems.push(result.reason);
  }
  if (problems.length > 0) throw problems[0];
}
