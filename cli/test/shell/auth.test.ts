// What `mesobus auth` makes, on a real nats-server.
import { openNatsConnection } from '@mesobus/sdk/bus/nats-connection';
import { startNatsServer } from '@mesobus/sdk/testing';
import test from 'ava';
import { add, renew, revoke } from '../../src/auth/auth.ts';
import { push } from '../../src/auth/push.ts';
import { startNatsWithAuth } from './nats-with-auth.ts';

const ads = { kind: 'framework', name: 'ads' } as const;
const refused = { message: /the server runs but refuses the credentials/ };

test('a revocation cuts off who is connected, and outlives the server, whose configuration is the old one', async (t) => {
  await using nats = await startNatsWithAuth();
  const [first, web] = [
    await add(nats.folder, ads, {}, Date.now()),
    await add(nats.folder, { kind: 'framework', name: 'web' }, {}, Date.now()),
  ];
  const second = await renew(nats.folder, ads, {}, Date.now()); // both are taken back
  t.is(first, second);
  const [connection, other] = [await nats.connect(second), await nats.connect(web)];
  t.teardown(() => Promise.all([connection.close(), other.close()]));
  const cutOff = (async () => {
    for await (const { type } of connection.status()) if (type === 'disconnect') return;
  })();
  const kept = nats.folder.write(['kept.creds'], nats.folder.read('creds', 'framework-ads.creds'));
  await revoke(nats.folder, ads, Date.now());
  t.is((await push(nats.folder, nats.server.url, Date.now())).length, 1);
  await cutOff;
  await t.throwsAsync(nats.connect(kept), refused);
  await t.notThrowsAsync(other.flush());

  await nats.server.restart();
  await t.throwsAsync(nats.connect(kept), refused);
  await (await nats.connect(web)).close();
  await (await nats.connect(await add(nats.folder, ads, {}, Date.now() + 1000))).close(); // with another key
});

test('servers of another folder cannot be told', async (t) => {
  await using nats = await startNatsWithAuth();
  await using others = await startNatsWithAuth();
  const folder = nats.folder;
  folder.write(['ca', 'ca.pem'], others.folder.read('ca', 'ca.pem')); // so that it is not for the certificate
  await t.throwsAsync(push(folder, others.server.url, Date.now()), refused);
});

test('an address with tls:// is never spoken to unencrypted', async (t) => {
  await using nats = await startNatsWithAuth();
  await using plain = await startNatsServer();
  const creds = await add(nats.folder, ads, {}, Date.now());
  const at = (port: number) => ({ servers: `tls://127.0.0.1:${port}`, name: 'test', credsFile: creds });
  const connection = await openNatsConnection({ ...at(nats.server.port), tlsCaFile: nats.ca });
  await connection.close();
  await t.throwsAsync(openNatsConnection({ ...at(plain.port), maxWait: 3000 }), {
    message: /the server is not configured for TLS/,
  });
});
