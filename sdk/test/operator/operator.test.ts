import { mesobus, mesos } from '@mesobus/protos';
import { createMemoryNetwork, subjectsOf } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { connectOperator } from '@mesobus/sdk/operator';
import test, { type ExecutionContext } from 'ava';

type Query = mesobus.v1.RegistryQuery;
type Answer = mesobus.v1.RegistryAnswer.$Properties;

const subjects = subjectsOf('main');

async function setUp(t: ExecutionContext, answer: (query: Query) => Answer = () => ({})) {
  const network = createMemoryNetwork();
  const services = network.connect('services');
  const queries: Query[] = [];
  services.serve(subjects.registryQuery.any, (delivery) => {
    queries.push(delivery.message);
    delivery.reply(answer(delivery.message));
  });
  const operator = await connectOperator({ bus: network.connect('operator'), timeoutMs: 2000 });
  t.teardown(() => services.close());
  return { services, operator, queries };
}

const taskView = (id: string, state: keyof typeof mesos.v1.TaskState): mesobus.v1.TaskView.$Properties => ({
  launched: {
    frameworkId: 'F',
    agentId: 'A',
    task: { name: id, taskId: { value: id }, agentId: { value: 'A' } },
    resources: [{ name: 'cpus', type: 0, scalar: { value: 1.5 } }],
    role: 'ads',
    acceptedAtMs: 1000,
  },
  latest: { state: mesos.v1.TaskState[state] },
});

const agentView: mesobus.v1.AgentView.$Properties = {
  agent: {
    agentId: 'A',
    agentName: 'agent-1',
    lifecycle: mesobus.v1.AgentRecord.Lifecycle.UNREACHABLE,
    info: { hostname: 'h1', resources: [{ name: 'mem', type: 0, scalar: { value: 512 } }] },
  },
  tasks: 3,
};

test('agents read as plain values', async (t) => {
  const { operator } = await setUp(t, () => ({ agents: { agents: [agentView] } }));
  const [agent] = await operator.agents();
  t.like(agent, { id: 'A', name: 'agent-1', hostname: 'h1', lifecycle: 'unreachable', tasks: 3, total: { mem: 512 } });
});

test('tasks come over as many pages as there are', async (t) => {
  const { operator, queries } = await setUp(t, ({ getTasks }) => ({
    tasks:
      getTasks?.pageToken === ''
        ? { tasks: [taskView('t1', 'TASK_RUNNING')], nextPageToken: 'p2' }
        : { tasks: [taskView('t2', 'TASK_FINISHED')] },
  }));
  const found = [];
  for await (const task of operator.tasks({ frameworkId: 'F', pageSize: 1 })) found.push(task);
  t.deepEqual(
    found.map(({ id, state, amounts }) => [id, state, amounts.cpus]),
    [
      ['t1', 'TASK_RUNNING', 1.5],
      ['t2', 'TASK_FINISHED', 1.5],
    ],
  );
  t.deepEqual(
    queries.map(({ getTasks }) => [getTasks?.frameworkId, getTasks?.limit, getTasks?.pageToken]),
    [
      ['F', 1, ''],
      ['F', 1, 'p2'],
    ],
  );
});

test('who changed something reads what they wrote', async (t) => {
  const { operator, services, queries } = await setUp(t);
  services.serve(subjects.masterOperator.any, (delivery) => delivery.reply({ logIndex: 42 }));
  await operator.updateWeights([{ role: 'ads', weight: 2 }]);
  await operator.roles();
  t.is(queries[0]?.atLeastIndex, 42);
});

test('an agent is drained with the grace that is given, in the duration of protobuf', async (t) => {
  const { operator, services } = await setUp(t);
  const calls: mesobus.v1.OperatorCall[] = [];
  services.serve(subjects.masterOperator.any, (delivery) => {
    calls.push(delivery.message);
    delivery.reply({ logIndex: 1 });
  });
  await operator.drainAgent('A', { maxGracePeriodMs: 61_500, markGone: true });
  await operator.drainAgent('A');
  const [first, second] = calls.map(({ call }) => call?.drainAgent);
  t.like(first, { agentId: { value: 'A' }, markGone: true });
  t.like(first?.maxGracePeriod, { seconds: 61n, nanos: 500_000_000 });
  t.like(second, { markGone: false, maxGracePeriod: null });
});

test('each change of an agent is a call of its own', async (t) => {
  const { operator, services } = await setUp(t);
  const types: number[] = [];
  services.serve(subjects.masterOperator.any, (delivery) => {
    const { call } = delivery.message;
    types.push(call?.type ?? 0);
    const { deactivateAgent, reactivateAgent, markAgentGone } = call ?? {};
    t.is((deactivateAgent ?? reactivateAgent ?? markAgentGone)?.agentId.value, 'A');
    delivery.reply({ logIndex: 1 });
  });
  await operator.deactivateAgent('A');
  await operator.reactivateAgent('A');
  await operator.markAgentGone('A');
  const { DEACTIVATE_AGENT, REACTIVATE_AGENT, MARK_AGENT_GONE } = mesos.v1.master.Call.Type;
  t.deepEqual(types, [DEACTIVATE_AGENT, REACTIVATE_AGENT, MARK_AGENT_GONE]);
});

test('an agent that has drained is not draining any more', async (t) => {
  const drained = { ...agentView.agent, drain: {}, drained: true };
  const views = [{ agent: { ...agentView.agent, drain: {} } }, { agent: drained }];
  const { operator } = await setUp(t, () => ({ agents: { agents: views } }));
  const agents = await operator.agents();
  t.deepEqual(
    agents.map((agent) => [agent.draining, agent.drained]),
    [
      [true, false],
      [false, true],
    ],
  );
});

test('a change that is refused for the moment is sent again as the same call', async (t) => {
  const { operator, services } = await setUp(t);
  const calls: mesobus.v1.OperatorCall[] = [];
  services.serve(subjects.masterOperator.any, (delivery) => {
    calls.push(delivery.message);
    if (calls.length === 1) delivery.refuse(new RefusedError('outcome_unknown', 'teardown'));
    else delivery.reply({ logIndex: 1 });
  });
  await operator.teardown('F');
  t.is(calls.length, 2);
  t.is(calls[0]?.callId, calls[1]?.callId);
  t.is(calls[0]?.call?.teardown?.frameworkId.value, 'F');
});

test('an operator pauses a task and resumes it, each under an id of its own', async (t) => {
  const { operator, services } = await setUp(t);
  const calls: mesobus.v1.OperatorCall[] = [];
  services.serve(subjects.masterOperator.any, (delivery) => {
    calls.push(delivery.message);
    delivery.reply({ logIndex: 1 });
  });
  const task = { frameworkId: 'F', taskId: 't1' };
  await operator.pauseTask(task);
  await operator.resumeTask(task);
  t.like(calls[0], { pauseTask: { task }, resumeTask: null });
  t.like(calls[1], { pauseTask: null, resumeTask: { task } });
  t.not(calls[0]?.callId, calls[1]?.callId);
});

test('a refusal for good is thrown at once', async (t) => {
  const { operator, services } = await setUp(t);
  services.serve(subjects.masterOperator.any, (delivery) =>
    delivery.refuse(new RefusedError('framework_unknown', 'F')),
  );
  await t.throwsAsync(operator.teardown('F'), { instanceOf: RefusedError, message: /framework 'F'/ });
});

test('following a file gives what is written until the task has ended', async (t) => {
  const { operator, services } = await setUp(t, ({ getAgents }) =>
    getAgents ? { agents: { agents: [agentView] } } : { tasks: { tasks: [taskView('t1', 'TASK_RUNNING')] } },
  );
  let reads = 0;
  services.serve(subjects.agentFiles('agent-1').any, (delivery) => {
    reads += 1;
    if (reads === 1) return delivery.refuse(new RefusedError('path_unknown', 'stdout'));
    const text = reads === 2 ? 'one\n' : 'one\ntwo\n';
    const data = new TextEncoder().encode(text).subarray(delivery.message.read?.offset ?? 0);
    return delivery.reply({
      data: { offset: delivery.message.read?.offset ?? 0, size: text.length, data, ended: reads > 2 },
    });
  });
  const chunks: string[] = [];
  for await (const chunk of operator.files.follow({ frameworkId: 'F', taskId: 't1' }, 'stdout')) {
    chunks.push(new TextDecoder().decode(chunk));
  }
  t.deepEqual(chunks, ['one\n', 'two\n']);
});

test('following a file that an ended task never wrote is refused', async (t) => {
  const { operator, services } = await setUp(t, ({ getAgents }) =>
    getAgents ? { agents: { agents: [agentView] } } : { tasks: { tasks: [taskView('t1', 'TASK_FAILED')] } },
  );
  const channel = subjects.agentFiles('agent-1').any;
  services.serve(channel, (delivery) => delivery.refuse(new RefusedError('path_unknown', 'x')));
  const follow = operator.files.follow({ frameworkId: 'F', taskId: 't1' }, 'x');
  await t.throwsAsync(follow.next(), { instanceOf: RefusedError, message: /file 'x'/ });
});

test('what a deposed leader still answers is not heard once a newer one has answered', async (t) => {
  const network = createMemoryNetwork();
  const leads = (epoch: number, master: string) => {
    const bus = network.connect(master);
    bus.setEpoch({ incarnation: 1, epoch });
    const serve = () => [
      bus.serve(subjects.masterQuery.any, (delivery) => delivery.reply({ connections: { masterId: master } })),
      bus.serve(subjects.masterOperator.any, (delivery) => {
        if (epoch === 2) delivery.reply({ logIndex: 7 });
        else delivery.refuse(new RefusedError('framework_unknown', 'F'));
      }),
    ];
    return { serve };
  };
  const operator = await connectOperator({ bus: network.connect('operator'), timeoutMs: 2000 });
  const [old, next] = [leads(1, 'old'), leads(2, 'new')];
  const serving = next.serve();
  t.is((await operator.connections()).masterId, 'new');
  for (const one of serving) one.stop();
  old.serve(); // and is the first to answer
  next.serve();
  t.is((await operator.connections()).masterId, 'new');
  await t.notThrowsAsync(operator.teardown('F'));
});

const { Reason } = mesobus.v1.Withheld;

async function withAllocator(t: ExecutionContext, answer: mesobus.v1.AllocatorAnswer.$Properties) {
  const { services, operator } = await setUp(t);
  const queries: mesobus.v1.AllocatorQuery[] = [];
  services.serve(subjects.allocatorQuery.any, (delivery) => {
    queries.push(delivery.message);
    delivery.reply(answer);
  });
  return { operator, queries };
}

test('an explanation reads as reasons to match on, with details for people', async (t) => {
  const filtered = { reason: Reason.FILTERED, detail: 'declined', endsInMs: 1500 };
  const unknown = 9999 as mesobus.v1.Withheld.Reason;
  const { operator, queries } = await withAllocator(t, {
    explanation: {
      frameworkId: 'F',
      roles: [
        { role: 'ads', agents: [{ reason: filtered, count: 2, agentIds: ['S1'] }], share: { role: 'ads', weight: 2 } },
        { role: 'eng', reason: { reason: Reason.NO_DEMAND, detail: 'wants nothing' } },
        { role: 'new', reason: { reason: unknown, roles: ['x'] } },
      ],
    },
  });
  const explained = await operator.explain('F', { agentId: 'S1' });
  t.like(queries[0]?.explain, { frameworkId: 'F', role: '', agentId: 'S1', maxAgents: 10 });
  t.like(explained[0], { role: 'ads', share: { weight: 2 } });
  t.deepEqual(explained[0]?.agents, [
    {
      withheld: { reason: 'filtered', detail: 'declined', endsInMs: 1500, roles: [] },
      count: 2,
      agentIds: ['S1'],
    },
  ]);
  t.deepEqual(explained[1], {
    role: 'eng',
    withheld: { reason: 'no_demand', detail: 'wants nothing', roles: [] },
    agents: [],
  });
  t.is(explained[2]?.withheld?.reason, 'unknown', 'of a newer allocator');
});

test('what is supposed is sent as it was named, and the answer reads as before and after', async (t) => {
  const offered = { role: 'ads', frameworkId: 'F', agents: 3, quantities: { cpus: { value: 12 } } };
  const { operator, queries } = await withAllocator(t, {
    whatIf: { sharesBefore: { roles: [{ role: 'ads', dominantShare: 0.5 }] }, offersAfter: [offered] },
  });
  const result = await operator.whatIf({
    weights: { eng: 2, ads: 3 },
    quotas: { ads: { guarantees: { cpus: 100 } }, old: {} },
    agentsAdded: [{ count: 50 }, { count: 1, resources: { cpus: 8 } }],
    agentsRemoved: ['S1'],
  });
  const { roles = [], agentsAdded = [], agentsRemoved } = queries[0]?.whatIf ?? {};
  t.deepEqual(
    roles.map(({ role, weight, quota }) => [role, weight, quota && Object.entries(quota.guarantees).length]),
    [
      ['eng', 2, null],
      ['ads', 3, 1],
      ['old', 0, 0],
    ],
  );
  t.deepEqual(
    agentsAdded.map(({ count, resources }) => [count, resources[0]?.scalar?.value]),
    [
      [50, undefined],
      [1, 8],
    ],
  );
  t.deepEqual(agentsRemoved, ['S1']);
  t.is(result.before.roles[0]?.dominantShare, 0.5);
  t.deepEqual(result.after.offers, [{ role: 'ads', frameworkId: 'F', agents: 3, quantities: { cpus: 12 } }]);
});

test('the leader says how frameworks deal with their offers', async (t) => {
  const { services, operator } = await setUp(t);
  services.serve(subjects.masterQuery.any, (delivery) => {
    const shapes = [{ count: 3, quantities: { cpus: { value: 0.5 } } }];
    const about = { frameworkId: 'F', connected: true, openOffers: 1, maxOpenOffers: 2, offerTimeoutMs: 1250 };
    const heldSeconds = { cpus: { value: 44 } };
    const frameworks = [{ ...about, heldSeconds, demands: [{ role: 'ads', shapes }] }];
    delivery.reply({ connections: { masterId: 'm', frameworks } });
  });
  const { frameworks } = await operator.connections();
  t.like(frameworks[0], { openOffers: 1, maxOpenOffers: 2, offerTimeoutMs: 1250, heldSeconds: { cpus: 44 } });
  t.deepEqual(frameworks[0]?.demands, [{ role: 'ads', shapes: [{ count: 3, quantities: { cpus: 0.5 } }] }]);
});
