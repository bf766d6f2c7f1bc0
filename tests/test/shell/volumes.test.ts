// Reservations and volumes outlive the tasks that use them, their agent and their framework.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { RefusedError } from '@mesobus/sdk/errors';
import { add, findVolume, type Resources, reservedFor, resources, volumeOf } from '@mesobus/sdk/resources';
import type { Offer, Operation, OperationStatus, Scheduler, Task, TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, envOf, firstLine, Happenings, mesobus, operatorFor, schedulerFor } from './in-cluster.ts';

const size = 'cpus:4;mem:1024;disk:1000';
const { volume, disk } = volumeWith(resources({ disk: 100 }));

function volumeWith(amount: Resources): { volume: Resources; disk: Resources } {
  const reserved = reservedFor(amount, 'ads');
  return { disk: reserved, volume: volumeOf(reserved, { id: 'v1', containerPath: 'data' }) };
}

/** A framework of role `ads` that answers each offer as it is told to; what it is told can be awaited. */
async function framework(t: ExecutionContext, cluster: Awaited<ReturnType<typeof clusterFor>>, name: string) {
  const statuses = new Happenings<TaskStatus>();
  const operations = new Happenings<OperationStatus>();
  const offers = new Happenings<Offer>();
  const wanted: { holds: Resources; what: readonly (Operation | Task)[] }[] = [];
  const scheduler: Scheduler = await schedulerFor(
    t,
    cluster,
    { name, roles: ['ads'] },
    {
      async resourceOffers(list) {
        for (const offer of list) {
          offers.note(offer);
          const next = wanted.findIndex(({ holds }) => offer.holds(holds));
          const [found] = next < 0 ? [] : wanted.splice(next, 1);
          if (found === undefined) await scheduler.decline(offer, { refuseSeconds: 0.2 });
          else await scheduler.accept(offer, found.what, { refuseSeconds: 0.2 });
        }
      },
      statusUpdate: statuses.note,
      operationUpdate: operations.note,
    },
  );
  const doOn = (holds: Resources, what: readonly (Operation | Task)[]): void => void wanted.push({ holds, what });
  return { scheduler, statuses, operations, offers, doOn };
}

const cpu = resources({ cpus: 0.1 });
const using = (id: string, command: string): Task => ({ id, command, resources: add(cpu, volume) });

test.serial('a volume that one task fills is read by another, after its agent was killed with SIGKILL', async (t) => {
  t.timeout(180_000);
  const cluster = await clusterFor(t, { restart: false, resources: size });
  const operator = await operatorFor(t, cluster);
  const first = await framework(t, cluster, 'first');
  first.doOn(resources({ disk: 100, cpus: 0.1 }), [
    { kind: 'reserve', resources: disk, id: 'o1' },
    { kind: 'create', volumes: volume, id: 'o2' },
    using('writer', 'echo kept > data/file'),
  ]);
  for (const id of ['o1', 'o2']) {
    t.is((await first.operations.find(({ operationId }) => operationId === id)).state, 'OPERATION_FINISHED');
  }
  t.is((await first.statuses.find(({ ended }) => ended)).state, 'TASK_FINISHED');

  await cluster.kill('agent-1', 'SIGKILL');
  await cluster.restart('agent-1');
  await first.scheduler.stop();

  const second = await framework(t, cluster, 'second');
  second.doOn(volume, [using('reader', 'cat data/file; sleep 600')]);
  await second.statuses.find(({ state }) => state === 'TASK_RUNNING');
  const key = { frameworkId: second.scheduler.frameworkId as string, taskId: 'reader' };
  t.is(await firstLine(operator, key, 'stdout'), 'kept');

  const refused = await mesobus(t, ['volume', 'destroy', 'agent-1', 'v1', '--role', 'ads'], envOf(cluster));
  t.is(refused.exitCode, 1);
  t.regex(refused.stderr, /a task uses volume 'v1'; wait for the end of the tasks that hold them, or kill them/);

  await second.scheduler.kill('reader');
  await second.statuses.find(({ ended }) => ended);
  const folder = path.join(cluster.dir, 'agent-1', 'volumes/roles/ads');
  if (existsSync(folder)) t.deepEqual(readdirSync(folder), ['v1']);
  t.is((await mesobus(t, ['volume', 'destroy', 'agent-1', 'v1', '--role', 'ads'], envOf(cluster))).exitCode, 0);
  const [agent] = await operator.agents();
  t.is(findVolume(agent?.resources ?? volume, 'ads', 'v1').length, 0);
});

test.serial('an operator reserves what a framework has been offered; the framework is told', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t, { resources: size });
  const operator = await operatorFor(t, cluster);
  const rescinded = new Happenings<string>();
  const offered = new Happenings<Offer>();
  await schedulerFor(
    t,
    cluster,
    { name: 'silent', roles: ['web'] },
    { resourceOffers: (offers) => void offers.map(offered.note), offerRescinded: rescinded.note },
  );
  const offer = await offered.find(() => true);
  await operator.reserve(offer.agentId, reservedFor(resources({ cpus: 2 }), 'ads'));
  await rescinded.find((id) => id === offer.id);
  const next = await offered.find(({ id }) => id !== offer.id);
  t.is(next.amounts.cpus, 2);
  const error = await t.throwsAsync(operator.reserve(offer.agentId, reservedFor(resources({ cpus: 3 }), 'ads')), {
    instanceOf: RefusedError,
  });
  t.regex(error?.message ?? '', /it takes 'cpus:3', and there is 'cpus:2;cpus\(ads\):2' of the agent/);
  const listed = await mesobus(t, ['unreserve', 'agent-1', 'cpus:2', '--role', 'ads'], envOf(cluster));
  t.is(listed.stderr, '');
  t.regex(listed.stdout, /cpus:2 of agent agent-1 is no longer reserved to role ads/);
  const open = await mesobus(t, ['operations', '--json'], envOf(cluster));
  t.is(open.stderr, '');
  t.true(Array.isArray(JSON.parse(open.stdout)));
});
