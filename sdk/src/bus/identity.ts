import { readFileSync } from 'node:fs';
import { DisconnectedError } from '../errors.ts';
import { decodeToken, encodeToken } from './token.ts';

/** What a client of the bus may be; each kind has permissions of its own. */
export const clientKinds = ['master', 'allocator', 'registry', 'agent', 'framework', 'operator', 'backup'] as const;
export type ClientKind = (typeof clientKinds)[number];

/** Who a client is: its credentials say it, and the NATS server checks them. */
export interface Identity {
  readonly kind: ClientKind;
  /** Of an agent its name, of an allocator its id, else the principal. */
  readonly name: string;
  readonly cluster: string;
}

/** Where the answers to a client come: nobody else may listen there. Without an identity it is anyone's. */
export const inboxPrefixOf = (identity: Identity | undefined): string =>
  identity === undefined ? '_INBOX' : `_INBOX.${identity.kind}.${encodeToken(identity.name)}`;

/** A credentials file, read. */
export interface Credentials {
  readonly bytes: Uint8Array;
  /** Undefined if nothing of ours made them. */
  readonly identity: Identity | undefined;
  /** Seconds since 1970; undefined: they do not expire. */
  readonly expiresAt: number | undefined;
}

interface UserClaims {
  readonly name?: string;
  readonly exp?: number;
  readonly nats?: { readonly tags?: readonly string[] };
}

/** @throws {DisconnectedError} the file cannot be read, or holds no credentials */
export function readCredentials(file: string): Credentials {
  try {
    const bytes = readFileSync(file);
    const { name = '', exp: expiresAt, nats: { tags = [] } = {} } = claimsOf(bytes.toString('utf8'));
    const tagged = (what: string): string | undefined =>
      tags.find((tag) => tag.startsWith(`${what}:`))?.slice(what.length + 1);
    const kind = clientKinds.find((one) => one === tagged('kind'));
    const cluster = tagged('cluster');
    const ours = kind !== undefined && cluster !== undefined && name !== '';
    return { bytes, identity: ours ? { kind, name: decodeToken(name), cluster } : undefined, expiresAt };
  } catch (error) {
    const todo = 'name a file of `mesobus auth` that this user can read';
    const message = `Cannot read the NATS credentials '${file}': ${(error as Error).message}; ${todo}`;
    throw new DisconnectedError(message, { cause: error });
  }
}

/** @throws {DisconnectedError} the file cannot be read, or holds no credentials */
export const identityOf = (file: string): Identity | undefined => readCredentials(file).identity;

/**
 * Under which name a client speaks in a cluster: the one wanted, else the one of its credentials, else `default`.
 *
 * @throws {DisconnectedError} the credentials are those of another cluster or of somebody else
 */
export function principalWith(file: string | undefined, cluster: string, wanted: string | undefined): string {
  const identity = file === undefined ? undefined : identityOf(file);
  if (identity === undefined) return wanted ?? 'default';
  const { kind, name } = identity;
  const refuse = (what: string, asked: string): DisconnectedError =>
    new DisconnectedError(`Cannot use the NATS credentials '${file}': they are those of ${what}, not of ${asked}`);
  if (identity.cluster !== cluster) throw refuse(`the cluster '${identity.cluster}'`, `'${cluster}'; name that one`);
  if (wanted !== undefined && wanted !== name)
    throw refuse(`${kind} '${name}'`, `'${wanted}'; leave the principal out`);
  return name;
}

/** What the JWT says. Whether it is true is for the server to check. */
function claimsOf(text: string): UserClaims {
  const jwt = /-----BEGIN NATS USER JWT-----\s+([\w.-]+)\s+-+END NATS USER JWT-+/.exec(text)?.[1];
  const hasSeed = /-----BEGIN USER NKEY SEED-----\s+SU\w+\s+-+END USER NKEY SEED-+/.test(text);
  if (jwt === undefined || !hasSeed) throw new Error('it holds no JWT of a user and its key');
  const claims: unknown = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8'));
  if (typeof claims !== 'object' || claims === null) throw new Error('its JWT says nothing');
  return claims as UserClaims;
}
