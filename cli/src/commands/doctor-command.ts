import { type Finding, usualMonitorPort } from '@mesobus/registry/operations';
import type { Identity } from '@mesobus/sdk/bus';
import { Command, Option } from 'commander';
import { CommandError } from '../command-error.ts';
import { connectCluster } from '../connect-cluster.ts';
import { type Examination, examine } from '../doctor/examine.ts';
import { type Role, roles } from '../doctor/permissions.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { type Column, printable, renderTable } from '../output/table.ts';
import { type ClusterFlags, wholeNumber, withConnection, withJson } from './options.ts';

type DoctorFlags = ClusterFlags & { readonly monitorPort: number; readonly role?: Role };

/** `doctor`: what a cluster stands on, and what mends it. */
export function doctorCommand(streams: Streams, exit: (code: number) => void): Command {
  const command = new Command('doctor')
    .description('check what a cluster stands on: NATS servers, replicas, syncing, permissions, leader, registries')
    .option(
      '--monitor-port <port>',
      'where the NATS servers serve their monitoring',
      wholeNumber(1, 65_535),
      usualMonitorPort,
    )
    .addOption(
      new Option(
        '--role <role>',
        'whose permissions are tried [default: what the credentials are for, or operator]',
      ).choices(roles),
    )
    .action(async (flags: DoctorFlags) => {
      const found = await look(flags);
      if (flags.json === true) await writeJson(streams, found);
      else await writeTo(streams.out, textOf(found));
      exit(found.findings.some(({ severity }) => severity === 'unfit') ? 1 : 0);
    });
  return withJson(withConnection(command));
}

async function look(flags: DoctorFlags): Promise<Examination> {
  await using connection = await connectCluster(flags);
  const { monitorPort } = flags;
  const { identity } = connection.bus;
  const role = roleOf(identity, flags.role);
  const mayAsk = identity === undefined || role === 'operator';
  return await examine({ ...connection, monitorPort, role, mayAsk });
}

/** Credentials can try what they are for, and nothing else. */
function roleOf(identity: Identity | undefined, wanted: Role | undefined): Role {
  if (identity === undefined) return wanted ?? 'operator';
  const role = roles.find((one) => one === identity.kind);
  if (role !== undefined && (wanted ?? role) === role) return role;
  const todo = `give --nats-creds of ${wanted === undefined ? 'an operator, a registry or a master' : `a ${wanted}`}`;
  throw new CommandError(`Cannot try this with the credentials of ${identity.kind} '${identity.name}': ${todo}`);
}

type Server = Examination['reached'][number];
type Stream = Examination['streams'][number];

const serverColumns: readonly Column<Server>[] = [
  { head: 'NATS server', cell: ({ name }) => name },
  { head: 'address', cell: ({ address }) => address },
  { head: 'version', cell: ({ version }) => version },
  { head: 'JetStream', cell: ({ jetstream }) => (jetstream ? 'on' : 'off') },
  { head: 'max payload', align: 'right', cell: ({ maxPayload }) => maxPayload },
  { head: 'syncs', cell: ({ syncMs }) => syncText(syncMs) },
];

function syncText(syncMs: number | undefined): string {
  if (syncMs === undefined) return '?';
  return syncMs === 0 ? 'always' : `every ${syncMs / 1000} s`;
}

const streamColumns: readonly Column<Stream>[] = [
  { head: 'stream', cell: ({ stream }) => stream },
  { head: 'replicas', align: 'right', cell: ({ exists, replicas }) => (exists ? replicas : '-') },
  { head: 'leader', cell: ({ leader }) => leader || '-' },
  {
    head: 'others',
    cell: ({ peers }) => peers.map(({ name, current }) => (current ? name : `${name}!`)).join(' ') || '-',
  },
  { head: 'messages', align: 'right', cell: ({ messages }) => messages },
  { head: 'bytes', align: 'right', cell: ({ bytes }) => bytes },
];

const registryColumns = (leaderIndex: number | undefined): readonly Column<Examination['registries'][number]>[] => [
  { head: 'registry', cell: ({ registryId }) => registryId },
  { head: 'log index', align: 'right', cell: ({ logIndex }) => logIndex },
  {
    head: 'behind',
    align: 'right',
    cell: ({ logIndex }) => (leaderIndex === undefined ? '?' : Math.max(0, leaderIndex - logIndex)),
  },
  { head: 'snapshot', align: 'right', cell: ({ snapshotGeneration }) => snapshotGeneration || '-' },
  { head: 'as of', align: 'right', cell: ({ snapshotIndex }) => snapshotIndex || '-' },
];

function textOf({ reached, streams, leader, registries, permissions, findings }: Examination): string {
  const leads =
    leader === undefined
      ? 'nobody leads'
      : `master ${leader.masterId} leads: epoch ${leader.epoch}, ${leader.phase}, log index ${leader.logIndex}`;
  const allowed = permissions.filter(({ refused }) => refused === '').map(({ what }) => `may ${what}`);
  return [
    renderTable(serverColumns, reached),
    renderTable(streamColumns, streams),
    `${printable(leads)}\n`,
    registries.length === 0 ? 'no registry answers\n' : renderTable(registryColumns(leader?.logIndex), registries),
    `${[...allowed, ''].join('\n')}`,
    findings.length === 0 ? 'nothing is wrong\n' : findings.map(findingText).join(''),
  ].join('\n');
}

const findingText = ({ severity, about, what, mend }: Finding): string =>
  `${severity.toUpperCase()} ${printable(about)}: ${printable(what)}\n  mend: ${printable(mend)}\n`;
