import type { Operator, ScalarAmounts, WhatIfChanges } from '@mesobus/sdk/operator';
import { parseResources } from '@mesobus/sdk/resources';
import { InvalidArgumentError } from 'commander';
import { findAgent } from '../lists/list-tasks.ts';
import { amount } from './options.ts';

/** One amount of the quota of a role; null lifts it. */
export interface QuotaChange {
  readonly role: string;
  readonly resource: string;
  readonly amount: number | null;
}

/** Gathers `role.resource=amount` of repeated flags; `none` lifts what there is. */
export function quotaChange(text: string, before: readonly QuotaChange[] = []): QuotaChange[] {
  const [, role, resource, value] = /^(.+)\.([^.=]+)=(.+)$/.exec(text) ?? [];
  if (role === undefined || resource === undefined || value === undefined) {
    throw new InvalidArgumentError("It must be a role, a resource and an amount or none, for example 'ads.cpus=100'.");
  }
  return [...before, { role, resource, amount: value === 'none' ? null : amount(value) }];
}

/** Agents that come, or one that goes. */
export type AgentsChange =
  | { readonly kind: 'added'; readonly count: number; readonly resources?: string }
  | { readonly kind: 'removed'; readonly agent: string };

const maxAgentsAdded = 100_000;

/** Gathers `+50`, `+50=cpus:8;mem:16384` and `-agent-3` of repeated flags. */
export function agentsChange(text: string, before: readonly AgentsChange[] = []): AgentsChange[] {
  const [, digits, resourcesText] = /^\+(\d+)(?:=(.+))?$/.exec(text) ?? [];
  if (digits !== undefined && Number(digits) <= maxAgentsAdded) {
    const added = { kind: 'added', count: Number(digits) } as const;
    if (resourcesText === undefined) return [...before, added];
    try {
      parseResources(resourcesText);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
    return [...before, { ...added, resources: resourcesText }];
  }
  if (/^-./.test(text)) return [...before, { kind: 'removed', agent: text.slice(1) }];
  throw new InvalidArgumentError(
    `It must be +<number up to ${maxAgentsAdded}>, +<number>=<resources> or -<agent>, for example +50 or -agent-3.`,
  );
}

/** What the flags of `whatif` ask for. */
export interface WhatIfFlags {
  readonly weight?: readonly { readonly role: string; readonly weight: number }[];
  readonly quota?: readonly QuotaChange[];
  readonly limit?: readonly QuotaChange[];
  readonly agents?: readonly AgentsChange[];
}

/**
 * What is to be supposed: the present quotas of the roles that are named, with the amounts that are named in place of
 * theirs, and the rest as it is.
 *
 * @throws {CommandError} an agent is unknown or ambiguous
 */
export async function whatIfChangesOf(
  { weight = [], quota = [], limit = [], agents = [] }: WhatIfFlags,
  operator: Pick<Operator, 'roles' | 'agents'>,
): Promise<WhatIfChanges> {
  const removed = agents.flatMap((change) => (change.kind === 'removed' ? [change.agent] : []));
  const known = removed.length > 0 ? await operator.agents() : [];
  return {
    weights: Object.fromEntries(weight.map((one) => [one.role, one.weight])),
    quotas: await quotasOf(quota, limit, operator),
    agentsAdded: agents.flatMap((change) =>
      change.kind === 'removed'
        ? []
        : [{ count: change.count, ...(change.resources && { resources: parseResources(change.resources) }) }],
    ),
    agentsRemoved: removed.map((wanted) => findAgent(known, wanted).id),
  };
}

async function quotasOf(
  guarantees: readonly QuotaChange[],
  limits: readonly QuotaChange[],
  operator: Pick<Operator, 'roles'>,
): Promise<NonNullable<WhatIfChanges['quotas']>> {
  const names = new Set([...guarantees, ...limits].map(({ role }) => role));
  if (names.size === 0) return {};
  const present = new Map((await operator.roles()).map(({ role, quota }) => [role, quota]));
  return Object.fromEntries(
    [...names].map((role) => [
      role,
      {
        guarantees: changed(present.get(role)?.guarantees, guarantees, role),
        limits: changed(present.get(role)?.limits, limits, role),
      },
    ]),
  );
}

function changed(present: ScalarAmounts | undefined, changes: readonly QuotaChange[], role: string): ScalarAmounts {
  const amounts = new Map(Object.entries(present ?? {}));
  for (const change of changes) {
    if (change.role !== role) continue;
    if (change.amount === null) amounts.delete(change.resource);
    else amounts.set(change.resource, change.amount);
  }
  return Object.fromEntries(amounts);
}
