import type { Machine, MaintenanceStatus, MaintenanceWindow } from '@mesobus/sdk/operator';
import { spanOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** A machine of the schedule, as `mesobus maintenance` shows it. */
export interface MachineRow {
  readonly machine: string;
  readonly mode: 'draining' | 'down';
  readonly start: string;
  /** In seconds; null: nobody knows. */
  readonly durationSeconds: number | null;
  /** What frameworks with something on it say, by their ids. */
  readonly answers: Readonly<Record<string, 'unknown' | 'accept' | 'decline'>>;
}

export const nameOf = ({ hostname, ip }: Machine): string => hostname ?? ip ?? '';

export function machineRows(windows: readonly MaintenanceWindow[], status: MaintenanceStatus): MachineRow[] {
  const down = new Set(status.down.map(nameOf));
  const answers = new Map(status.draining.map((draining) => [nameOf(draining.machine), draining.answers]));
  return windows.flatMap(({ machines, start, durationMs }) =>
    machines.map((machine) => ({
      machine: nameOf(machine),
      mode: down.has(nameOf(machine)) ? ('down' as const) : ('draining' as const),
      start: start.toISOString(),
      durationSeconds: durationMs === undefined ? null : durationMs / 1000,
      answers: Object.fromEntries(
        (answers.get(nameOf(machine)) ?? []).map(({ frameworkId, answer }) => [frameworkId, answer]),
      ),
    })),
  );
}

export const scheduleColumns: readonly Column<MachineRow>[] = [
  { head: 'machine', cell: ({ machine }) => machine },
  { head: 'mode', cell: ({ mode }) => mode },
  { head: 'start', cell: ({ start }) => start },
  { head: 'for', cell: ({ durationSeconds }) => (durationSeconds === null ? '?' : spanOf(durationSeconds)) },
];

export const statusColumns: readonly Column<MachineRow>[] = [
  ...scheduleColumns,
  {
    head: 'answers',
    cell: ({ answers }) =>
      Object.entries(answers)
        .map(([frameworkId, answer]) => `${frameworkId}: ${answer}`)
        .join(', '),
  },
];
