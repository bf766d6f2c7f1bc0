import { encode, mesobus } from '@mesobus/protos';
import { InvariantError, invariant } from '@mesobus/sdk/errors';
import { entryKey, leaderKey } from './log-keys.ts';

/** One entry, encoded. The same is written again after an unknown outcome, so it must fit in half a payload of NATS. */
export const maxEntryBytes: number = 512 * 1024;
/** The largest record: an entry less what stands around it. */
export const maxRecordBytes: number = maxEntryBytes - 1024;
/** What may wait while an append is under way. A leader takes nothing new long before, see {@link laggingBytes}. */
export const maxQueuedBytes: number = 256 * 1024 * 1024;
/** With so much waiting, nothing new should be decided: the largest request that was let in before must still fit. */
export const laggingBytes: number = 16 * 1024 * 1024;
/** How long records that are not urgent wait for company. */
const gatherMs = 100;
/** A leader that writes nothing renews so often. */
const renewEveryMs = 300;
/** The pause before an unknown outcome is looked into again; it doubles up to the longest. */
export const retryMs = 50;
export const maxRetryMs = 250;
/** The version of the ledger's rules that this code writes and reads. */
export const ledgerVersion = 3;
/** What came with later versions, by the number of its field in a Record: whoever does not know it has another ledger. */
const knownSince: ReadonlyMap<number, number> = new Map([
  [17, 2], // agent_resources
  [18, 3], // executor
]);

/** `at` only ever grows and measures pauses; `wallMs` is the time of day, in ms since 1970. */
export interface Moment {
  readonly at: number;
  readonly wallMs: number;
}

export interface LogWriterOptions {
  readonly incarnation: number;
  readonly epoch: number;
  /** Unique per start of a process; at most 256 bytes. */
  readonly masterId: string;
  readonly leaseMs: number;
  /** The sequence of this leader's own record: nothing follows it yet. */
  readonly lastSequence: number;
  /** Of the last entry; 0 if there is none. */
  readonly lastIndex: number;
  /** Of the bytes of the last entry; empty if there is none. */
  readonly lastHash: Uint8Array;
  /** SHA-256. */
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  readonly now: Moment;
}

export type LogWriterInput =
  | { readonly kind: 'tick' }
  /** The append was acknowledged. */
  | { readonly kind: 'appended'; readonly sequence: number }
  /** The append was refused: the bucket's last sequence is another (10071, 10164). */
  | { readonly kind: 'refused' }
  /** A time-out, no responders, any other error: it may have been written. */
  | { readonly kind: 'unknown'; readonly why: string }
  /** Answers `read`. `lastSequence` was asked for before the record was. */
  | { readonly kind: 'read'; readonly found: StoredRecord | undefined; readonly lastSequence: number }
  | { readonly kind: 'read_failed'; readonly why: string };

export interface StoredRecord {
  readonly key: string;
  readonly bytes: Uint8Array;
}

export type LogWriterEffect =
  /** Write `bytes` to `key` if the bucket's last sequence is the expected one; answer appended, refused or unknown. */
  | { readonly kind: 'append'; readonly key: string; readonly bytes: Uint8Array; readonly expectedSequence: number }
  /** Read what stands at `sequence`; answer read or read_failed. */
  | { readonly kind: 'read'; readonly sequence: number }
  /** Everything up to `position` is in the log for good. */
  | { readonly kind: 'committed'; readonly position: number; readonly index: number; readonly sequence: number }
  /** Another leads, or this one has resigned: nothing will be written any more. */
  | { readonly kind: 'ended'; readonly reason: EndReason; readonly why: string };

export type EndReason = 'deposed' | 'expired' | 'resigned';

export type SubmitResult =
  | { readonly position: number }
  | { readonly refused: 'too_large' | 'overloaded' | 'ended'; readonly why: string };

/** Records that were submitted together. An entry holds it whole, if it fits in one. */
interface Unit {
  readonly records: readonly Uint8Array[];
  readonly bytes: number;
  /** Of its last record. */
  readonly position: number;
}

interface Append {
  readonly key: string;
  readonly bytes: Uint8Array;
  /** Undefined for the leader's record. */
  readonly entry?: { readonly index: number; readonly position: number };
  /** The last act: the leader's record without a holder. */
  readonly resigns: boolean;
  readonly startedAt: number;
  /** What the shell is doing about it; `waiting` until `retryAt`. */
  phase: 'writing' | 'reading' | 'waiting';
  /** What comes after waiting. */
  next: 'append' | 'read';
  retryAt: number;
  failures: number;
}

/**
 * Appends to the log as its only writer: one append in flight, everything that comes meanwhile goes into the next entry.
 * Each append says which sequence of the bucket it follows, so that whoever is not the leader any more is refused.
 */
export interface LogWriter {
  readonly options: LogWriterOptions;
  lastSequence: number;
  lastIndex: number;
  lastHash: Uint8Array;
  /** Of the last record submitted. */
  position: number;
  /** Of the last record in the log for good. */
  committedPosition: number;
  queue: Unit[];
  queuedBytes: number;
  /** When the queue is to be written at the latest; undefined if it is empty. */
  writeAt: number | undefined;
  append: Append | undefined;
  renewal: number;
  /** When the latest confirmed append began: from then on the lease counts. */
  confirmedAt: number;
  /** It hands over; the next must have an epoch above this one. */
  resigning: number | undefined;
  ended: { readonly reason: EndReason; readonly why: string } | undefined;
}

export function createLogWriter(options: LogWriterOptions): LogWriter {
  invariant(options.masterId !== '' && options.masterId.length <= 64, 'a master id has 1 to 64 characters');
  return {
    options,
    lastSequence: options.lastSequence,
    lastIndex: options.lastIndex,
    lastHash: options.lastHash,
    position: 0,
    committedPosition: 0,
    queue: [],
    queuedBytes: 0,
    writeAt: undefined,
    append: undefined,
    renewal: 0,
    confirmedAt: options.now.at,
    resigning: undefined,
    ended: undefined,
  };
}

/**
 * Queues records (encoded) for the log. Follow it by a `tick`. Records submitted together stand in one entry if they fit
 * in one; otherwise they are cut between records, in order.
 *
 * @returns the position after the last of them: they are in the log once `committed` says this position or a later one
 */
export function submit(
  writer: LogWriter,
  now: Moment,
  records: readonly Uint8Array[],
  options: { readonly urgent: boolean },
): SubmitResult {
  const problem = whyNotSubmit(writer, records);
  if (problem !== undefined) return problem;
  for (const unit of unitsOf(records)) {
    writer.position += unit.length;
    const bytes = unit.reduce((sum, record) => sum + sizeInEntry(record), 0);
    writer.queue.push({ records: unit, bytes, position: writer.position });
    writer.queuedBytes += bytes;
  }
  if (records.length > 0) writeBy(writer, options.urgent ? now.at : now.at + gatherMs);
  return { position: writer.position };
}

/**
 * Demands an append that begins after now, with no record of its own. Follow it by a `tick`. Once its position is
 * committed, this was still the leader after the call.
 */
export function barrier(writer: LogWriter, now: Moment): SubmitResult {
  if (writer.ended !== undefined || writer.resigning !== undefined) return whyEnded(writer);
  if (writer.queue.length === 0) {
    writer.position += 1;
    writer.queue.push({ records: [], bytes: 0, position: writer.position });
  }
  writeBy(writer, now.at);
  return { position: writer.position };
}

/**
 * Writes what is queued, then the leader's record without a holder, and ends. Follow it by a `tick`.
 *
 * @param aboveEpoch - somebody obeys this epoch already: the record says it, so that the next leader's is higher
 */
export function resign(writer: LogWriter, now: Moment, aboveEpoch = 0): void {
  writer.resigning = Math.max(aboveEpoch, writer.resigning ?? writer.options.epoch);
  if (writer.queue.length > 0) writeBy(writer, now.at);
}

/** Ends it without writing anything more. What is in flight may still come to stand in the log. */
export function abandon(writer: LogWriter, why: string): void {
  if (writer.ended === undefined) end(writer, 'expired', why);
}

export function stepLogWriter(writer: LogWriter, now: Moment, input: LogWriterInput): LogWriterEffect[] {
  if (writer.ended !== undefined) return [];
  switch (input.kind) {
    case 'tick':
      return onTick(writer, now);
    case 'appended':
      return writer.append?.phase === 'writing' ? onAppended(writer, now, writer.append, input.sequence) : [];
    case 'refused':
      return writer.append?.phase === 'writing' ? onRefused(writer, writer.append) : [];
    case 'unknown':
      return writer.append?.phase === 'writing' ? later(writer.append, now, 'read') : [];
    case 'read':
      return writer.append?.phase === 'reading' ? onRead(writer, now, writer.append, input) : [];
    case 'read_failed':
      return writer.append?.phase === 'reading' ? later(writer.append, now, 'read') : [];
  }
}

/** When the next tick is due; undefined while only the answer of the shell can change anything. */
export function nextTickAt(writer: LogWriter): number | undefined {
  if (writer.ended !== undefined) return undefined;
  if (writer.append !== undefined) return writer.append.phase === 'waiting' ? writer.append.retryAt : undefined;
  const renewAt = writer.confirmedAt + renewEveryMs;
  return writer.writeAt === undefined ? renewAt : Math.min(renewAt, writer.writeAt);
}

// ---- submitting

function whyNotSubmit(writer: LogWriter, records: readonly Uint8Array[]): SubmitResult | undefined {
  if (writer.ended !== undefined || writer.resigning !== undefined) return whyEnded(writer);
  const largest = records.reduce((max, record) => Math.max(max, record.length), 0);
  if (largest > maxRecordBytes) {
    const why = `a record of ${largest} bytes does not fit in an entry, which takes ${maxRecordBytes}`;
    return { refused: 'too_large', why };
  }
  const total = records.reduce((sum, record) => sum + sizeInEntry(record), writer.queuedBytes);
  if (total <= maxQueuedBytes) return undefined;
  const why = `${writer.queuedBytes} bytes wait for the log already, of at most ${maxQueuedBytes}`;
  return { refused: 'overloaded', why };
}

function whyEnded(writer: LogWriter): SubmitResult {
  return { refused: 'ended', why: writer.ended?.why ?? 'this master is handing over' };
}

/** A tag and a length of at most four bytes come before each record. */
const sizeInEntry = (record: Uint8Array): number => record.length + 5;

function unitsOf(records: readonly Uint8Array[]): Uint8Array[][] {
  const units: Uint8Array[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const record of records) {
    const added = sizeInEntry(record);
    if (size + added > maxRecordBytes + 5) {
      units.push([]);
      size = 0;
    }
    size += added;
    units.at(-1)?.push(record);
  }
  return units;
}

function writeBy(writer: LogWriter, at: number): void {
  writer.writeAt = Math.min(writer.writeAt ?? at, at);
}

// ---- writing

function onTick(writer: LogWriter, now: Moment): LogWriterEffect[] {
  const { append } = writer;
  if (append !== undefined) {
    if (append.phase !== 'waiting' || now.at < append.retryAt) return [];
    return append.next === 'append' ? write(writer, append) : readBack(writer, append);
  }
  const full = writer.queuedBytes >= maxRecordBytes;
  if (writer.writeAt !== undefined && (full || now.at >= writer.writeAt)) return appendEntry(writer, now);
  if (writer.queue.length === 0 && writer.resigning !== undefined) return appendLeader(writer, now);
  if (now.at < writer.confirmedAt + renewEveryMs) return [];
  return writer.queue.length > 0 ? appendEntry(writer, now) : appendLeader(writer, now);
}

function appendEntry(writer: LogWriter, now: Moment): LogWriterEffect[] {
  const { units, position } = takeUnits(writer);
  const index = writer.lastIndex + 1;
  const { incarnation, epoch, masterId } = writer.options;
  const records = units.flatMap((unit) => [...unit.records]);
  const bytes = encode(mesobus.v1.LogEntry, {
    clusterIncarnation: incarnation,
    epoch,
    index,
    previousHash: writer.lastHash,
    oldestReaderVersion: oldestReaderOf(records),
    masterId,
    writtenAtMs: now.wallMs,
    records,
  });
  invariant(bytes.length <= maxEntryBytes, `entry ${index} has ${bytes.length} bytes`);
  return begin(writer, now, { key: entryKey(index), bytes, entry: { index, position }, resigns: false });
}

/** Versions before may lead over the records: an upgrade can be taken back until somebody uses what it brought. */
function oldestReaderOf(records: readonly Uint8Array[]): number {
  return records.reduce((oldest, record) => Math.max(oldest, knownSince.get(factOf(record)) ?? 1), 1);
}

/** The number of the field that an encoded Record begins with: its tag takes two bytes at most. */
function factOf(record: Uint8Array): number {
  const [first = 0, second = 0] = record;
  return (first < 0x80 ? first : (first & 0x7f) | (second << 7)) >> 3;
}

function takeUnits(writer: LogWriter): { units: Unit[]; position: number } {
  let size = 0;
  let count = 0;
  for (const unit of writer.queue) {
    if (count > 0 && size + unit.bytes > maxRecordBytes + 5) break;
    size += unit.bytes;
    count += 1;
  }
  const units = writer.queue.splice(0, count);
  writer.queuedBytes -= size;
  if (writer.queue.length === 0) writer.writeAt = undefined;
  const last = units.at(-1);
  if (last === undefined) throw new InvariantError('an entry was begun with nothing queued');
  return { units, position: last.position };
}

function appendLeader(writer: LogWriter, now: Moment): LogWriterEffect[] {
  const { incarnation, epoch, masterId, leaseMs } = writer.options;
  const resigns = writer.resigning !== undefined;
  writer.renewal += 1;
  const bytes = encode(mesobus.v1.LeaderRecord, {
    clusterIncarnation: incarnation,
    epoch: writer.resigning ?? epoch,
    masterId: resigns ? '' : masterId,
    leaseMs,
    renewal: writer.renewal,
  });
  return begin(writer, now, { key: leaderKey, bytes, resigns });
}

type Begun = Pick<Append, 'key' | 'bytes' | 'entry' | 'resigns'>;

function begin(writer: LogWriter, now: Moment, begun: Begun): LogWriterEffect[] {
  writer.append = { ...begun, startedAt: now.at, phase: 'writing', next: 'append', retryAt: 0, failures: 0 };
  return write(writer, writer.append);
}

function write(writer: LogWriter, append: Append): LogWriterEffect[] {
  append.phase = 'writing';
  const { key, bytes } = append;
  return [{ kind: 'append', key, bytes, expectedSequence: writer.lastSequence }];
}

// ---- outcomes

function onAppended(writer: LogWriter, now: Moment, append: Append, sequence: number): LogWriterEffect[] {
  if (sequence !== writer.lastSequence + 1) {
    // No server answers so: an expected sequence was met, and yet another came between.
    return end(writer, 'deposed', `${append.key} got sequence ${sequence}, not ${writer.lastSequence + 1}`);
  }
  return [...confirm(writer, append), ...(writer.ended === undefined ? onTick(writer, now) : [])];
}

function confirm(writer: LogWriter, append: Append): LogWriterEffect[] {
  writer.lastSequence += 1;
  writer.confirmedAt = append.startedAt;
  writer.append = undefined;
  if (append.resigns) return end(writer, 'resigned', 'this master has handed over');
  if (append.entry === undefined) return [];
  const { index, position } = append.entry;
  writer.lastIndex = index;
  writer.lastHash = writer.options.hash(append.bytes);
  writer.committedPosition = position;
  return [{ kind: 'committed', position, index, sequence: writer.lastSequence }];
}

/** Perhaps by what we wrote ourselves, before an answer was lost. */
function onRefused(writer: LogWriter, append: Append): LogWriterEffect[] {
  append.failures += 1;
  return readBack(writer, append);
}

function readBack(writer: LogWriter, append: Append): LogWriterEffect[] {
  append.phase = 'reading';
  return [{ kind: 'read', sequence: writer.lastSequence + 1 }];
}

function onRead(
  writer: LogWriter,
  now: Moment,
  append: Append,
  { found, lastSequence }: Extract<LogWriterInput, { kind: 'read' }>,
): LogWriterEffect[] {
  const sequence = writer.lastSequence + 1;
  if (found !== undefined) {
    if (found.key === append.key && sameBytes(found.bytes, append.bytes)) {
      return [...confirm(writer, append), ...(writer.ended === undefined ? onTick(writer, now) : [])];
    }
    return end(writer, 'deposed', `another master wrote ${found.key} at sequence ${sequence}`);
  }
  // What stood there was overwritten since: only a newer leader overwrites.
  if (lastSequence >= sequence) return end(writer, 'deposed', `another master wrote up to sequence ${lastSequence}`);
  return append.failures <= 1 ? write(writer, append) : later(append, now, 'append');
}

function later(append: Append, now: Moment, next: 'append' | 'read'): LogWriterEffect[] {
  append.phase = 'waiting';
  append.next = next;
  append.retryAt = now.at + Math.min(maxRetryMs, retryMs * 2 ** Math.min(append.failures, 10));
  append.failures += 1;
  return [];
}

function end(writer: LogWriter, reason: EndReason, why: string): LogWriterEffect[] {
  writer.ended = { reason, why };
  writer.append = undefined;
  writer.queue = [];
  writer.queuedBytes = 0;
  return [{ kind: 'ended', reason, why }];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
