import type { Operator } from '@mesobus/sdk/operator';
import { numberOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';
import { ifKnown, type Note } from './if-known.ts';

/** One resource of the quota of a role, as `mesobus quota list` shows it; in Mesos units. */
export interface QuotaRow {
  readonly role: string;
  readonly resource: string;
  /** 0: none. */
  readonly guarantee: number;
  /** Null: none. */
  readonly limit: number | null;
  /** Null if no leader could say. */
  readonly consumed: number | null;
}

export async function listQuotas(operator: Pick<Operator, 'roles' | 'quotas'>, note: Note): Promise<QuotaRow[]> {
  const [roles, quotas] = await Promise.all([
    operator.roles(),
    ifKnown(operator.quotas(), 'how much of the quotas is used', note),
  ]);
  const consumedBy = new Map(quotas?.map(({ role, consumed }) => [role, consumed]));
  return roles.flatMap(({ role, quota }) => {
    if (quota === undefined) return [];
    const names = new Set([...Object.keys(quota.guarantees), ...Object.keys(quota.limits)]);
    return [...names].map((resource) => ({
      role,
      resource,
      guarantee: quota.guarantees[resource] ?? 0,
      limit: quota.limits[resource] ?? null,
      consumed: quotas === undefined ? null : (consumedBy.get(role)?.[resource] ?? 0),
    }));
  });
}

const orElse = (amount: number | null, word: string): string => (amount === null ? word : numberOf(amount));

export const quotaColumns: readonly Column<QuotaRow>[] = [
  { head: 'role', cell: ({ role }) => role },
  { head: 'resource', cell: ({ resource }) => resource },
  { head: 'guarantee', align: 'right', cell: ({ guarantee }) => numberOf(guarantee) },
  { head: 'limit', align: 'right', cell: ({ limit }) => orElse(limit, '-') },
  { head: 'consumed', align: 'right', cell: ({ consumed }) => orElse(consumed, '?') },
];
