import type { AgentSummary } from '@mesobus/sdk/operator';
import { isPersistentVolume, reservationRole } from '@mesobus/sdk/resources';
import { numberOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** A persistent volume as `mesobus volume list` shows it. */
export interface VolumeRow {
  readonly id: string;
  readonly role: string;
  readonly agentId: string;
  readonly agentName: string;
  /** MB. */
  readonly size: number;
  readonly shared: boolean;
  /** Under which tasks see it, unless they say otherwise. */
  readonly containerPath: string;
  /** Of the disk that it is made of; empty: the work directory of the agent. */
  readonly disk: string;
}

/** Agents that were declared dead have none any more. */
export function volumesOf(agents: readonly AgentSummary[]): VolumeRow[] {
  const there = agents.filter(({ lifecycle }) => lifecycle !== 'gone');
  return there.flatMap(({ id: agentId, name: agentName, resources }) =>
    resources.filter(isPersistentVolume).map((one) => ({
      id: one.disk?.persistence?.id ?? '',
      role: reservationRole(one),
      agentId,
      agentName,
      size: one.kind === 'scalar' ? one.amount / 1000 : 0,
      shared: one.shared === true,
      containerPath: one.disk?.volume?.containerPath ?? '',
      disk: one.disk?.source?.root ?? '',
    })),
  );
}

export const volumeColumns: readonly Column<VolumeRow>[] = [
  { head: 'id', cell: ({ id }) => id },
  { head: 'role', cell: ({ role }) => role },
  { head: 'agent', cell: ({ agentName }) => agentName },
  { head: 'size', align: 'right', cell: ({ size }) => numberOf(size) },
  { head: 'shared', cell: ({ shared }) => (shared ? 'yes' : 'no') },
  { head: 'path', cell: ({ containerPath }) => containerPath },
];
