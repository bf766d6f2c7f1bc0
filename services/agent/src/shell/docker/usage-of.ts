import type Docker from 'dockerode';
import type { ContainerUsage } from '../containerizer.ts';

/** What Docker's statistics say, where it depends on the version of the host's control groups. */
interface Stats extends Omit<Docker.ContainerStats, 'memory_stats' | 'blkio_stats' | 'pids_stats'> {
  readonly memory_stats: {
    readonly usage?: number;
    readonly max_usage?: number;
    /** Version 1 says `total_inactive_file`, version 2 `inactive_file`. */
    readonly stats?: { readonly total_inactive_file?: number; readonly inactive_file?: number };
  };
  readonly blkio_stats?: {
    readonly io_service_bytes_recursive?: readonly { readonly op: string; readonly value: number }[] | null;
  };
  readonly pids_stats?: { readonly current?: number };
}

/** What a container uses; undefined if it does not run. */
export function usageOf(containerId: string, said: Docker.ContainerStats, atMs: number): ContainerUsage | undefined {
  const { cpu_stats: cpu, memory_stats: memory, blkio_stats: io, pids_stats: pids } = said as unknown as Stats;
  if (memory.usage === undefined) return undefined;
  const { total_inactive_file: inactive, inactive_file: inactive2 = 0 } = memory.stats ?? {};
  const throttled = cpu.throttling_data?.throttled_time;
  const transferred = (op: string): number =>
    (io?.io_service_bytes_recursive ?? []).reduce(
      (sum, entry) => (entry.op.toLowerCase() === op ? sum + entry.value : sum),
      0,
    );
  return {
    containerId,
    atMs,
    cpuSeconds: cpu.cpu_usage.total_usage / 1e9,
    // What is only kept because nobody else needed the room is not used.
    memoryBytes: Math.max(0, memory.usage - (inactive ?? inactive2)),
    ...(memory.max_usage !== undefined && { memoryPeakBytes: memory.max_usage }),
    ...(throttled !== undefined && { throttledSeconds: throttled / 1e9 }),
    ...(pids?.current !== undefined && { processes: pids.current }),
    ioReadBytes: transferred('read'),
    ioWriteBytes: transferred('write'),
  };
}
