import { EventEmitter, once } from 'node:events';
import { connectNats } from '@mesobus/sdk/bus';
import { startNatsCluster, type TestNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { type Log, openLog } from '../../src/index.ts';
import { commit, follow, framework, refusesReplicas, subjects, untilLease } from './support.ts';

async function startCluster(t: ExecutionContext): Promise<readonly TestNatsServer[]> {
  const { servers, stop } = await startNatsCluster({ jetstream: true });
  t.teardown(stop);
  return servers;
}

async function openReplicated(t: ExecutionContext, servers: readonly TestNatsServer[]): Promise<Log> {
  const urls = servers.map(({ url }) => url);
  const bus = await connectNats({ servers: urls, name: t.title, reconnectWaitMs: 50, jitterMs: 0 });
  t.teardown(() => bus.close());
  return openLog({ connection: bus.connection, subjects, replicas: 3 });
}

test('a leader and a follower outlive each of three servers in turn, and nothing acknowledged is lost', async (t) => {
  t.timeout(120_000);
  if (await refusesReplicas(t)) return;
  const servers = await startCluster(t);
  const leadership = await (await openReplicated(t, servers)).lead({ masterId: 'm1' });
  const watched = new EventEmitter();
  const follower = (await openReplicated(t, servers)).follow({ onEntry: () => watched.emit('entry') });
  t.teardown(() => follower.stop());

  let committed = 0;
  const commitSome = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at += 1) await commit(leadership, [framework(`f${committed++}`)]);
  };
  for (const server of servers) {
    await commitSome(20);
    await server.kill('SIGKILL');
    await commitSome(20);
    await server.restart();
  }
  await untilLease(leadership, 'fresh');
  while (follower.lastIndex < leadership.lastIndex) await once(watched, 'entry');
  t.is(follower.ledger.frameworks.size, committed);
  const fresh = await follow(t, await openReplicated(t, servers), leadership.lastIndex);
  t.is(fresh.ledger.frameworks.size, committed);
  await leadership.resign();
});
