import { mesobus } from '@mesobus/protos';
import type { AgentEntry } from '@mesobus/registry/core';
import { noResources, type Resources, tryUse } from '@mesobus/sdk/resources';
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

/** What no task holds; a shared volume stays, whoever uses it. Nothing, if more is held than the agent has. */
export function freeOf({ total, holdings }: AgentEntry): Resources {
  let free: Resources | undefined = total;
  for (const { resources } of holdings.values()) free = free && tryUse(free, resources);
  return free ?? noResources;
}

/** What is neither held nor offered. Nothing, if that is more than the agent has. */
export function availableOf(state: State, entry: AgentEntry): Resources {
  let available: Resources | undefined = freeOf(entry);
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
    released: entry.lastCommand,
    resourcesCursor: 0,
    sent: 0,
    resendAfterMs: 0,
    resendAtMs: 0,
    offers: new Set(),
  };
  state.agents.set(entry.id, fresh);
  return fresh;
}
