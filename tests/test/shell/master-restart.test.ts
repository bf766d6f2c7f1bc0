// A killed master forgets nothing: tasks go on, none runs twice, none is lost.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { clusterFor, Happenings, schedulerFor } from './in-cluster.ts';

test.serial('every task runs exactly once although the master is killed in the middle of it', async (t) => {
  t.timeout(120_000);
  const count = 100;
  const cluster = await clusterFor(t, { resources: 'cpus:20;mem:20000' });
  const ran = path.join(cluster.dir, 'ran');
  const ended = new Map<string, string>();
  const half = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  const lives = new Happenings<string>();
  const waiting = Array.from({ length: count }, (_, index) => `task-${index}`);
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'survivor' },
    {
      disconnected: () => lives.note('disconnected'),
      reregistered: () => lives.note('reregistered'),
      async resourceOffers(offers) {
        for (const offer of offers) {
          const ids = waiting.splice(0, Math.min(10, Math.floor((offer.amounts.cpus ?? 0) / 0.5)));
          const tasks = ids.map((id) => ({
            id,
            command: `echo ${id} >> ${ran}; sleep 0.2`,
            resources: { cpus: 0.5, mem: 10 },
          }));
          await scheduler.launch(offer, tasks, { refuseSeconds: 0.1 });
        }
      },
      statusUpdate(status) {
        if (!status.ended) return;
        // An offer of the killed master is void, and what was to run on it has not run: it is launched again.
        if (status.state === 'TASK_DROPPED') waiting.push(status.taskId);
        else ended.set(status.taskId, status.state);
        if (ended.size >= count / 4) half.resolve();
        if (ended.size === count) all.resolve();
      },
    },
  );
  await half.promise;
  await cluster.kill('master', 'SIGKILL');
  await lives.find((life) => life === 'reregistered');
  await all.promise;
  t.deepEqual(new Set(ended.values()), new Set(['TASK_FINISHED']));
  const lines = readFileSync(ran, 'utf8').trim().split('\n').sort();
  t.deepEqual(lines, Array.from({ length: count }, (_, index) => `task-${index}`).sort());
});
