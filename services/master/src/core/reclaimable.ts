import { type AgentEntry, holdsResources, type TaskEntry } from '@mesobus/registry/core';
import { contains, noResources, revocable, sum } from '@mesobus/sdk/resources';
import type { Reclaim } from './reclaims.ts';
import type { State } from './state.ts';

/** A task that its framework has labelled so may be asked back. */
const label = { key: 'mesobus.preemptible', value: 'true' };

/** What never changes of a task, and takes its decoding to know. */
export interface Reclaimability {
  readonly revocable: boolean;
  readonly preemptible: boolean;
  readonly launchedAtMs: number;
}

export function reclaimabilityOf({ reclaims }: State, task: TaskEntry): Reclaimability {
  const known = reclaims.reclaimability.get(task);
  if (known !== undefined) return known;
  const { task: info, acceptedAtMs, groupId } = task.launched;
  const labels = info?.labels?.labels ?? [];
  // The tasks of a group end together, and not all of them may be asked back.
  const isOne = groupId === '';
  const found = {
    revocable: isOne && revocable(task.resources).length > 0,
    preemptible: isOne && labels.some(({ key, value }) => key === label.key && value === label.value),
    launchedAtMs: acceptedAtMs,
  };
  reclaims.reclaimability.set(task, found);
  return found;
}

/** The tasks that have not ended. */
export const runningOf = ({ tasks }: Reclaim): TaskEntry[] => tasks.filter(({ state }) => holdsResources(state));

/** Tasks hold more than the agent lends by now: what they give back is lent to nobody. */
function isOverlent({ agents }: State, { id, holdings }: AgentEntry): boolean {
  const held = sum([...holdings.values()].map(({ resources }) => revocable(resources)));
  return held.length > 0 && !contains(agents.get(id)?.revocable ?? noResources, held);
}

/** The tasks of an agent that may be asked back and are not ending already: revocable ones first, then the youngest. */
export function reclaimableOn(state: State, agent: AgentEntry): TaskEntry[] {
  const overlent = isOverlent(state, agent);
  const found = [...agent.tasks].filter((task) => {
    if (!holdsResources(task.state)) return false;
    const known = reclaimabilityOf(state, task);
    return (known.revocable ? !overlent : known.preemptible) && !task.killIssued;
  });
  return found.sort((a, b) => {
    const [one, other] = [reclaimabilityOf(state, a), reclaimabilityOf(state, b)];
    if (one.revocable !== other.revocable) return one.revocable ? -1 : 1;
    return other.launchedAtMs - one.launchedAtMs || b.commandNumber - a.commandNumber;
  });
}
