import { type ClientKind, clientKinds, encodeToken, permissionsOf } from '@mesobus/sdk/bus';
import { encodeAccount, encodeOperator, encodeUser, fmtCreds, newScopedSigner, type SigningKey } from '@nats-io/jwt';
import { createAccount, createOperator, createUser, fromSeed, type KeyPair } from '@nats-io/nkeys';
import type { AuthFolder, Book, Pass } from './auth-folder.ts';

/** Of the operator of the NATS servers, who vouches for accounts; of our account; and of that of the servers themselves. */
type KeyName = 'root' | 'account' | 'system' | `sign-${ClientKind}`;

const unlimited = {
  ...{ subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 },
  ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
};
/** An answer may come in any number of parts; in ns. */
const answers = { max: -1, ttl: 120_000_000_000 };

/** Makes every key of a new folder. Of each kind of client another key signs, with what that kind may do. */
export function makeKeys(folder: AuthFolder): void {
  const signing = clientKinds.map((kind): KeyName => `sign-${kind}`);
  const keys: [KeyName, KeyPair][] = [
    ['root', createOperator()],
    ...['account', 'system', ...signing].map((name): [KeyName, KeyPair] => [name as KeyName, createAccount()]),
  ];
  for (const [name, key] of keys) folder.write(['keys', `${name}.nk`], `${seedOf(key)}\n`);
}

const seedOf = (key: KeyPair): string => Buffer.from(key.getSeed()).toString('ascii');

const keyIn = (folder: AuthFolder, name: KeyName): KeyPair =>
  fromSeed(Buffer.from(folder.read('keys', `${name}.nk`).trim()));

/** What the servers are told: who vouches, for which accounts. */
export interface ServerClaims {
  readonly operator: string;
  readonly accounts: readonly { readonly publicKey: string; readonly jwt: string }[];
  readonly systemAccount: string;
}

/** The claims of the servers as the book has them now. */
export async function serverClaims(folder: AuthFolder, book: Book): Promise<ServerClaims> {
  const [root, account, system] = [keyIn(folder, 'root'), keyIn(folder, 'account'), keyIn(folder, 'system')];
  const [systemAccount, publicKey] = [system.getPublicKey(), account.getPublicKey()];
  const { mem_storage, disk_storage, streams, consumer, ...core } = unlimited; // the servers' own account stores nothing
  const [operator, systemJwt, jwt] = await Promise.all([
    encodeOperator('mesobus', root, { system_account: systemAccount }),
    encodeAccount('SYS', system, { limits: core }, { signer: root }),
    encodeAccount(
      `mesobus-${book.cluster}`,
      account,
      { limits: unlimited, signing_keys: signers(folder, book.cluster), revocations: revocationsOf(book) },
      { signer: root },
    ),
  ]);
  const accounts = [
    { publicKey: systemAccount, jwt: systemJwt },
    { publicKey, jwt },
  ];
  return { operator, systemAccount, accounts };
}

const signers = (folder: AuthFolder, cluster: string): SigningKey[] =>
  clientKinds.map((kind) => {
    const { publish, subscribe, mayRespond } = permissionsOf(cluster, kind);
    return newScopedSigner(keyIn(folder, `sign-${kind}`), kind, {
      pub: { allow: [...publish] },
      sub: { allow: [...subscribe] },
      // Left to the library it would say 0, which the server takes for one answer.
      resp: (mayRespond ? answers : undefined) as Partial<typeof answers>,
    });
  });

/** Of each revoked key the passes that were issued up to then. */
const revocationsOf = ({ clients }: Book): Record<string, number> =>
  Object.fromEntries(
    clients
      .flatMap(({ passes }) => passes)
      .flatMap(({ publicKey, revokedAt }) => (revokedAt === undefined ? [] : [[publicKey, revokedAt]])),
  );

/** Credentials for a client, with a key of their own; the permissions come from the key that signs. */
export async function issue(
  folder: AuthFolder,
  { cluster }: Book,
  client: { readonly kind: ClientKind; readonly name: string },
  times: { readonly issuedAt: number; readonly expiresAt: number | undefined },
): Promise<{ readonly creds: string; readonly pass: Pass }> {
  const user = createUser();
  const { kind, name } = client;
  const { expiresAt } = times;
  const jwt = await encodeUser(
    encodeToken(name),
    user,
    keyIn(folder, 'account'),
    { tags: [`kind:${kind}`, `cluster:${cluster}`] },
    {
      signer: keyIn(folder, `sign-${kind}`),
      scopedUser: true,
      ...(expiresAt !== undefined && { exp: expiresAt }),
    },
  );
  const pass = {
    publicKey: user.getPublicKey(),
    issuedAt: times.issuedAt,
    ...(expiresAt !== undefined && { expiresAt }),
  };
  return { creds: Buffer.from(fmtCreds(jwt, user)).toString('utf8'), pass };
}

/** Credentials with which the servers take new claims, for a few minutes. */
export async function issueForServers(folder: AuthFolder, expiresAt: number): Promise<string> {
  const user = createUser();
  const jwt = await encodeUser('mesobus-auth', user, keyIn(folder, 'system'), {}, { exp: expiresAt });
  return Buffer.from(fmtCreds(jwt, user)).toString('utf8');
}
