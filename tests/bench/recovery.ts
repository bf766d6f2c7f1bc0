// A master that starts cold over a cluster as large as the design allows, beside the bare read of the same buckets.
import { fork } from 'node:child_process';
import path from 'node:path';
import { startNatsServer } from '@mesobus/sdk/testing';
import type { ClusterSize } from './large-cluster.ts';
import { rounded } from './percentiles.ts';

export interface RecoveryOptions extends ClusterSize {
  /** Leave everything in the log: what a cold start costs without snapshots. */
  readonly logOnly: boolean;
}

/** What a step is told; its process answers with one message, and ends. */
export interface RecoveryStep extends RecoveryOptions {
  readonly nats: string;
}

export interface Filled {
  readonly logBytes: number;
  readonly snapshotBytes: number;
  readonly fillMs: number;
  /** Cold starts do not read what stands in the log below. */
  readonly sequence: number;
}

/** Of a bare read: everything that a cold start reads, counted and not decoded. */
export interface Floor {
  readonly ms: number;
  readonly bytes: number;
}

export interface ColdStart {
  /** Of the process that came up and leads, from its start. */
  readonly readyMs: number;
  /** From the connection to NATS on. */
  readonly recoveryMs: number;
  /** Of all threads of the process until then, in ms. */
  readonly cpuMs: number;
  /** Of these the thread's that makes the ledger. */
  readonly mainThreadCpuMs: number;
  readonly heapMb: number;
  readonly rssMb: number;
  readonly agents: number;
  readonly tasks: number;
  /** Of the master after that: its state is made, an allocator gets its snapshot. */
  readonly createStateMs: number;
  readonly feedMs: number;
  readonly hashMs: number;
}

/**
 * What a master or a registry of a large cluster is started with, see services/registry/README.md: its heap grows by a
 * gigabyte in seconds, and V8 would collect all of it every 70 MB.
 */
const largeHeap = [
  '--max-old-space-size=4096',
  '--initial-old-space-size=1500',
  '--external-memory-accounted-in-global-limit',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64',
];

export async function benchRecovery(options: RecoveryOptions): Promise<unknown> {
  const server = await startNatsServer({ jetstream: true });
  try {
    const step = { nats: server.url, ...options };
    const filled = await run<Filled>('recovery-fill.ts', step, ['--max-old-space-size=8192']);
    const floor = await run<Floor>('recovery-floor.ts', { ...step, from: filled.sequence }, []);
    const cold = await run<ColdStart>('recovery-cold.ts', step, ['--expose-gc', ...largeHeap]);
    return {
      bench: 'recovery',
      agents: cold.agents,
      tasks: cold.tasks,
      from: options.logOnly ? 'log' : 'snapshot',
      ready_ms: rounded(cold.readyMs, 0),
      floor_ms: rounded(floor.ms, 0),
      heap_mb: rounded(cold.heapMb, 0),
      peak_rss_mb: rounded(cold.rssMb, 0),
      cpu_ms: rounded(cold.cpuMs, 0),
      main_thread_cpu_ms: rounded(cold.mainThreadCpuMs, 0),
      recovery_ms: rounded(cold.recoveryMs, 0),
      read_mb: rounded(floor.bytes / 1e6, 0),
      aim_ms: rounded(2 * floor.ms + 3_000, 0),
      create_state_ms: rounded(cold.createStateMs, 0),
      feed_snapshot_ms: rounded(cold.feedMs, 0),
      ledger_hash_ms: rounded(cold.hashMs, 0),
      fill_ms: rounded(filled.fillMs, 0),
    };
  } finally {
    await server.stop();
  }
}

/** Each step is a process of its own: nothing is warm, and no heap is shared. */
function run<T>(
  file: string,
  step: RecoveryStep & { readonly from?: number },
  nodeFlags: readonly string[],
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const child = fork(path.join(import.meta.dirname, file), [JSON.stringify(step)], {
    execArgv: ['-C', 'mesobus-source', ...nodeFlags],
  });
  child.once('message', (answer) => resolve(answer as T));
  child.once('error', reject);
  child.once('exit', (code) => reject(new Error(`${file} ended with code ${code} and said nothing`)));
  return promise;
}
