// What others send wrong is refused with a reason, and no service dies of it.
import { mesobus as bus, decode, encode } from '@mesobus/protos';
import { subjectsOf } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { type AmountsInput, reservedFor, resources } from '@mesobus/sdk/resources';
import type { Offer, Operation, OperationStatus, TaskStatus } from '@mesobus/sdk/scheduler';
import { connect } from '@nats-io/transport-node';
import test from 'ava';
import { clusterFor, envOf, Happenings, mesobus, operatorFor, pidsOf, schedulerFor } from './in-cluster.ts';

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

/** What an operator writes, and what it is told: what cannot be done, why, and what to do. */
const refusedCommands: readonly (readonly [command: string, exitCode: number, told: RegExp])[] = [
  [
    'quota set ads --guarantee cpus=99',
    1,
    /UPDATE_QUOTA.*guarantees together would be cpus:102, but the agents have cpus:4; guarantee less, add agents, or/,
  ],
  [
    'quota set ads --guarantee cpus=2 --limit cpus=1',
    1,
    /role 'ads' would be guaranteed cpus:2, above its own limit, cpus:1; lower the guarantee or raise the limit/,
  ],
  [
    'quota set web/front --guarantee cpus=1',
    1,
    /role 'web\/front' would be guaranteed cpus:1, but no role above it is .*; give role 'web' as much first/,
  ],
  [
    'quota set eng/ads --guarantee cpus=4',
    1,
    /the roles below 'eng' would be guaranteed cpus:4 together, but 'eng' only cpus:3; raise its .*, or lower theirs/,
  ],
  [
    'quota set eng/ads --limit cpus=9 --force',
    1,
    /'eng\/ads' would have the limit cpus:9, above the limit of role 'eng'/,
  ],
  ['quota remove eng/ads eng/ads', 1, /role 'eng\/ads' is named twice/],
  ['quota set * --limit cpus=1', 1, /the default role '\*' can have no quota; give it to a role of its own/],
  [
    'quota set ads --guarantee cpus=-1',
    2,
    /--guarantee.*'cpus=-1' is invalid\. It must be a number that is not negative/,
  ],
  ['quota set ads', 2, /Name a --guarantee, a --limit or both/],
  ['weights ads=0', 2, /'ads=0' is invalid.* a weight above 0, for example 'ads=2'/],
  ['weights ads=-1', 2, /'ads=-1' is invalid.* a weight above 0, for example 'ads=2'/],
  ['weights ads//x=1', 1, /UPDATE_WEIGHTS.*'ads\/\/x'/],
  [
    'reserve agent-1 cpus:5 --role ads',
    1,
    /Cannot take 'cpus:5' of what agent agent-1 has not reserved: there is 'cpus:4'; ask for less/,
  ],
  ['reserve agent-1 cpus:4;mem --role ads', 2, /'mem' .*it is not 'name:value'/],
  [
    'reserve agent-1 cpus:4 --role ads',
    1,
    /takes 'cpus:4', and there is 'cpus:3\.9' that is free; wait for the end of the tasks/,
  ],
  [
    'unreserve agent-1 cpus:1 --role ads',
    1,
    /what agent agent-1 has reserved to 'ads': there is none; .*mesobus reserve/,
  ],
  [
    'volume create agent-1 v1 --role ads --size 10',
    1,
    /'disk:10' of what agent agent-1 has reserved to 'ads': there is none/,
  ],
  [
    'volume destroy agent-1 v1 --role ads',
    1,
    /Cannot find volume 'v1' of role 'ads' on agent agent-1; 'mesobus volume list'/,
  ],
  ['whatif --weight ads=0', 2, /'ads=0' is invalid.* a weight above 0/],
  ['whatif --agents 50', 2, /'50' is invalid.* for example \+50 or -agent-3/],
  ['explain nobody', 1, /Cannot find framework 'nobody'/],
];

test.serial(
  'what an operator asks for wrongly is refused with what, why and what to do, and changes nothing',
  async (t) => {
    t.timeout(180_000);
    const cluster = await clusterFor(t, { resources: 'cpus:4;mem:1024;disk:100;ports:[]' });
    const pids = pidsOf(cluster);
    const operator = await operatorFor(t, cluster);
    await operator.updateQuota([{ role: 'eng', guarantees: { cpus: 3 }, limits: { cpus: 4 } }]);
    const offers = new Happenings<Offer>();
    const statuses = new Happenings<TaskStatus>();
    const scheduler = await schedulerFor(
      t,
      cluster,
      { name: 'user', roles: ['eng'] },
      { resourceOffers: (list) => list.forEach(offers.note), statusUpdate: statuses.note },
    );
    const offer = await offers.find(() => true);
    await scheduler.launch(offer, [{ id: 'user', command: 'exec sleep 600', resources: small }], {
      refuseSeconds: 3600,
    });
    await statuses.find(({ state }) => state === 'TASK_RUNNING');
    const before = [await operator.roles(), await operator.agents()];

    for (const [command, exitCode, toldPattern] of refusedCommands) {
      const { stdout, stderr, exitCode: ended } = await mesobus(t, command.split(' '), envOf(cluster));
      t.is(ended, exitCode, `${command}: ${stderr}`);
      t.is(stdout, '', command);
      t.regex(stderr.replaceAll('\n', ' '), toldPattern, command);
    }
    t.deepEqual([await operator.roles(), await operator.agents()], before);
    await t.throwsAsync(operator.updateWeights([{ role: 'ads', weight: 0 }]), {
      instanceOf: RefusedError,
      message: /the weight of role 'ads' is 0: give more than 0/,
    });
    t.deepEqual(pidsOf(cluster), pids, 'no service has died');
  },
);

test.serial(
  'a regex that is none ends the subscription, and RESERVE of what was not offered is an error',
  async (t) => {
    t.timeout(120_000);
    const cluster = await clusterFor(t, { resources: 'cpus:2;mem:1024' });
    const pids = pidsOf(cluster);
    const subscribe = (regex: string) => {
      const constraint = { selector: { attributeName: 'rack' }, predicate: { textMatches: { regex } } };
      const offerConstraints = { roleConstraints: { ads: { groups: [{ attributeConstraints: [constraint] }] } } };
      return schedulerFor(t, cluster, { name: 'picky', roles: ['ads'], offerConstraints });
    };
    await t.throwsAsync(subscribe('r[0-9'), {
      message: /constraint.*'ads'.*missing closing \]: `?\[0-9`?: write it in the syntax of RE2/,
    });
    await t.throwsAsync(subscribe('(r|s){1000}'), { message: /of at most \d+: write a (shorter|simpler) one/ });

    const offers = new Happenings<Offer>();
    const operations = new Happenings<OperationStatus>();
    const scheduler = await schedulerFor(
      t,
      cluster,
      { name: 'reserver', roles: ['ads'] },
      { resourceOffers: (list) => list.forEach(offers.note), operationUpdate: operations.note },
    );
    const reserve = (amounts: AmountsInput, id: string): Operation => ({
      kind: 'reserve',
      resources: reservedFor(resources(amounts), 'ads'),
      id,
    });
    const first = await offers.find(() => true);
    await scheduler.accept(first, [reserve({ cpus: 99 }, 'too-much')], { refuseSeconds: 0 });
    const refused = await operations.find(({ operationId }) => operationId === 'too-much');
    t.is(refused.state, 'OPERATION_ERROR');
    t.regex(refused.message, /'cpus:99'.*'cpus:2/);
    const second = await offers.find(({ id }) => id !== first.id);
    await scheduler.accept(second, [reserve({ cpus: 1 }, 'enough')], { refuseSeconds: 0 });
    t.is((await operations.find(({ operationId }) => operationId === 'enough')).state, 'OPERATION_FINISHED');
    t.deepEqual(pidsOf(cluster), pids, 'no service has died');
  },
);
