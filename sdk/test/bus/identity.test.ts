import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { identityOf, principalWith } from '@mesobus/sdk/bus';
import { DisconnectedError } from '@mesobus/sdk/errors';
import test, { type ExecutionContext } from 'ava';

/** Whether a JWT is signed is for the server to look at. */
function credsFile(t: ExecutionContext, claims: object): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-identity-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const jwt = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
  const file = path.join(folder, 'some.creds');
  const seed = '-----BEGIN USER NKEY SEED-----\nSUAX\n------END USER NKEY SEED------\n';
  writeFileSync(file, `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n${seed}`);
  return file;
}

const ads = { name: 'ads=2e1', nats: { tags: ['cluster:Lab', 'kind:framework'] } };

test('credentials say kind, name and cluster', (t) => {
  t.deepEqual(identityOf(credsFile(t, ads)), { kind: 'framework', name: 'ads.1', cluster: 'Lab' });
});

test('credentials of another tool are nobody that we know', (t) => {
  for (const claims of [{ name: 'x' }, { name: 'x', nats: { tags: ['kind:king', 'cluster:main'] } }, { nats: {} }]) {
    t.is(identityOf(credsFile(t, claims)), undefined);
  }
});

test('the principal is the one of the credentials, else the one that is wanted', (t) => {
  const file = credsFile(t, ads);
  t.is(principalWith(file, 'Lab', undefined), 'ads.1');
  t.is(principalWith(file, 'Lab', 'ads.1'), 'ads.1');
  t.is(principalWith(credsFile(t, { name: 'x' }), 'main', 'web'), 'web');
  t.is(principalWith(undefined, 'main', undefined), 'default');
});

test('credentials of another cluster, or of another principal, are refused by name', (t) => {
  const file = credsFile(t, ads);
  t.throws(() => principalWith(file, 'main', undefined), {
    instanceOf: DisconnectedError,
    message: /they are those of the cluster 'Lab', not of 'main'; name that one/,
  });
  t.throws(() => principalWith(file, 'Lab', 'web'), {
    message: /of framework 'ads.1', not of 'web'; leave the principal/,
  });
});
