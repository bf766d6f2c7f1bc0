import type { mesobus } from '@mesobus/protos';
import type { LogPosition, ReadEntry } from '../core/log-reader.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import type { SnapshotFacts } from '../core/queries.ts';
import { isSnapshotDue, type SnapshotLimits } from '../core/snapshot-due.ts';
import { readSnapshotKey } from '../core/snapshot-keys.ts';
import { confirmedOf, type Generation, retentionOf } from '../core/snapshot-retention.ts';
import { confirmSnapshot, writeVerdict } from './confirm-snapshot.ts';
import { type Catalogue, readCatalogue } from './load-snapshot.ts';
import type { LogReading, LogTools } from './reading.ts';
import { sha256 } from './sha256.ts';
import { SnapshotClaims } from './snapshot-claim.ts';
import { whyNotOfLog } from './snapshot-of-log.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { SnapshotSource, writeSnapshot } from './take-snapshot.ts';

export interface KeepOptions {
  /** Unique per start of a process. */
  readonly registryId: string;
  readonly limits: SnapshotLimits;
  /** How often what stands is looked at; 5 s unless given. */
  readonly checkEveryMs?: number;
  /** At most so fast are snapshots written; 16 MB unless given. */
  readonly bytesPerSecond?: number;
  /** So long others have to confirm what this registry took, and to take what is due; 30 s unless given. */
  readonly leaveToOthersMs?: number;
  /** Who began a snapshot is taken for gone after so long without a sign; 30 s unless given. Beats come every 5 s. */
  readonly claimExpiresMs?: number;
  /** After each look at what stands. */
  onRound?(): void;
}

/** What is known of the snapshots, for metrics and queries. */
export interface SnapshotStatus extends SnapshotFacts {
  /** For so long the history has lacked an entry; 0 if it has all. */
  readonly historyBehindMs: number;
  /** A generation that stands and nobody may believe. */
  readonly faults: number;
  /** When the newest confirmed one was taken, in ms since 1970; 0 if there is none. */
  readonly takenAtMs: number;
}

type Tools = LogTools & { readonly snapshots: SnapshotStore };

/** A history that lacks an entry for so long does not follow the log. */
const historyAlarmMs = 60_000;

/**
 * Takes snapshots when the log has grown, confirms those of others, and purges what nobody needs any more: values, and
 * the log behind them once the history has it. Any number of registries do this side by side.
 */
export class SnapshotKeeper {
  readonly #tools: Tools;
  readonly #reading: LogReading;
  readonly #options: KeepOptions;
  readonly #claims: SnapshotClaims;
  readonly #source: SnapshotSource;
  #bytes = 0;
  /** The newest generation that stands, since when, and what had been read then; before the first, the start. */
  #newest = { generation: 0, at: 0, bytes: 0 };
  #dueSince: number | undefined;
  #faults = 0;
  #confirmed: mesobus.v1.SnapshotMeta | undefined;
  /** The latest snapshot behind which it has purged the log. A restore goes back in index, and not in generation. */
  #truncatedAt = { generation: 0, index: 0 };
  #historyMark: { readonly sequence: number; readonly at: number } | undefined;
  #historyBehindMs = 0;
  #historyAlarmAt = 0;
  #stopped = false;
  #wake: () => void = () => {};

  constructor(tools: Tools, reading: LogReading, options: KeepOptions) {
    this.#tools = tools;
    this.#reading = reading;
    this.#options = options;
    const { registryId, claimExpiresMs } = options;
    this.#claims = new SnapshotClaims(tools.snapshots, tools.clock, registryId, claimExpiresMs);
    this.#source = new SnapshotSource(reading, tools.clock);
    this.#newest.at = tools.clock.now();
    void this.#run();
  }

  get status(): SnapshotStatus {
    const { generation = 0, index = 0, takenAtMs = 0 } = this.#confirmed ?? {};
    const [historyBehindMs, faults] = [this.#historyBehindMs, this.#faults];
    return { generation, index, truncatedTo: this.#truncatedAt.index, historyBehindMs, faults, takenAtMs };
  }

  /** Call it for each entry that the ledger has got. */
  onEntry(entry: ReadEntry): void {
    for (const { length } of entry.records) this.#bytes += length;
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#round();
      } catch (error) {
        this.#tools.log.warn({ why: (error as Error).message }, 'cannot look after the snapshots, trying again');
      }
      if (this.#stopped) return;
      this.#options.onRound?.();
      await this.#pause(this.#options.checkEveryMs ?? 5_000);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#tools.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async #round(): Promise<void> {
    const catalogue = await readCatalogue(this.#tools.snapshots);
    const { incarnation } = this.#reading.reader;
    const generations = catalogue.generations.filter(({ meta }) => meta.clusterIncarnation === incarnation);
    this.#look(generations, catalogue);
    this.#checkVersion();
    if (await this.#isLost(generations[0])) return;
    await this.#watchHistory();
    await this.#discard(generations, catalogue.keys);
    await this.#confirm(generations[0]);
    if (this.#isDue(generations[0])) await this.#take(generations, catalogue.keys);
  }

  /** @throws {Error} the ledger of this registry is not the one of those who know all records of the log */
  #checkVersion(): void {
    const { oldestReaderVersion: needed } = this.#reading.reader;
    if (needed <= ledgerVersion) return;
    throw new Error(
      `the log needs version ${needed} of the ledger's rules, this has ${ledgerVersion}: upgrade this registry`,
    );
  }

  #look(generations: readonly Generation[], { refused }: Catalogue): void {
    const generation = generations[0]?.meta.generation ?? 0;
    if (generation !== this.#newest.generation) {
      this.#newest = { generation, at: this.#tools.clock.now(), bytes: this.#bytes };
    }
    this.#confirmed = confirmedOf(generations)[0];
    this.#faults = refused.length + generations.filter(({ fault }) => fault !== undefined).length;
  }

  // ---- taking

  #isDue(newest: Generation | undefined): boolean {
    const at = this.#tools.clock.now();
    const age = {
      ms: at - this.#newest.at,
      bytes: this.#bytes - this.#newest.bytes,
      entries: this.#reading.reader.lastIndex - (newest?.meta.index ?? 0),
    };
    const due = isSnapshotDue(age, this.#options.limits);
    this.#dueSince = due ? (this.#dueSince ?? at) : undefined;
    if (this.#dueSince === undefined) return false;
    // Whoever took the newest writes what has changed; all the others would write everything.
    const isOurs = newest === undefined || newest.meta.registryId === this.#options.registryId;
    return isOurs || at - this.#dueSince >= this.#leaveToOthersMs;
  }

  get #leaveToOthersMs(): number {
    return this.#options.leaveToOthersMs ?? 30_000;
  }

  async #take(generations: readonly Generation[], keys: readonly string[]): Promise<void> {
    const above = keys.reduce((highest, key) => Math.max(highest, readSnapshotKey(key)?.generation ?? 0), 0);
    const claim = await this.#claims.claim(above);
    if (claim === undefined) return;
    const { log, clock, snapshots, wallMs } = this.#tools;
    const { registryId, bytesPerSecond = 16 * 1024 * 1024 } = this.#options;
    try {
      const startedAt = clock.now();
      const encoded = await this.#source.encode(claim.generation, generations);
      if (encoded === undefined) return;
      await this.#checkLastEntry(encoded.position);
      const heldMs = Math.round(clock.now() - startedAt);
      const mayGoOn = async (last: boolean): Promise<void> => {
        if (this.#stopped) throw new Error('this registry stops');
        await claim.renew({ now: last });
      };
      const options = { registryId, takenAtMs: wallMs(), bytesPerSecond, mayGoOn };
      const meta = await writeSnapshot({ snapshots, clock }, encoded, options);
      this.#source.onTaken(meta.generation);
      const written = [...encoded.values.values()].reduce((sum, { length }) => sum + length, 0);
      const { generation, index, pieces } = meta;
      log.info({ generation, index, values: pieces.length, written, heldMs }, 'took a snapshot');
    } finally {
      await claim.release();
    }
  }

  /**
   * Only the entry after it would show that the last one was damaged on its way here, and a snapshot would hide that.
   *
   * @throws {Error} it is not what was read, or cannot be read again
   */
  async #checkLastEntry({ index, sequence, hash }: LogPosition): Promise<void> {
    const { found } = await this.#tools.store.readAt(sequence);
    if (found !== undefined && Buffer.compare(sha256(found.bytes), hash) === 0) return;
    const what = found === undefined ? 'is not there any more' : 'is not what was read before';
    throw new Error(`Cannot take a snapshot: entry ${index} at sequence ${sequence}, read again, ${what}`);
  }

  // ---- confirming

  async #confirm(newest: Generation | undefined): Promise<void> {
    if (newest === undefined || newest.confirmed || newest.fault !== undefined) return;
    const { registryId } = this.#options;
    const { generation, index } = newest.meta;
    const waitMs = newest.meta.registryId === registryId ? this.#leaveToOthersMs : 0;
    if (this.#tools.clock.now() - this.#newest.at < waitMs) return;
    const result = await confirmSnapshot(this.#tools, this.#reading, newest, registryId);
    if (result === 'confirmed') this.#tools.log.info({ generation, index }, 'confirmed a snapshot');
    if (typeof result !== 'string') this.#tellFault(newest.meta, result.fault);
  }

  /** Whether it is of what the log has lost since. Said for all while the log shows it: it will grow again. */
  async #isLost(newest: Generation | undefined): Promise<boolean> {
    const { reader, progress } = this.#reading;
    if (newest === undefined || newest.fault !== undefined || progress.phase !== 'caught_up') return false;
    if (newest.meta.sequence <= reader.lastSequence) return false;
    const fault = await whyNotOfLog(this.#tools, newest.meta);
    if (fault === undefined) return false; // another registry has read further
    await writeVerdict(this.#tools.snapshots, newest.meta, this.#options.registryId, { fault });
    this.#tellFault(newest.meta, fault);
    return true;
  }

  #tellFault({ generation, index, registryId: takenBy }: mesobus.v1.SnapshotMeta, fault: string): void {
    const todo = 'nobody believes it, and nothing is purged behind it; the next one is written whole';
    this.#tools.log.error({ generation, index, takenBy, fault, todo }, 'a snapshot is wrong');
  }

  // ---- purging

  async #discard(generations: readonly Generation[], keys: readonly string[]): Promise<void> {
    const { snapshots, log } = this.#tools;
    const { truncateAt, purgeable } = retentionOf(generations, keys);
    if (purgeable.length > 0) await snapshots.purge(purgeable);
    if (truncateAt === undefined || truncateAt.generation <= this.#truncatedAt.generation) return;
    const history = await snapshots.history();
    if (history === undefined || history.lastSequence < truncateAt.sequence) return; // the alarm is told elsewhere
    await snapshots.purgeLog(truncateAt.sequence + 1);
    const { generation, index } = truncateAt;
    this.#truncatedAt = { generation, index };
    log.info({ generation, index }, 'purged the log behind a snapshot');
  }

  /** What the log had at the last look, the history must have in the end. */
  async #watchHistory(): Promise<void> {
    const history = await this.#tools.snapshots.history();
    const at = this.#tools.clock.now();
    const mark = this.#historyMark ?? { sequence: this.#reading.reader.entrySequence, at };
    if (history !== undefined && history.lastSequence >= mark.sequence) {
      this.#historyMark = { sequence: this.#reading.reader.entrySequence, at };
      this.#historyBehindMs = 0;
      return;
    }
    this.#historyMark = mark;
    this.#historyBehindMs = Math.max(1, at - mark.at);
    const alarmDue = history === undefined || this.#historyBehindMs >= historyAlarmMs;
    if (!alarmDue || at < this.#historyAlarmAt) return;
    this.#historyAlarmAt = at + historyAlarmMs;
    const why = history === undefined ? 'it does not exist' : `it has the log up to sequence ${history.lastSequence}`;
    const todo =
      'nothing is purged from the log meanwhile, so it grows: look at the stream, or restart a registry to create it';
    this.#tools.log.error({ why, wanted: mark.sequence, todo }, 'the history does not follow the log');
  }
}
