import { mesobus, mesos } from '@mesobus/protos';
import { type FrameworkEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import { createConduct } from './conduct.ts';
import type { FrameworkLink, State } from './state.ts';

const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;
const { PARTITION_AWARE, MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;

export const isRemoved = (framework: FrameworkEntry): boolean => framework.record.lifecycle === REMOVED;

export type CapabilityType = mesos.v1.FrameworkInfo.Capability.Type;

export function isCapable(info: mesos.v1.FrameworkInfo | null | undefined, type: CapabilityType): boolean {
  return info?.capabilities.some((capability) => capability.type === type) ?? false;
}

/** The roles that a framework subscribes to, in the new way or the old. */
export function rolesOf(info: mesos.v1.FrameworkInfo | null | undefined): string[] {
  if (!info) return [];
  if (info.roles.length > 0 || isCapable(info, MULTI_ROLE)) return [...info.roles];
  return [info.role === '' ? '*' : info.role];
}

/** Whether it understands the states that tell apart how a task was lost. */
export const isPartitionAware = (framework: FrameworkEntry | undefined): boolean =>
  isCapable(framework?.record.info, PARTITION_AWARE);

/** The framework, unless it is unknown or removed. */
export function findLiveFramework(state: State, frameworkId: string): FrameworkEntry | undefined {
  const entry = state.ledger.frameworks.get(frameworkId);
  return entry === undefined || isRemoved(entry) ? undefined : entry;
}

/** What this leader knows of the framework; made on first use. */
export function linkOf(state: State, framework: FrameworkEntry, at: number): FrameworkLink {
  const { id, record } = framework;
  const link = state.frameworks.get(id);
  if (link !== undefined) return link;
  const fresh: FrameworkLink = {
    frameworkId: id,
    stream: {
      principal: record.principal,
      instanceId: record.instanceId,
      frameworkId: id,
      generation: record.generation,
    },
    subscribed: false,
    connected: false,
    awayMs: 0,
    lastHeartbeatMs: at,
    mesosCompatible: false,
    demands: [],
    demandNumber: 0,
    conduct: createConduct(),
    offers: new Set(),
    pending: new Map(),
    ended: endedIn(framework),
  };
  state.frameworks.set(id, fresh);
  return fresh;
}

function endedIn({ tasks, completed }: FrameworkEntry): Set<TaskEntry> {
  const ended = new Set<TaskEntry>();
  for (const task of tasks.values()) if (isTerminal(task.state) && !completed.has(task)) ended.add(task);
  return ended;
}
