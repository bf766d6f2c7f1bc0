import type { Metrics } from '@mesobus/sdk/service';
import type { LogFollower } from './follow.ts';
import type { SnapshotStatus } from './keep-snapshots.ts';

/** What a registry shows of itself. */
export function registryMetrics(
  metrics: Metrics,
  follower: LogFollower,
  status: () => SnapshotStatus | undefined,
): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.gauge(name, help, { collect: (it) => it.set(read()) });
  };
  gauge('registry_log_index', 'The last entry that the ledger holds', () => follower.lastIndex);
  gauge('registry_caught_up', '1 once all that stood in the log at the start was read', () =>
    follower.progress.phase === 'caught_up' ? 1 : 0,
  );
  gauge('registry_loaded_ratio', 'How much of the snapshot is loaded that is being loaded; 1 if none is', () => {
    const { progress } = follower;
    return progress.phase === 'snapshot' ? progress.done / Math.max(1, progress.of) : 1;
  });
  gauge('registry_snapshot_generation', 'Of the newest confirmed snapshot', () => status()?.generation ?? 0);
  gauge('registry_snapshot_index', 'The entry of the log that it is as of', () => status()?.index ?? 0);
  gauge('registry_snapshot_age_seconds', 'Since it was taken; since the start of this process if there is none', () => {
    const { takenAtMs = 0 } = status() ?? {};
    return takenAtMs === 0 ? process.uptime() : (Date.now() - takenAtMs) / 1_000;
  });
  gauge('registry_tasks', 'Tasks in the ledger, ended ones too', () =>
    follower.ledger.taskCounts.reduce((sum, count) => sum + count, 0),
  );
  gauge('registry_agents', 'Agents in the ledger', () => follower.ledger.agents.size);
  gauge('registry_snapshot_faults', 'Snapshots that stand and nobody may believe', () => status()?.faults ?? 0);
  gauge('registry_log_truncated_index', 'The log is purged up to here', () => status()?.truncatedTo ?? 0);
  gauge(
    'registry_history_behind_seconds',
    'For so long the history has lacked an entry of the log, which is not purged meanwhile',
    () => (status()?.historyBehindMs ?? 0) / 1_000,
  );
}
