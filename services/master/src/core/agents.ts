import { mesobus } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { add, noResources, type Resource, type Resources, revocable, sum, tryUse } from '@mesobus/sdk/resources';
import { isDown } from './machines.ts';
import type { AgentLink, State } from './state.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

const { Inactive } = mesobus.v1.AgentBook;

/** Why nothing of an admitted agent is offered; undefined if it is. */
export function inactiveBecause(state: State, { id, record }: AgentEntry): mesobus.v1.AgentBook.Inactive | undefined {
  if (isDown(state, id)) return Inactive.DOWN_FOR_MAINTENANCE;
  if (record.drain) return Inactive.DRAINING;
  if (record.deactivated) return Inactive.DEACTIVATED;
  if (record.lifecycle !== ADMITTED || !state.agents.get(id)?.connected) return Inactive.DISCONNECTED;
  const isListed = state.whitelist?.has(record.info?.hostname ?? '') ?? true;
  return isListed ? undefined : Inactive.NOT_WHITELISTED;
}

/** Whether tasks are launched on it: what was offered before the whitelist lost its host may be used. */
export function takesLaunches(state: State, entry: AgentEntry): boolean {
  const why = inactiveBecause(state, entry);
  return why === undefined || why === Inactive.NOT_WHITELISTED;
}

/** Its record with a few things changed. */
export function agentRecord(
  { record }: AgentEntry,
  changes: mesobus.v1.AgentRecord.$Properties,
): mesobus.v1.AgentRecord {
  return new mesobus.v1.AgentRecord({ ...record, ...changes });
}

/** All that an agent has; revocable, as much as it estimates to be idle, or as tasks hold if that is more. */
export function totalOf(state: State, { id, total, holdings }: AgentEntry): Resources {
  const estimate = state.agents.get(id)?.revocable ?? noResources;
  const held = sum([...holdings.values()].map(({ resources }) => revocable(resources)));
  const beyond: Resource[] = held.flatMap((one) => {
    const lent = estimate.find(({ key }) => key === one.key);
    if (one.kind !== 'scalar' || lent?.kind !== 'scalar') return [one];
    return one.amount > lent.amount ? [{ ...one, amount: one.amount - lent.amount }] : [];
  });
  return add(total, add(estimate, beyond as readonly Resource[] as Resources));
}

/** What no task holds; a shared volume stays, whoever uses it. Nothing, if more is held than the agent has. */
export function freeOf(state: State, entry: AgentEntry): Resources {
  let free: Resources | undefined = totalOf(state, entry);
  for (const { resources } of entry.holdings.values()) free = free && tryUse(free, resources);
  return free ?? noResources;
}

/** What is neither held nor offered. Nothing, if that is more than the agent has. */
export function availableOf(state: State, entry: AgentEntry): Resources {
  let available: Resources | undefined = freeOf(state, entry);
  for (const { resources } of state.agents.get(entry.id)?.offers ?? []) {
    available = available && tryUse(available, resources);
  }
  return available ?? noResources;
}

/** What this leader knows of the agent; made on first use. All its commands so far are committed. */
export function agentLinkOf(state: State, entry: AgentEntry): AgentLink {
  const link = state.agents.get(entry.id);
  if (link !== undefined) return link;
  const fresh: AgentLink = {
    agentId: entry.id,
    agentName: entry.record.agentName,
    incarnation: '',
    registered: false,
    connected: false,
    lastHeardMs: Number.NEGATIVE_INFINITY,
    silenceTimerSet: false,
    lastAddressedMs: Number.NEGATIVE_INFINITY,
    cursor: entry.cursor,
    cursorRecordedMs: Number.NEGATIVE_INFINITY,
    cursorTimerSet: false,
    commandsBefore: entry.lastCommand,
    released: entry.lastCommand,
    resourcesCursor: 0,
    revocable: noResources,
    estimateNumber: 0,
    sent: 0,
    resendAfterMs: 0,
    resendAtMs: 0,
    offers: new Set(),
  };
  state.agents.set(entry.id, fresh);
  return fresh;
}
