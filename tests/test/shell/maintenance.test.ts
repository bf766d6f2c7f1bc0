// A machine is planned to be away, its framework is asked to leave it, it goes away with its agent, and comes back.
import { hostname } from 'node:os';
import type { InverseOffer, Offer, TaskStatus } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { clusterFor, Happenings, operatorFor, schedulerFor } from './in-cluster.ts';

test.serial('a machine goes into maintenance with its agent, stays away, and comes back', async (t) => {
  t.timeout(240_000);
  const cluster = await clusterFor(t, { agents: 1, resources: 'cpus:2;mem:1024' });
  const operator = await operatorFor(t, cluster);
  const offers = new Happenings<Offer>();
  const inverseOffers = new Happenings<InverseOffer>();
  const statuses = new Happenings<TaskStatus>();
  const lost = new Happenings<string>();
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'm' },
    {
      resourceOffers: (all) => all.forEach(offers.note),
      inverseOffers: (all) => all.forEach(inverseOffers.note),
      statusUpdate: statuses.note,
      agentLost: lost.note,
    },
  );
  const offer = await offers.find(() => true);
  await scheduler.launch(offer, [{ id: 't1', command: 'sleep 1000', resources: { cpus: 1, mem: 32 } }], {
    refuseSeconds: 0,
  });
  await statuses.find(({ state }) => state === 'TASK_RUNNING');

  const start = new Date(Date.now() + 3_600_000);
  const machines = [{ hostname: hostname() }];
  await operator.updateMaintenanceSchedule([{ machines, start, durationMs: 60_000 }]);
  const asked = await inverseOffers.find(() => true);
  t.deepEqual([asked.agentId, asked.unavailableFrom, asked.unavailableForMs], [offer.agentId, start, 60_000]);
  await scheduler.declineInverseOffers([asked], { refuseSeconds: 3_600 });
  const [draining] = (await operator.maintenanceStatus()).draining;
  t.deepEqual(
    draining?.answers.map(({ frameworkId, answer }) => [frameworkId, answer]),
    [[scheduler.frameworkId, 'decline']],
  );
  const later = await offers.find(({ unavailableFrom }) => unavailableFrom !== undefined);
  t.deepEqual(later.unavailableFrom, start);

  await operator.startMaintenance(machines);
  const gone = await statuses.find(({ ended }) => ended);
  t.deepEqual([gone.taskId, gone.state, gone.reason], ['t1', 'TASK_GONE', 'REASON_AGENT_REMOVED']);
  t.is(await lost.find(() => true), offer.agentId);
  t.deepEqual((await operator.maintenanceStatus()).down, machines);
  t.deepEqual(await operator.agents(), []);

  await operator.stopMaintenance(machines);
  const back = await offers.find(({ agentId }) => agentId !== offer.agentId);
  t.is(back.unavailableFrom, undefined);
  t.deepEqual(await operator.maintenanceSchedule(), []);
});
