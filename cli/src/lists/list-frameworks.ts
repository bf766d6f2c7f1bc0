import type { FrameworkConnection, FrameworkSummary, Operator } from '@mesobus/sdk/operator';
import { ageOf, numberOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';
import { ifKnown, type Note } from './if-known.ts';
import { sumsOf } from './list-agents.ts';

/** A framework as `mesobus frameworks` shows it. */
export interface FrameworkRow
  extends Pick<
    FrameworkSummary,
    'id' | 'name' | 'user' | 'principal' | 'roles' | 'suppressedRoles' | 'removed' | 'tasks' | 'webuiUrl'
  > {
  /** Its scheduler is there; null if no master could say. */
  readonly connected: boolean | null;
  /** How it deals with its offers; null if no master could say. */
  readonly offers: Omit<FrameworkConnection, 'frameworkId' | 'connected'> | null;
  /** In Mesos units. */
  readonly allocated: { readonly cpus: number; readonly mem: number; readonly disk: number; readonly gpus: number };
  /** ISO 8601. */
  readonly registeredAt: string;
}

/** @param all - removed ones too, as long as they are known */
export async function listFrameworks(
  operator: Pick<Operator, 'frameworks' | 'connections'>,
  all: boolean,
  note: Note,
): Promise<FrameworkRow[]> {
  const [frameworks, connections] = await Promise.all([
    operator.frameworks({ includeRemoved: all }),
    ifKnown(operator.connections(), 'which schedulers are connected', note),
  ]);
  const heard = new Map(connections?.frameworks.map((connection) => [connection.frameworkId, connection]));
  return frameworks.map((framework) => ({
    id: framework.id,
    name: framework.name,
    user: framework.user,
    principal: framework.principal,
    roles: framework.roles,
    suppressedRoles: framework.suppressedRoles,
    removed: framework.removed,
    connected: connections === undefined ? null : (heard.get(framework.id)?.connected ?? false),
    offers: offersOf(heard.get(framework.id)),
    allocated: sumsOf(framework.allocated),
    tasks: framework.tasks,
    webuiUrl: framework.webuiUrl,
    registeredAt: framework.registeredAt.toISOString(),
  }));
}

function offersOf(connection: FrameworkConnection | undefined): FrameworkRow['offers'] {
  if (connection === undefined) return null;
  const { frameworkId: _, connected: __, ...offers } = connection;
  return offers;
}

const ofOffers =
  (read: (offers: NonNullable<FrameworkRow['offers']>) => string) =>
  ({ offers, connected }: FrameworkRow): string => {
    if (offers !== null) return read(offers);
    return connected === null ? '?' : '-';
  };

/** How many are open, of how many that may be. */
const openOf = ofOffers(({ openOffers, maxOpenOffers }) =>
  maxOpenOffers === 0 ? `${openOffers}` : `${openOffers}/${maxOpenOffers}`,
);

function stateOf({ removed, connected }: FrameworkRow): string {
  if (removed) return 'removed';
  if (connected === null) return '?';
  return connected ? 'active' : 'disconnected';
}

export const frameworkColumns = (now: number): Column<FrameworkRow>[] => [
  { head: 'framework', cell: ({ id }) => id },
  { head: 'name', cell: ({ name }) => name },
  { head: 'state', cell: stateOf },
  { head: 'roles', cell: ({ roles }) => roles.join(',') },
  { head: 'user', cell: ({ user }) => user },
  { head: 'tasks', align: 'right', cell: ({ tasks }) => tasks },
  { head: 'cpus', align: 'right', cell: ({ allocated }) => numberOf(allocated.cpus) },
  { head: 'mem', align: 'right', cell: ({ allocated }) => numberOf(allocated.mem) },
  { head: 'offers', align: 'right', cell: openOf },
  { head: 'expired', align: 'right', cell: ofOffers(({ expiredOffers }) => numberOf(expiredOffers)) },
  {
    head: 'held cpu-s',
    align: 'right',
    cell: ofOffers(({ heldSeconds }) => numberOf(heldSeconds['cpus'] ?? 0)),
  },
  { head: 'age', align: 'right', cell: ({ registeredAt }) => ageOf(new Date(registeredAt), now) },
];
