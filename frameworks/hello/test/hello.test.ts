import { createMemoryNetwork } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { FakeLeader, message, offers, update } from '../../../sdk/test/scheduler/fake-leader.ts';
import { HelloError, type HelloOptions, runHello } from '../src/hello.ts';
import { runHelloWithExecutor } from '../src/with-executor.ts';

type State = Parameters<typeof update>[1];

/** A cluster whose tasks come to the given states, one after the other. */
function setUp(t: ExecutionContext, statesOf: (taskId: string) => State[]) {
  const network = createMemoryNetwork();
  const leader = new FakeLeader(network);
  const services = network.connect('services');
  const lines: string[] = [];
  let uuid = 0;
  services.serve(leader.subjects.registryQuery.any, (delivery) => {
    const agentId = 'agent-of-o1';
    const launched = { agentId, task: { name: 't', taskId: { value: 't' }, agentId: { value: agentId } } };
    const agents = { agents: [{ agent: { agentId, agentName: 'agent-1' } }] };
    delivery.reply(delivery.message.getAgents ? { agents } : { tasks: { tasks: [{ launched }] } });
  });
  services.serve(leader.subjects.agentFiles('agent-1').any, (delivery) => {
    delivery.reply({ list: { directory: '/sandboxes/t' } });
  });
  leader.answer = ({ call, demand }) => {
    const wanted = demand?.roles.some(({ shapes }) => shapes.length > 0);
    if (wanted && leader.callsOf('ACCEPT').length > 0) leader.send(offers('o3'));
    for (const { taskId } of call?.accept?.operations.flatMap(({ launch }) => launch?.taskInfos ?? []) ?? []) {
      for (const state of statesOf(taskId.value)) leader.send(update(taskId.value, state, ++uuid));
    }
    return {};
  };
  t.teardown(async () => {
    leader.stop();
    await services.close();
  });
  const run = (options: HelloOptions) =>
    runHello({
      bus: network.connect('hello'),
      print: (line) => {
        lines.push(line);
        if (line.startsWith('registered as')) leader.send(offers('o1', 'o2'));
      },
      ...options,
    });
  return { leader, network, lines, run };
}

test('hello launches its tasks where there is room and ends when all have finished', async (t) => {
  const { leader, lines, run } = setUp(t, () => ['TASK_RUNNING', 'TASK_FINISHED']);
  await run({ tasks: 4, mem: 512 });
  const perAgent = leader.callsOf('ACCEPT').map(({ call }) => call?.accept?.operations[0]?.launch?.taskInfos.length);
  t.deepEqual(perAgent, [2, 2]);
  t.true(lines.includes('hello-1  TASK_RUNNING  host-1/o1'));
  t.true(lines.includes('hello-1  sandbox /sandboxes/t'));
  t.is(lines.at(-1), 'all 4 tasks have finished');
  t.is(leader.callsOf('TEARDOWN').length, 1);
});

test('hello fails with the name of a task that did not finish', async (t) => {
  const { run } = setUp(t, () => ['TASK_RUNNING', 'TASK_FAILED']);
  await t.throwsAsync(run({ tasks: 1 }), { instanceOf: HelloError, message: /hello-1 ended as TASK_FAILED/ });
});

test('hello runs a dropped task again under another id', async (t) => {
  const { leader, lines, run } = setUp(t, (id) => (id === 'hello-1' ? ['TASK_DROPPED'] : ['TASK_FINISHED']));
  await run({ tasks: 2 });
  t.is(leader.callsOf('ACCEPT').length, 2);
  t.true(lines.includes('hello-1-again  TASK_FINISHED  host-1/o3'));
});

test('hello gives up when no offer holds a task, and says what there was', async (t) => {
  const { run } = setUp(t, () => []);
  await t.throwsAsync(run({ cpus: 64, offerTimeoutMs: 200 }), { instanceOf: HelloError, message: /cpus:4;mem:1024/ });
});

test('hello gives up when no master answers', async (t) => {
  const options = { bus: createMemoryNetwork().connect('hello'), offerTimeoutMs: 200, print: () => {} };
  await t.throwsAsync(runHello(options), { instanceOf: HelloError, message: /No master has answered/ });
});

/** An executor that does not hear the first question, and whose tasks come to the given state when they may go. */
function withExecutor(t: ExecutionContext, last: State) {
  const { leader, network, lines } = setUp(t, () => ['TASK_RUNNING']);
  const launch = leader.answer;
  const heard: string[] = [];
  leader.answer = (one) => {
    const said = one.call?.message;
    if (!said) return launch(one);
    const words = Buffer.from(said.data).toString();
    heard.push(words);
    if (words === 'How are you?' && heard.length > 1) leader.send(message('agent-of-o1', 'greeter', 'we are well'));
    if (words === 'You may go') for (const id of [1, 2, 3]) leader.send(update(`hello-${id}`, last, 100 + id));
    return {};
  };
  const run = (options: HelloOptions = {}) =>
    runHelloWithExecutor({
      bus: network.connect('hello'),
      print: (line) => {
        lines.push(line);
        if (line.startsWith('registered as')) leader.send(offers('o1'));
      },
      ...options,
    });
  return { leader, lines, heard, run };
}

test('hello with an executor launches all in one, asks until it is answered, and lets them go', async (t) => {
  const { leader, lines, heard, run } = withExecutor(t, 'TASK_FINISHED');
  await run();
  const [accept, ...more] = leader.callsOf('ACCEPT');
  t.deepEqual(more, []);
  const tasks = accept?.call?.accept?.operations[0]?.launch?.taskInfos ?? [];
  t.deepEqual(
    tasks.map(({ taskId, executor, command }) => [taskId.value, executor?.executorId.value, command]),
    ['hello-1', 'hello-2', 'hello-3'].map((id) => [id, 'greeter', null]),
  );
  t.deepEqual(heard.slice(0, 3), ['How are you?', 'How are you?', 'You may go']);
  t.true(lines.includes('greeter says: we are well'));
  t.is(lines.at(-1), 'all 3 tasks have finished');
});

test('hello with an executor fails with a task that did not finish, or when nothing is heard', async (t) => {
  const { run } = withExecutor(t, 'TASK_FAILED');
  await t.throwsAsync(run(), { instanceOf: HelloError, message: /hello-\d ended as TASK_FAILED/ });
  const options = { bus: createMemoryNetwork().connect('hello'), offerTimeoutMs: 200, print: () => {} };
  await t.throwsAsync(runHelloWithExecutor(options), { instanceOf: HelloError, message: /Nothing was heard/ });
});
