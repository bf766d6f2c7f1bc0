import type { FrameworkSummary, Supposed, WhatIfResult } from '@mesobus/sdk/operator';
import { isSubroleOf } from '@mesobus/sdk/resources';
import { numberOf, percentOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** What a role, or a framework in it, has and would have, as `mesobus whatif` shows it. */
export interface SupposedRow {
  readonly role: string;
  /** Empty: the role with all below it. */
  readonly frameworkId: string;
  /** Of the framework, or its id where others have the same. */
  readonly name: string;
  readonly before: Standing;
  readonly after: Standing;
}

interface Standing {
  /** Its largest fraction of any one resource, divided by its weight; what is offered counts as accepted. */
  readonly share: number;
  /** Agents of which it is offered something. */
  readonly agents: number;
  /** Offered in all, in Mesos units. */
  readonly offered: Readonly<Record<string, number>>;
}

/** Roles in the order of their names, each before its frameworks. */
export function supposedRows(
  { before, after }: WhatIfResult,
  frameworks: readonly Pick<FrameworkSummary, 'id' | 'name'>[],
): SupposedRow[] {
  const names = new Map(frameworks.map(({ id, name }) => [id, name]));
  const nameOf = (id: string): string => {
    const name = names.get(id);
    const isUnique = frameworks.filter((one) => one.name === name).length === 1;
    return name !== undefined && isUnique ? name : id;
  };
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
      name: nameOf(frameworkId),
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
    const isOfWhole = frameworkId === '' && (offer.role === role || isSubroleOf(offer.role, role));
    if (!isOfWhole && !isMeant(offer)) continue;
    agents += offer.agents;
    for (const [name, amount] of Object.entries(offer.quantities)) offered[name] = (offered[name] ?? 0) + amount;
  }
  return { share, agents, offered };
}

const shown: readonly { readonly head: string; readonly read: (standing: Standing) => string }[] = [
  { head: 'share/weight', read: ({ share }) => percentOf(share) },
  { head: 'offered agents', read: ({ agents }) => numberOf(agents) },
  { head: 'offered cpus', read: ({ offered }) => numberOf(offered['cpus'] ?? 0) },
  { head: 'offered mem', read: ({ offered }) => numberOf(offered['mem'] ?? 0) },
];

/** `12.5% > 25%`, or one of them where nothing changes. */
const change = (before: string, after: string): string => (before === after ? after : `${before} > ${after}`);

export const supposedColumns: readonly Column<SupposedRow>[] = [
  { head: 'role', cell: ({ role }) => role },
  { head: 'framework', cell: ({ name }) => name || '(all)' },
  ...shown.map(
    ({ head, read }): Column<SupposedRow> => ({
      head,
      align: 'right',
      cell: ({ before, after }) => change(read(before), read(after)),
    }),
  ),
];

/** Whether the table shows it otherwise than it is. */
export const isChanged = ({ before, after }: SupposedRow): boolean =>
  shown.some(({ read }) => read(before) !== read(after));

/** How many rows are left out of the table. */
export function sayUnchanged(count: number, all: number): string {
  if (count === all) return 'nothing would be otherwise\n';
  return count === 0 ? '' : `${count} more would be as ${count === 1 ? 'it is' : 'they are'}\n`;
}
