// A step of the recovery benchmark: a master writes the cluster into the log, a registry takes a snapshot of it.
import { type Leadership, logOn } from '@mesobus/registry';
import { SnapshotKeeper } from '@mesobus/registry/shell/keep-snapshots';
import { recordsOfCluster } from './large-cluster.ts';
import type { Filled, RecoveryStep } from './recovery.ts';
import { answer, type Buckets, openBuckets, stepOf } from './recovery-step.ts';

/** Submitted at once: a few entries. */
const recordsPerBatch = 5_000;

const step = stepOf<RecoveryStep>();
const startedAt = performance.now();
const buckets = await openBuckets(step);
await writeLog();
const logEnd = await stateOf(buckets.logBucket);
if (!step.logOnly) await takeSnapshot();
const snapshot = await stateOf(buckets.snapshotBucket);
await answer<Filled>(buckets.bus, {
  logBytes: logEnd.bytes,
  snapshotBytes: snapshot.bytes,
  fillMs: performance.now() - startedAt,
  sequence: step.logOnly ? 1 : logEnd.last_seq,
});

async function writeLog(): Promise<void> {
  const leadership = await logOn(buckets.tools).lead({ masterId: 'filler' });
  let batch: Parameters<Leadership['submit']>[0][number][] = [];
  const records = recordsOfCluster(step);
  const committed = committedBy(leadership);
  for (;;) {
    const { done, value } = records.next();
    if (!done) batch.push(value);
    if (batch.length < recordsPerBatch && !done) continue;
    const position = leadership.submit(batch, { urgent: true });
    if (leadership.lagging || done) await committed(position);
    batch = [];
    if (done) break;
  }
  await leadership.resign();
}

/** Waits until everything up to a position is in the log. */
function committedBy(leadership: Leadership): (position: number) => Promise<void> {
  let upTo = 0;
  let check = (): void => {};
  leadership.onCommitted((position) => {
    upTo = position;
    check();
  });
  return (wanted) =>
    new Promise((resolve) => {
      check = () => upTo >= wanted && resolve();
      check();
    });
}

async function takeSnapshot(): Promise<void> {
  const follower = logOn(buckets.tools).follow();
  await follower.caughtUp;
  const { promise: confirmed, resolve } = Promise.withResolvers<void>();
  const keeper = new SnapshotKeeper(buckets.tools, follower.reading, {
    registryId: 'filler',
    limits: { logBytes: 0, logEntries: 1, ageMs: Number.POSITIVE_INFINITY },
    checkEveryMs: 100,
    bytesPerSecond: Number.POSITIVE_INFINITY,
    leaveToOthersMs: 0,
    onRound: () => keeper.status.generation > 0 && resolve(),
  });
  await confirmed;
  keeper.stop();
  follower.stop();
}

async function stateOf({ manager, stream }: Buckets['logBucket']): Promise<{ bytes: number; last_seq: number }> {
  return (await manager.streams.info(stream)).state;
}
