import { append, type LogBucket, readAt, update } from './log-bucket.ts';
import type { LogStore } from './log-store.ts';
import { startTailer } from './tailer.ts';

/** The log's bucket in JetStream as the store of the log. */
export const jetStreamStore = (bucket: LogBucket): LogStore => ({
  name: bucket.name,
  append: (key, bytes, expectedSequence) => append(bucket, key, bytes, expectedSequence),
  update: (key, bytes, expectedRevision) => update(bucket, key, bytes, expectedRevision),
  readAt: (sequence) => readAt(bucket, sequence),
  tail: (options) => startTailer(bucket, options),
  closed: () => bucket.connection.closed(),
});
