import { mesobus } from '@mesobus/protos';
import { indexOfKey, leaderKey } from './log-keys.ts';
import { tryDecode } from './try-decode.ts';

/** A key of the log's bucket as it was written, in the order of `sequence`. */
export interface LogMessage {
  readonly key: string;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** One transaction, as it stands in the log. */
export interface ReadEntry {
  readonly index: number;
  readonly sequence: number;
  readonly incarnation: number;
  readonly epoch: number;
  readonly masterId: string;
  /** Ms since 1970, by the clock of the master that wrote it. */
  readonly writtenAtMs: number;
  /** Each one an encoded Record, as it was written, in order. */
  readonly records: readonly Uint8Array[];
}

export type LogReaderEffect =
  | { readonly kind: 'entry'; readonly entry: ReadEntry }
  | { readonly kind: 'leader'; readonly record: mesobus.v1.LeaderRecord; readonly sequence: number }
  /** A deposed leader wrote it: it counts for nothing. */
  | { readonly kind: 'void'; readonly index: number; readonly epoch: number; readonly sequence: number }
  | SnapshotWanted
  | StoppedReading;

/** The log cannot be followed any further. */
export interface StoppedReading {
  readonly kind: 'stopped';
  readonly why: string;
}

/**
 * What comes next cannot be applied to what was read: only a snapshot leads on. The reader reads nothing until
 * {@link startAfter} puts it behind one.
 */
export interface SnapshotWanted {
  readonly kind: 'snapshot_wanted';
  /** The snapshot must be of this incarnation of the cluster, or a later one; of this index, or a later one. */
  readonly incarnation: number;
  readonly index: number;
  /** It is being written: wait for it. Otherwise there is one, or the log cannot be followed. */
  readonly underWay: boolean;
  readonly why: string;
}

/** A place in the log: what a reader knows when it has read up to an entry. A snapshot says of which place it is. */
export interface LogPosition {
  readonly incarnation: number;
  /** The highest seen. */
  readonly epoch: number;
  readonly index: number;
  /** SHA-256 of the entry at `index`. */
  readonly hash: Uint8Array;
  /** Of that entry; reading goes on after it. */
  readonly sequence: number;
  readonly oldestReaderVersion: number;
  readonly leader: ReadLeader | undefined;
}

export interface ReadLeader {
  readonly record: mesobus.v1.LeaderRecord;
  readonly sequence: number;
}

/** Follows the log from its first entry, or from behind a snapshot, in order, and trusts nothing: epochs, indices and hashes are checked. */
export interface LogReader {
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  /** Of the last message read, whatever its key. */
  lastSequence: number;
  /** Of the last entry that counted. */
  entrySequence: number;
  lastIndex: number;
  lastHash: Uint8Array;
  /** The highest seen. */
  incarnation: number;
  epoch: number;
  /** The oldest version of the ledger's code that may lead over what was read. */
  oldestReaderVersion: number;
  leader: ReadLeader | undefined;
  /** Nothing is read before {@link startAfter}. */
  wanted: SnapshotWanted | undefined;
  stopped: string | undefined;
}

/** @param hash - SHA-256 */
export function createLogReader(hash: (bytes: Uint8Array) => Uint8Array): LogReader {
  return {
    hash,
    lastSequence: 0,
    entrySequence: 0,
    lastIndex: 0,
    lastHash: new Uint8Array(),
    incarnation: 0,
    epoch: 0,
    oldestReaderVersion: 0,
    leader: undefined,
    wanted: undefined,
    stopped: undefined,
  };
}

/** Where a reader stands. */
export const positionOf = (reader: LogReader): LogPosition => ({
  incarnation: reader.incarnation,
  epoch: reader.epoch,
  index: reader.lastIndex,
  hash: reader.lastHash,
  sequence: reader.entrySequence,
  oldestReaderVersion: reader.oldestReaderVersion,
  leader: reader.leader,
});

/** Puts a reader behind a snapshot, whatever it has read before. The next message wanted is that of `sequence` + 1. */
export function startAfter(reader: LogReader, position: LogPosition): void {
  const { incarnation, epoch, index, hash, sequence, oldestReaderVersion, leader } = position;
  Object.assign(reader, { incarnation, epoch, oldestReaderVersion, leader });
  Object.assign(reader, { lastSequence: sequence, entrySequence: sequence, lastIndex: index, lastHash: hash });
  reader.wanted = undefined;
  reader.stopped = undefined;
}

/** Ends the reading: no snapshot leads on, for the reasons given. */
export function giveUpWaiting(reader: LogReader, wanted: SnapshotWanted, why: string): StoppedReading {
  return stop(reader, `${wanted.why}, and no snapshot leads on: ${why}`);
}

/** Reads one message. What was read before, and keys that are not of the log, give nothing. */
export function readMessage(reader: LogReader, message: LogMessage): LogReaderEffect[] {
  if (reader.stopped !== undefined || reader.wanted !== undefined) return [];
  if (message.sequence <= reader.lastSequence) return [];
  reader.lastSequence = message.sequence;
  if (message.key === leaderKey) return onLeader(reader, message);
  const index = indexOfKey(message.key);
  return index === undefined ? [] : onEntry(reader, message, index);
}

function onLeader(reader: LogReader, { bytes, sequence }: LogMessage): LogReaderEffect[] {
  const record = tryDecode(mesobus.v1.LeaderRecord, bytes);
  if (record === undefined)
    return [stop(reader, `the key '${leaderKey}' at sequence ${sequence} is not a leader record`)];
  const wanted = record.restoring ? wantRestored(reader, record) : whyOutranked(reader, record);
  if (wanted !== undefined) return [want(reader, wanted)];
  reader.leader = { record, sequence };
  raise(reader, record);
  return [{ kind: 'leader', record, sequence }];
}

/** What was read before counts in another incarnation of the cluster; a first leader record makes the first one. */
function whyOutranked(reader: LogReader, { clusterIncarnation: incarnation }: Epochal): SnapshotWanted | undefined {
  if (reader.incarnation === 0 || incarnation <= reader.incarnation) return undefined;
  const why = `a backup was restored as incarnation ${incarnation} of the cluster`;
  return { kind: 'snapshot_wanted', incarnation, index: 0, underWay: false, why };
}

function wantRestored(reader: LogReader, { clusterIncarnation: incarnation }: Epochal): SnapshotWanted | undefined {
  if (incarnation <= reader.incarnation) return undefined; // its snapshot is what was read
  const why = `a backup is being restored as incarnation ${incarnation} of the cluster`;
  return { kind: 'snapshot_wanted', incarnation, index: 0, underWay: true, why };
}

function want(reader: LogReader, wanted: SnapshotWanted): SnapshotWanted {
  reader.wanted = wanted;
  return wanted;
}

function onEntry(reader: LogReader, { bytes, sequence }: LogMessage, index: number): LogReaderEffect[] {
  const entry = tryDecode(mesobus.v1.LogEntry, bytes, { views: true });
  if (entry === undefined) return [stop(reader, `entry ${index} at sequence ${sequence} is not an entry`)];
  if (isOlder(entry, reader)) return [{ kind: 'void', index, epoch: entry.epoch, sequence }];
  const wanted = whyOutranked(reader, entry) ?? whyGap(reader, entry, index);
  if (wanted !== undefined) return [want(reader, wanted)];
  const fault = findFault(reader, entry, index);
  if (fault !== undefined) return [stop(reader, `entry ${index} at sequence ${sequence}: ${fault}`)];

  raise(reader, entry);
  reader.entrySequence = sequence;
  reader.lastIndex = index;
  reader.lastHash = reader.hash(bytes);
  reader.oldestReaderVersion = Math.max(reader.oldestReaderVersion, entry.oldestReaderVersion);
  return [{ kind: 'entry', entry: readEntry(entry, sequence) }];
}

/** The log below a snapshot is purged: who was away meanwhile finds a gap. */
function whyGap(reader: LogReader, entry: mesobus.v1.LogEntry, index: number): SnapshotWanted | undefined {
  if (entry.index !== index || index <= reader.lastIndex + 1) return undefined;
  const why = `entry ${reader.lastIndex + 1} should come next, not ${index}`;
  const incarnation = reader.incarnation;
  return { kind: 'snapshot_wanted', incarnation, index: index - 1, underWay: false, why };
}

function findFault(reader: LogReader, entry: mesobus.v1.LogEntry, index: number): string | undefined {
  if (entry.index !== index) return `it says that it is entry ${entry.index}`;
  if (index !== reader.lastIndex + 1) return `entry ${reader.lastIndex + 1} should come next`;
  if (sameBytes(entry.previousHash, reader.lastHash)) return undefined;
  return `it does not follow entry ${reader.lastIndex} as it was read: their hashes differ`;
}

function readEntry(entry: mesobus.v1.LogEntry, sequence: number): ReadEntry {
  const { index, clusterIncarnation: incarnation, epoch, masterId, writtenAtMs, records } = entry;
  return { index, sequence, incarnation, epoch, masterId, writtenAtMs, records };
}

interface Epochal {
  readonly clusterIncarnation: number;
  readonly epoch: number;
}

function isOlder({ clusterIncarnation, epoch }: Epochal, reader: LogReader): boolean {
  return clusterIncarnation < reader.incarnation || (clusterIncarnation === reader.incarnation && epoch < reader.epoch);
}

function raise(reader: LogReader, by: Epochal): void {
  if (isOlder(by, reader)) return;
  reader.incarnation = by.clusterIncarnation;
  reader.epoch = by.epoch;
}

function stop(reader: LogReader, what: string): StoppedReading {
  reader.stopped = `Cannot follow the log: ${what}. Keep the buckets as they are, stop the masters, and restore a backup`;
  return { kind: 'stopped', why: reader.stopped };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
