import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { authorize, parseAcls } from '@mesobus/sdk/authorization';
import { identityOf } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { add, init, renew, revoke, update } from '../src/auth/auth.ts';
import { AuthFolder, standing } from '../src/auth/auth-folder.ts';
import { CommandError } from '../src/command-error.ts';

const now = Date.UTC(2030, 0, 1);
const dayMs = 86_400_000;

async function folderFor(t: ExecutionContext, hosts: readonly string[] = []): Promise<AuthFolder> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-auth-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const folder = new AuthFolder(path.join(dir, 'auth'));
  await init(folder, { cluster: 'lab', hosts }, now);
  return folder;
}

const stateOf = (folder: AuthFolder, at: number): string[] =>
  folder.readBook().clients.map((client) => `${client.kind} ${client.name} ${standing(client, at).length}`);

test('only the owner can read what is made', async (t) => {
  const folder = await folderFor(t);
  const file = await add(folder, { kind: 'agent', name: 'a1' }, {}, now);
  const modes = [
    ['.', 0o700],
    ['keys', 0o700],
    ['creds', 0o700],
    ['keys/root.nk', 0o600],
    ['ca/ca-key.pem', 0o600],
    ['nats/tls-key.pem', 0o600],
    ['book.json', 0o600],
    [path.relative(folder.path, file), 0o600],
  ] as const;
  for (const [name, mode] of modes) t.is(statSync(folder.file(name)).mode & 0o777, mode, name);
});

test('a folder with keys is never made again', async (t) => {
  const folder = await folderFor(t);
  const before = folder.read('keys', 'root.nk');
  await t.throwsAsync(init(folder, { cluster: 'lab', hosts: [] }, now), {
    instanceOf: CommandError,
    message: /has the keys of a cluster, and whoever has credentials of it would be shut out; name another folder/,
  });
  t.is(folder.read('keys', 'root.nk'), before);
});

test('credentials say who they are for, whatever the name has in it', async (t) => {
  const folder = await folderFor(t);
  for (const name of ['a1', 'rack 1/host.2', '../x', 'größe']) {
    const file = await add(folder, { kind: 'agent', name }, {}, now);
    t.is(path.dirname(file), folder.file('creds'));
    t.deepEqual(identityOf(file), { kind: 'agent', name, cluster: 'lab' });
  }
});

test('a client has one set of credentials until they expire, are renewed or revoked', async (t) => {
  const folder = await folderFor(t);
  const client = { kind: 'framework', name: 'ads' } as const;
  await add(folder, client, { expiresMs: 90 * dayMs }, now);
  await t.throwsAsync(add(folder, client, {}, now), { message: /'ads': it has credentials; make others with/ });
  await renew(folder, client, { expiresMs: 90 * dayMs }, now + 80 * dayMs);
  t.deepEqual(stateOf(folder, now + 80 * dayMs), ['framework ads 2']);
  t.deepEqual(stateOf(folder, now + 100 * dayMs), ['framework ads 1']);
  t.deepEqual(stateOf(folder, now + 171 * dayMs), ['framework ads 0']);
  await revoke(folder, client, now + 100 * dayMs);
  t.deepEqual(stateOf(folder, now + 100 * dayMs), ['framework ads 0']);
  await t.throwsAsync(renew(folder, client, {}, now + 101 * dayMs), { message: /were revoked; 'mesobus auth add/ });
  await add(folder, client, {}, now + 101 * dayMs);
  t.deepEqual(stateOf(folder, now + 101 * dayMs), ['framework ads 1']);
});

test('one name is not a framework and an operator at once', async (t) => {
  const folder = await folderFor(t);
  await add(folder, { kind: 'framework', name: 'x' }, {}, now);
  await t.throwsAsync(add(folder, { kind: 'operator', name: 'x' }, {}, now), { message: /of the framework 'x'/ });
  await t.notThrowsAsync(add(folder, { kind: 'agent', name: 'x' }, {}, now));
});

test('who was never added can be neither renewed nor revoked', async (t) => {
  const folder = await folderFor(t);
  const client = { kind: 'agent', name: 'a1' } as const;
  for (const work of [renew(folder, client, {}, now), revoke(folder, client, now)]) {
    await t.throwsAsync(work, { instanceOf: CommandError, message: /Cannot find the agent 'a1': 'mesobus auth list'/ });
  }
});

test('the ACLs allow a framework its roles, an operator everything, and neither once it is revoked', async (t) => {
  const folder = await folderFor(t);
  await add(folder, { kind: 'framework', name: 'ads' }, { roles: ['eng/ads'] }, now);
  await add(folder, { kind: 'framework', name: 'poor' }, {}, now);
  await add(folder, { kind: 'operator', name: 'bob' }, {}, now);
  const may = (name: string, action: Parameters<typeof authorize>[2], object: string): boolean => {
    const parsed = parseAcls(folder.read('acls.json'));
    if (!parsed.ok) throw new Error(parsed.problems.join());
    return authorize(parsed.acls, name, action, object).allowed;
  };
  const all = () => [
    may('ads', 'register_frameworks', 'eng/ads'),
    may('ads', 'register_frameworks', 'eng/web'),
    may('ads', 'run_tasks', 'nobody'),
    may('ads', 'teardown_frameworks', 'poor'),
    may('poor', 'register_frameworks', '*'),
    may('bob', 'teardown_frameworks', 'ads'),
    may('bob', 'register_frameworks', 'eng/web'),
    may('agent-1', 'register_agents', 'agent-1'),
  ];
  t.deepEqual(all(), [true, false, true, false, false, true, true, true]);
  await revoke(folder, { kind: 'framework', name: 'ads' }, now);
  await revoke(folder, { kind: 'operator', name: 'bob' }, now);
  t.deepEqual(all(), [false, false, false, false, false, false, false, true]);
});

test('a framework that is added with users runs tasks as nobody else', async (t) => {
  const folder = await folderFor(t);
  await add(folder, { kind: 'framework', name: 'ads' }, { roles: ['ads'], users: ['web'] }, now);
  const parsed = parseAcls(folder.read('acls.json'));
  const may = (user: string) => parsed.ok && authorize(parsed.acls, 'ads', 'run_tasks', user).allowed;
  t.deepEqual([may('web'), may('root')], [true, false]);
  const roleless = add(folder, { kind: 'framework', name: 'poor' }, { users: ['web'] }, now);
  await t.throwsAsync(roleless, { message: /it has no role; give --role too/ });
});

test('what the ACLs deny to all by hand stays denied to who is added later', async (t) => {
  const folder = await folderFor(t);
  const nobodyIsRoot = { principals: { type: 'NONE' }, users: { values: ['root'] } };
  folder.writeAcls({ ...folder.readAcls(), run_tasks: [nobodyIsRoot] });
  await add(folder, { kind: 'framework', name: 'ads' }, { roles: ['ads'] }, now);
  const parsed = parseAcls(folder.read('acls.json'));
  const may = (user: string) => parsed.ok && authorize(parsed.acls, 'ads', 'run_tasks', user).allowed;
  t.deepEqual([may('root'), may('nobody')], [false, true]);
});

test('a server that is added gets a certificate of the same authority, and whoever has credentials keeps them', async (t) => {
  const folder = await folderFor(t, ['nats-1.example']);
  await add(folder, { kind: 'agent', name: 'a1' }, {}, now);
  const operatorOf = (): unknown => {
    const [, claims = ''] = /^operator: "([^"]*)"$/m.exec(folder.read('nats', 'auth.conf'))?.[1]?.split('.') ?? [];
    return JSON.parse(Buffer.from(claims, 'base64url').toString()).sub;
  };
  const [before, authority] = [operatorOf(), folder.read('nats', 'tls-ca.pem')];
  await update(folder, { hosts: ['nats-2.example'], certificate: false }, now + dayMs);
  const server = new X509Certificate(folder.read('nats', 'tls-cert.pem'));
  for (const host of ['nats-1.example', 'nats-2.example', 'localhost']) t.is(server.checkHost(host), host);
  t.true(server.verify(new X509Certificate(authority).publicKey));
  t.is(folder.read('nats', 'tls-ca.pem'), authority);
  t.is(operatorOf(), before);
  t.deepEqual(stateOf(folder, now), ['agent a1 1']);
  t.deepEqual(folder.readBook().hosts, ['nats-1.example', 'localhost', '127.0.0.1', 'nats-2.example']);
});

test('roles are for principals', async (t) => {
  const folder = await folderFor(t);
  await t.throwsAsync(add(folder, { kind: 'agent', name: 'a1' }, { roles: ['x'] }, now), { message: /'a1' roles/ });
  t.deepEqual(stateOf(folder, now), []);
});

test('the certificate of the servers is for their hosts and for this one, by the authority that clients are given', async (t) => {
  const folder = await folderFor(t, ['nats-1.example', '10.0.0.7']);
  const authority = new X509Certificate(readFileSync(folder.file('nats', 'tls-ca.pem')));
  const server = new X509Certificate(readFileSync(folder.file('nats', 'tls-cert.pem')));
  t.true(authority.ca);
  t.false(server.ca);
  t.true(server.verify(authority.publicKey));
  for (const host of ['nats-1.example', 'localhost']) t.is(server.checkHost(host), host);
  for (const address of ['10.0.0.7', '127.0.0.1']) t.is(server.checkIP(address), address);
  t.is(server.checkHost('nats-2.example'), undefined);
});
