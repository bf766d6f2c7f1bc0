import path from 'node:path';
import { backUp, restore } from '@mesobus/registry/operations';
import { formatSize } from '@mesobus/sdk/service';
import { Command, Option } from 'commander';
import { CommandError } from '../command-error.ts';
import { connectCluster } from '../connect-cluster.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { type ClusterFlags, withConnection, withJson } from './options.ts';

type RestoreFlags = ClusterFlags & { readonly force?: boolean; readonly replicas: '1' | '3' };

/** `backup` and `restore`: the state of a cluster in a file outside NATS. They need no service of the cluster. */
export function backupCommands(streams: Streams): Command[] {
  const say = (flags: ClusterFlags, lines: readonly string[], value: unknown): Promise<void> =>
    flags.json === true ? writeJson(streams, value) : writeTo(streams.out, `${lines.join('\n')}\n`);

  const backupCommand = new Command('backup')
    .description('copy the state of a cluster, running or not, into a file')
    .argument('<file>', 'it is replaced once the copy is whole')
    .action(async (name: string, flags: ClusterFlags) => {
      const file = path.resolve(name);
      await using connection = await connectCluster(flags);
      const made = await backUp({ ...placeOf(connection), file }).catch((error) => throwAgain(error, file));
      const { agents, frameworks, tasks, index, bytes } = made;
      const holds = `${agents} agents, ${frameworks} frameworks, ${tasks} tasks, as of entry ${index} of the log`;
      await say(flags, [`${file} holds ${holds} (${formatSize(bytes)})`], { file, ...made });
    });
  const restoreCommand = new Command('restore')
    .description('make a backup the state of a cluster; stop its masters first')
    .argument('<file>', 'what `backup` has written')
    .option('--force', 'replace what the cluster holds, for good')
    .addOption(
      new Option('--replicas <count>', 'how many NATS servers keep the log, if it is not there yet')
        .choices(['1', '3'])
        .default('1'),
    )
    .action(async (name: string, flags: RestoreFlags) => {
      await using connection = await connectCluster(flags);
      const options = { force: flags.force === true, replicas: Number(flags.replicas), file: path.resolve(name) };
      const made = await restore({ ...placeOf(connection), ...options });
      const { agents, frameworks, tasks, takenAtMs, incarnation } = made;
      const lines = [
        `cluster ${connection.cluster} is as it was on ${new Date(takenAtMs).toISOString()}: ${agents} agents, ${frameworks} frameworks, ${tasks} tasks`,
        `it is incarnation ${incarnation} of the cluster from now on; start its services`,
      ];
      await say(flags, lines, made);
    });
  return [backupCommand, restoreCommand].map((command) => withJson(withConnection(command)));
}

/** What the disk says, it says of a file that is only made on the way. */
function throwAgain(error: NodeJS.ErrnoException, file: string): never {
  if (error.syscall === undefined) throw error;
  const todo = 'name a file in a folder with room that this user may write to';
  throw new CommandError(`Cannot write the backup '${file}': ${error.message}; ${todo}`, 1, { cause: error });
}

type Connection = Awaited<ReturnType<typeof connectCluster>>;

const placeOf = ({ bus, subjects, cluster }: Connection) => ({ connection: bus.connection, subjects, cluster });
