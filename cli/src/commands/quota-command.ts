import type { ScalarAmounts } from '@mesobus/sdk/operator';
import { Command, InvalidArgumentError } from 'commander';
import { listQuotas, quotaColumns } from '../lists/list-quotas.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { renderTable } from '../output/table.ts';
import { withOperator } from '../with-operator.ts';
import { amount, type ClusterFlags, withConnection, withJson } from './options.ts';

/** Gathers `name=amount` values. */
export function amountsOf(text: string, before: ScalarAmounts = {}): ScalarAmounts {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError("It must be a resource with an amount, for example 'cpus=4'.");
  return { ...before, [text.slice(0, at)]: amount(text.slice(at + 1)) };
}

interface SetFlags extends ClusterFlags {
  readonly guarantee?: ScalarAmounts;
  readonly limit?: ScalarAmounts;
  readonly force?: boolean;
}

/** `quota set`, `quota remove` and `quota list`. */
export function quotaCommand(streams: Streams): Command {
  const set = new Command('set')
    .description('set what a role and its subroles together are guaranteed, and what they may not pass')
    .argument('<role>', 'for example ads, or ads/web')
    .option('--guarantee <name=amount...>', 'for example cpus=4 mem=8192', amountsOf)
    .option('--limit <name=amount...>', 'what is not named has no limit', amountsOf)
    .option('--force', 'also where the cluster cannot keep it, or the role uses more already')
    .action(async (role: string, { guarantee = {}, limit = {}, force = false, ...flags }: SetFlags) => {
      if (Object.keys({ ...guarantee, ...limit }).length === 0) {
        set.error("Name a --guarantee, a --limit or both; 'mesobus quota remove' removes a quota.", { exitCode: 2 });
      }
      const quota = { role, guarantees: guarantee, limits: limit };
      await withOperator(flags, (operator) => operator.updateQuota([quota], { force }));
      const text = `quota of role ${role}: guarantee ${sayAmounts(guarantee)}, limit ${sayAmounts(limit)}\n`;
      if (flags.json === true) await writeJson(streams, quota);
      else await writeTo(streams.out, text);
    });
  const remove = new Command('remove')
    .description('remove the quotas of roles')
    .argument('<role...>', 'all of them, or none')
    .action(async (roles: string[], flags: ClusterFlags) => {
      await withOperator(flags, (operator) => operator.updateQuota(roles.map((role) => ({ role }))));
      if (flags.json === true) await writeJson(streams, roles);
      else await writeTo(streams.out, roles.map((role) => `role ${role} has no quota\n`).join(''));
    });
  const list = new Command('list')
    .description('list quotas and what counts for them')
    .action(async (flags: ClusterFlags) => {
      const note = (missing: string): void => void streams.err.write(`mesobus: ${missing}\n`);
      const rows = await withOperator(flags, (operator) => listQuotas(operator, note));
      if (flags.json === true) await writeJson(streams, rows);
      else await writeTo(streams.out, renderTable(quotaColumns, rows));
    });
  const command = new Command('quota').description('set, remove or list the quotas of roles');
  for (const below of [set, remove, list]) command.addCommand(withJson(withConnection(below)));
  return command;
}

function sayAmounts(amounts: ScalarAmounts): string {
  const said = Object.entries(amounts).map(([name, value]) => `${name}=${value}`);
  return said.length === 0 ? 'none' : said.join(' ');
}
