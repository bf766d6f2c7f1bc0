import type { Ledger } from '../core/ledger.ts';
import type { ReadEntry } from '../core/log-reader.ts';
import { type LogReading, type LogTools, type Progress, startReading, UnfitLogError } from './reading.ts';

export interface FollowOptions {
  /** After each entry, when the ledger holds it. */
  onEntry?(entry: ReadEntry): void;
  /** The ledger is another one, as of `lastIndex`: loaded from a snapshot, or empty because the log is a new one. */
  onReloaded?(): void;
  /** The log cannot be followed any further: the ledger stays as it is. The process had better end. */
  onStopped?(error: UnfitLogError): void;
}

/** A ledger that follows the log. */
export interface LogFollower {
  /** Another one after each `onReloaded`: never keep it. */
  readonly ledger: Ledger;
  /** The ledger is as of this entry; 0 before the first. */
  readonly lastIndex: number;
  readonly incarnation: number;
  readonly epoch: number;
  /** Of the leader by the latest `leader` record; empty if nobody leads. */
  readonly masterId: string;
  /** All that stood in the bucket at the start has been read. */
  readonly caughtUp: Promise<void>;
  /** How far it is before that. */
  readonly progress: Progress;
  /** What reads: for whoever takes snapshots of the ledger. */
  readonly reading: LogReading;
  stop(): void;
}

export function follow(tools: LogTools, options: FollowOptions): LogFollower {
  const { promise: caughtUp, resolve } = Promise.withResolvers<void>();
  const reading = startReading(tools, {
    onCaughtUp: resolve,
    onReloaded: () => options.onReloaded?.(),
    onEffect: (effect) => {
      if (effect.kind === 'entry') options.onEntry?.(effect.entry);
      if (effect.kind !== 'stopped') return;
      tools.log.error({ why: effect.why }, 'the log cannot be followed');
      options.onStopped?.(new UnfitLogError(effect.why));
    },
  });
  return new Follower(reading, caughtUp);
}

class Follower implements LogFollower {
  readonly caughtUp: Promise<void>;
  readonly reading: LogReading;

  constructor(reading: LogReading, caughtUp: Promise<void>) {
    this.reading = reading;
    this.caughtUp = caughtUp;
  }

  get ledger(): Ledger {
    return this.reading.ledger;
  }

  get lastIndex(): number {
    return this.reading.reader.lastIndex;
  }

  get incarnation(): number {
    return this.reading.reader.incarnation;
  }

  get epoch(): number {
    return this.reading.reader.epoch;
  }

  get masterId(): string {
    return this.reading.reader.leader?.record.masterId ?? '';
  }

  get progress(): Progress {
    return this.reading.progress;
  }

  stop(): void {
    this.reading.stop();
  }
}
