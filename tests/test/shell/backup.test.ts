// The drill: a cluster whose books are gone goes on from a backup.
import path from 'node:path';
import { connectNats, subjectsOf } from '@mesobus/sdk/bus';
import type { Offer, TaskStatus } from '@mesobus/sdk/scheduler';
import { jetstreamManager } from '@nats-io/jetstream';
import test from 'ava';
import { clusterFor, envOf, Happenings, mesobus, operatorFor, schedulerFor } from './in-cluster.ts';

const services = ['master', 'registry', 'allocator'];

test.serial('a cluster whose buckets are gone goes on from a backup, with the tasks that it knew', async (t) => {
  t.timeout(240_000);
  const cluster = await clusterFor(t, { restart: false, resources: 'cpus:4;mem:4096' });
  const operator = await operatorFor(t, cluster);
  const [statuses, lives] = [new Happenings<TaskStatus>(), new Happenings<string>()];
  const waiting: string[] = [];
  const command = 'exec sleep 600';
  const callbacks = {
    reregistered: () => lives.note('reregistered'),
    statusUpdate: statuses.note,
    async resourceOffers(offers: readonly Offer[]) {
      for (const offer of offers) {
        const tasks = waiting.splice(0).map((id) => ({ id, command, resources: { cpus: 0.1, mem: 32 } }));
        await scheduler.launch(offer, tasks, { refuseSeconds: 3600 }); // with none it is declined
      }
    },
  };
  const scheduler = await schedulerFor(t, cluster, { name: 'drill' }, callbacks);
  const running = async (taskId: string): Promise<TaskStatus> => {
    waiting.push(taskId);
    await scheduler.revive();
    return statuses.find((status) => status.taskId === taskId && status.state === 'TASK_RUNNING');
  };
  const known = await running('known');

  const file = path.join(cluster.dir, 'books');
  const backup = await mesobus(t, ['backup', file, '--json'], envOf(cluster));
  t.is(backup.exitCode, 0, backup.stderr);
  t.like(JSON.parse(backup.stdout), { agents: 1, frameworks: 1, tasks: 1, incarnation: 1 });
  await running('later'); // the backup does not know it

  const refused = await mesobus(t, ['restore', file], envOf(cluster));
  t.is(refused.exitCode, 1);
  t.regex(refused.stderr, /it holds \d+ entries, .*--force/);

  for (const name of services) await cluster.kill(name, 'SIGTERM');
  const bus = await connectNats({ servers: cluster.nats, token: cluster.token, name: 'drill' });
  t.teardown(() => bus.close());
  const { logBucket, snapshotBucket, historyStream } = subjectsOf(cluster.cluster);
  const manager = await jetstreamManager(bus.connection);
  for (const stream of [historyStream, `KV_${logBucket}`, `KV_${snapshotBucket}`]) await manager.streams.delete(stream);
  const restored = await mesobus(t, ['restore', file, '--json'], envOf(cluster));
  t.is(restored.exitCode, 0, restored.stderr);
  t.like(JSON.parse(restored.stdout), { agents: 1, frameworks: 1, tasks: 1, incarnation: 2 });
  for (const name of [...services].reverse()) await cluster.restart(name);
  await lives.find((life) => life === 'reregistered');

  const again = await running('again');
  t.is(again.agentId, known.agentId, 'the agent kept its id');
  const tasks = new Map<string, string>();
  for await (const { id, state } of operator.tasks({ includeEnded: true })) tasks.set(id, state);
  t.deepEqual([...tasks.keys()].sort(), ['again', 'known']);
  t.is(tasks.get('known'), 'TASK_RUNNING', 'it never stopped');

  // What the log does not know has no owner: its agent is told to end it, and whoever asks hears that it is unknown.
  await scheduler.reconcile([{ taskId: 'later' }]);
  const later = await statuses.find(
    ({ taskId, state }) => taskId === 'later' && state !== 'TASK_STARTING' && state !== 'TASK_RUNNING',
  );
  t.true(['TASK_UNKNOWN', 'TASK_LOST', 'TASK_KILLED'].includes(later.state), later.state);

  const second = await schedulerFor(t, cluster, { name: 'second' });
  t.not(second.frameworkId, scheduler.frameworkId);
  await scheduler.kill('known', { gracePeriodMs: 1_000 });
  t.is((await statuses.find(({ taskId, ended }) => taskId === 'known' && ended)).state, 'TASK_KILLED');
});
