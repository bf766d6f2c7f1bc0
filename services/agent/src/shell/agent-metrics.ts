import { statfsSync } from 'node:fs';
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';
import { mesos } from '@mesobus/protos';
import type { Metrics } from '@mesobus/sdk/service';
import type { State } from '../core/index.ts';
import type { FetcherCounts } from './fetcher/fetcher.ts';

/** What the metrics of an agent are read from. */
export interface AgentSight {
  readonly state: State;
  /** How long it took to take up what an earlier process left. */
  readonly recoveryMs: number;
  readonly sandboxes: { readonly removed: number; readonly failed: number; readonly pending: number };
  readonly fetched: FetcherCounts | undefined;
  /** Those that the agent lends. */
  readonly resources: readonly mesos.v1.Resource.$Properties[];
  readonly workDir: string;
}

const { TaskState } = mesos.v1;
const { Reason } = mesos.v1.TaskStatus;
const alive = ['staging', 'starting', 'running', 'killing'] as const;
const ended = ['finished', 'failed', 'killed', 'lost', 'error', 'dropped', 'gone', 'gone_by_operator'] as const;
const resourceNames = ['cpus', 'gpus', 'mem', 'disk'] as const;

/** What Mesos' agent shows, by the rule of docs/operations/observability.md. */
export function agentMetrics(metrics: Metrics, agent: AgentSight): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.gauge(name, help, { collect: (it) => it.set(read()) });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    metrics.counter(name, help, { collect: (it) => it.inc(read()) });
  };
  const { state } = agent;
  gauge('slave_uptime_secs', 'Since this process started', () => process.uptime());
  gauge('slave_registered', '1 while the leader knows this process', () =>
    state.registration.kind === 'registered' ? 1 : 0,
  );
  gauge('slave_recovery_time_secs', 'How long it took to take up what was left', () => agent.recoveryMs / 1_000);
  gauge('slave_frameworks_active', 'Frameworks that have tasks or executors here', () => {
    const ids = [...state.launches.values(), ...state.executors.values()].map(({ frameworkId }) => frameworkId);
    return new Set(ids).size;
  });
  gauge('slave_executors_running', 'Executors of frameworks that have not ended', () => {
    return [...state.executors.values()].filter(({ phase }) => phase !== 'ended').length;
  });
  tasks(metrics, agent);
  resources(metrics, agent);
  gauge('gc_path_removals_pending', 'Sandboxes that are to be removed one day', () => agent.sandboxes.pending);
  counter('gc_path_removals_succeeded', 'Sandboxes that were removed', () => agent.sandboxes.removed);
  counter('gc_path_removals_failed', 'Sandboxes that could not be removed', () => agent.sandboxes.failed);
  const fetched = (name: keyof FetcherCounts) => () => agent.fetched?.[name] ?? 0;
  counter('containerizer_fetcher_task_fetches_succeeded', 'Tasks for which all was fetched', fetched('succeeded'));
  counter('containerizer_fetcher_task_fetches_failed', 'Tasks for which something was not', fetched('failed'));
  gauge('containerizer_fetcher_cache_size_total_bytes', 'What the cache may hold', fetched('maxBytes'));
  gauge('containerizer_fetcher_cache_size_used_bytes', 'What the cache holds', fetched('usedBytes'));
  gauge('agent_work_dir_used_ratio', 'The part of the disk of the work directory that is in use, from 0 to 1', () => {
    const { blocks, bavail } = statfsSync(agent.workDir);
    return blocks === 0 ? 0 : 1 - bavail / blocks;
  });
  gauge('system_cpus_total', 'Cpus of the machine', availableParallelism);
  for (const [index, minutes] of ['1', '5', '15'].entries()) {
    gauge(`system_load_${minutes}min`, `Load of the machine over ${minutes} minutes`, () => loadavg()[index] ?? 0);
  }
  gauge('system_mem_total_bytes', 'Memory of the machine', totalmem);
  gauge('system_mem_free_bytes', 'Memory of the machine that nothing uses', freemem);
}

function tasks(metrics: Metrics, { state }: AgentSight): void {
  for (const word of alive) {
    const wanted = TaskState[`TASK_${word.toUpperCase()}` as keyof typeof TaskState];
    metrics.gauge(`slave_tasks_${word}`, `Tasks that are TASK_${word.toUpperCase()}`, {
      collect: (it) => it.set([...state.launches.values()].filter((launch) => launch.state === wanted).length),
    });
  }
  for (const word of ended) {
    const wanted = TaskState[`TASK_${word.toUpperCase()}` as keyof typeof TaskState];
    metrics.counter(`slave_tasks_${word}`, `Tasks that ended as TASK_${word.toUpperCase()}`, {
      collect: (it) => {
        for (const [key, count] of state.ends) if (key.startsWith(`${wanted} `)) it.inc(count);
      },
    });
  }
  metrics.counter('slave_container_launch_errors', 'Tasks whose container could not be started', {
    collect: (it) => {
      const failed = String(Reason.REASON_CONTAINER_LAUNCH_FAILED);
      for (const [key, count] of state.ends) if (key.split(' ')[1] === failed) it.inc(count);
    },
  });
}

type Wire = mesos.v1.Resource.$Properties;

/** What the agent lends and what its tasks hold: cpus and gpus in units, mem and disk in MB. */
function resources(metrics: Metrics, { state, resources: lent }: AgentSight): void {
  const sum = (list: readonly Wire[], wanted: string): number =>
    list.reduce((all, { name, scalar }) => all + (name === wanted ? (scalar?.value ?? 0) : 0), 0);
  for (const name of resourceNames) {
    metrics.gauge(`slave_${name}_total`, `${name} that this agent lends`, { collect: (it) => it.set(sum(lent, name)) });
    metrics.gauge(`slave_${name}_used`, `${name} that tasks hold`, {
      collect: (it) => {
        let held = 0;
        for (const { phase, task } of state.launches.values()) {
          if (phase !== 'ended') held += sum(task?.resources ?? [], name);
        }
        it.set(held);
      },
    });
  }
}
