import type { Operator } from '@mesobus/sdk/operator';
import { Command } from 'commander';
import type { Note } from '../lists/if-known.ts';
import { agentColumns, listAgents } from '../lists/list-agents.ts';
import { frameworkColumns, listFrameworks } from '../lists/list-frameworks.ts';
import { listOffers, offerColumns } from '../lists/list-offers.ts';
import { listOperations, operationColumns } from '../lists/list-operations.ts';
import { listRoles, roleColumns } from '../lists/list-roles.ts';
import { listTasks, type TaskListOptions, taskColumns } from '../lists/list-tasks.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { type Column, renderTable } from '../output/table.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, withConnection, withJson } from './options.ts';

interface Listing<Row> {
  readonly streams: Streams;
  readonly flags: ClusterFlags;
  readonly list: (operator: Operator, note: Note) => Promise<Row[]>;
  readonly columns: readonly Column<Row>[];
}

async function show<Row>({ streams, flags, list, columns }: Listing<Row>): Promise<void> {
  const note = (missing: string): void => void streams.err.write(`mesobus: ${missing}\n`);
  const rows = await withOperator(flags, (operator) => list(operator, note));
  if (flags.json === true) await writeJson(streams, rows);
  else await writeTo(streams.out, renderTable(columns, rows));
}

/** `ps`, `agents`, `frameworks`, `offers`, `operations` and `roles`. */
export function listCommands(streams: Streams): Command[] {
  const ps = new Command('ps')
    .description('list tasks')
    .option('-a, --all', 'ended tasks too, as long as they are known')
    .option('--framework <id>', 'of one framework: its id or name, or the beginning of one')
    .option('--agent <name>', 'on one agent: its name or id, or the beginning of one')
    .action(async (flags: ClusterFlags & TaskListOptions) => {
      const list = (operator: Operator) => listTasks(operator, flags);
      await show({ streams, flags, list, columns: taskColumns(Date.now()) });
    });
  const agents = new Command('agents')
    .description('list agents')
    .option('-a, --all', 'gone ones too, as long as they are remembered')
    .action(async (flags: ClusterFlags & { all?: boolean }) => {
      const list = (operator: Operator, note: Note) => listAgents(operator, flags.all === true, note);
      await show({ streams, flags, list, columns: agentColumns(Date.now()) });
    });
  const frameworks = new Command('frameworks')
    .description('list frameworks')
    .option('-a, --all', 'removed ones too, as long as they are known')
    .action(async (flags: ClusterFlags & { all?: boolean }) => {
      const list = (operator: Operator, note: Note) => listFrameworks(operator, flags.all === true, note);
      await show({ streams, flags, list, columns: frameworkColumns(Date.now()) });
    });
  const offers = new Command('offers')
    .description('list open offers')
    .action((flags: ClusterFlags) => show({ streams, flags, list: listOffers, columns: offerColumns(Date.now()) }));
  const operations = new Command('operations')
    .description('list operations on resources that are not done, or not acknowledged')
    .action((flags: ClusterFlags) =>
      show({ streams, flags, list: listOperations, columns: operationColumns(Date.now()) }),
    );
  const roles = new Command('roles')
    .description('list roles with their weights and shares')
    .action((flags: ClusterFlags) => show({ streams, flags, list: listRoles, columns: roleColumns }));
  return [ps, agents, frameworks, offers, operations, roles].map((command) => withJson(withConnection(command)));
}
