import type { mesobus } from '@mesobus/protos';
import { wireAmounts } from './shares.ts';
import type { Role, State } from './state.ts';

/** The quotas of all roles that have one, what counts against each, and what is kept free for them. */
export function quotas(state: State): mesobus.v1.QuotaList.$Properties {
  const roles = [...state.roles.values()].filter(({ quota }) => quota !== undefined);
  return {
    roles: roles.map((role) => ({ config: configOf(state, role), consumed: wireAmounts(state, role.consumed) })),
    requiredHeadroom: wireAmounts(state, state.root.keptForChildren),
    availableHeadroom: wireAmounts(state, state.headroom),
  };
}

function configOf({ columns }: State, { name: role, quota }: Role) {
  const named = (amounts: readonly (number | undefined)[] = []): Record<string, { value: number }> => {
    const entries = [...amounts.entries()].filter(([, amount]) => amount !== undefined);
    return Object.fromEntries(
      entries.map(([column, amount]) => [columns.nameOf(column), { value: (amount ?? 0) / 1000 }]),
    );
  };
  return { role, guarantees: named(quota?.guarantees), limits: named(quota?.limits) };
}
