// A killed master forgets nothing: tasks go on, none runs twice, none is lost.
import test from 'ava';
import { burst, clusterFor, Happenings } from './in-cluster.ts';

test.serial('every task runs exactly once although the master is killed in the middle of it', async (t) => {
  t.timeout(120_000);
  const count = 100;
  const cluster = await clusterFor(t, { resources: 'cpus:20;mem:20000' });
  const lives = new Happenings<string>();
  const { untilEnded, states, ran, once } = await burst(t, cluster, {
    count,
    reregistered: () => lives.note('reregistered'),
  });
  await untilEnded(count / 4);
  await cluster.kill('master', 'SIGKILL');
  await lives.find((life) => life === 'reregistered');
  await untilEnded(count);
  t.deepEqual(new Set(states.values()), new Set(['TASK_FINISHED']));
  t.deepEqual(ran(), once);
});
