import type { mesobus } from '@mesobus/protos';
import type { TaskEntry } from '@mesobus/registry/core';
import { fromWire, type Resources, unallocate } from '@mesobus/sdk/resources';
import { inactiveBecause } from './agents.ts';
import { agentChanged } from './feed.ts';
import { pickTasks, wants } from './reclaim-rules.ts';
import { reclaimableOn } from './reclaimable.ts';
import { beginReclaim } from './reclaims.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

/** The allocator proposes that tasks be asked back. What is not right is dropped as a whole: it sees it in the feed. */
export function onReclaim(turn: Turn, allocation: mesobus.v1.Allocation, why: string): void {
  const { agentId, frameworkId, role } = allocation;
  const tasks = tasksFor(turn.state, allocation);
  if (typeof tasks !== 'string') {
    beginReclaim(turn, { agentId, claimant: { frameworkId, role }, why }, tasks);
    return;
  }
  agentChanged(turn.state, agentId);
  turn.log('debug', 'an allocation is dropped', { agent: agentId, framework: frameworkId, role, why: tasks });
}

/** The tasks to ask for, or why none. */
function tasksFor(state: State, { agentId, frameworkId, role, victims }: mesobus.v1.Allocation): TaskEntry[] | string {
  if (state.config.reclaimAfterMs === 0) return 'running tasks are not asked back';
  const agent = state.ledger.agents.get(agentId);
  if (agent === undefined || inactiveBecause(state, agent) !== undefined) return 'the agent is not active';
  for (const { claimant } of state.reclaims.byAgent.values()) {
    if (claimant.frameworkId === frameworkId && claimant.role === role) return 'tasks are asked back for it already';
  }
  if (state.reclaims.byAgent.has(agentId)) return 'tasks on the agent are asked back already';
  if (!wants(state, { frameworkId, role })) return 'the framework wants nothing in the role';
  if (victims.length === 0) return 'it names nothing';
  const tasks = reclaimableOn(state, agent);
  const chosen: TaskEntry[] = [];
  for (const victim of victims) {
    const own = tasks.filter((task) => task.frameworkId === victim.frameworkId && task.role === victim.role);
    if (victim.frameworkId === frameworkId) return 'it names tasks of the framework itself';
    if (victim.role === role) return 'it names tasks of the role itself';
    const resources = readResources(victim);
    if (resources === undefined || resources.length === 0) return 'what it names is empty or malformed';
    const picked = pickTasks(state, role, own, resources, chosen);
    if (picked === undefined) return 'tasks that may be taken do not hold so much';
    chosen.push(...picked);
  }
  return chosen;
}

function readResources({ resources }: mesobus.v1.Victim): Resources | undefined {
  try {
    return unallocate(fromWire(resources));
  } catch {
    return undefined;
  }
}
