// The appointed allocator is killed in the middle of a burst: another one, which has the books already, goes on.
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { burst, clusterFor, operatorFor } from './in-cluster.ts';

test.serial('everything that is to run runs once although the appointed allocator is killed twice', async (t) => {
  t.timeout(120_000);
  const count = 120;
  const cluster = await clusterFor(t, { allocators: 2, resources: 'cpus:20;mem:20000' });
  const operator = await operatorFor(t, cluster);
  const { untilEnded, states, ran, once } = await burst(t, cluster, { count });
  const appointed: (string | undefined)[] = [];
  for (const part of [1 / 3, 2 / 3]) {
    await untilEnded(count * part);
    const who = await cluster.appointedAllocator();
    appointed.push(who);
    await cluster.kill(who ?? '', 'SIGKILL');
    await cluster.untilReady(who ?? '');
  }
  await untilEnded(count);
  t.is(new Set(appointed).size, 2);
  t.deepEqual(new Set(states.values()), new Set(['TASK_FINISHED']));
  t.deepEqual(ran(), once);
  // Ready is whoever runs: its books come a moment later. If they never do, the time of the test ends.
  while ((await operator.connections()).allocators.length < 2) await setTimeout(50);
});
