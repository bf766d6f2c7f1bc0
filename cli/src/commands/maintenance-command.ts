import type { Machine, MaintenanceWindow, Operator } from '@mesobus/sdk/operator';
import { parseDuration } from '@mesobus/sdk/service';
import { Command, InvalidArgumentError, Option } from 'commander';
import { machineRows, nameOf, scheduleColumns, statusColumns } from '../lists/list-maintenance.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { renderTable } from '../output/table.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, duration, withConnection, withJson } from './options.ts';

/** A time of day, or a duration from now. */
export function timeOf(text: string): Date {
  const afterMs = text === 'now' ? 0 : parseDuration(text);
  const time = afterMs === undefined ? new Date(text) : new Date(Date.now() + afterMs);
  // `Date` reads a lone number as a month or a year.
  const isWritten = afterMs !== undefined || /^\d{4}-\d\d-\d\d/.test(text);
  if (isWritten && !Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("It must be a time, for example 2030-01-31T22:00Z, or a duration from now, or 'now'.");
}

interface ScheduleFlags extends ClusterFlags {
  readonly start?: Date;
  readonly for?: number;
  readonly cancel?: boolean;
}

/** `maintenance schedule`, `maintenance status`, `maintenance start` and `maintenance stop`. */
export function maintenanceCommand(streams: Streams): Command {
  const show = async (flags: ClusterFlags, columns: typeof scheduleColumns): Promise<void> => {
    const rows = await withOperator(flags, async (operator) =>
      machineRows(await operator.maintenanceSchedule(), await operator.maintenanceStatus()),
    );
    if (flags.json === true) await writeJson(streams, rows);
    else await writeTo(streams.out, renderTable(columns, rows));
  };
  const schedule: Command = new Command('schedule')
    .description('show what maintenance is planned, plan more of it, or cancel some')
    .argument('[machine...]', 'hostnames, as their agents say them')
    .option('--start <time>', 'when they will be away: a time, or a duration from now', timeOf)
    .option('--for <duration>', 'how long [default: nobody knows]', duration)
    .addOption(new Option('--cancel', 'they will not be away after all').conflicts('start'))
    .action(async (names: string[], flags: ScheduleFlags) => {
      if (names.length > 0 !== (flags.start !== undefined || flags.cancel === true)) {
        schedule.error('Name machines together with --start or --cancel, or neither.', { exitCode: 2 });
      }
      if (names.length > 0) await withOperator(flags, (operator) => plan(operator, names, flags));
      await show(flags, scheduleColumns);
    });
  const status = new Command('status')
    .description('show which machines are away or will be, and what frameworks say to that')
    .action((flags: ClusterFlags) => show(flags, statusColumns));
  const start = new Command('start').description('machines are away from now on: their agents end and are removed');
  const stop = new Command('stop').description('machines are back: their agents may join again');
  const act = (command: Command, change: (operator: Operator, machines: Machine[]) => Promise<void>, done: string) =>
    command.argument('<machine...>', 'hostnames; all of them, or none').action(async (names: string[], flags) => {
      const machines = names.map((hostname) => ({ hostname }));
      await withOperator(flags, (operator) => change(operator, machines));
      if ((flags as ClusterFlags).json === true) await writeJson(streams, names);
      else await writeTo(streams.out, names.map((name) => `machine ${name} ${done}\n`).join(''));
    });
  const command = new Command('maintenance').description('plan, start and stop the maintenance of machines');
  for (const below of [
    schedule,
    status,
    act(start, (operator, machines) => operator.startMaintenance(machines), 'is down for maintenance'),
    act(stop, (operator, machines) => operator.stopMaintenance(machines), 'is up again'),
  ]) {
    command.addCommand(withJson(withConnection(below)));
  }
  return command;
}

/** The schedule is replaced as a whole: these machines leave their windows, and form one of their own if they have a start. */
async function plan(operator: Operator, names: readonly string[], flags: ScheduleFlags): Promise<void> {
  const meant = new Set(names.map((name) => name.toLowerCase()));
  const before = await operator.maintenanceSchedule();
  const windows: MaintenanceWindow[] = before
    .map((window) => ({ ...window, machines: window.machines.filter((one) => !meant.has(nameOf(one).toLowerCase())) }))
    .filter(({ machines }) => machines.length > 0);
  if (flags.start !== undefined) {
    const machines = names.map((hostname) => ({ hostname }));
    windows.push({ machines, start: flags.start, ...(flags.for !== undefined && { durationMs: flags.for }) });
  }
  await operator.updateMaintenanceSchedule(windows);
}
