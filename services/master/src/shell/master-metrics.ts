import { mesobus, mesos } from '@mesobus/protos';
import type { Resources } from '@mesobus/sdk/resources';
import type { Metrics } from '@mesobus/sdk/service';
import type { State } from '../core/index.ts';

/** What the metrics of a master are read from; both only while it leads. */
export interface MasterSight {
  readonly leadership: { readonly queuedBytes: number; readonly lease: string } | undefined;
  readonly state: State | undefined;
}

const { ADMITTED, UNREACHABLE } = mesobus.v1.AgentRecord.Lifecycle;
const { TaskState } = mesos.v1;
const alive = ['staging', 'starting', 'running', 'killing', 'unreachable'] as const;
const ended = ['finished', 'failed', 'killed', 'lost', 'error', 'dropped', 'gone', 'gone_by_operator'] as const;
const resourceNames = ['cpus', 'gpus', 'mem', 'disk'] as const;
type ResourceName = (typeof resourceNames)[number];

/**
 * The metrics that Mesos' master has, by the rule of docs/operations/observability.md. All are read from what the core
 * holds when somebody asks; only agents and frameworks are gone through, tasks are counted as they change.
 */
export function masterMetrics(metrics: Metrics, master: MasterSight): void {
  const gauge = (name: string, help: string, read: (state: State) => number): void => {
    metrics.gauge(`master_${name}`, help, {
      collect: (it) => it.set(master.state === undefined ? 0 : read(master.state)),
    });
  };
  const counter = (name: string, help: string, read: (state: State) => number): void => {
    metrics.counter(`master_${name}`, help, {
      collect: (it) => it.inc(master.state === undefined ? 0 : read(master.state)),
    });
  };
  metrics.gauge('master_uptime_secs', 'Since this process started', { collect: (it) => it.set(process.uptime()) });
  metrics.gauge('master_elected', '1 while this master leads', {
    collect: (it) => it.set(master.leadership === undefined ? 0 : 1),
  });
  gauge('outstanding_offers', 'Offers that are not answered', ({ offers }) => offers.size);
  counter('valid_status_updates', 'Updates taken', ({ tally }) => tally.validStatusUpdates.count);
  counter(
    'invalid_status_updates',
    'Updates of what nobody waits for',
    ({ tally }) => tally.invalidStatusUpdates.count,
  );
  counter('valid_status_update_acknowledgements', 'Taken', ({ tally }) => tally.validAcknowledgements.count);
  counter('invalid_status_update_acknowledgements', 'Of no update that waits for one', ({ tally }) => {
    return tally.invalidAcknowledgements.count;
  });
  counter('slave_registrations', 'Agents that were admitted', ({ tally }) => tally.agents.registrations);
  counter('slave_reregistrations', 'Agents that came back', ({ tally }) => tally.agents.reregistrations);
  counter('slave_removals', 'Agents that are gone', ({ tally }) => tally.agents.removals);
  counter('slave_unreachable_scheduled', 'Agents found silent', ({ unreachable }) => unreachable.scheduled);
  counter('slave_unreachable_completed', 'Of those, marked unreachable', ({ unreachable }) => unreachable.completed);
  counter('slave_unreachable_canceled', 'Of those, heard again in time', ({ unreachable }) => unreachable.canceled);
  gauge('operations_total', 'Operations on resources that are not done with', ({ ledger }) => ledger.operations.size);
  tasks(metrics, master);
  messages(metrics, master);
  members(metrics, master);
  resources(metrics, master);
  registrar(metrics, master);
}

function tasks(metrics: Metrics, master: MasterSight): void {
  for (const word of alive) {
    const state = TaskState[`TASK_${word.toUpperCase()}` as keyof typeof TaskState];
    metrics.gauge(`master_tasks_${word}`, `Tasks that are TASK_${word.toUpperCase()}`, {
      collect: (it) => it.set(master.state?.ledger.taskCounts[state] ?? 0),
    });
  }
  for (const word of ended) {
    metrics.counter(`master_tasks_${word}`, `Tasks that ended as TASK_${word.toUpperCase()} under this leader`, {
      collect: (it) => {
        for (const [key, count] of master.state?.tally.tasks ?? []) if (key.startsWith(`${word} `)) it.inc(count);
      },
    });
  }
  metrics.counter('master_task', 'Tasks that ended, or were marked unreachable, under this leader', {
    labels: ['state', 'source', 'reason'],
    collect: (it) => {
      for (const [key, count] of master.state?.tally.tasks ?? []) {
        const [state = '', source = '', reason = ''] = key.split(' ');
        it.inc({ state, source, reason }, count);
      }
    },
  });
}

function messages(metrics: Metrics, master: MasterSight): void {
  metrics.counter('master_messages', 'What has come to this leader, by kind', {
    labels: ['kind'],
    collect: (it) => {
      for (const [kind, count] of master.state?.tally.messages ?? []) it.inc({ kind }, count);
    },
  });
}

/** Agents and frameworks, by how they are. */
function members(metrics: Metrics, master: MasterSight): void {
  const gauge = (name: string, help: string, count: (state: State) => number): void => {
    metrics.gauge(`master_${name}`, help, {
      collect: (it) => it.set(master.state === undefined ? 0 : count(master.state)),
    });
  };
  const agents = (matches: (agent: { admitted: boolean; connected: boolean; takes: boolean }) => boolean) => {
    return ({ ledger, agents: links }: State): number => {
      let count = 0;
      for (const { id, record } of ledger.agents.values()) {
        const admitted = record.lifecycle === ADMITTED;
        const connected = admitted && links.get(id)?.connected === true;
        if (matches({ admitted, connected, takes: connected && !record.deactivated })) count += 1;
      }
      return count;
    };
  };
  gauge(
    'slaves_connected',
    'Agents that are heard',
    agents(({ connected }) => connected),
  );
  gauge(
    'slaves_disconnected',
    'Admitted agents that are not heard',
    agents(({ admitted, connected }) => admitted && !connected),
  );
  gauge(
    'slaves_active',
    'Agents that are heard and take tasks',
    agents(({ takes }) => takes),
  );
  gauge(
    'slaves_inactive',
    'Admitted agents that are not heard or take no tasks',
    agents(({ admitted, takes }) => admitted && !takes),
  );
  gauge('slaves_unreachable', 'Agents that were silent for too long', ({ ledger }) => {
    let count = 0;
    for (const { record } of ledger.agents.values()) if (record.lifecycle === UNREACHABLE) count += 1;
    return count;
  });
  const frameworks = (wanted: boolean) => (state: State) => {
    return [...state.frameworks.values()].filter(({ connected }) => connected === wanted).length;
  };
  gauge('frameworks_connected', 'Frameworks whose scheduler listens', frameworks(true));
  gauge('frameworks_disconnected', 'Frameworks whose scheduler is away', frameworks(false));
  gauge('frameworks_active', 'Frameworks that may be offered something', frameworks(true));
  gauge('frameworks_inactive', 'Frameworks that are offered nothing, being away', frameworks(false));
}

/** What admitted agents have and what tasks and executors hold of it: cpus and gpus in units, mem and disk in MB. */
function resources(metrics: Metrics, master: MasterSight): void {
  const sums = { total: emptySums(), used: emptySums(), revocable_total: emptySums(), revocable_used: emptySums() };
  for (const name of resourceNames) {
    for (const kind of ['total', 'used', 'revocable_total', 'revocable_used'] as const) {
      metrics.gauge(`master_${name}_${kind}`, `${name} of all agents, ${kind.replace('_', ' ')}`, {
        collect: (it) => {
          // The first that is asked adds up for all.
          if (name === 'cpus' && kind === 'total') addUp(master.state, sums);
          it.set(sums[kind][name]);
        },
      });
    }
    metrics.gauge(`master_${name}_percent`, `The part of ${name} that is in use, from 0 to 1`, {
      collect: (it) => it.set(sums.total[name] === 0 ? 0 : sums.used[name] / sums.total[name]),
    });
  }
}

type Sums = Record<ResourceName, number>;
const emptySums = (): Sums => ({ cpus: 0, gpus: 0, mem: 0, disk: 0 });

function addUp(
  state: State | undefined,
  sums: Record<'total' | 'used' | 'revocable_total' | 'revocable_used', Sums>,
): void {
  for (const of of Object.values(sums)) Object.assign(of, emptySums());
  for (const { id, record, total, holdings } of state?.ledger.agents.values() ?? []) {
    if (record.lifecycle !== ADMITTED) continue;
    add(total, sums.total, sums.revocable_total);
    add(state?.agents.get(id)?.revocable ?? [], sums.total, sums.revocable_total);
    for (const { resources: held } of holdings.values()) add(held, sums.used, sums.revocable_used);
  }
}

function add(list: Resources | readonly [], firm: Sums, revocable: Sums): void {
  for (const resource of list) {
    if (resource.kind !== 'scalar' || !Object.hasOwn(firm, resource.name)) continue;
    const sums = resource.revocable ? revocable : firm;
    sums[resource.name as ResourceName] += resource.amount / 1_000;
  }
}

/** How the log takes what this leader writes. */
function registrar(metrics: Metrics, master: MasterSight): void {
  metrics.gauge('registrar_queued_bytes', 'Records that wait for the log', {
    collect: (it) => it.set(master.leadership?.queuedBytes ?? 0),
  });
  metrics.gauge('registrar_frozen', '1 while JetStream confirms nothing: this leader takes nothing new', {
    collect: (it) => it.set(master.leadership === undefined || master.leadership.lease === 'fresh' ? 0 : 1),
  });
}

const appendMs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/** Takes how long each append to the log took, in ms. */
export function observeAppends(metrics: Metrics): (ms: number) => void {
  const taken = metrics.histogram('registrar_state_store_ms', 'How long an append to the log took', {
    buckets: appendMs,
  });
  return (ms) => taken.observe(ms);
}
