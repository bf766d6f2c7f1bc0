import type { Metrics } from '@mesobus/sdk/service';
import { memberShare, quotas, roleShare, type State, wireAmounts } from '../core/index.ts';

type Amounts = Readonly<Record<string, { readonly value?: number }>>;

const runMs = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/** Rounds of an allocator. */
export interface RoundMeter {
  /** @param waitedMs - since it was wanted */
  note(tookMs: number, waitedMs: number): void;
}

export function meterRounds(metrics: Metrics): RoundMeter {
  const runs = metrics.counter('allocator_mesos_allocation_runs', 'Allocation rounds');
  const took = metrics.histogram('allocator_mesos_allocation_run_ms', 'How long a round took', { buckets: runMs });
  const waited = metrics.histogram('allocator_mesos_allocation_run_latency_ms', 'How long a round was wanted before', {
    buckets: runMs,
  });
  return {
    note(tookMs, waitedMs) {
      runs.inc();
      took.observe(tookMs);
      waited.observe(waitedMs);
    },
  };
}

/** What Mesos' allocator shows, by the rule of docs/operations/observability.md: of the appointed allocator only. */
export function allocatorMetrics(metrics: Metrics, state: State, now: () => number): void {
  const appointed = (): boolean => state.appointedAllocatorId === state.allocatorId;
  metrics.gauge('allocator_appointed', '1 while the leader wants to hear from this allocator', {
    collect: (it) => it.set(appointed() ? 1 : 0),
  });
  metrics.gauge('allocator_synchronised', "1 while the leader's books are known completely", {
    collect: (it) => it.set(state.synchronised ? 1 : 0),
  });
  const resources = (name: string, help: string, read: () => Amounts): void => {
    metrics.gauge(`allocator_mesos_resources_${name}`, help, {
      labels: ['resource'],
      collect: (it) => {
        it.reset();
        for (const [resource, amount] of Object.entries(read())) it.set({ resource }, amount.value ?? 0);
      },
    });
  };
  resources('total', 'What all agents have', () => wireAmounts(state, state.total));
  resources('offered_or_allocated', 'What frameworks hold, offers included', () => wireAmounts(state, state.root.held));
  metrics.gauge('allocator_mesos_roles_shares_dominant', 'The dominant share of a role, divided by its weight', {
    labels: ['role'],
    collect: (it) => {
      it.reset();
      for (const role of state.roles.values()) it.set({ role: role.name }, roleShare(state, role).dominantShare ?? 0);
    },
  });
  metrics.gauge('allocator_mesos_offer_filters_roles_active', 'Refusals that still hold, of frameworks in a role', {
    labels: ['role'],
    collect: (it) => {
      it.reset();
      for (const { name, members } of state.roles.values()) {
        let count = 0;
        for (const { filtered } of members.values()) count += filtered;
        it.set({ role: name }, count);
      }
    },
  });
  quotaMetrics(metrics, state);
  metrics.gauge('allocator_framework_share', 'The dominant share of a framework in a role, divided by its weight', {
    labels: ['framework', 'role'],
    collect: (it) => {
      it.reset();
      for (const members of state.members.values()) {
        for (const member of members) {
          const of = { framework: member.frameworkId, role: member.role.name };
          it.set(of, memberShare(state, member).dominantShare ?? 0);
        }
      }
    },
  });
  metrics.gauge(
    'allocator_framework_waiting_seconds',
    'For so long a framework has been given nothing of what it wants',
    {
      labels: ['framework', 'role'],
      collect: (it) => {
        it.reset();
        if (!appointed()) return;
        for (const member of state.waiting) {
          it.set({ framework: member.frameworkId, role: member.role.name }, (now() - member.waitingSinceMs) / 1_000);
        }
      },
    },
  );
}

function quotaMetrics(metrics: Metrics, state: State): void {
  for (const kind of ['guarantee', 'limit', 'consumed'] as const) {
    metrics.gauge(`allocator_mesos_quota_roles_resources_${kind}`, `The ${kind} of a quota`, {
      labels: ['role', 'resource'],
      collect: (it) => {
        it.reset();
        for (const { config, consumed } of quotas(state).roles ?? []) {
          const role = config?.role ?? '';
          const of = { guarantee: config?.guarantees, limit: config?.limits, consumed }[kind] as Amounts | undefined;
          for (const [resource, amount] of Object.entries(of ?? {})) it.set({ role, resource }, amount.value ?? 0);
        }
      },
    });
  }
}
