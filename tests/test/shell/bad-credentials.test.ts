// What a service meets when its credentials, or its certificates, are wrong: it says what is wrong and what to do, and ends.
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { mesobus } from './in-cluster.ts';
import { type Environment, type SecureNats, startSecureNats, startService } from './secure-cluster.ts';

function folderFor(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-bad-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts an allocator that cannot start, and gives what it says and its exit code. */
async function failing(
  t: ExecutionContext,
  args: readonly string[],
  env: Environment,
): Promise<{ code: number | null; said: string }> {
  const service = startService(t, 'allocator', args, env);
  t.false(await service.ready);
  return { code: service.child.exitCode, said: service.output() };
}

interface Bad {
  readonly what: string;
  /** What the service is told, in place of what would be right. */
  given(t: ExecutionContext, nats: SecureNats): Promise<Environment>;
  readonly args?: readonly string[];
  readonly code: number;
  readonly says: RegExp;
}

const cases: readonly Bad[] = [
  {
    what: 'no credentials',
    given: async () => ({ MESOBUS_NATS_CREDS: undefined }),
    code: 1,
    says: /Authorization Violation; the server runs but refuses the credentials; give the token, user or credentials/,
  },
  {
    what: 'a file that is not there',
    given: async () => ({ MESOBUS_NATS_CREDS: '/nowhere/x.creds' }),
    code: 1,
    says: /Cannot read the NATS credentials '\/nowhere\/x.creds': ENOENT.*name a file of `mesobus auth`/,
  },
  {
    what: 'a file with something else in it',
    given: async (t) => {
      const file = path.join(folderFor(t), 'x.creds');
      writeFileSync(file, 'token');
      return { MESOBUS_NATS_CREDS: file };
    },
    code: 1,
    says: /Cannot read the NATS credentials '.*x.creds': it holds no JWT of a user and its key/,
  },
  {
    what: 'credentials that have expired',
    given: async (_, nats) => ({ MESOBUS_NATS_CREDS: await nats.add('allocator', 'old', '--expires', '0secs') }),
    code: 1,
    says: /Cannot use the NATS credentials '.*old.creds': they expired at \d{4}-.*make new ones with `mesobus auth renew`/,
  },
  {
    what: 'credentials that were revoked',
    given: async (_, nats) => {
      const file = await nats.add('allocator', 'gone');
      await nats.auth('revoke', 'allocator', 'gone', '--nats', nats.server.url);
      return { MESOBUS_NATS_CREDS: file };
    },
    code: 1,
    says: /the server runs but refuses the credentials.*may have expired or been revoked/,
  },
  {
    what: 'credentials of another kind',
    given: async (_, nats) => ({ MESOBUS_NATS_CREDS: await nats.add('registry', 'r1') }),
    code: 2,
    says: /they are those of registry 'r1'; give those that `mesobus auth add allocator <name>` makes/,
  },
  {
    what: 'credentials of another name',
    given: async () => ({}),
    args: ['--id', 'al2'],
    code: 2,
    says: /they are those of allocator 'al1'; give .*, or say --id al1, which is 'al2'/,
  },
  {
    what: 'the name of another cluster',
    given: async () => ({ MESOBUS_CLUSTER: 'lab' }),
    code: 2,
    says: /they are those of the cluster 'main'; correct --cluster, which is 'lab'/,
  },
  {
    what: 'no CA',
    given: async () => ({ MESOBUS_NATS_TLS_CA: undefined }),
    code: 1,
    says: /the two do not accept each other's certificates: name the CA of the servers/,
  },
  {
    what: 'the CA of somebody else',
    given: async (t) => {
      const dir = path.join(folderFor(t), 'other');
      t.is((await mesobus(t, ['auth', 'init', '--dir', dir], {})).exitCode, 0);
      return { MESOBUS_NATS_TLS_CA: path.join(dir, 'nats', 'tls-ca.pem') };
    },
    code: 1,
    says: /the two do not accept each other's certificates/,
  },
  {
    what: 'a CA that cannot be read',
    given: async () => ({ MESOBUS_NATS_TLS_CA: '/nowhere/ca.pem' }),
    code: 1,
    says: /Cannot read '\/nowhere\/ca.pem' for TLS: ENOENT.*name a file that this user can read/,
  },
  {
    what: 'a certificate without its key',
    given: async (_, nats) => ({ MESOBUS_NATS_TLS_CERT: nats.ca }),
    code: 1,
    says: /Cannot use '.*tls-ca.pem' for TLS: give the certificate and its key, or neither/,
  },
];

test('a service that may not connect says why and what to do, and ends', async (t) => {
  t.timeout(600_000);
  const nats = await startSecureNats(t);
  const right = nats.environment(await nats.add('allocator', 'al1'));
  for (const { what, given, args = [], code, says } of cases) {
    const outcome = await failing(t, args, { ...right, ...(await given(t, nats)) });
    t.is(outcome.code, code, what);
    t.regex(outcome.said, says, what);
  }
  const service = startService(t, 'allocator', [], right); // so that it was not for something else
  t.true(await service.ready, service.output());
});

test('what is to be encrypted is not sent to a server without TLS', async (t) => {
  t.timeout(120_000);
  const nats = await startSecureNats(t);
  await using plain = await startNatsServer();
  const right = nats.environment(await nats.add('allocator', 'al1'));
  const { code, said } = await failing(t, [], { ...right, MESOBUS_NATS: plain.url });
  t.is(code, 1);
  t.regex(said, /the server is not configured for TLS: configure it, or name no CA and no tls:\/\/ address/);
});

test('a service that is revoked while it runs says what it waits for, and goes on with what is put there', async (t) => {
  t.timeout(120_000);
  const nats = await startSecureNats(t);
  const file = await nats.add('allocator', 'al1');
  const service = startService(t, 'allocator', [], nats.environment(file));
  t.true(await service.ready, service.output());
  await nats.auth('revoke', 'allocator', 'al1', '--nats', nats.server.url);
  await service.untilSaid(
    /the NATS server refuses our credentials .*trying again and again, with what stands in the file/,
  );
  copyFileSync(await nats.auth('add', 'allocator', 'al1'), file);
  await service.untilSaid(/connected to NATS again/);
  t.is(service.child.exitCode, null);
});
