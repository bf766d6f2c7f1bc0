import { Command } from 'commander';
import { agentsNamed, listReasons, reasonColumns } from '../lists/list-reasons.ts';
import { isChanged, sayUnchanged, supposedColumns, supposedRows } from '../lists/list-supposed.ts';
import { findAgent, findFramework } from '../lists/list-tasks.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { renderTable } from '../output/table.ts';
import { withOperator } from '../with-operator.ts';
import { weightOf } from './change-commands.ts';
import { type ClusterFlags, withConnection, withJson } from './options.ts';
import { agentsChange, quotaChange, type WhatIfFlags, whatIfChangesOf } from './what-if-changes.ts';

interface ExplainFlags extends ClusterFlags {
  readonly role?: string;
  readonly agent?: string;
}

/** As many as an allocator names. */
const agentsInJson = 1_000;

/** `explain` and `whatif`. */
export function whyCommands(streams: Streams): Command[] {
  const explain = new Command('explain')
    .description('say why a framework is offered nothing, or not more')
    .argument('<framework>', 'its id or name, or the beginning of one')
    .option('--role <role>', 'in one role [default: each of its roles]')
    .option('--agent <name>', 'of one agent: its name or id, or the beginning of one [default: all]')
    .action(async (wanted: string, { role, agent, ...flags }: ExplainFlags) => {
      const maxAgents = flags.json === true ? agentsInJson : agentsNamed;
      const rows = await withOperator(flags, async (operator) => {
        const { id } = await findFramework(operator, wanted);
        const only = agent === undefined ? {} : { agentId: findAgent(await operator.agents(), agent).id };
        return listReasons(operator, id, { ...(role !== undefined && { role }), ...only, maxAgents });
      });
      if (flags.json === true) await writeJson(streams, rows);
      else await writeTo(streams.out, renderTable(reasonColumns, rows));
    });
  const whatif = new Command('whatif')
    .description(
      'show who would have what if something were otherwise; nothing is changed. What would be offered is said as if all ' +
        'open offers were taken back first and no filter held; shares count it as accepted.',
    )
    .option('--weight <role=weight>', 'a role has this weight; may be given again', weightOf)
    .option('--quota <role.resource=amount>', 'a role is guaranteed this, or none; may be given again', quotaChange)
    .option('--limit <role.resource=amount>', 'a role is limited to this, or none; may be given again', quotaChange)
    .option('--agents <change>', '+50, +50=cpus:8;mem:16384 or -agent-3; may be given again', agentsChange)
    .action(async (flags: ClusterFlags & WhatIfFlags) => {
      const { weight, quota, limit, agents } = flags;
      if ([weight, quota, limit, agents].every((given) => given === undefined)) {
        whatif.error('Name what to suppose: a --weight, --quota, --limit or --agents.', { exitCode: 2 });
      }
      const { result, frameworks } = await withOperator(flags, async (operator) => ({
        result: await operator.whatIf(await whatIfChangesOf(flags, operator)),
        frameworks: await operator.frameworks(),
      }));
      if (flags.json === true) return writeJson(streams, result);
      const rows = supposedRows(result, frameworks);
      const changed = rows.filter(isChanged);
      const table = changed.length > 0 ? renderTable(supposedColumns, changed) : '';
      return writeTo(streams.out, table + sayUnchanged(rows.length - changed.length, rows.length));
    });
  return [explain, whatif].map((command) => withJson(withConnection(command)));
}
