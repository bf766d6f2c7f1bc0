// One role has filled the cluster with tasks that may be asked back, another is guaranteed a part of it.

import { formatResources } from '@mesobus/sdk/resources';
import { type InverseOffer, Scheduler, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { clusterFor, connectionOf, Happenings, operatorFor, schedulerFor } from './in-cluster.ts';

const taskOf = (id: string, more: Partial<Task> = {}): Task => ({
  id,
  command: 'sleep 1000',
  resources: { cpus: 1, mem: 32 },
  ...more,
});

test.serial('what is guaranteed is asked back from preemptible tasks, then taken, and used', async (t) => {
  t.timeout(240_000);
  const cluster = await clusterFor(t, {
    agents: 1,
    resources: 'cpus:2;mem:512;disk:0;ports:[]',
    argsOf: (name) => (name.startsWith('master') ? ['--reclaim-after', '1secs', '--reclaim-notice', '3secs'] : []),
  });
  const operator = await operatorFor(t, cluster);

  const batch = { statuses: new Happenings<TaskStatus>(), asked: new Happenings<InverseOffer>() };
  const waiting = ['old', 'young'];
  const night = await schedulerFor(
    t,
    cluster,
    { name: 'night', roles: ['batch'] },
    {
      async resourceOffers(offers) {
        for (const offer of offers) {
          const id = waiting.shift();
          const labels = { 'mesobus.preemptible': 'true' };
          const tasks = id === undefined ? [] : [taskOf(id, { labels })];
          await night.launch(offer, tasks, { refuseSeconds: 0 });
        }
      },
      statusUpdate: batch.statuses.note,
      inverseOffers: (all) => all.forEach(batch.asked.note),
    },
  );
  const runs = (id: string) => batch.statuses.find(({ taskId, state }) => taskId === id && state === 'TASK_RUNNING');
  await Promise.all([runs('old'), runs('young')]);

  await operator.updateQuota([{ role: 'web', guarantees: { cpus: 1 } }]);
  const statuses = new Happenings<TaskStatus>();
  const wanted = [taskOf('shop')];
  const shop = new Scheduler(
    { ...connectionOf(cluster), framework: { name: 'shop', roles: ['web'] }, demand: () => wanted },
    {
      async resourceOffers(offers) {
        for (const offer of offers) await shop.launch(offer, wanted.splice(0), { refuseSeconds: 0 });
      },
      statusUpdate: statuses.note,
    },
  );
  await shop.start();
  t.teardown(() => shop.stop());

  const asked = await batch.asked.find(() => true);
  t.is(formatResources(asked.resources ?? ([] as never)), 'cpus:1;mem:32');
  t.true(asked.unavailableFrom.getTime() > Date.now() - 1_000, 'it has some time');
  const [explained] = await operator.explain(shop.frameworkId ?? '', { role: 'web' });
  t.is(explained?.reclaim?.reason, 'reclaim_under_way');
  t.deepEqual(explained?.reclaim?.roles, ['batch']);
  t.false(
    batch.statuses.seen.some(({ ended }) => ended),
    'nobody is killed before the time',
  );

  const taken = await batch.statuses.find(({ ended }) => ended);
  t.deepEqual([taken.taskId, taken.reason], ['young', 'REASON_CONTAINER_PREEMPTED']);
  t.regex(taken.message ?? '', /asked back: framework .* in role 'web' has been below its guarantee/);
  t.true(Date.now() >= asked.unavailableFrom.getTime(), 'not before the time that was told');
  await statuses.find(({ taskId, state }) => taskId === 'shop' && state === 'TASK_RUNNING');
  t.deepEqual(
    batch.statuses.seen.filter(({ ended }) => ended).map(({ taskId }) => taskId),
    ['young'],
  );
});
