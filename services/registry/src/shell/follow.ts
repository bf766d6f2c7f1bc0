import type { BusLogger, Clock } from '@mesobus/sdk/bus';
import { applyRecord, createLedger, type Ledger } from '../core/ledger.ts';
import {
  createLogReader,
  type LogMessage,
  type LogReader,
  type LogReaderEffect,
  type ReadEntry,
  readMessage,
} from '../core/log-reader.ts';
import type { LogStore, Tailer } from './log-store.ts';
import { sha256 } from './sha256.ts';

/** What everyone who reads or writes the log has. */
export interface LogTools {
  readonly store: LogStore;
  readonly log: BusLogger;
  /** Measures leases and pauses. */
  readonly clock: Clock;
  /** The time of day, in ms since 1970. */
  readonly wallMs: () => number;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
}

export interface FollowOptions {
  /** After each entry, when the ledger holds it. */
  onEntry?(entry: ReadEntry): void;
  /** The log cannot be followed any further: the ledger stays as it is. The process had better end. */
  onStopped?(error: UnfitLogError): void;
}

/** A ledger that follows the log. */
export interface LogFollower {
  readonly ledger: Ledger;
  /** The ledger is as of this entry; 0 before the first. */
  readonly lastIndex: number;
  readonly incarnation: number;
  readonly epoch: number;
  /** Of the leader by the latest `leader` record; empty if nobody leads. */
  readonly masterId: string;
  /** All that stood in the bucket at the start has been read. */
  readonly caughtUp: Promise<void>;
  stop(): void;
}

/** The log cannot be followed: damaged, truncated, or of a newer version. */
export class UnfitLogError extends Error {
  override readonly name = 'UnfitLogError';
}

/** Reads the log into a ledger and hands on what was read, one effect at a time. */
export interface LogReading {
  readonly ledger: Ledger;
  readonly reader: LogReader;
  stop(): void;
}

export function startReading(
  { store, log }: LogTools,
  handlers: { onEffect(effect: LogReaderEffect): void; onCaughtUp(): void; onRestart?(): void },
): LogReading {
  const ledger = createLedger();
  const reader = createLogReader(sha256);
  const tailer: Tailer = store.tail({
    from: 1,
    onMessage: (message) => onMessage(message),
    onCaughtUp: () => handlers.onCaughtUp(),
    onRestart: (why) => {
      log.warn({ bucket: store.name, lastSequence: reader.lastSequence, why }, 'following the log anew');
      handlers.onRestart?.();
    },
  });

  function onMessage(message: LogMessage): void {
    for (const effect of readMessage(reader, message)) {
      if (effect.kind === 'entry') applyEntry(effect.entry);
      if (effect.kind === 'void') log.warn({ ...effect }, 'an entry of a deposed master is void');
      if (effect.kind === 'stopped') tailer.stop();
      handlers.onEffect(effect);
    }
  }

  function applyEntry(entry: ReadEntry): void {
    for (const record of entry.records) applyRecord(ledger, record);
    const malformed = entry.encoded.length - entry.records.length;
    if (malformed > 0) log.error({ index: entry.index, malformed }, 'an entry has records that cannot be decoded');
  }

  return { ledger, reader, stop: () => tailer.stop() };
}

export function follow(tools: LogTools, options: FollowOptions): LogFollower {
  const { promise: caughtUp, resolve } = Promise.withResolvers<void>();
  const reading = startReading(tools, {
    onCaughtUp: resolve,
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
  readonly #reading: LogReading;

  constructor(reading: LogReading, caughtUp: Promise<void>) {
    this.#reading = reading;
    this.caughtUp = caughtUp;
  }

  get ledger(): Ledger {
    return this.#reading.ledger;
  }

  get lastIndex(): number {
    return this.#reading.reader.lastIndex;
  }

  get incarnation(): number {
    return this.#reading.reader.incarnation;
  }

  get epoch(): number {
    return this.#reading.reader.epoch;
  }

  get masterId(): string {
    return this.#reading.reader.leader?.record.masterId ?? '';
  }

  stop(): void {
    this.#reading.stop();
  }
}
