// What a task holds and leaves idle is lent to another framework, and taken back when the task needs it after all.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseResources, revocable, toRevocable } from '@mesobus/sdk/resources';
import { type Offer, Scheduler, type TaskStatus } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { clusterFor, connectionOf, Happenings, operatorFor, runOne } from './in-cluster.ts';

test.serial(
  'an idle task lends its cpus to a framework that can give them back, and gets them when it is busy',
  async (t) => {
    t.timeout(180_000);
    const cluster = await clusterFor(t, {
      agents: 1,
      resources: 'cpus:0.2;mem:256;disk:0;ports:[]',
      env: {
        MESOBUS_RESOURCE_ESTIMATOR: 'measured',
        MESOBUS_OVERSUBSCRIBED_RESOURCES_INTERVAL: '500ms',
        MESOBUS_USAGE_SMOOTHING: '2secs',
      },
    });
    const operator = await operatorFor(t, cluster);
    const lentBy = async (): Promise<number | undefined> => (await operator.connections()).agents[0]?.revocable.cpus;

    // One framework holds all cpus of the agent, and its task does nothing until it finds a file.
    const goes = path.join(cluster.dir, 'go');
    const holder = await runOne(t, cluster, {
      id: 'holder',
      command: `while [ ! -e ${goes} ]; do sleep 1; done; while :; do :; done`,
      resources: { cpus: 0.2, mem: 64 },
    });
    await holder.statuses.find(({ state }) => state === 'TASK_RUNNING');

    const offers = new Happenings<Offer>();
    const statuses = new Happenings<TaskStatus>();
    const borrower = new Scheduler(
      {
        ...connectionOf(cluster),
        framework: { name: 'borrower', capabilities: ['REVOCABLE_RESOURCES', 'PARTITION_AWARE'] },
      },
      {
        resourceOffers: async (list) => {
          for (const offer of list) {
            offers.note(offer);
            const lent = revocable(offer.resources).find(({ name }) => name === 'cpus');
            const isEnough = lent?.kind === 'scalar' && lent.amount >= 100 && statuses.seen.length === 0;
            if (!isEnough) await borrower.decline(offer, { refuseSeconds: 0.1 });
            else {
              const resources = toRevocable(parseResources('cpus:0.1'));
              await borrower.launch(offer, [{ id: 'borrower', command: 'sleep 1000', resources }], {
                refuseSeconds: 3600,
              });
            }
          }
        },
        statusUpdate: statuses.note,
      },
    );
    await borrower.start();
    t.teardown(() => borrower.stop());
    await statuses.find(({ state }) => state === 'TASK_RUNNING');
    t.true(((await lentBy()) ?? 0) >= 0.1);
    t.true(offers.seen.every(({ resources }) => resources.every((one) => one.name !== 'cpus' || one.revocable)));
    t.deepEqual(
      holder.offers.seen.filter(({ resources }) => revocable(resources).length > 0),
      [],
      'who cannot give back is lent nothing',
    );

    writeFileSync(goes, '');
    const end = await statuses.find(({ ended }) => ended);
    t.is(end.state, 'TASK_GONE');
    t.is(end.reason, 'REASON_CONTAINER_PREEMPTED');
    t.regex(end.message, /^Revocable cpus are taken back: the tasks of the agent use [\d.]+ of its 0.2 cpus/);
    t.is(await lentBy(), 0);
    t.deepEqual(
      holder.statuses.seen.filter(({ ended }) => ended),
      [],
      'whose cpus they are goes on',
    );
  },
);
