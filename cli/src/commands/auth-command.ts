import { type ClientKind, clientKinds } from '@mesobus/sdk/bus';
import { Argument, Command, Option } from 'commander';
import { AuthFolder, type Client, standing } from '../auth/auth-folder.ts';
import { CommandError } from '../command-error.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { type Column, renderTable } from '../output/table.ts';
import { clusterName, duration, withJson } from './options.ts';

interface FolderFlags {
  readonly dir: string;
  readonly json?: boolean;
}

interface InitFlags extends FolderFlags {
  readonly cluster: string;
  readonly host?: readonly string[];
  readonly serverDir?: string;
}

interface AddFlags extends GiveFlags {
  readonly role?: readonly string[];
  readonly user?: readonly string[];
}

interface GiveFlags extends FolderFlags {
  readonly expires?: number;
  readonly certificate?: boolean;
}

interface RevokeFlags extends FolderFlags {
  readonly nats?: string;
}

interface UpdateFlags extends RevokeFlags {
  readonly host?: readonly string[];
  readonly certificate?: boolean;
}

/** Loaded when it is needed: what makes certificates takes longer to load than all the rest of the command. */
const auth = (): Promise<typeof import('../auth/auth.ts')> => import('../auth/auth.ts');

/** `auth`: who may connect to the NATS servers of a cluster, and do what there. */
export function authCommand(streams: Streams): Command {
  const command = new Command('auth').description('make, renew and revoke the credentials of a cluster on NATS');
  for (const below of [initCommand, addCommand, renewCommand, revokeCommand, updateCommand, listCommand]) {
    command.addCommand(withJson(withFolder(below(streams))));
  }
  return command;
}

const withFolder = (command: Command): Command =>
  command.addOption(
    new Option('--dir <folder>', 'where the keys are kept [env MESOBUS_AUTH_DIR]')
      .env('MESOBUS_AUTH_DIR')
      .makeOptionMandatory(),
  );

const initCommand = (streams: Streams): Command =>
  new Command('init')
    .description('make the keys of a cluster, a certificate for its NATS servers, and their configuration')
    .addOption(new Option('--cluster <name>', 'the cluster').argParser(clusterName).default('main'))
    .option('--host <host...>', 'names and addresses of the NATS servers; localhost is one at any rate')
    .option('--server-dir <folder>', "where the servers will have the folder 'nats', if not here")
    .action(async ({ dir, cluster, host = [], serverDir, json }: InitFlags) => {
      const folder = new AuthFolder(dir);
      await (await auth()).init(folder, { cluster, hosts: host, serverDir }, Date.now());
      const include = folder.file('nats', 'auth.conf');
      if (json === true) return writeJson(streams, { dir: folder.path, cluster, include });
      const text = [
        `made the keys of the cluster '${cluster}' in ${folder.path}: keep a copy, and let nobody else read them`,
        `every nats-server: include ${include}, by its path from the file that includes it`,
        `every client:      --nats-tls-ca ${folder.file('nats', 'tls-ca.pem')} --nats-creds <what 'mesobus auth add' makes>`,
      ];
      await writeTo(streams.out, `${text.join('\n')}\n`);
    });

const withClient = (command: Command): Command =>
  command
    .addArgument(new Argument('<kind>', 'what it is').choices(clientKinds))
    .argument('<name>', 'of an agent its --name, of an allocator its --id, else the principal');

const withGiving = (command: Command): Command =>
  withClient(command)
    .addOption(
      new Option('--expires <duration>', 'for how long they are good, 90days say; for ever unless given').argParser(
        duration,
      ),
    )
    .option('--certificate', 'a certificate too, for NATS servers that ask their clients for one');

const addCommand = (streams: Streams): Command =>
  withGiving(new Command('add'))
    .description("make credentials for a client, and write what they are for into the folder's acls.json")
    .option('--role <role...>', 'that its frameworks may have, eng/% for those below eng; an operator any unless given')
    .option('--user <user...>', 'as whom its tasks may run; as anybody, root too, unless given')
    .action(async (kind: ClientKind, name: string, { dir, expires, certificate, role, user, json }: AddFlags) => {
      const options = { expiresMs: expires, certificate, roles: role, users: user };
      const file = await (await auth()).add(new AuthFolder(dir), { kind, name }, options, Date.now());
      await sayFile(streams, { kind, name, file }, json);
    });

const renewCommand = (streams: Streams): Command =>
  withGiving(new Command('renew'))
    .description('make new credentials for a client; the old ones are good until they expire')
    .action(async (kind: ClientKind, name: string, { dir, expires, certificate, json }: GiveFlags) => {
      const file = await (await auth()).renew(
        new AuthFolder(dir),
        { kind, name },
        { expiresMs: expires, certificate },
        Date.now(),
      );
      await sayFile(streams, { kind, name, file }, json);
    });

const sayFile = (
  streams: Streams,
  made: { readonly kind: string; readonly name: string; readonly file: string },
  json: boolean | undefined,
): Promise<void> => (json === true ? writeJson(streams, made) : writeTo(streams.out, `${made.file}\n`));

const natsOption = (): Option =>
  new Option('--nats <url>', 'the running servers, which are told [env MESOBUS_NATS]').env('MESOBUS_NATS');

const updateCommand = (streams: Streams): Command =>
  new Command('update')
    .description('write the configuration of the servers as this version has it, and tell them: after an upgrade')
    .option('--host <host...>', 'servers that have been added: for a new certificate, which is for all of them')
    .option('--certificate', 'a new certificate for the same servers')
    .addOption(natsOption())
    .action(async ({ dir, nats, host = [], certificate = false, json }: UpdateFlags) => {
      const folder = new AuthFolder(dir);
      await (await auth()).update(folder, { hosts: host, certificate }, Date.now());
      const told = nats === undefined ? [] : await tell(folder, nats);
      if (json === true) return writeJson(streams, { dir: folder.path, told });
      await writeTo(streams.out, `wrote ${folder.file('nats')}${told.length > 0 ? `; told ${told.join(', ')}` : ''}\n`);
    });

const revokeCommand = (streams: Streams): Command =>
  withClient(new Command('revoke'))
    .description('take back all credentials of a client: it is cut off, and not let in again')
    .addOption(natsOption())
    .action(async (kind: ClientKind, name: string, { dir, nats, json }: RevokeFlags) => {
      const folder = new AuthFolder(dir);
      await (await auth()).revoke(folder, { kind, name }, Date.now());
      const told =
        nats === undefined
          ? []
          : await tell(folder, nats).catch((cause: Error) => {
              const what = `The ${kind} '${name}' is revoked in ${folder.path}, but the servers do not know it`;
              throw new CommandError(`${what}: ${cause.message}; then say it again`, 1, { cause });
            });
      if (json === true) return writeJson(streams, { kind, name, told });
      const whom =
        told.length > 0
          ? `told ${told.join(', ')}`
          : `no server knows it yet: say it again with --nats, or give every server the new ${folder.file('nats', 'auth.conf')}`;
      await writeTo(streams.out, `revoked the ${kind} '${name}'; ${whom}\n`);
    });

async function tell(folder: AuthFolder, nats: string): Promise<string[]> {
  const { push } = await import('../auth/push.ts');
  return push(folder, nats, Date.now());
}

interface Row {
  readonly kind: string;
  readonly name: string;
  readonly state: 'good' | 'expired' | 'revoked';
  /** ISO 8601; empty: never. */
  readonly expires: string;
}

const columns: readonly Column<Row>[] = [
  { head: 'kind', cell: ({ kind }) => kind },
  { head: 'name', cell: ({ name }) => name },
  { head: 'state', cell: ({ state }) => state },
  { head: 'expires', cell: ({ expires }) => expires || 'never' },
];

const listCommand = (streams: Streams): Command =>
  new Command('list').description('list who has credentials').action(async ({ dir, json }: FolderFlags) => {
    const nowMs = Date.now();
    const rows = new AuthFolder(dir).readBook().clients.map((client) => rowOf(client, nowMs));
    if (json === true) return writeJson(streams, rows);
    await writeTo(streams.out, renderTable(columns, rows));
  });

function rowOf(client: Client, nowMs: number): Row {
  const { kind, name, passes } = client;
  const good = standing(client, nowMs);
  const latest = (good.length > 0 ? good : passes).at(-1);
  const state = good.length > 0 ? 'good' : latest?.revokedAt === undefined ? 'expired' : 'revoked';
  const at = latest?.expiresAt;
  return { kind, name, state, expires: at === undefined ? '' : new Date(at * 1000).toISOString() };
}
