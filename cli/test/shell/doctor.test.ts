import { createServer } from 'node:net';
import path from 'node:path';
import { connectNats, subjectsOf } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { firstNatsServerWith, isOlder, resolveNatsServer } from '@mesobus/sdk/service';
import { startNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import type { Examination } from '../../src/doctor/examine.ts';
import { startLocalCluster } from '../../src/local-cluster/index.ts';
import { mesobus } from './mesobus.ts';
import { tempFolder } from './temp-folder.ts';

async function doctor(t: ExecutionContext, ...args: string[]): Promise<{ code: number | null; found: Examination }> {
  // Nobody serves a monitoring on this port.
  const run = mesobus(t, tempFolder(t), 'doctor', '--json', '--monitor-port', '1', ...args);
  const code = await run.exit();
  if (run.out.length === 0) throw new Error(run.err.join('\n'));
  return { code, found: JSON.parse(run.out.join('\n')) as Examination };
}

async function freePort(): Promise<number> {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
  const { port } = holder.address() as { port: number };
  await new Promise((resolve) => holder.close(resolve));
  return port;
}

const unfit = ({ findings }: Examination) => findings.filter(({ severity }) => severity === 'unfit');

test('of a sound cluster the doctor shows servers, streams, leader and registries, and finds nothing unfit', async (t) => {
  t.timeout(120_000);
  const dir = path.join(tempFolder(t), 'cluster');
  const cluster = await startLocalCluster({ dir, agents: 0, registries: 2 });
  t.teardown(() => cluster.stop());
  const { name } = await cluster.leader();
  t.is(name, 'master');
  const { code, found } = await doctor(t, '--context', cluster.context, '--role', 'master');
  t.is(code, 0);
  t.deepEqual(unfit(found), []);
  t.deepEqual(
    found.reached.map((server) => [server.name, server.jetstream]),
    [['nats-server', true]],
  );
  t.true(found.streams.every(({ exists, replicas }) => exists && replicas === 1));
  t.is(found.leader?.phase, 'LEADING');
  t.is(found.registries.length, 2);
  t.true(found.permissions.some(({ what }) => what.includes('mesobus-main-log')));
  t.true(found.permissions.every(({ refused }) => refused === ''));
});

test('a server without JetStream is unfit, with the line that mends it', async (t) => {
  const server = await startNatsServer({ jetstream: false });
  t.teardown(() => server.stop());
  const { code, found } = await doctor(t, '--nats', server.url);
  t.is(code, 1);
  t.true(unfit(found).some(({ mend }) => mend.includes('jetstream {')));
});

test('how often a server syncs is read from its monitoring', async (t) => {
  const monitorPort = await freePort();
  const server = await startNatsServer({ jetstream: true, config: `http: "127.0.0.1:${monitorPort}"` });
  t.teardown(() => server.stop());
  const run = mesobus(t, tempFolder(t), 'doctor', '--nats', server.url, '--monitor-port', String(monitorPort));
  t.is(await run.exit(), 0);
  const { version } = await resolveNatsServer();
  const says = isOlder(version, firstNatsServerWith.syncInterval)
    ? /WARNING.*cannot sync to disk with every write.*upgrade it/s
    : /every 120 s.*WARNING.*sync_interval: always/s;
  t.regex(run.out.join('\n'), says);
});

test('what a user may not do is named', async (t) => {
  const denied = 'permissions: { publish: { deny: ["mesobus.main.master.query.>"] } }';
  const config = `authorization { users: [{ user: a, password: b, ${denied} }] }\nno_auth_user: a`;
  const server = await startNatsServer({ jetstream: true, config });
  t.teardown(() => server.stop());
  const { code, found } = await doctor(t, '--nats', server.url);
  t.is(code, 1);
  t.true(unfit(found).some(({ about, what }) => about === 'permissions' && what.includes('ask the leader')));
});

test('who is asked and has no time, or hangs, has been reached: that is no lack of permission', async (t) => {
  const server = await startNatsServer({ jetstream: true });
  t.teardown(() => server.stop());
  const bus = await connectNats({ servers: server.url, name: 'registry' });
  t.teardown(() => bus.close());
  bus.serve(subjectsOf('main').registryQuery.any, (query) => query.refuse(new RefusedError('overloaded', 'registry')));
  bus.serve(subjectsOf('main').masterQuery.any, () => undefined);
  await bus.flush();
  const { code, found } = await doctor(t, '--nats', server.url);
  t.is(code, 0);
  t.deepEqual(unfit(found), []);
});
