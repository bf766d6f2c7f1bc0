// What others send wrong is refused with a reason, and no service dies of it.
import { mesobus as bus, decode, encode } from '@mesobus/protos';
import { subjectsOf } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { Offer, TaskStatus } from '@mesobus/sdk/scheduler';
import { connect } from '@nats-io/transport-node';
import test from 'ava';
import { clusterFor, Happenings, pidsOf, schedulerFor } from './in-cluster.ts';

const small = { cpus: 0.1, mem: 32 };

test.serial('faulty tasks and offers become status updates with reasons, and the framework goes on', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t, { resources: 'cpus:2;mem:1024' });
  const pids = pidsOf(cluster);
  const offers = new Happenings<Offer>();
  const statuses = new Happenings<TaskStatus>();
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: 'faulty' },
    {
      resourceOffers: (list) => list.forEach(offers.note),
      statusUpdate: statuses.note,
    },
  );
  const first = await offers.find(() => true);
  await scheduler.launch(
    first,
    [
      { id: 'good', command: 'sleep 600', resources: small },
      { id: 'good', command: 'true', resources: small },
      { id: 'greedy', command: 'true', resources: { cpus: 99, mem: 32 } },
      { id: 'a/b', command: 'true', resources: small },
      { id: 'free', command: 'true', resources: {} },
    ],
    { refuseSeconds: 0 },
  );
  const errors = ['good', 'greedy', 'a/b', 'free'].map((id) =>
    statuses.find((s) => s.taskId === id && s.state === 'TASK_ERROR'),
  );
  for (const status of await Promise.all(errors)) {
    t.is(status.reason, 'REASON_TASK_INVALID');
    t.not(status.message, '');
  }
  await statuses.find(({ taskId, state }) => taskId === 'good' && state === 'TASK_RUNNING');

  await scheduler.launch(first, [{ id: 'late', command: 'true', resources: small }]);
  const late = await statuses.find(({ taskId }) => taskId === 'late');
  t.is(late.reason, 'REASON_INVALID_OFFERS');
  t.true(['TASK_LOST', 'TASK_DROPPED'].includes(late.state));

  const second = await offers.find(({ id }) => id !== first.id);
  await scheduler.launch(second, [{ id: 'after', command: 'true', resources: small }], { refuseSeconds: 3600 });
  t.is((await statuses.find(({ taskId, ended }) => taskId === 'after' && ended)).state, 'TASK_FINISHED');
  t.deepEqual(pidsOf(cluster), pids, 'no service has died');
});

test.serial(
  'a frame that is no protobuf, an unknown framework and a message above max_payload are refused',
  async (t) => {
    t.timeout(120_000);
    const cluster = await clusterFor(t);
    const pids = pidsOf(cluster);
    const connection = await connect({ servers: cluster.nats, token: cluster.token });
    t.teardown(() => connection.close());
    const subjects = subjectsOf(cluster.cluster);
    const ask = async (subject: string, data: Uint8Array) => {
      const reply = await connection.request(subject, data, { timeout: 5_000 });
      return decode(bus.v1.Envelope, reply.data);
    };

    const noise = Uint8Array.from({ length: 64 }, (_, index) => (index * 89 + 7) % 256);
    const served = [
      subjects.masterScheduler.of('eve'),
      subjects.masterAgent.of('eve'),
      subjects.masterAllocator.of('eve'),
      subjects.masterOperator.of('eve'),
      subjects.registryQuery.of('eve'),
      subjects.agent.of('agent-1'),
      subjects.agentFiles('agent-1').of('eve'),
    ];
    for (const { subject } of served) {
      t.is((await ask(subject, noise)).refusal?.code, 'malformed_message', subject);
      const wrapped = encode(bus.v1.Envelope, { protocolVersion: 1, body: noise });
      t.is((await ask(subject, wrapped)).refusal?.code, 'malformed_message', subject);
    }

    const call = { type: 3, frameworkId: { value: 'nobody' } };
    const calls = encode(bus.v1.SchedulerCalls, { calls: [{ callId: 'c1', instanceId: 'i1', generation: 1, call }] });
    const answer = await ask(
      subjects.masterScheduler.of('eve').subject,
      encode(bus.v1.Envelope, { protocolVersion: 1, body: calls }),
    );
    const replies = decode(bus.v1.SchedulerReplies, answer.body ?? new Uint8Array());
    t.is(replies.replies[0]?.refusal?.code, 'framework_unknown');

    const scheduler = await schedulerFor(t, cluster, { name: 'large' });
    const huge = new Uint8Array(65 * 1024 * 1024);
    const error = await t.throwsAsync(() => scheduler.sendMessage('agent', 'executor', huge), {
      instanceOf: RefusedError,
    });
    t.is(error?.code, 'message_too_large');
    t.deepEqual(pidsOf(cluster), pids, 'no service has died');
  },
);
