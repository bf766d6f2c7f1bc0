import type { InverseOffer, Offer } from './offer.ts';
import type { MasterInfo } from './scheduler-event.ts';
import type { Task } from './task.ts';
import type { OperationStatus, TaskStatus } from './task-status.ts';

type Done = void | Promise<void>;

/**
 * What a scheduler wants to hear of. All are optional and may be asynchronous. They run one after the other, in the order
 * of the events: the next one waits for the promise of the one before.
 */
export interface SchedulerCallbacks {
  /** The framework stands. Store its id: with it another process can take over. */
  registered?(frameworkId: string, master: MasterInfo | undefined): Done;
  /** Contact is back. Offers of before are void; `reconcile()` asks what has become of the tasks. */
  reregistered?(master: MasterInfo | undefined): Done;
  /** Contact with the master is lost, and sought again. The tasks go on. */
  disconnected?(why: string): Done;
  /** Accept or decline each of them: what is held unanswered serves nobody. */
  resourceOffers?(offers: readonly Offer[]): Done;
  /**
   * In place of `resourceOffers`: the tasks to launch on this offer; none declines it. It is answered in any case, also if
   * this throws.
   */
  place?(offer: Offer): readonly Task[] | Promise<readonly Task[]>;
  /** The offer is void. */
  offerRescinded?(offerId: string): Done;
  /** Resources are asked back: of a machine that will be away, or of tasks whose place others are entitled to. */
  inverseOffers?(inverseOffers: readonly InverseOffer[]): Done;
  inverseOfferRescinded?(inverseOfferId: string): Done;
  /**
   * A task has come to another state. It is acknowledged when the callback is done (unless `acknowledge` is `manual`); if
   * the callback throws it is not, and comes again.
   */
  statusUpdate?(status: TaskStatus): Done;
  operationUpdate?(status: OperationStatus): Done;
  /** An executor says something that only the framework understands. At most once. */
  frameworkMessage?(agentId: string, executorId: string, data: Uint8Array): Done;
  /** The agent is gone; the states of its tasks come by themselves. */
  agentLost?(agentId: string): Done;
  /** @param status - the raw wait status of its process */
  executorLost?(agentId: string, executorId: string, status: number): Done;
  /** A callback threw, or the subscription is over for good (a `SchedulerEndedError`). */
  error?(error: Error): Done;
}
