import type { Clock } from '../bus/index.ts';
import type { ConnectionOptions } from '../operator/connection.ts';
import type { Wanted } from './demand.ts';
import type { FrameworkSettings } from './framework.ts';

export interface SchedulerOptions extends ConnectionOptions {
  readonly framework: FrameworkSettings;
  /**
   * What waits to be launched: `() => waiting`, if `waiting` are its tasks. Offers then come only for that, each with room
   * for one of them at least. It is asked for anew with each event and each call, and every 300 ms, so that nothing need
   * be said when something changes (`demandChanged()` is faster). Left out, whatever is free is offered, as by Mesos.
   */
  readonly demand?: () => readonly Wanted[];
  /**
   * `auto` (the default) acknowledges a status update when `statusUpdate` and the `for await` loop are done with it;
   * `manual` leaves it to `acknowledge(status)`.
   */
  readonly acknowledge?: 'auto' | 'manual';
  /** For tests: decides when time passes. */
  readonly clock?: Clock;
  /** For tests: a number from 0 to 1, of which waiting times are made. */
  readonly random?: () => number;
  /** For tests: ms since 1970. */
  readonly now?: () => number;
  /** For tests: names this scheduler among all that ever were; made by `randomUUID` unless given. */
  readonly instanceId?: string;
}

export interface StopOptions {
  /**
   * True leaves the framework and its tasks to a successor, for its failover timeout. The default tears it down: its
   * tasks are killed.
   */
  readonly failover?: boolean;
  /** How long to wait for the master, ms; 10 s unless given. */
  readonly timeoutMs?: number;
}

export interface OfferOptions {
  /** No offers of what is left unused, by the same agent to the same role, for so long; default 5, 0 for none. */
  readonly refuseSeconds?: number;
}

/** What came of a call. */
export interface CallResult {
  /** Index of the log entry that holds what it changed: a read may demand to see it. 0 if it changed nothing durable. */
  readonly logIndex: number;
}
