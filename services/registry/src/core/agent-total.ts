import type { mesobus } from '@mesobus/protos';
import { fromWire, noResources, type Resources, withCheckpointed } from '@mesobus/sdk/resources';

/**
 * What an agent has: the resources of its AgentInfo, with the dynamic reservations and persistent volumes that it has
 * checkpointed made in them. What was checkpointed of resources that the agent has no more is left out. An agent whose
 * resources are malformed has none.
 */
export function agentTotal(record: mesobus.v1.AgentRecord): Resources {
  try {
    return withCheckpointed(fromWire(record.info?.resources ?? []), fromWire(record.checkpointedResources));
  } catch {
    return noResources; // the master refuses such an agent; a record of it must not stop every reader
  }
}
