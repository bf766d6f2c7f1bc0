import { encode, mesobus } from '@mesobus/protos';
import { invariant } from '@mesobus/sdk/errors';
import type { Ledger } from '../core/ledger.ts';
import { entryKey, indexOfKey, leaderKey } from '../core/log-keys.ts';
import { createLogReader, startAfter } from '../core/log-reader.ts';
import { ledgerVersion } from '../core/log-writer.ts';
import { readSnapshotKey } from '../core/snapshot-keys.ts';
import { tryDecode } from '../core/try-decode.ts';
import { countsOf } from './back-up.ts';
import { readCatalogue } from './load-snapshot.ts';
import type { AppendOutcome, LogStore } from './log-store.ts';
import { type ReadBackup, readBackup } from './read-backup.ts';
import type { LogTools } from './reading.ts';
import { sha256 } from './sha256.ts';
import { pause } from './slices.ts';
import { type Claim, SnapshotClaims } from './snapshot-claim.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { SnapshotSource, writeSnapshot } from './take-snapshot.ts';

export interface RestoreSummary {
  /** Of the last entry of the backup; the log goes on after it. */
  readonly index: number;
  readonly incarnation: number;
  readonly epoch: number;
  readonly takenAtMs: number;
  readonly agents: number;
  readonly frameworks: number;
  readonly tasks: number;
}

/** There is something that a restore would destroy, or somebody who writes. */
export class RestoreRefusedError extends Error {
  override readonly name = 'RestoreRefusedError';
}

type Tools = Pick<LogTools, 'store' | 'clock' | 'wallMs' | 'random'> & { readonly snapshots: SnapshotStore };

/** Readers wait for a restore; should it die, nobody leads until another has succeeded. */
const leaseMs = 15_000;
/** Another registry may be writing a snapshot, or have died while it did. */
const claimTries = 40;
const claimRetryMs = 1_000;
const bytesPerSecond = 256 * 1024 * 1024;

/**
 * Makes a backup the truth: a new incarnation of the cluster, whose log begins behind a snapshot of what was backed up.
 * It outranks everything that was ever written or sent before, and makes every reader begin anew.
 *
 * @param options.force - destroys what the log holds now
 * @throws {DamagedBackupError} before anything was written
 * @throws {RestoreRefusedError} the log is not empty, or a master writes it; or a newer version has to restore it
 */
export async function restore(
  tools: Tools,
  file: string,
  options: { readonly force: boolean },
): Promise<RestoreSummary> {
  const backup = readBackup(file);
  checkVersion(backup);
  const found = await look(tools.store);
  if (!options.force && found.holds !== undefined) {
    const todo = `stop its masters and say --force to replace it for good`;
    throw new RestoreRefusedError(`Cannot restore into '${tools.store.name}': it holds ${found.holds}; ${todo}`);
  }
  const { keys, generations } = await readCatalogue(tools.snapshots);
  const incarnations = generations.map(({ meta }) => meta.clusterIncarnation);
  const incarnation = Math.max(found.incarnation, backup.position.incarnation, ...incarnations) + 1;
  const epoch = Math.max(found.epoch, backup.position.epoch) + 1;
  const masterId = `restore-${Math.floor(tools.random() * 2 ** 32).toString(16)}`;
  const leader = { clusterIncarnation: incarnation, epoch, masterId, leaseMs };

  // From here on no master appends anything, and every reader waits for the snapshot.
  const fence = written(await writeLeader(tools.store, { ...leader, restoring: true }, found.leaderSequence));
  const first = await writeFirstEntry(tools, backup, leader, fence);
  await tools.snapshots.purgeLog(first);
  await writeState(tools, backup, { incarnation, epoch, fence, masterId, keys });
  // Whoever has loaded the state waits no more: if one of them leads by now this is refused, and nothing is lost.
  await writeLeader(tools.store, { ...leader, masterId: '' }, fence);
  const { takenAtMs } = backup.header;
  return { index: backup.position.index, incarnation, epoch, takenAtMs, ...countsOf(backup.ledger) };
}

/** What this version does not know would not be where it belongs in the state that it writes. */
function checkVersion({ header, position: { oldestReaderVersion: needed } }: ReadBackup): void {
  if (needed <= ledgerVersion) return;
  const why = `Mesobus ${header.mesobusVersion} took the backup of a log that needs version ${needed} of the ledger's rules`;
  throw new RestoreRefusedError(`Cannot restore: ${why}, this has ${ledgerVersion}; restore it with a newer version`);
}

interface Found {
  /** What would be lost, in words. */
  readonly holds: string | undefined;
  readonly incarnation: number;
  readonly epoch: number;
  /** 0 if there is no such record. */
  readonly leaderSequence: number;
}

/** What stands in the log, whether or not it can be followed. */
function look(store: LogStore): Promise<Found> {
  const { promise, resolve, reject } = Promise.withResolvers<Found>();
  let [entries, last, incarnation, epoch, leaderSequence, masterId] = [0, 0, 0, 0, 0, ''];
  const raise = (by: { clusterIncarnation: number; epoch: number } | undefined): void => {
    incarnation = Math.max(incarnation, by?.clusterIncarnation ?? 0);
    epoch = Math.max(epoch, by?.epoch ?? 0);
  };
  const tailer = store.tail({
    from: 1,
    onMessage: ({ key, bytes, sequence }) => {
      const index = indexOfKey(key);
      if (index !== undefined) {
        entries += 1;
        last = Math.max(last, index);
        raise(tryDecode(mesobus.v1.LogEntry, bytes));
      } else if (key === leaderKey) {
        const record = tryDecode(mesobus.v1.LeaderRecord, bytes);
        raise(record);
        [leaderSequence, masterId] = [sequence, record?.masterId ?? ''];
      }
    },
    onCaughtUp: () => {
      const led = masterId === '' ? '' : `, and ${masterId} leads`;
      const holds = entries > 0 ? `${entries} entries, up to ${last}${led}` : led === '' ? undefined : `nothing${led}`;
      resolve({ holds, incarnation, epoch, leaderSequence });
    },
  });
  void store.closed().then(() => reject(new RestoreRefusedError('Cannot restore: the connection to NATS is closed')));
  return promise.finally(() => tailer.stop());
}

const writeLeader = (
  store: LogStore,
  record: mesobus.v1.LeaderRecord.$Properties,
  expectedSequence: number,
): Promise<AppendOutcome> => store.update(leaderKey, encode(mesobus.v1.LeaderRecord, record), expectedSequence);

/**
 * The log of the new incarnation never stands without an entry: so whoever cannot read its snapshot finds a gap, and no
 * empty cluster.
 */
async function writeFirstEntry(
  { store, wallMs }: Pick<Tools, 'store' | 'wallMs'>,
  { ledger, position }: ReadBackup,
  { clusterIncarnation, epoch, masterId }: { clusterIncarnation: number; epoch: number; masterId: string },
  fence: number,
): Promise<number> {
  const index = position.index + 1;
  const bytes = encode(mesobus.v1.LogEntry, {
    ...{ clusterIncarnation, epoch, index, masterId },
    previousHash: position.hash,
    oldestReaderVersion: position.oldestReaderVersion,
    writtenAtMs: wallMs(),
    records: [encode(mesobus.v1.Record, { cluster: clusterOf(ledger, clusterIncarnation) })],
  });
  return written(await store.append(entryKey(index), bytes, fence));
}

function clusterOf({ cluster }: Ledger, clusterIncarnation: number): mesobus.v1.ClusterRecord.$Properties {
  const { incarnation: _, minimumCapabilities, ...rest } = cluster;
  return { ...rest, clusterIncarnation, minimumCapabilities: [...minimumCapabilities] };
}

function written(outcome: AppendOutcome): number {
  if (outcome.kind === 'appended') return outcome.sequence;
  const why = outcome.kind === 'unknown' ? outcome.why : 'somebody else writes the log: stop the masters';
  throw new RestoreRefusedError(`Cannot restore: ${why}; then restore again with --force`);
}

interface NewState {
  readonly incarnation: number;
  readonly epoch: number;
  /** Sequence of the record that keeps the masters out: the first entry comes after it. */
  readonly fence: number;
  readonly masterId: string;
  readonly keys: readonly string[];
}

async function writeState(tools: Tools, { ledger, position }: ReadBackup, state: NewState): Promise<void> {
  const { snapshots, clock } = tools;
  const { incarnation, epoch, fence: sequence, masterId: registryId } = state;
  const reader = createLogReader(sha256);
  startAfter(reader, { ...position, incarnation, epoch, sequence, leader: undefined });
  const still = { ledger, reader, snapshot: undefined, hold: () => true, release: () => {} };
  const claim = await claimAbove(tools, state);
  try {
    const encoded = await new SnapshotSource(still, clock).encode(claim.generation, []);
    invariant(encoded !== undefined, 'a ledger that stands still could not be held');
    const mayGoOn = (last: boolean): Promise<void> => claim.renew({ now: last });
    const options = { registryId, takenAtMs: tools.wallMs(), bytesPerSecond, mayGoOn };
    await writeSnapshot({ snapshots, clock }, encoded, options);
  } finally {
    await claim.release();
  }
}

async function claimAbove({ snapshots, clock }: Tools, { masterId, keys }: NewState): Promise<Claim> {
  const claims = new SnapshotClaims(snapshots, clock, masterId);
  const above = keys.reduce((highest, key) => Math.max(highest, readSnapshotKey(key)?.generation ?? 0), 0);
  for (let attempt = 0; attempt < claimTries; attempt += 1) {
    const claim = await claims.claim(above);
    if (claim !== undefined) return claim;
    await pause(clock, claimRetryMs);
  }
  throw new RestoreRefusedError('Cannot restore: a registry is writing a snapshot; stop it and restore with --force');
}
