import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { mesobus } from '@mesobus/protos';
import type { NatsBus } from '@mesobus/sdk/bus';
import type { TestNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { ledgerHash } from '../../src/core/index.ts';
import { type Leadership, openLog } from '../../src/index.ts';
import { commit, connectTo, framework, startServer, subjects } from './support.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Starts the registry's process; resolves when it is ready. */
async function startRegistry(t: ExecutionContext, server: TestNatsServer): Promise<void> {
  const args = ['-C', 'mesobus-source', main, '--nats', server.url, '--cluster', 'test', '--log-level', 'warn'];
  const env = { ...process.env, MESOBUS_READY_FD: '3' };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.teardown(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.stdio[3]?.once('data', () => resolve());
  child.once('exit', (code) => reject(new Error(`the registry ended with ${code}`)));
  await promise;
}

async function ask(
  bus: NatsBus,
  query: mesobus.v1.RegistryQuery.$Properties,
  timeoutMs = 10_000,
): Promise<mesobus.v1.RegistryAnswer> {
  const channel = subjects.registryQuery.of('test');
  const { message } = await bus.request(channel, new mesobus.v1.RegistryQuery(query), { timeoutMs });
  return message;
}

interface Scene {
  readonly bus: NatsBus;
  readonly leadership: Leadership;
}

async function startScene(t: ExecutionContext): Promise<Scene> {
  const server = await startServer(t);
  const bus = await connectTo(t, server);
  const log = await openLog({ connection: bus.connection, subjects, replicas: 1 });
  const leadership = await log.lead({ masterId: 'master-1' });
  await startRegistry(t, server);
  return { bus, leadership };
}

test('whoever wrote reads what it wrote when it demands its index', async (t) => {
  const { bus, leadership } = await startScene(t);
  for (let at = 1; at <= 20; at += 1) {
    const atLeastIndex = await commit(leadership, [framework(`f${at}`)]);
    const answer = await ask(bus, { atLeastIndex, getFrameworks: {} });
    t.true(answer.logIndex >= atLeastIndex);
    t.is(answer.frameworks?.frameworks.length, at);
  }
  await leadership.resign();
});

test('a registry says whom it follows and that its ledger is the same', async (t) => {
  const { bus, leadership } = await startScene(t);
  const atLeastIndex = await commit(leadership, [framework('f1')]);
  const { status } = await ask(bus, { atLeastIndex, getStatus: {} });
  t.like(status, { epoch: leadership.epoch, masterId: 'master-1', frameworks: 1, agents: 0, tasks: 0 });
  // Nobody applies the records of this leader to its ledger, so another reader's is compared.
  const other = (await openLog({ connection: bus.connection, subjects, replicas: 1 })).follow();
  t.teardown(() => other.stop());
  await other.caughtUp;
  t.is(Buffer.from(status?.ledgerHash ?? []).toString('hex'), ledgerHash(other.ledger));
  await leadership.resign();
});

test('a query for an index that does not come is refused as to be repeated', async (t) => {
  const { bus, leadership } = await startScene(t);
  const asked = ask(bus, { atLeastIndex: 1_000, getStatus: {} }, 5_000);
  await t.throwsAsync(asked, { code: 'index_not_reached' });
  await leadership.resign();
});
