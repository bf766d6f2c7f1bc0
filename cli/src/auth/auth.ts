import { rmSync } from 'node:fs';
import type { ClientKind } from '@mesobus/sdk/bus';
import { CommandError } from '../command-error.ts';
import { type AuthFolder, type Book, type Client, type Pass, standing } from './auth-folder.ts';
import { makeAuthority, makeCertificate } from './certificates.ts';
import { issue, makeKeys, serverClaims } from './claims.ts';
import { authConfig, routeConfig } from './nats-config.ts';
import { allowed, firstAcls, forgotten } from './role-acls.ts';

/** One client of the cluster. */
export interface ClientName {
  readonly kind: ClientKind;
  /** Of an agent its name, of an allocator its id, else the principal. */
  readonly name: string;
}

export interface InitOptions {
  readonly cluster: string;
  /** Names and addresses of the NATS servers, beside localhost. */
  readonly hosts: readonly string[];
  /** Where the servers will find what is in `nats`; there unless given. */
  readonly serverDir?: string | undefined;
}

export interface GiveOptions {
  /** From now; never unless given. */
  readonly expiresMs?: number | undefined;
  /** Makes a certificate too, for servers that ask their clients for one. */
  readonly certificate?: boolean | undefined;
}

const here = ['localhost', '127.0.0.1'];
const toSeconds = (ms: number): number => Math.floor(ms / 1000);

/**
 * Makes keys, an authority and its certificate, and the configuration of the NATS servers.
 *
 * @throws {CommandError} the folder is in use
 */
export async function init(folder: AuthFolder, options: InitOptions, nowMs: number): Promise<void> {
  if (folder.exists) {
    const why = 'it has the keys of a cluster, and whoever has credentials of it would be shut out';
    throw new CommandError(`Cannot make keys in '${folder.path}': ${why}; name another folder with --dir`);
  }
  const { cluster, serverDir = folder.file('nats') } = options;
  const hosts = [...new Set([...options.hosts, ...here])];
  const book: Book = { cluster, serverDir, hosts, clients: [] };
  makeKeys(folder);
  const authority = await makeAuthority(cluster, nowMs);
  folder.write(['ca', 'ca-key.pem'], authority.key);
  folder.write(['ca', 'ca.pem'], authority.certificate);
  folder.write(['nats', 'tls-ca.pem'], authority.certificate);
  folder.write(['nats', 'route-tls.conf'], routeConfig(serverDir));
  await writeCertificate(folder, book, nowMs);
  await writeAuthConfig(folder, book);
  folder.writeAcls(firstAcls);
  folder.writeBook(book); // last: a folder without it can be made again
}

/**
 * Writes the configuration of the servers as this version of Mesobus has it: what each kind may do may be more than before.
 *
 * @param options.hosts - more of them, for which the servers get a new certificate
 */
export async function update(
  folder: AuthFolder,
  options: { readonly hosts: readonly string[]; readonly certificate: boolean },
  nowMs: number,
): Promise<void> {
  const book = folder.readBook();
  const next = { ...book, hosts: [...new Set([...book.hosts, ...options.hosts])] };
  if (options.certificate || options.hosts.length > 0) await writeCertificate(folder, next, nowMs);
  await writeAuthConfig(folder, next);
  folder.writeBook(next);
}

async function writeCertificate(folder: AuthFolder, { cluster, hosts }: Book, nowMs: number): Promise<void> {
  const server = await makeCertificate(folder, `Mesobus ${cluster} NATS`, hosts, nowMs);
  folder.write(['nats', 'tls-key.pem'], server.key);
  folder.write(['nats', 'tls-cert.pem'], server.certificate);
}

/** Writes what the servers start with, as the book has it. */
async function writeAuthConfig(folder: AuthFolder, book: Book): Promise<void> {
  folder.write(['nats', 'auth.conf'], authConfig(await serverClaims(folder, book), book.serverDir));
}

export interface AddOptions extends GiveOptions {
  /** That its frameworks may have; an operator may have any unless given, a framework none. */
  readonly roles?: readonly string[] | undefined;
  /** As whom its tasks may run; as anybody unless given. */
  readonly users?: readonly string[] | undefined;
}

/**
 * Makes credentials for a client that has none, and lets the ACLs allow what it is added for.
 *
 * @returns the file that holds them
 * @throws {CommandError} it has some, or its name stands for another principal
 */
export async function add(folder: AuthFolder, client: ClientName, options: AddOptions, nowMs: number): Promise<string> {
  const book = folder.readBook();
  const { kind, name } = client;
  const found = find(book, client);
  if (found !== undefined && standing(found, nowMs).length > 0) {
    const todo = `make others with 'mesobus auth renew ${kind} ${name}', or revoke them first`;
    throw new CommandError(`Cannot add the ${kind} '${name}': it has credentials; ${todo}`);
  }
  // A framework and an operator speak of themselves by the same subjects.
  const other = principals.has(kind)
    ? book.clients.find((one) => principals.has(one.kind) && one.kind !== kind && one.name === name)
    : undefined;
  if (other !== undefined && standing(other, nowMs).length > 0) {
    const why = `it is the name of the ${other.kind} '${name}', and a principal is one of the two`;
    throw new CommandError(`Cannot add the ${kind} '${name}': ${why}; choose another name`);
  }
  const { roles, users } = options;
  if ((roles ?? users) !== undefined && !principals.has(kind)) {
    throw new CommandError(`Cannot give the ${kind} '${name}' roles or users: frameworks and operators have them`, 2);
  }
  if (kind === 'framework' && users !== undefined && roles === undefined) {
    const todo = 'give --role too, or the framework can register in none';
    throw new CommandError(`Cannot let the framework '${name}' run tasks as somebody: it has no role; ${todo}`, 2);
  }
  if (principals.has(kind)) {
    folder.writeAcls(allowed(folder.readAcls(), client, { roles: roles ?? [], users: users ?? [] }));
  }
  return give(folder, book, client, options, nowMs);
}

const principals: ReadonlySet<ClientKind> = new Set(['framework', 'operator']);

/**
 * Makes new credentials for a client; those that it has are good until they expire, so that it can change over.
 *
 * @throws {CommandError} there is no such client, or it was revoked
 */
export async function renew(
  folder: AuthFolder,
  client: ClientName,
  options: GiveOptions,
  nowMs: number,
): Promise<string> {
  const book = folder.readBook();
  const { passes } = requireClient(book, client);
  if (passes.every(({ revokedAt }) => revokedAt !== undefined)) {
    const { kind, name } = client;
    const todo = `'mesobus auth add ${kind} ${name}' lets it in again`;
    throw new CommandError(`Cannot renew the credentials of the ${kind} '${name}': they were revoked; ${todo}`);
  }
  return give(folder, book, client, options, nowMs);
}

async function give(
  folder: AuthFolder,
  book: Book,
  client: ClientName,
  { expiresMs, certificate = false }: GiveOptions,
  nowMs: number,
): Promise<string> {
  const expiresAt = expiresMs === undefined ? undefined : toSeconds(nowMs + expiresMs);
  const { creds, pass } = await issue(folder, book, client, { issuedAt: toSeconds(nowMs), expiresAt });
  const passes = [...(find(book, client)?.passes ?? []), pass];
  // First of all: what is not in the book cannot be revoked.
  folder.writeBook({
    ...book,
    clients: [...book.clients.filter((one) => !isSame(one, client)), { ...client, passes }],
  });
  const file = fileOf(client);
  if (certificate) {
    const made = await makeCertificate(folder, `${client.kind} ${client.name}`, [], nowMs);
    folder.write(['creds', `${file}-cert.pem`], made.certificate);
    folder.write(['creds', `${file}-key.pem`], made.key);
  }
  return folder.write(['creds', `${file}.creds`], creds);
}

/**
 * Takes back all credentials of a client, in the configuration of the servers, and what the ACLs allowed to it alone. A second time changes nothing.
 *
 * @throws {CommandError} there is no such client
 */
export async function revoke(folder: AuthFolder, client: ClientName, nowMs: number): Promise<void> {
  const book = folder.readBook();
  const { passes } = requireClient(book, client);
  const revokedAt = toSeconds(nowMs);
  const revoked = passes.map((pass): Pass => ({ ...pass, revokedAt: pass.revokedAt ?? revokedAt }));
  const clients = book.clients.map((one) => (isSame(one, client) ? { ...one, passes: revoked } : one));
  const next = { ...book, clients };
  folder.writeBook(next);
  await writeAuthConfig(folder, next);
  if (principals.has(client.kind)) folder.writeAcls(forgotten(folder.readAcls(), client.name));
  rmSync(folder.file('creds', `${fileOf(client)}.creds`), { force: true });
}

/** Names may hold anything; files may not. */
const fileOf = ({ kind, name }: ClientName): string => `${kind}-${encodeURIComponent(name)}`;

const isSame = (one: ClientName, other: ClientName): boolean => one.kind === other.kind && one.name === other.name;

const find = ({ clients }: Book, client: ClientName): Client | undefined => clients.find((one) => isSame(one, client));

function requireClient(book: Book, client: ClientName): Client {
  const found = find(book, client);
  if (found !== undefined) return found;
  const { kind, name } = client;
  throw new CommandError(`Cannot find the ${kind} '${name}': 'mesobus auth list' says who there is`);
}
