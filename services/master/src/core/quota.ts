import { mesos } from '@mesobus/protos';
import type { Ledger } from '@mesobus/registry/core';
import { toThousandths } from '@mesobus/sdk/resources';
import { pathOf } from './consumption.ts';

type Scalars = Readonly<Record<string, mesos.v1.Value.Scalar.$Properties>>;

/** What a role is guaranteed and limited to, by names of scalars, in thousandths. What is not named has no limit. */
export interface Quota {
  readonly guarantees: ReadonlyMap<string, number>;
  readonly limits: ReadonlyMap<string, number>;
}

/** A guarantee of nothing is none; a limit of 0 is one. Amounts are as they came: checked before. */
export function quotaOf({ guarantees, limits }: mesos.v1.quota.QuotaConfig.$Properties): Quota {
  const guaranteed = amountsOf(guarantees ?? {}).filter(([, amount]) => amount > 0);
  return { guarantees: new Map(guaranteed), limits: new Map(amountsOf(limits ?? {})) };
}

const amountsOf = (scalars: Scalars): [string, number][] =>
  Object.entries(scalars).map(([name, { value }]) => [name, toThousandths(value)]);

export function configOf(role: string, { guarantees, limits }: Quota): mesos.v1.quota.QuotaConfig {
  return new mesos.v1.quota.QuotaConfig({ role, guarantees: scalarsOf(guarantees), limits: scalarsOf(limits) });
}

/** Amounts for a message, in Mesos units. */
export function scalarsOf(amounts: Iterable<readonly [string, number]>): Record<string, mesos.v1.Value.Scalar> {
  return Object.fromEntries(
    [...amounts].map(([name, amount]) => [name, new mesos.v1.Value.Scalar({ value: amount / 1000 })]),
  );
}

export const isNone = ({ guarantees, limits }: Quota): boolean => guarantees.size + limits.size === 0;

export function sameQuota(a: Quota | undefined, b: Quota | undefined): boolean {
  const none: ReadonlyMap<string, number> = new Map();
  return sameAmounts(a?.guarantees ?? none, b?.guarantees ?? none) && sameAmounts(a?.limits ?? none, b?.limits ?? none);
}

const sameAmounts = (a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean =>
  a.size === b.size && [...a].every(([name, amount]) => b.get(name) === amount);

/** By role; roles without one are not in it. */
export type Quotas = ReadonlyMap<string, Quota>;

export function quotasIn({ roles }: Ledger): Map<string, Quota> {
  const quotas = new Map<string, Quota>();
  for (const [role, { quota }] of roles) if (quota) quotas.set(role, quotaOf(quota));
  return quotas;
}

/** The nearest role above that is guaranteed some of it: what the role is guaranteed is a part of that. */
export function guarantorOf(quotas: Quotas, role: string, name: string): string | undefined {
  for (const above of pathOf(role)) if (above !== role && quotas.get(above)?.guarantees.has(name)) return above;
  return undefined;
}

export const isNested = (role: string): boolean => role.includes('/');
