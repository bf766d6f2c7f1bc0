import type { AgentSummary, Operator } from '@mesobus/sdk/operator';
import {
  formatResources,
  isSubroleOf,
  type Label,
  type Resources,
  reservedFor,
  resources,
  toUnreserved,
  volumeOf,
} from '@mesobus/sdk/resources';
import { Command } from 'commander';
import { findAgent } from '../lists/list-tasks.ts';
import { type VolumeRow, volumeColumns, volumesOf } from '../lists/list-volumes.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { renderTable } from '../output/table.ts';
import { getVolume, pickReserved, readPlainAmounts } from '../pick-reserved.ts';
import { withOperator } from '../with-operator.ts';
import { amount, type ClusterFlags, keyValue, withConnection, withJson } from './options.ts';

type RoleFlags = ClusterFlags & { readonly role: string };
type ReserveFlags = RoleFlags & { readonly from?: string; readonly label?: Readonly<Record<string, string>> };
type CreateFlags = RoleFlags & { readonly size: number; readonly path: string; readonly shared?: boolean };

const agentArgument = ['<agent>', 'its name or id, or the beginning of one'] as const;

/** `reserve`, `unreserve` and `volume`. */
export function reserveCommands(streams: Streams): Command[] {
  const change = changing(streams);
  const reserve = new Command('reserve')
    .description('set resources of an agent aside for a role; what is offered is taken back')
    .argument(...agentArgument)
    .argument('<resources>', "amounts, such as 'cpus:2;mem:512'")
    .requiredOption('--role <role>', 'for whom')
    .option('--from <role>', 'of what is reserved to this role: one above is refined, any other gives it away')
    .option('--label <key=value>', 'tells this reservation from others; may be repeated', keyValue)
    .action((wanted: string, text: string, flags: ReserveFlags) => {
      const amounts = readPlainAmounts(text);
      return change(flags, wanted, async (operator, agent) => {
        await makeReservation(operator, agent, pickReserved(agent, amounts, flags.from ?? '*'), flags);
        return `${formatResources(amounts)} of agent ${agent.name} is reserved to role ${flags.role}`;
      });
    });
  const unreserve = new Command('unreserve')
    .description('undo the last reservation of resources of an agent')
    .argument(...agentArgument)
    .argument('<resources>', "amounts, such as 'cpus:2;mem:512'")
    .requiredOption('--role <role>', 'to whom they are reserved')
    .action((wanted: string, text: string, flags: RoleFlags) => {
      const amounts = readPlainAmounts(text);
      return change(flags, wanted, async (operator, agent) => {
        await operator.unreserve(agent.id, pickReserved(agent, amounts, flags.role));
        return `${formatResources(amounts)} of agent ${agent.name} is no longer reserved to role ${flags.role}`;
      });
    });
  return [withJson(withConnection(reserve)), withJson(withConnection(unreserve)), volumeCommand(streams)];
}

async function makeReservation(
  operator: Operator,
  { id }: AgentSummary,
  taken: Resources,
  flags: ReserveFlags,
): Promise<void> {
  const { role, from, label = {} } = flags;
  const labels: Label[] = Object.entries(label).map(([key, value]) => ({ key, value }));
  const more = labels.length > 0 ? { labels } : {};
  if (from === undefined || isSubroleOf(role, from)) await operator.reserve(id, reservedFor(taken, role, more));
  else await operator.reserve(id, reservedFor(toUnreserved(taken), role, more), taken);
}

function changing(streams: Streams) {
  return async (
    flags: ClusterFlags,
    wanted: string,
    change: (operator: Operator, agent: AgentSummary) => Promise<string>,
  ): Promise<void> => {
    const { done, agent } = await withOperator(flags, async (operator) => {
      const known = await operator.agents();
      const found = findAgent(
        known.filter(({ lifecycle }) => lifecycle !== 'gone'),
        wanted,
      );
      return { done: await change(operator, found), agent: found };
    });
    if (flags.json === true) await writeJson(streams, { agentId: agent.id, name: agent.name, done });
    else await writeTo(streams.out, `${done}\n`);
  };
}

/** `volume list`, `create`, `destroy`, `grow` and `shrink`. */
function volumeCommand(streams: Streams): Command {
  const change = changing(streams);
  const of = (command: Command): Command =>
    withJson(withConnection(command))
      .argument(...agentArgument)
      .argument('<id>', 'of the volume')
      .requiredOption('--role <role>', 'to whom its disk is reserved');
  const create = of(new Command('create'))
    .description('make a persistent volume of disk that is reserved to a role')
    .requiredOption('--size <mb>', 'how large it is, in MB', amount)
    .option('--path <name>', 'the name under which tasks see it', 'volume')
    .option('--shared', 'many tasks may use it at once')
    .action((wanted: string, id: string, flags: CreateFlags) =>
      change(flags, wanted, async (operator, agent) => {
        const disk = pickReserved(agent, resources({ disk: flags.size }), flags.role);
        const settings = { id, containerPath: flags.path, shared: flags.shared === true };
        await operator.createVolumes(agent.id, volumeOf(disk, settings));
        return `volume ${id} of role ${flags.role} on agent ${agent.name} is made`;
      }),
    );
  const destroy = of(new Command('destroy'))
    .description('destroy a volume with all that is in it; its disk stays reserved')
    .action((wanted: string, id: string, flags: RoleFlags) =>
      change(flags, wanted, async (operator, agent) => {
        await operator.destroyVolumes(agent.id, getVolume(agent, flags.role, id));
        return `volume ${id} of role ${flags.role} on agent ${agent.name} is destroyed`;
      }),
    );
  const grow = of(new Command('grow'))
    .description('add disk that is reserved the same way to a volume')
    .argument('<mb>', 'by how much, in MB', amount)
    .action((wanted: string, id: string, mb: number, flags: RoleFlags) =>
      change(flags, wanted, async (operator, agent) => {
        const addition = pickReserved(agent, resources({ disk: mb }), flags.role);
        await operator.growVolume(agent.id, getVolume(agent, flags.role, id), addition);
        return `volume ${id} of role ${flags.role} on agent ${agent.name} is larger by ${mb} MB`;
      }),
    );
  const shrink = of(new Command('shrink'))
    .description('take disk from a volume; it stays reserved')
    .argument('<mb>', 'by how much, in MB', amount)
    .action((wanted: string, id: string, mb: number, flags: RoleFlags) =>
      change(flags, wanted, async (operator, agent) => {
        await operator.shrinkVolume(agent.id, getVolume(agent, flags.role, id), mb);
        return `volume ${id} of role ${flags.role} on agent ${agent.name} is smaller by ${mb} MB`;
      }),
    );
  const list = withJson(withConnection(new Command('list')))
    .description('list persistent volumes')
    .action(async (flags: ClusterFlags) => {
      const rows: VolumeRow[] = volumesOf(await withOperator(flags, (operator) => operator.agents()));
      if (flags.json === true) await writeJson(streams, rows);
      else await writeTo(streams.out, renderTable(volumeColumns, rows));
    });
  const volume = new Command('volume').description('list, make, resize and destroy persistent volumes');
  for (const command of [list, create, destroy, grow, shrink]) volume.addCommand(command);
  return volume;
}
