import type { Supposed, WhatIfResult } from '@mesobus/sdk/operator';
import { numberOf, percentOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** What a role, or a framework in it, has and would have, as `mesobus whatif` shows it. */
export interface SupposedRow {
  readonly role: string;
  /** Empty: the role as a whole. */
  readonly frameworkId: string;
  readonly before: Standing;
  readonly after: Standing;
}

interface Standing {
  /** Its largest fraction of any one resource, from 0 to 1. */
  readonly share: number;
  /** Agents of which it is offered something. */
  readonly agents: number;
  /** Offered in all, in Mesos units. */
  readonly offered: Readonly<Record<string, number>>;
}

/** Roles in the order of their names, each before its frameworks. */
export function supposedRows({ before, after }: WhatIfResult): SupposedRow[] {
  const keys = new Map<string, { role: string; frameworkId: string }>();
  for (const { roles, frameworks, offers } of [before, after]) {
    for (const { role, frameworkId } of [...roles, ...frameworks, ...offers]) {
      keys.set(`${role}\n`, { role, frameworkId: '' });
      keys.set(`${role}\n${frameworkId}`, { role, frameworkId });
    }
  }
  return [...keys]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { role, frameworkId }]) => ({
      role,
      frameworkId,
      before: standingOf(before, role, frameworkId),
      after: standingOf(after, role, frameworkId),
    }));
}

function standingOf({ roles, frameworks, offers }: Supposed, role: string, frameworkId: string): Standing {
  const isMeant = (one: { role: string; frameworkId: string }): boolean =>
    one.role === role && one.frameworkId === frameworkId;
  const share = [...roles, ...frameworks].find(isMeant)?.dominantShare ?? 0;
  const offered: Record<string, number> = {};
  let agents = 0;
  for (const offer of offers) {
    if (offer.role !== role || (frameworkId !== '' && offer.frameworkId !== frameworkId)) continue;
    agents += offer.agents;
    for (const [name, amount] of Object.entries(offer.quantities)) offered[name] = (offered[name] ?? 0) + amount;
  }
  return { share, agents, offered };
}

/** `12.5% > 25%`, or one of them where nothing changes. */
const change = (before: string, after: string): string => (before === after ? after : `${before} > ${after}`);

const changeOf =
  (read: (standing: Standing) => string) =>
  ({ before, after }: SupposedRow): string =>
    change(read(before), read(after));

export const supposedColumns: readonly Column<SupposedRow>[] = [
  { head: 'role', cell: ({ role }) => role },
  { head: 'framework', cell: ({ frameworkId }) => frameworkId || '(all)' },
  { head: 'share', align: 'right', cell: changeOf(({ share }) => percentOf(share)) },
  { head: 'agents', align: 'right', cell: changeOf(({ agents }) => numberOf(agents)) },
  { head: 'cpus', align: 'right', cell: changeOf(({ offered }) => numberOf(offered['cpus'] ?? 0)) },
  { head: 'mem', align: 'right', cell: changeOf(({ offered }) => numberOf(offered['mem'] ?? 0)) },
];
