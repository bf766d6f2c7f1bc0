// Task groups: tasks that start together, share a port and a volume, and of which none lives on without the others.
import { createServer } from 'node:net';
import { mesos } from '@mesobus/protos';
import { parseResources } from '@mesobus/sdk/resources';
import type { Command, Offer, Task, TaskStatus } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { clusterFor, eventually, firstLine, Happenings, operatorFor, schedulerFor } from './in-cluster.ts';

const { SANDBOX_PATH } = mesos.v1.Volume.Source.Type;
const { PARENT } = mesos.v1.Volume.Source.SandboxPath.Type;

/** Of the executor's sandbox, which all tasks of the group see. */
const container: mesos.v1.ContainerInfo.$Properties = {
  type: mesos.v1.ContainerInfo.Type.MESOS,
  volumes: [
    {
      mode: mesos.v1.Volume.Mode.RW,
      containerPath: 'shared',
      source: { type: SANDBOX_PATH, sandboxPath: { type: PARENT, path: 'shared' } },
    },
  ],
};

const script = (code: string): Command => ({ argv: [process.execPath, '-e', code] });

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('a pod of three containers shares a port and a volume; the end of one that was killed is the end of all', async (t) => {
  t.timeout(180_000);
  const port = await freePort();
  const cluster = await clusterFor(t, { resources: `cpus:4;mem:1024;disk:1000;ports:[${port}-${port}]` });
  const operator = await operatorFor(t, cluster);
  const statuses = new Happenings<TaskStatus>();
  const lost = new Happenings<string>();
  const offers = new Happenings<Offer>();
  let launched = false;
  const small = { cpus: 0.1, mem: 32 };
  const tasks: Task[] = [
    { id: 'writer', command: 'echo shared by all > shared/page; exec sleep 600', container, resources: small },
    {
      id: 'server',
      command: script(`
        const { existsSync, readFileSync } = require('fs');
        const page = () => (existsSync('shared/page') ? readFileSync('shared/page') : '');
        require('http').createServer((_, answer) => answer.end(page())).listen(${port}, '127.0.0.1')`),
      container,
      resources: parseResources(`cpus:0.1;mem:64;ports:[${port}-${port}]`),
    },
    {
      id: 'reader',
      command: script(`
        const ask = () => fetch('http://127.0.0.1:${port}').then((answer) => answer.text());
        (async () => {
          for (;;) {
            const text = await ask().catch(() => '');
            if (text !== '') { console.log(text.trim()); return; }
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        })()`),
      resources: small,
    },
  ];
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'pods' },
    {
      async resourceOffers(list) {
        for (const offer of list) {
          offers.note(offer);
          if (launched) await scheduler.decline(offer, { refuseSeconds: 0.2 });
          else {
            launched = true;
            const executor = { id: 'pod', resources: small };
            await scheduler.accept(offer, [{ kind: 'launch_group', executor, tasks }], { refuseSeconds: 0.2 });
          }
        }
      },
      statusUpdate: statuses.note,
      executorLost: (_agentId, executorId) => lost.note(executorId),
    },
  );
  const ended = (id: string) =>
    statuses.find(
      ({ taskId, state }) => taskId === id && ['TASK_FINISHED', 'TASK_KILLED', 'TASK_FAILED'].includes(state),
    );

  t.is((await ended('reader')).state, 'TASK_FINISHED', 'one that finishes takes no other along');
  const key = { frameworkId: scheduler.frameworkId ?? '', taskId: 'reader' };
  t.is(await firstLine(operator, key, 'stdout'), 'shared by all');
  t.is((await statuses.find(({ taskId }) => taskId === 'server')).executorId, 'pod');
  t.false(statuses.seen.some(({ taskId, state }) => taskId !== 'reader' && state === 'TASK_KILLED'));

  await scheduler.kill('writer');
  t.is((await ended('writer')).state, 'TASK_KILLED');
  t.is((await ended('server')).state, 'TASK_KILLED');
  t.is(await lost.find(() => true), 'pod');
  const whole = await eventually(
    () => Promise.resolve(offers.seen.at(-1)),
    (offer) => offer?.holds({ cpus: 4, mem: 1024 }) ?? false,
  );
  t.true(whole?.holds({ cpus: 4, mem: 1024 }), 'all that the pod held is offered again, its executor included');
});
