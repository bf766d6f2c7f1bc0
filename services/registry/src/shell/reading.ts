import type { mesobus } from '@mesobus/protos';
import type { BusLogger, Clock } from '@mesobus/sdk/bus';
import { applyEncoded, createLedger, type Ledger } from '../core/ledger.ts';
import {
  createLogReader,
  giveUpWaiting,
  type LogMessage,
  type LogReader,
  type LogReaderEffect,
  type ReadEntry,
  readMessage,
  type SnapshotWanted,
  startAfter,
} from '../core/log-reader.ts';
import { positionOfMeta } from '../core/snapshot-meta.ts';
import type { FoundSnapshot, LoadedSnapshot, NoSnapshot } from './load-snapshot.ts';
import type { LogStore, Tailer } from './log-store.ts';
import { sha256 } from './sha256.ts';
import { pause } from './slices.ts';
import { loadNewestOfLog } from './snapshot-of-log.ts';
import type { SnapshotStore } from './snapshot-store.ts';

/** What everyone who reads or writes the log has. */
export interface LogTools {
  readonly store: LogStore;
  /** Where a reading begins, and goes on where the log is gone; undefined: at the first entry only. */
  readonly snapshots?: SnapshotStore;
  readonly log: BusLogger;
  /** Measures leases and pauses. */
  readonly clock: Clock;
  /** The time of day, in ms since 1970. */
  readonly wallMs: () => number;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  /** Told how long each append of a leader took, in ms, whatever came of it. */
  readonly onAppended?: ((ms: number) => void) | undefined;
}

/** The log cannot be followed: damaged, truncated, or of a newer version. */
export class UnfitLogError extends Error {
  override readonly name = 'UnfitLogError';
}

/** What a reading has to say beside what it applies: a snapshot that is wanted it finds itself. */
export type ReadingEffect = Exclude<LogReaderEffect, SnapshotWanted>;

export interface ReadingHandlers {
  /** An entry is in the ledger already. */
  onEffect(effect: ReadingEffect): void;
  /** All that stood in the log when the reading began, or began anew, was read. */
  onCaughtUp(): void;
  /** The reading begins anew: it is behind until it has caught up. */
  onRestart?(): void;
  /** The ledger is another one: loaded from a snapshot, or empty because the log is a new one. */
  onReloaded?(): void;
}

/** How far a reading is that has not caught up. */
export type Progress =
  | { readonly phase: 'finding' }
  | { readonly phase: 'snapshot'; readonly done: number; readonly of: number }
  | { readonly phase: 'log'; readonly index: number }
  | { readonly phase: 'caught_up' };

/** What is still being read, in words; undefined if nothing is. */
export function describeProgress(progress: Progress): string | undefined {
  switch (progress.phase) {
    case 'finding':
      return 'it looks for a snapshot to start from';
    case 'snapshot':
      return `it loads a snapshot: ${progress.done} of ${progress.of} values`;
    case 'log':
      return `it reads the log and is at entry ${progress.index}`;
    case 'caught_up':
      return undefined;
  }
}

/** Reads the log into a ledger and hands on what was read, one effect at a time. */
export interface LogReading {
  /** Another one after each `onReloaded`: never keep it. */
  readonly ledger: Ledger;
  /** The same for as long as the reading lasts. */
  readonly reader: LogReader;
  /** That the ledger was loaded from; undefined: it was read from the first entry. */
  readonly snapshot: mesobus.v1.SnapshotMeta | undefined;
  readonly progress: Progress;
  /**
   * Leaves the ledger as it is until `release`. What the log says meanwhile is read afterwards.
   *
   * @returns false if it has not caught up, or is held already: then nothing is held
   */
  hold(): boolean;
  release(): void;
  stop(): void;
}

const retryMs = 500;
/** A restore takes as long as it takes. */
const waitForRestoreMs = 1_000;
const reportEveryMs = 1_000;

/** From the newest snapshot that can be believed, or from the first entry; nothing is called back before this returns. */
export const startReading = (tools: LogTools, handlers: ReadingHandlers): LogReading => new Reading(tools, handlers);

class Reading implements LogReading {
  readonly reader: LogReader = createLogReader(sha256);
  readonly #tools: LogTools;
  readonly #handlers: ReadingHandlers;
  #ledger: Ledger = createLedger();
  #snapshot: mesobus.v1.SnapshotMeta | undefined;
  /** Why no snapshot was believed before the log was read from its first entry. */
  #unbelieved: readonly string[] = [];
  #tailer: Tailer | undefined;
  #progress: Progress = { phase: 'finding' };
  #reportedAt = 0;
  #held = false;
  /** Ends what is being loaded. */
  readonly #stopping = new AbortController();

  constructor(tools: LogTools, handlers: ReadingHandlers) {
    this.#tools = tools;
    this.#handlers = handlers;
    this.#reportedAt = tools.clock.now();
    if (tools.snapshots === undefined) this.#tail();
    else void this.#load(tools.snapshots, undefined);
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  get snapshot(): mesobus.v1.SnapshotMeta | undefined {
    return this.#snapshot;
  }

  get progress(): Progress {
    return this.#progress;
  }

  hold(): boolean {
    if (this.#held || this.#stopped || this.#progress.phase !== 'caught_up') return false;
    this.#held = true;
    this.#tailer?.stop();
    return true;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    if (!this.#stopped) this.#tail();
  }

  stop(): void {
    this.#stopping.abort();
    this.#tailer?.stop();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  // ---- from the log

  #tail(): void {
    const { store, log } = this.#tools;
    this.#progress = { phase: 'log', index: this.reader.lastIndex };
    this.#tailer = store.tail({
      from: this.reader.lastSequence + 1,
      onMessage: (message) => this.#onMessage(message),
      onCaughtUp: () => this.#onCaughtUp(),
      onRestart: (why) => {
        log.warn({ bucket: store.name, lastSequence: this.reader.lastSequence, why }, 'following the log anew');
        this.#progress = { phase: 'log', index: this.reader.lastIndex };
        this.#handlers.onRestart?.();
      },
      onReplaced: (lastSequence) => this.#onReplaced(lastSequence),
    });
  }

  #onCaughtUp(): void {
    if (this.#stopped || this.reader.wanted !== undefined) return;
    if (this.reader.lastIndex === 0 && this.#unbelieved.length > 0) {
      this.#endAtEmptyLog();
      return;
    }
    this.#progress = { phase: 'caught_up' };
    this.#handlers.onCaughtUp();
  }

  /** The last entry of a log is never purged: this is no new cluster. */
  #endAtEmptyLog(): void {
    const why = 'the log holds no entry, although snapshots of it stand';
    const wanted: SnapshotWanted = { kind: 'snapshot_wanted', incarnation: 0, index: 0, underWay: false, why };
    this.#hand(giveUpWaiting(this.reader, wanted, this.#unbelieved.join('; ')));
  }

  #onMessage(message: LogMessage): void {
    for (const effect of readMessage(this.reader, message)) {
      if (effect.kind === 'snapshot_wanted') this.#wantSnapshot(effect);
      else {
        if (effect.kind === 'entry') this.#apply(effect.entry);
        if (effect.kind === 'void') this.#tools.log.warn({ ...effect }, 'an entry of a deposed master is void');
        this.#hand(effect);
      }
    }
  }

  #hand(effect: ReadingEffect): void {
    if (effect.kind === 'stopped') this.stop();
    this.#handlers.onEffect(effect);
  }

  #apply(entry: ReadEntry): void {
    let malformed = 0;
    for (const record of entry.records) if (!applyEncoded(this.#ledger, record)) malformed += 1;
    const { log } = this.#tools;
    if (malformed > 0) log.error({ index: entry.index, malformed }, 'an entry has records that cannot be decoded');
    if (this.#progress.phase !== 'caught_up') this.#report({ phase: 'log', index: entry.index });
  }

  // ---- from a snapshot

  #wantSnapshot(wanted: SnapshotWanted): void {
    this.#tailer?.stop();
    this.#progress = { phase: 'finding' };
    this.#tools.log.warn({ ...wanted }, 'only a snapshot leads on from here');
    this.#handlers.onRestart?.();
    const { snapshots } = this.#tools;
    if (snapshots !== undefined) void this.#load(snapshots, wanted);
    else this.#hand(giveUpWaiting(this.reader, wanted, 'this reader has none'));
  }

  /** The stream under the log is a new one: what was read counts for nothing. */
  #onReplaced(lastSequence: number): void {
    const why = `the log ends at sequence ${lastSequence}, below ${this.reader.lastSequence}, which was read`;
    const fresh = createLogReader(sha256);
    startAfter(this.reader, { ...fresh, index: 0, hash: fresh.lastHash, sequence: 0 });
    this.#ledger = createLedger();
    this.#snapshot = undefined;
    this.#tailer?.stop();
    this.#progress = { phase: 'finding' };
    this.#tools.log.error({ why }, 'the log was replaced: everything is read anew');
    this.#handlers.onRestart?.();
    this.#handlers.onReloaded?.();
    if (this.#tools.snapshots === undefined) this.#tail();
    else void this.#load(this.#tools.snapshots, undefined);
  }

  /** @param wanted - undefined: any snapshot will do, and none as well */
  async #load(snapshots: SnapshotStore, wanted: SnapshotWanted | undefined): Promise<void> {
    let whyBefore: string | undefined;
    for (;;) {
      const loaded = await this.#tryLoad(snapshots, wanted);
      if (this.#stopped) return;
      if (loaded !== undefined && 'ledger' in loaded) return this.#adopt(loaded);
      if (loaded !== undefined && wanted === undefined) {
        this.#unbelieved = loaded.refused;
        return this.#tail();
      }
      if (loaded !== undefined && wanted?.underWay === false) {
        const why = loaded.refused.length === 0 ? 'none stands' : loaded.refused.join('; ');
        // What is read slowly may be purged meanwhile, behind newer ones: so only what is found again is believed.
        if (why === whyBefore) return this.#hand(giveUpWaiting(this.reader, wanted, why));
        whyBefore = why;
      }
      await pause(this.#tools.clock, loaded === undefined ? retryMs : waitForRestoreMs);
    }
  }

  /** @returns undefined if nobody answered */
  async #tryLoad(
    snapshots: SnapshotStore,
    wanted: SnapshotWanted | undefined,
  ): Promise<FoundSnapshot | NoSnapshot | undefined> {
    const { log, clock, store } = this.#tools;
    const { incarnation = 0, index = 0 } = wanted ?? {};
    const onProgress = (done: number, of: number): void => this.#report({ phase: 'snapshot', done, of });
    try {
      const { signal } = this.#stopping;
      const loaded = await loadNewestOfLog({ store, snapshots, clock }, { incarnation, index, onProgress, signal });
      for (const why of 'refused' in loaded ? loaded.refused : loaded.passedOver) {
        log.error({ bucket: snapshots.name, why }, 'a snapshot is not believed');
      }
      return loaded;
    } catch (error) {
      if (this.#stopped) return undefined;
      log.warn({ bucket: snapshots.name, why: (error as Error).message }, 'cannot read snapshots, trying again');
      return undefined;
    }
  }

  #adopt({ meta, ledger }: LoadedSnapshot): void {
    const { generation, index } = meta;
    this.#tools.log.info({ generation, index, values: meta.pieces.length }, 'loaded a snapshot');
    startAfter(this.reader, positionOfMeta(meta));
    this.#ledger = ledger;
    this.#snapshot = meta;
    this.#handlers.onReloaded?.();
    const { leader } = this.reader;
    if (leader !== undefined) this.#hand({ kind: 'leader', ...leader });
    if (!this.#stopped) this.#tail();
  }

  #report(progress: Progress): void {
    this.#progress = progress;
    const at = this.#tools.clock.now();
    if (at < this.#reportedAt + reportEveryMs) return;
    this.#reportedAt = at;
    this.#tools.log.info({ ...progress }, 'reading the state of the cluster');
  }
}
