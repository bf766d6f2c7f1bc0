import type { Operator, RoleExplanation } from '@mesobus/sdk/operator';
import { percentOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** Why a framework is not offered something in a role, as `mesobus explain` shows it. */
export interface ReasonRow {
  readonly role: string;
  /** Its largest fraction of any one resource in this role, from 0 to 1; null if it is not known there. */
  readonly dominantShare: number | null;
  /** How many agents this is about; null: none was looked at, or it is about the role. */
  readonly agents: number | null;
  readonly reason: string;
  readonly detail: string;
  /** Of a filter, or of a wait for tasks to be asked back: in so many ms it ends. */
  readonly endsInMs: number | null;
  /** Of a limit, headroom, a reservation or a turn: whose. */
  readonly roles: readonly string[];
  /** Some of the agents, or all of them in JSON. */
  readonly agentNames: readonly string[];
}

export interface ExplainOptions {
  readonly role?: string;
  readonly agentId?: string;
  readonly maxAgents: number;
}

/** The agents that were looked at by reason, the most frequent first; a role without any gives one row. */
export async function listReasons(
  operator: Pick<Operator, 'explain' | 'agents'>,
  frameworkId: string,
  options: ExplainOptions,
): Promise<ReasonRow[]> {
  const [explained, agents] = await Promise.all([operator.explain(frameworkId, options), operator.agents()]);
  const names = new Map(agents.map(({ id, name }) => [id, name]));
  return explained.flatMap((role) => rowsOf(role, names));
}

function rowsOf(
  { role, withheld, agents, share, reclaim }: RoleExplanation,
  names: ReadonlyMap<string, string>,
): ReasonRow[] {
  const dominantShare = share?.dominantShare ?? null;
  if (withheld !== undefined) {
    return [{ role, dominantShare, agents: null, ...withheld, endsInMs: null, agentNames: [] }];
  }
  if (agents.length === 0) {
    const none = { reason: 'no_agents', detail: 'no agent is registered', endsInMs: null, roles: [], agentNames: [] };
    return [{ role, dominantShare, agents: 0, ...none }];
  }
  const lacking = reclaim === undefined ? [] : [{ withheld: reclaim, count: null, agentIds: [] }];
  return [...lacking, ...agents].map(({ withheld: { reason, detail, endsInMs, roles }, count, agentIds }) => ({
    role,
    dominantShare,
    agents: count,
    reason,
    detail,
    endsInMs: endsInMs ?? null,
    roles,
    agentNames: agentIds.map((id) => names.get(id) ?? id),
  }));
}

/** So many are named for people. */
export const agentsNamed = 3;

function namesIn({ agents, agentNames }: ReasonRow): string {
  const named = agentNames.slice(0, agentsNamed);
  return named.length > 0 && (agents ?? 0) > named.length ? `${named.join(', ')}, …` : named.join(', ');
}

export const reasonColumns: readonly Column<ReasonRow>[] = [
  { head: 'role', cell: ({ role }) => role },
  {
    head: 'share',
    align: 'right',
    cell: ({ dominantShare }) => (dominantShare === null ? '-' : percentOf(dominantShare)),
  },
  { head: 'agents', align: 'right', cell: ({ agents }) => agents ?? '-' },
  { head: 'which', cell: namesIn },
  { head: 'reason', cell: ({ reason }) => reason.replaceAll('_', ' ') },
  { head: 'detail', cell: ({ detail }) => detail },
];
