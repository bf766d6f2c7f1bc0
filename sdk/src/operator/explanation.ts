import { mesobus } from '@mesobus/protos';
import { type ShareSummary, shareSummaryOf } from './views.ts';

const Reason = mesobus.v1.Withheld.Reason;

/** Why something is not offered; of a framework, of a role of it, of an agent, or of an agent for this framework. */
export type WithheldReason = Lowercase<keyof typeof mesobus.v1.Withheld.Reason>;

/** A reason that the allocator gives: match on `reason`, `detail` is for people. */
export interface Withheld {
  readonly reason: WithheldReason;
  /** With ids, amounts and times. */
  readonly detail: string;
  /** Of `filtered` and `reclaim_waits`: in so many ms it ends. */
  readonly endsInMs?: number;
  /** Of a limit, headroom, a reservation or a turn: whose. */
  readonly roles: readonly string[];
}

/** What an allocator says of one role of a framework. */
export interface RoleExplanation {
  readonly role: string;
  /** Why no agent is looked at, if so; then there are no `agents`. */
  readonly withheld?: Withheld;
  /** Agents by reason, the most frequent first. */
  readonly agents: readonly {
    readonly withheld: Withheld;
    readonly count: number;
    /** As many as were asked for. */
    readonly agentIds: readonly string[];
  }[];
  /** What the framework has in this role; absent if it is not known there. */
  readonly share?: ShareSummary;
  /** Whether running tasks are asked back for what it lacks of a guarantee or fair share; absent if it lacks nothing. */
  readonly reclaim?: Withheld;
}

export const explanationOf = ({ roles }: mesobus.v1.Explanation): RoleExplanation[] =>
  roles.map(({ role, reason, agents, share, reclaim }) => ({
    role,
    ...(reason !== null && { withheld: withheldOf(reason) }),
    agents: agents.map((some) => ({
      withheld: withheldOf(some.reason),
      count: some.count,
      agentIds: some.agentIds,
    })),
    ...(share !== null && { share: shareSummaryOf(share) }),
    ...(reclaim !== null && { reclaim: withheldOf(reclaim) }),
  }));

function withheldOf(raw: mesobus.v1.Withheld | null): Withheld {
  const { reason = Reason.UNKNOWN, detail = '', endsInMs = 0, roles = [] } = raw ?? {};
  // An allocator of a newer version may know more reasons.
  const name = (Reason[reason] ?? 'UNKNOWN') as keyof typeof Reason;
  return {
    reason: name.toLowerCase() as WithheldReason,
    detail,
    ...((reason === Reason.FILTERED || reason === Reason.RECLAIM_WAITS) && { endsInMs }),
    roles,
  };
}
