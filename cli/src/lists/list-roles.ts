import type { Operator } from '@mesobus/sdk/operator';
import { numberOf, percentOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';
import { ifKnown, type Note } from './if-known.ts';
import { sumsOf } from './list-agents.ts';

/** A role as `mesobus roles` shows it. */
export interface RoleRow {
  readonly role: string;
  /** Its claim beside other roles. */
  readonly weight: number;
  /** The largest fraction that it has of any one resource, from 0 to 1; null if no allocator could say. */
  readonly dominantShare: number | null;
  /** Of which resource that is; empty if it has nothing. */
  readonly dominantResource: string;
  /** In Mesos units. */
  readonly allocated: { readonly cpus: number; readonly mem: number; readonly disk: number; readonly gpus: number };
  readonly frameworkIds: readonly string[];
}

export async function listRoles(operator: Pick<Operator, 'roles' | 'shares'>, note: Note): Promise<RoleRow[]> {
  const [roles, shares] = await Promise.all([
    operator.roles(),
    ifKnown(operator.shares(), 'what shares the roles have', note),
  ]);
  const shareOf = new Map(shares?.roles.map((share) => [share.role, share]));
  return roles.map(({ role, weight, allocated, frameworkIds }) => ({
    role,
    weight,
    dominantShare: shares === undefined ? null : (shareOf.get(role)?.dominantShare ?? 0),
    dominantResource: shareOf.get(role)?.dominantResource ?? '',
    allocated: sumsOf(allocated),
    frameworkIds,
  }));
}

function shareText({ dominantShare, dominantResource }: RoleRow): string {
  if (dominantShare === null) return '?';
  return dominantResource === '' ? percentOf(dominantShare) : `${percentOf(dominantShare)} ${dominantResource}`;
}

export const roleColumns: readonly Column<RoleRow>[] = [
  { head: 'role', cell: ({ role }) => role },
  { head: 'weight', align: 'right', cell: ({ weight }) => numberOf(weight) },
  { head: 'share', align: 'right', cell: shareText },
  { head: 'cpus', align: 'right', cell: ({ allocated }) => numberOf(allocated.cpus) },
  { head: 'mem', align: 'right', cell: ({ allocated }) => numberOf(allocated.mem) },
  { head: 'frameworks', align: 'right', cell: ({ frameworkIds }) => frameworkIds.length },
];
