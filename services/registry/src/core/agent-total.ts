import type { mesobus } from '@mesobus/protos';
import {
  add,
  fromWire,
  noResources,
  type Resource,
  type ResourceSpec,
  type Resources,
  resourcesOf,
  trySubtract,
} from '@mesobus/sdk/resources';

/**
 * What an agent has: the resources of its AgentInfo, with the dynamic reservations and persistent volumes that it has
 * checkpointed made in them. What was checkpointed of resources that the agent has no more is left out. An agent whose
 * resources are malformed has none.
 */
export function agentTotal(record: mesobus.v1.AgentRecord): Resources {
  try {
    let total = fromWire(record.info?.resources ?? []);
    for (const changed of fromWire(record.checkpointedResources)) {
      const made = resourcesOf([changed]);
      const rest = trySubtract(total, madeOf(changed));
      if (rest !== undefined) total = add(rest, made);
    }
    return total;
  } catch {
    return noResources; // the master refuses such an agent; a record of it must not stop every reader
  }
}

/** What a reserved resource or a volume was made of: without dynamic reservations and without the volume. */
function madeOf({ reservations, disk, shared: _, copies: __, ...rest }: Resource): Resources {
  const configured = reservations?.filter(({ type }) => type === 'static') ?? [];
  const spec: ResourceSpec = {
    ...rest,
    ...(configured.length > 0 && { reservations: configured }),
    ...(disk?.source !== undefined && { disk: { source: disk.source } }),
  };
  return resourcesOf([spec]);
}
