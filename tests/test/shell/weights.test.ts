// Two frameworks that want everything share a saturated cluster by the weights of their roles.
import test from 'ava';
import { clusterFor, operatorFor, schedulerFor } from './in-cluster.ts';

test.serial('roles of weight 1 and 2 share a saturated cluster 1:2 by dominant share', async (t) => {
  t.timeout(180_000);
  const cluster = await clusterFor(t, { agents: 2, resources: 'cpus:6;mem:6000' });
  const operator = await operatorFor(t, cluster);
  await operator.updateWeights([
    { role: 'light', weight: 1 },
    { role: 'heavy', weight: 2 },
  ]);
  const total = 12;
  const running = { light: 0, heavy: 0 };
  const balanced = Promise.withResolvers<void>();
  let launched = 0;
  for (const role of ['light', 'heavy'] as const) {
    const scheduler = await schedulerFor(
      t,
      cluster,
      { name: role, roles: [role] },
      {
        async resourceOffers(offers) {
          for (const offer of offers) {
            const fits = Math.floor(Math.min(offer.amounts.cpus ?? 0, (offer.amounts.mem ?? 0) / 1000));
            const tasks = Array.from({ length: fits }, () => ({
              id: `${role}-${launched++}`,
              command: 'sleep 0.3',
              resources: { cpus: 1, mem: 1000 },
            }));
            await scheduler.launch(offer, tasks, { refuseSeconds: 0 });
          }
        },
        statusUpdate(status) {
          if (status.state === 'TASK_RUNNING') running[role] += 1;
          else if (status.ended) running[role] -= 1;
          if (running.light === total / 3 && running.heavy === (2 * total) / 3) balanced.resolve();
        },
      },
    );
  }
  await balanced.promise;
  const shares = await operator.shares();
  t.deepEqual(
    shares.roles
      .filter(({ role }) => role !== '*')
      .map(({ role, weight }) => [role, weight])
      .sort(),
    [
      ['heavy', 2],
      ['light', 1],
    ],
  );
});
