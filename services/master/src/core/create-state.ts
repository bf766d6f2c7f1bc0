import type { Ledger } from '@mesobus/registry/core';
import { agentLinkOf } from './agents.ts';
import { createAllocators } from './allocators.ts';
import { isRemoved, linkOf } from './frameworks.ts';
import { awaitReturn } from './on-liveness.ts';
import { noteSubscriber } from './on-subscribe.ts';
import type { Config, State } from './state.ts';
import { Timers } from './timers.ts';
import { tracePrefixOf } from './traces.ts';

/**
 * The state of a master that begins to lead: the ledger, in which everything is committed, and no soft state. Nobody is
 * connected yet; the timers of frameworks that do not come back start.
 *
 * @param ledger - from now on the master's own: it applies every record that it emits at once
 * @param at - ms since 1970, from a clock that never goes back
 */
export function createState(ledger: Ledger, config: Config, at: number): State {
  const state: State = {
    config,
    ledger,
    tracePrefix: tracePrefixOf(config.masterId),
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
    busConnected: true,
    silenceFloorMs: at,
  };
  for (const agent of ledger.agents.values()) agentLinkOf(state, agent);
  for (const framework of ledger.frameworks.values()) {
    if (isRemoved(framework)) continue;
    noteSubscriber(state, framework, framework.record.subscribeCallId);
    awaitReturn(state, linkOf(state, framework, at));
  }
  state.timers.set(at, { kind: 'scan' });
  return state;
}

function removedOf(ledger: Ledger): string[] {
  const removed = [...ledger.frameworks.values()].filter(isRemoved);
  return removed.sort((a, b) => a.record.removedAtMs - b.record.removedAtMs).map(({ id }) => id);
}
