// The appointed allocator is killed in the middle of a burst: another one, which has the books already, goes on.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { clusterFor, operatorFor, schedulerFor } from './in-cluster.ts';

test.serial('everything that is to run runs once although the appointed allocator is killed twice', async (t) => {
  t.timeout(120_000);
  const count = 120;
  const cluster = await clusterFor(t, { allocators: 2, resources: 'cpus:20;mem:20000' });
  const operator = await operatorFor(t, cluster);
  const ran = path.join(cluster.dir, 'ran');
  const ended = new Map<string, string>();
  const thirds = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const waiting = Array.from({ length: count }, (_, index) => `task-${index}`);
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'burst' },
    {
      async resourceOffers(offers) {
        for (const offer of offers) {
          const ids = waiting.splice(0, Math.min(10, Math.floor((offer.amounts.cpus ?? 0) / 0.5)));
          const tasks = ids.map((id) => ({
            id,
            command: `echo ${id} >> ${ran}; sleep 0.2`,
            resources: { cpus: 0.5, mem: 10 },
          }));
          await scheduler.launch(offer, tasks, { refuseSeconds: 0 });
        }
      },
      statusUpdate(status) {
        if (!status.ended) return;
        if (status.state === 'TASK_DROPPED') waiting.push(status.taskId);
        else ended.set(status.taskId, status.state);
        for (const [index, third] of thirds.entries()) if (ended.size >= ((index + 1) * count) / 3) third.resolve();
      },
    },
  );
  const appointed: (string | undefined)[] = [];
  for (const third of thirds.slice(0, 2)) {
    await third.promise;
    const who = await cluster.appointedAllocator();
    appointed.push(who);
    await cluster.kill(who ?? '', 'SIGKILL');
    await cluster.untilReady(who ?? '');
  }
  await thirds[2]?.promise;
  t.is(new Set(appointed).size, 2);
  t.deepEqual(new Set(ended.values()), new Set(['TASK_FINISHED']));
  const lines = readFileSync(ran, 'utf8').trim().split('\n').sort();
  t.deepEqual(lines, Array.from({ length: count }, (_, index) => `task-${index}`).sort());
  const { allocators } = await operator.connections();
  t.is(allocators.length, 2);
});
