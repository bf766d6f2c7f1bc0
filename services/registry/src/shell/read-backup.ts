import { encode, mesobus } from '@mesobus/protos';
import { applyEncoded, createLedger, type Ledger } from '../core/ledger.ts';
import { ledgerHash } from '../core/ledger-hash.ts';
import { entryKey } from '../core/log-keys.ts';
import {
  createLogReader,
  type LogPosition,
  type LogReader,
  positionOf,
  readMessage,
  startAfter,
} from '../core/log-reader.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import { positionOfMeta, readMeta, readPart } from '../core/snapshot-meta.ts';
import { tryDecode } from '../core/try-decode.ts';
import { backupFormat, DamagedBackupError, readBlocks } from './backup-file.ts';
import { sha256 } from './sha256.ts';

export interface ReadBackup {
  readonly header: mesobus.v1.BackupHeader;
  readonly ledger: Ledger;
  /** Where in the log of its cluster it stands. */
  readonly position: LogPosition;
}

/**
 * Reads a whole backup and believes nothing of it that does not match: the hash of each value, the chain of the
 * entries, the hash of the file, and that of the ledger that it adds up to.
 *
 * @throws {DamagedBackupError} saying what does not match
 */
export function readBackup(file: string): ReadBackup {
  const reading = new BackupReading(file);
  for (const block of readBlocks(file)) reading.onBlock(block);
  return reading.result();
}

class BackupReading {
  readonly #file: string;
  readonly #ledger = createLedger();
  readonly #reader: LogReader = createLogReader(sha256);
  #header: mesobus.v1.BackupHeader | undefined;
  #pieces: mesobus.v1.SnapshotPiece[] = [];
  #ended = false;

  constructor(file: string) {
    this.#file = file;
  }

  onBlock({ header, part, entry, end, block }: mesobus.v1.BackupBlock): void {
    if (this.#header === undefined) this.#onHeader(header);
    else if (block === 'part') this.#onPart(part as Uint8Array);
    else if (block === 'entry') this.#onEntry(entry as Uint8Array);
    else if (end !== null) this.#onEnd(end);
    else throw this.#damaged('it has a block of an unknown kind');
  }

  result(): ReadBackup {
    const header = this.#header;
    if (header === undefined || !this.#ended) throw this.#damaged('it has no end');
    return { header, ledger: this.#ledger, position: positionOf(this.#reader) };
  }

  #onHeader(header: mesobus.v1.BackupHeader | null): void {
    if (header === null) throw this.#damaged('it does not begin with its header');
    const { format, mesobusVersion } = header;
    if (format !== backupFormat)
      throw this.#damaged(`Mesobus ${mesobusVersion} wrote it in format ${format}, not ${backupFormat}`);
    this.#header = header;
    if (header.snapshot === null) return;
    const { generation } = header.snapshot;
    const meta = readMeta(encode(mesobus.v1.SnapshotMeta, header.snapshot), generation);
    if ('fault' in meta) throw this.#damaged(`its snapshot is wrong: ${meta.fault}`);
    this.#pieces = [...(meta.ok.pieces as mesobus.v1.SnapshotPiece[])].reverse();
    startAfter(this.#reader, positionOfMeta(meta.ok));
  }

  #onPart(bytes: Uint8Array): void {
    const piece = this.#pieces.pop();
    if (piece === undefined) throw this.#damaged('it has more values than its snapshot');
    const name = `the value of shard ${piece.shard}`;
    if (!sha256(bytes).every((byte, at) => byte === piece.hash[at]))
      throw this.#damaged(`${name} is not what was written`);
    const part = readPart(bytes, piece);
    if ('fault' in part) throw this.#damaged(`${name}: ${part.fault}`);
    for (const record of part.ok)
      if (!applyEncoded(this.#ledger, record)) throw this.#damaged(`${name} holds no record`);
  }

  #onEntry(bytes: Uint8Array): void {
    if (this.#pieces.length > 0) throw this.#damaged(`it lacks ${this.#pieces.length} values of its snapshot`);
    const index = tryDecode(mesobus.v1.LogEntry, bytes)?.index ?? 0;
    const message = { key: entryKey(index), sequence: this.#reader.lastSequence + 1, bytes };
    const [effect] = readMessage(this.#reader, message);
    if (effect?.kind !== 'entry') throw this.#damaged(`entry ${index} does not follow entry ${this.#reader.lastIndex}`);
    for (const record of effect.entry.records) applyEncoded(this.#ledger, record);
  }

  #onEnd(end: mesobus.v1.BackupEnd): void {
    this.#ended = true;
    if (this.#pieces.length > 0) throw this.#damaged(`it lacks ${this.#pieces.length} values of its snapshot`);
    const { lastIndex } = this.#reader;
    if (end.index !== lastIndex) throw this.#damaged(`it ends with entry ${lastIndex}, not with entry ${end.index}`);
    this.#reader.incarnation = Math.max(this.#reader.incarnation, end.clusterIncarnation);
    this.#reader.epoch = Math.max(this.#reader.epoch, end.epoch);
    if (end.ledgerVersion !== ledgerVersion) return; // other rules give another hash
    const hash = ledgerHash(this.#ledger);
    if (hash !== end.ledgerHash) throw this.#damaged(`it adds up to the hash ${hash}, not to ${end.ledgerHash}`);
  }

  #damaged(what: string): DamagedBackupError {
    return new DamagedBackupError(this.#file, what);
  }
}
