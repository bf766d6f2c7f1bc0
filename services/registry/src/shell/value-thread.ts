// Runs in a thread of its own and reads values from a bucket, for a ThreadedReader.
import { parentPort, workerData } from 'node:worker_threads';
import { openNatsConnection } from '@mesobus/sdk/bus/nats-connection';
import { jetstreamManager } from '@nats-io/jetstream';
import { getValue } from './get-value.ts';
import { hashed } from './hashed-value.ts';
import type { ThreadAnswer, ThreadData, ThreadQuestion } from './threaded-reader.ts';

const { connectedBy, bucket } = workerData as ThreadData;
const tell = (answer: ThreadAnswer, transfer: ArrayBuffer[] = []): void => parentPort?.postMessage(answer, transfer);

const connection = await openNatsConnection({ ...connectedBy, name: `${connectedBy.name} (snapshot)` });
void connection.closed().then(() => process.exit(1)); // ends this thread only
const manager = await jetstreamManager(connection, { checkAPI: false });
parentPort?.on('message', (questions: readonly ThreadQuestion[]) => {
  for (const question of questions) void answer(question);
});
tell({ kind: 'ready' });

async function answer({ id, key }: ThreadQuestion): Promise<void> {
  try {
    const found = await getValue(manager, bucket, key);
    if (found === undefined) return tell({ kind: 'value', id, value: undefined });
    const value = hashed(found.bytes);
    tell({ kind: 'value', id, value }, [value.bytes.buffer as ArrayBuffer]);
  } catch (error) {
    tell({ kind: 'failed', id, why: (error as Error).message });
  }
}
