// What a task needs comes from an object store in the cluster's own NATS, and its health check ends it when it is ill.
import { connectNats } from '@mesobus/sdk/bus';
import { Objm } from '@nats-io/obj';
import test from 'ava';
import { clusterFor, firstLine, operatorFor, runOne } from './in-cluster.ts';

const tool = '#!/bin/sh\necho fetched > said\nexec sleep 600\n';

test('a task fetched from nats:// whose health check fails is killed and says so', async (t) => {
  t.timeout(180_000);
  const cluster = await clusterFor(t);
  const bus = await connectNats({ servers: cluster.nats, token: cluster.token, name: t.title });
  t.teardown(() => bus.close());
  const store = await new Objm(bus.connection).create('tools');
  await store.putBlob({ name: 'bin/tool' }, Buffer.from(tool));

  const uris = [{ value: 'nats://tools/bin/tool', executable: true, cache: true }];
  const { statuses, scheduler } = await runOne(t, cluster, {
    id: 't1',
    command: { shell: 'exec ./tool', uris },
    killGraceMs: 100,
    healthCheck: {
      type: 1,
      command: { value: 'test ! -e seen || { echo "it is ill"; exit 4; }; touch seen' },
      ...{ delaySeconds: 0, intervalSeconds: 0.1, gracePeriodSeconds: 0, consecutiveFailures: 2 },
    },
  });
  const well = await statuses.find(({ healthy }) => healthy === true);
  t.is(well.state, 'TASK_RUNNING');
  t.is(well.reason, 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED');
  const operator = await operatorFor(t, cluster);
  const task = { frameworkId: scheduler.frameworkId ?? '', taskId: 't1' };
  t.is(await firstLine(operator, task, 'said'), 'fetched');
  t.regex(await firstLine(operator, task, 'stderr'), /^Fetching 'nats:\/\/tools\/bin\/tool' to 'tool'$/);
  const ill = await statuses.find(({ healthy }) => healthy === false);
  t.is(ill.state, 'TASK_RUNNING');
  const end = await statuses.find(({ ended }) => ended);
  t.is(end.state, 'TASK_KILLED');
  t.false(end.healthy);
  t.regex(
    end.message,
    /^Killed: its health check has failed 2 times in a row: Command exited with status 4: it is ill: /,
  );
});
