// A step of the recovery benchmark: the bare read of what a cold start reads, with the same consumer settings.
import { jetStreamStore } from '@mesobus/registry/shell/jetstream-store';
import type { LogBucket } from '@mesobus/registry/shell/log-bucket';
import type { Floor, RecoveryStep } from './recovery.ts';
import { answer, openBuckets, stepOf } from './recovery-step.ts';

const step = stepOf<RecoveryStep & { from: number }>();
const { bus, logBucket, snapshotBucket } = await openBuckets(step);
const startedAt = performance.now();
const bytes = (await readAll(snapshotBucket, 1)) + (await readAll(logBucket, step.from));
await answer<Floor>(bus, { ms: performance.now() - startedAt, bytes });

function readAll(bucket: LogBucket, from: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  let bytes = 0;
  const tailer = jetStreamStore(bucket).tail({
    from,
    onMessage: (message) => {
      bytes += message.bytes.length;
    },
    onCaughtUp: () => resolve(bytes),
  });
  return promise.finally(() => tailer.stop());
}
