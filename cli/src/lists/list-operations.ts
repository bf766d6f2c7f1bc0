import type { Operator } from '@mesobus/sdk/operator';
import { ageOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** An operation that is not over as `mesobus operations` shows it. */
export interface OperationRow {
  /** Empty if its framework gave it none, or an operator wants it. */
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly agentId: string;
  /** Empty: an operator wants it. */
  readonly frameworkId: string;
  readonly principal: string;
  readonly message: string;
  /** ISO 8601. */
  readonly issuedAt: string;
}

export async function listOperations(operator: Pick<Operator, 'operations'>): Promise<OperationRow[]> {
  return (await operator.operations()).map(({ raw: _, issuedAt, ...operation }) => ({
    ...operation,
    issuedAt: issuedAt.toISOString(),
  }));
}

export const operationColumns = (now: number): readonly Column<OperationRow>[] => [
  { head: 'id', cell: ({ id }) => id },
  { head: 'operation', cell: ({ kind }) => kind },
  { head: 'state', cell: ({ state }) => state },
  { head: 'agent', cell: ({ agentId }) => agentId },
  { head: 'for', cell: ({ frameworkId, principal }) => frameworkId || principal },
  { head: 'age', align: 'right', cell: ({ issuedAt }) => ageOf(new Date(issuedAt), now) },
  { head: 'message', cell: ({ message }) => message },
];
