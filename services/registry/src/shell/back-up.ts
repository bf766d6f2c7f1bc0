import type { mesobus } from '@mesobus/protos';
import { version } from '@mesobus/sdk/service';
import { applyEncoded, createLedger, type Ledger } from '../core/ledger.ts';
import { ledgerHash } from '../core/ledger-hash.ts';
import { createLogReader, type LogMessage, type LogReader, readMessage, startAfter } from '../core/log-reader.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import { partKey } from '../core/snapshot-keys.ts';
import { positionOfMeta } from '../core/snapshot-meta.ts';
import { BackupWriter, backupFormat } from './backup-file.ts';
import { type LogTools, UnfitLogError } from './reading.ts';
import { sha256 } from './sha256.ts';
import { loadNewestOfLog } from './snapshot-of-log.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface BackupSummary {
  /** Of the last entry in it. */
  readonly index: number;
  readonly incarnation: number;
  readonly epoch: number;
  readonly agents: number;
  readonly frameworks: number;
  readonly tasks: number;
  readonly bytes: number;
}

type Tools = Pick<LogTools, 'store' | 'clock' | 'wallMs' | 'log'> & { readonly snapshots: SnapshotStore };

/** A snapshot that is being read may be purged meanwhile: then the newer one is taken. */
const tries = 3;

/**
 * Copies the state of a running cluster into a file, as of one entry of the log: the newest snapshot that can be
 * believed, and the log after it. All of it is checked while it is read.
 *
 * @throws {UnfitLogError} the log cannot be followed, or holds nothing
 */
export async function backUp(tools: Tools, cluster: string, file: string): Promise<BackupSummary> {
  for (let attempt = 1; ; attempt += 1) {
    using writer = new BackupWriter(file);
    const copied = await copy(tools, cluster, writer);
    if (copied instanceof UnfitLogError && attempt < tries) continue;
    if (copied instanceof UnfitLogError) throw copied;
    return copied;
  }
}

async function copy(tools: Tools, cluster: string, writer: BackupWriter): Promise<BackupSummary | UnfitLogError> {
  const { snapshots } = tools;
  const found = await loadNewestOfLog(tools, { incarnation: 0, index: 0 });
  const snapshot = 'ledger' in found ? found.meta : undefined;
  const ledger = 'ledger' in found ? found.ledger : createLedger();
  const header = { format: backupFormat, mesobusVersion: version, cluster, takenAtMs: tools.wallMs() };
  writer.add({ header: { ...header, ...(snapshot && { snapshot }) } });
  const missing = snapshot && (await copyValues(snapshots, snapshot, writer));
  if (missing !== undefined) return new UnfitLogError(`Cannot back up: ${missing} was purged meanwhile; try again`);

  const reader = createLogReader(sha256);
  if (snapshot !== undefined) startAfter(reader, positionOfMeta(snapshot));
  const stopped = await copyLog(tools, reader, ledger, writer);
  const refused = 'refused' in found && found.refused.length > 0 ? ` (${found.refused.join('; ')})` : '';
  if (stopped !== undefined) return new UnfitLogError(`Cannot back up: ${stopped}${refused}`);
  const { lastIndex: index, incarnation, epoch, lastHash: entryHash } = reader;
  if (index === 0) throw new UnfitLogError(`Cannot back up: the cluster '${cluster}' has no entry in its log yet`);
  const place = { index, entryHash, clusterIncarnation: incarnation, epoch };
  writer.finish({ ...place, ledgerHash: ledgerHash(ledger), ledgerVersion });
  return { index, incarnation, epoch, ...countsOf(ledger), bytes: writer.bytes };
}

/** What a ledger holds, in numbers. */
export function countsOf(ledger: Ledger): { agents: number; frameworks: number; tasks: number } {
  let tasks = 0;
  for (const framework of ledger.frameworks.values()) tasks += framework.tasks.size;
  return { agents: ledger.agents.size, frameworks: ledger.frameworks.size, tasks };
}

/** The hashes were compared when it was loaded; whoever reads the file compares them again. */
async function copyValues(
  snapshots: SnapshotStore,
  meta: mesobus.v1.SnapshotMeta,
  writer: BackupWriter,
): Promise<string | undefined> {
  for (const { generation, part } of meta.pieces as mesobus.v1.SnapshotPiece[]) {
    const value = await snapshots.get(partKey(generation, part));
    if (value === undefined) return partKey(generation, part);
    writer.add({ part: value.bytes });
  }
  return undefined;
}

/** Up to what stood in the log when the reading began; resolves with what is wrong with it, if anything is. */
function copyLog(
  { store }: Pick<Tools, 'store'>,
  reader: LogReader,
  ledger: Ledger,
  writer: BackupWriter,
): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  let done = false;
  const end = (why?: string): void => {
    done = true;
    resolve(why);
  };
  const read = (message: LogMessage): void => {
    for (const effect of readMessage(reader, message)) {
      if (effect.kind === 'stopped' || effect.kind === 'snapshot_wanted') end(effect.why);
      if (effect.kind !== 'entry') continue;
      for (const record of effect.entry.records) applyEncoded(ledger, record);
      writer.add({ entry: message.bytes });
    }
  };
  const tailer = store.tail({
    from: reader.lastSequence + 1,
    onCaughtUp: () => end(),
    onReplaced: () => end('the log was replaced by another'),
    onMessage: (message) => {
      if (done) return;
      try {
        read(message);
      } catch (error) {
        done = true;
        reject(error as Error); // the disk is full: whoever delivers messages can do nothing about that
      }
    },
  });
  void store.closed().then(() => end('the connection to NATS is closed'));
  return promise.finally(() => tailer.stop());
}
