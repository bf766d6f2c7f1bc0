import type { mesobus, mesos } from '@mesobus/protos';

type Scalars = Readonly<Record<string, mesos.v1.Value.Scalar>>;

/** Amounts by the names of scalars, in Mesos units: `{ cpus: 4, mem: 1024 }`. */
export type ScalarAmounts = Readonly<Record<string, number>>;

/** What a role and its subroles together are guaranteed, and what they may not pass. What is not named has no limit. */
export interface Quota {
  readonly guarantees: ScalarAmounts;
  readonly limits: ScalarAmounts;
}

export interface RoleQuota extends Quota {
  readonly role: string;
}

/** A quota with what counts for it now. */
export interface QuotaSummary extends RoleQuota {
  /** Reservations of the role and its subroles, and what is offered or allocated to them unreserved and not revocable. */
  readonly consumed: ScalarAmounts;
}

export function quotaSummariesOf({ roles }: mesobus.v1.RoleUseList): QuotaSummary[] {
  return roles.flatMap(({ quota, consumed }) =>
    quota === null ? [] : [{ role: quota.role, ...quotaOf(quota), consumed: amountsOf(consumed) }],
  );
}

export const quotaOf = ({ guarantees, limits }: mesos.v1.quota.QuotaConfig): Quota => ({
  guarantees: amountsOf(guarantees),
  limits: amountsOf(limits),
});

export const amountsOf = (scalars: Scalars): ScalarAmounts =>
  Object.fromEntries(Object.entries(scalars).map(([name, { value }]) => [name, value]));

export const quotaConfigOf = ({
  role,
  guarantees = {},
  limits = {},
}: Partial<Quota> & { readonly role: string }): mesos.v1.quota.QuotaConfig.$Properties => ({
  role,
  guarantees: scalarsOf(guarantees),
  limits: scalarsOf(limits),
});

const scalarsOf = (amounts: ScalarAmounts): Record<string, mesos.v1.Value.Scalar.$Properties> =>
  Object.fromEntries(Object.entries(amounts).map(([name, value]) => [name, { value }]));
