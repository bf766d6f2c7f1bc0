import type { LogTools, SnapshotStore } from '@mesobus/registry';
import { openSnapshots } from '@mesobus/registry/shell/jetstream-snapshots';
import { jetStreamStore } from '@mesobus/registry/shell/jetstream-store';
import { type LogBucket, openLogBucket } from '@mesobus/registry/shell/log-bucket';
import { connectNats, type NatsBus, silentLogger, subjectsOf, systemClock } from '@mesobus/sdk/bus';
import type { RecoveryStep } from './recovery.ts';

/** What a step works with. */
export interface Buckets {
  readonly bus: NatsBus;
  readonly logBucket: LogBucket;
  readonly snapshotBucket: LogBucket;
  readonly tools: LogTools & { readonly snapshots: SnapshotStore };
}

export const stepOf = <T extends RecoveryStep>(): T => JSON.parse(process.argv[2] ?? '') as T;

export async function openBuckets({ nats }: RecoveryStep): Promise<Buckets> {
  const subjects = subjectsOf('bench');
  const bus = await connectNats({ servers: nats, name: 'recovery' });
  const logBucket = await openLogBucket(bus.connection, subjects.logBucket, 1);
  const snapshotBucket = await openLogBucket(bus.connection, subjects.snapshotBucket, 1);
  const snapshots = await openSnapshots(bus.connection, subjects, logBucket, 1, {
    connectedBy: bus.connectedBy,
    log: silentLogger,
  });
  const base = { log: silentLogger, clock: systemClock, wallMs: Date.now, random: Math.random };
  return { bus, logBucket, snapshotBucket, tools: { ...base, store: jetStreamStore(logBucket), snapshots } };
}

/** Gives the answer to the benchmark and ends this process. */
export async function answer<T extends object>(bus: NatsBus, value: T): Promise<void> {
  await bus.close();
  await new Promise((resolve) => process.send?.(value, resolve));
  process.disconnect();
}
