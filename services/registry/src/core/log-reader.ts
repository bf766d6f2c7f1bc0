import { decode, type MessageType, mesobus } from '@mesobus/protos';
import { indexOfKey, leaderKey } from './log-keys.ts';

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
  /** Those that could be decoded, in order. One of a kind that this version does not know has no fact. */
  readonly records: readonly mesobus.v1.Record[];
  /** All of them, as they were written. */
  readonly encoded: readonly Uint8Array[];
}

export type LogReaderEffect =
  | { readonly kind: 'entry'; readonly entry: ReadEntry }
  | { readonly kind: 'leader'; readonly record: mesobus.v1.LeaderRecord; readonly sequence: number }
  /** A deposed leader wrote it: it counts for nothing. */
  | { readonly kind: 'void'; readonly index: number; readonly epoch: number; readonly sequence: number }
  /** The log cannot be followed any further. */
  | { readonly kind: 'stopped'; readonly why: string };

/** Follows the log from its first entry, in order, and trusts nothing: epochs, indices and hashes are checked. */
export interface LogReader {
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  /** Of the last message read, whatever its key. */
  lastSequence: number;
  lastIndex: number;
  lastHash: Uint8Array;
  /** The highest seen. */
  incarnation: number;
  epoch: number;
  /** The oldest version of the ledger's code that may lead over what was read. */
  oldestReaderVersion: number;
  leader: { readonly record: mesobus.v1.LeaderRecord; readonly sequence: number } | undefined;
  stopped: string | undefined;
}

/** @param hash - SHA-256 */
export function createLogReader(hash: (bytes: Uint8Array) => Uint8Array): LogReader {
  return {
    hash,
    lastSequence: 0,
    lastIndex: 0,
    lastHash: new Uint8Array(),
    incarnation: 0,
    epoch: 0,
    oldestReaderVersion: 0,
    leader: undefined,
    stopped: undefined,
  };
}

/** Reads one message. What was read before, and keys that are not of the log, give nothing. */
export function readMessage(reader: LogReader, message: LogMessage): LogReaderEffect[] {
  if (reader.stopped !== undefined || message.sequence <= reader.lastSequence) return [];
  reader.lastSequence = message.sequence;
  if (message.key === leaderKey) return onLeader(reader, message);
  const index = indexOfKey(message.key);
  return index === undefined ? [] : onEntry(reader, message, index);
}

function onLeader(reader: LogReader, { bytes, sequence }: LogMessage): LogReaderEffect[] {
  const record = tryDecode(mesobus.v1.LeaderRecord, bytes);
  if (record === undefined)
    return stop(reader, `the key '${leaderKey}' at sequence ${sequence} is not a leader record`);
  reader.leader = { record, sequence };
  raise(reader, record);
  return [{ kind: 'leader', record, sequence }];
}

function onEntry(reader: LogReader, { bytes, sequence }: LogMessage, index: number): LogReaderEffect[] {
  const entry = tryDecode(mesobus.v1.LogEntry, bytes);
  if (entry === undefined) return stop(reader, `entry ${index} at sequence ${sequence} is not an entry`);
  if (isOlder(entry, reader)) return [{ kind: 'void', index, epoch: entry.epoch, sequence }];
  const fault = findFault(reader, entry, index);
  if (fault !== undefined) return stop(reader, `entry ${index} at sequence ${sequence}: ${fault}`);

  raise(reader, entry);
  reader.lastIndex = index;
  reader.lastHash = reader.hash(bytes);
  reader.oldestReaderVersion = Math.max(reader.oldestReaderVersion, entry.oldestReaderVersion);
  return [{ kind: 'entry', entry: readEntry(entry, sequence) }];
}

function findFault(reader: LogReader, entry: mesobus.v1.LogEntry, index: number): string | undefined {
  if (entry.index !== index) return `it says that it is entry ${entry.index}`;
  if (index !== reader.lastIndex + 1) return `entry ${reader.lastIndex + 1} should come next`;
  if (sameBytes(entry.previousHash, reader.lastHash)) return undefined;
  return `it does not follow entry ${reader.lastIndex} as it was read: their hashes differ`;
}

function readEntry(entry: mesobus.v1.LogEntry, sequence: number): ReadEntry {
  const records: mesobus.v1.Record[] = [];
  for (const bytes of entry.records) {
    const record = tryDecode(mesobus.v1.Record, bytes);
    if (record !== undefined) records.push(record);
  }
  const { index, clusterIncarnation: incarnation, epoch, masterId, writtenAtMs, records: encoded } = entry;
  return { index, sequence, incarnation, epoch, masterId, writtenAtMs, records, encoded };
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

function stop(reader: LogReader, what: string): LogReaderEffect[] {
  reader.stopped = `Cannot follow the log: ${what}. Keep the bucket as it is, stop the masters, and restore a backup`;
  return [{ kind: 'stopped', why: reader.stopped }];
}

function tryDecode<T extends object>(type: MessageType<T, never>, bytes: Uint8Array): T | undefined {
  try {
    return decode(type, bytes);
  } catch {
    return undefined;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
