import { mesobus } from '@mesobus/protos';
import type { Ledger } from '@mesobus/registry/core';
import { agentLinkOf } from './agents.ts';
import { createAllocators } from './allocators.ts';
import { createConsumption } from './consumption.ts';
import { isRemoved, linkOf } from './frameworks.ts';
import { createInverseOffers } from './inverse-offers.ts';
import { LiveFilters } from './live-filters.ts';
import { createMachines } from './machines.ts';
import { noteSubscriber } from './on-subscribe.ts';
import { createReclaims } from './reclaims.ts';
import type { Config, State } from './state.ts';
import { createTally } from './tally.ts';
import { Timers } from './timers.ts';
import { tracePrefixOf } from './traces.ts';

const { ADMITTED, GONE } = mesobus.v1.AgentRecord.Lifecycle;

/**
 * The state of a master that begins to lead: the ledger, in which everything is committed, and no soft state. Nobody is
 * connected yet; the time of frameworks that do not come back begins.
 *
 * @param ledger - from now on the master's own: it applies every record that it emits at once
 * @param at - ms since 1970, from a clock that never goes back
 */
export function createState(ledger: Ledger, config: Config, at: number): State {
  const recovered = new Set(agentsIn(ledger, ({ lifecycle }) => lifecycle === ADMITTED));
  const state: State = {
    config,
    ledger,
    tally: createTally(),
    tracePrefix: tracePrefixOf(config.masterId),
    rewrittenTraces: new Set(),
    frameworks: new Map(),
    agents: new Map(),
    offers: new Map(),
    offerNumber: 0,
    completedFrameworks: new Set(removedOf(ledger)),
    subscribers: new Map(),
    timers: new Timers(),
    allocators: createAllocators(at),
    ends: new WeakMap(),
    startedAtMs: at,
    supervisedAtMs: at,
    recovered,
    recoveredAtFirst: recovered.size,
    draining: new Set(agentsIn(ledger, ({ drain, drained, lifecycle }) => !!drain && !drained && lifecycle !== GONE)),
    goneKeys: goneKeysOf(ledger),
    unreachable: { waiting: new Map(), timerSet: false, notBeforeMs: at, scheduled: 0, completed: 0, canceled: 0 },
    heardMs: at,
    busConnected: true,
    silenceFloorMs: at,
    nowMs: at,
    filters: new LiveFilters(),
    consumption: createConsumption(),
    machines: createMachines(ledger),
    inverseOffers: createInverseOffers(),
    reclaims: createReclaims(),
    whitelist: undefined,
    acls: undefined,
  };
  for (const agent of ledger.agents.values()) if (agent.record.lifecycle !== GONE) agentLinkOf(state, agent);
  for (const framework of ledger.frameworks.values()) {
    if (isRemoved(framework)) continue;
    noteSubscriber(state, framework, framework.record.subscribeCallId);
    linkOf(state, framework, at);
  }
  state.timers.set(at, { kind: 'scan' });
  if (recovered.size > 0) state.timers.set(at + config.agentReregisterTimeoutMs, { kind: 'reregister' });
  state.timers.set(at + config.registryGcIntervalMs, { kind: 'registry_gc' });
  return state;
}

function* agentsIn(ledger: Ledger, matches: (record: mesobus.v1.AgentRecord) => boolean): Iterable<string> {
  for (const [id, { record }] of ledger.agents) if (matches(record)) yield id;
}

function goneKeysOf({ agents }: Ledger): Map<string, string> {
  const gone = [...agents.values()].filter(({ record }) => record.lifecycle === GONE);
  return new Map(gone.map(({ id, record }) => [record.registrationKey, id]));
}

function removedOf(ledger: Ledger): string[] {
  const removed = [...ledger.frameworks.values()].filter(isRemoved);
  return removed.sort((a, b) => a.record.removedAtMs - b.record.removedAtMs).map(({ id }) => id);
}
