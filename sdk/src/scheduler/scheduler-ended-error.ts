/** Why a subscription is over and will not be renewed. */
export type EndReason =
  /** Another scheduler has subscribed with the framework's id. */
  | 'superseded'
  /** The master does not let the framework subscribe. */
  | 'refused'
  /** The master has ended it: the framework was torn down, or its failover timeout has passed. */
  | 'ended'
  /** The bus was closed under it. */
  | 'bus_closed';

/** The subscription is over for good: this scheduler does nothing any more. */
export class SchedulerEndedError extends Error {
  override readonly name = 'SchedulerEndedError';
  readonly reason: EndReason;

  constructor(reason: EndReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
