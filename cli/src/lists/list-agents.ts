import type { Operator } from '@mesobus/sdk/operator';
import { formatAttributes } from '@mesobus/sdk/resources';
import { ageOf, numberOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';
import { ifKnown, type Note } from './if-known.ts';

interface Sums {
  readonly cpus: number;
  readonly mem: number;
  readonly disk: number;
  readonly gpus: number;
}

/** An agent as `mesobus agents` shows it. */
export interface AgentRow {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly lifecycle: 'admitted' | 'unreachable' | 'gone';
  /** The leading master hears it; null if no master could say. */
  readonly connected: boolean | null;
  readonly deactivated: boolean;
  readonly draining: boolean;
  readonly drained: boolean;
  /** In Mesos units. */
  readonly total: Sums;
  readonly allocated: Sums;
  /** Estimated to be idle and offered once more, beyond the total; null if no master could say. */
  readonly revocable: Sums | null;
  /** As `--attributes` takes them. */
  readonly attributes: string;
  readonly tasks: number;
  readonly version: string;
  /** ISO 8601. */
  readonly registeredAt: string;
}

/** @param includeGone - those that were declared dead too, as long as they are remembered */
export async function listAgents(
  operator: Pick<Operator, 'agents' | 'connections'>,
  includeGone: boolean,
  note: Note,
): Promise<AgentRow[]> {
  const [known, connections] = await Promise.all([
    operator.agents(),
    ifKnown(operator.connections(), 'which agents are connected', note),
  ]);
  const agents = known.filter(({ lifecycle }) => includeGone || lifecycle !== 'gone');
  const heard = new Map(connections?.agents.map((connection) => [connection.agentId, connection]));
  return agents.map((agent) => ({
    id: agent.id,
    name: agent.name,
    hostname: agent.hostname,
    lifecycle: agent.lifecycle,
    connected: connections === undefined ? null : (heard.get(agent.id)?.connected ?? false),
    deactivated: agent.deactivated,
    draining: agent.draining,
    drained: agent.drained,
    total: sumsOf(agent.total),
    allocated: sumsOf(agent.allocated),
    revocable: connections === undefined ? null : sumsOf(heard.get(agent.id)?.revocable ?? nothing),
    attributes: formatAttributes([...agent.attributes]),
    tasks: agent.tasks,
    version: agent.version,
    registeredAt: agent.registeredAt.toISOString(),
  }));
}

const nothing: Sums = { cpus: 0, mem: 0, disk: 0, gpus: 0 };

export const sumsOf = ({ cpus, mem, disk, gpus }: Sums): Sums => ({ cpus, mem, disk, gpus });

/** Nothing where all is as it should be. */
function presenceOf(connected: boolean | null): string[] {
  if (connected === null) return ['?'];
  return connected ? [] : ['disconnected'];
}

/** Whether it is there, and what an operator wants of it: `active`, `draining`, `unreachable, drained`. */
function stateOf({ lifecycle, connected, deactivated, draining, drained }: AgentRow): string {
  if (lifecycle === 'gone') return lifecycle;
  const away = lifecycle === 'unreachable' ? [lifecycle] : presenceOf(connected);
  const wanted = drained ? ['drained'] : draining ? ['draining'] : deactivated ? ['deactivated'] : [];
  return [...away, ...wanted].join(', ') || 'active';
}

/** `2/4`; of an agent that lends 1.5 more revocably `2/4+1.5`. */
const usage = (allocated: number, total: number, lent = 0): string =>
  `${numberOf(allocated)}/${numberOf(total)}${lent === 0 ? '' : `+${numberOf(lent)}`}`;

export const agentColumns = (now: number): Column<AgentRow>[] => [
  { head: 'agent', cell: ({ name }) => name },
  { head: 'id', cell: ({ id }) => id },
  { head: 'host', cell: ({ hostname }) => hostname },
  { head: 'state', cell: stateOf },
  {
    head: 'cpus',
    align: 'right',
    cell: ({ allocated, total, revocable }) => usage(allocated.cpus, total.cpus, revocable?.cpus),
  },
  {
    head: 'mem',
    align: 'right',
    cell: ({ allocated, total, revocable }) => usage(allocated.mem, total.mem, revocable?.mem),
  },
  { head: 'disk', align: 'right', cell: ({ allocated, total }) => usage(allocated.disk, total.disk) },
  { head: 'tasks', align: 'right', cell: ({ tasks }) => tasks },
  { head: 'age', align: 'right', cell: ({ registeredAt }) => ageOf(new Date(registeredAt), now) },
  { head: 'attributes', cell: ({ attributes }) => attributes },
];
