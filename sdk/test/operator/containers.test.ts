import { type mesobus, mesos } from '@mesobus/protos';
import { type Bus, createMemoryNetwork, subjectsOf } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import test, { type ExecutionContext } from 'ava';

type Request = mesobus.v1.SessionRequest;
type Reply = mesobus.v1.SessionReply.$Properties;

const subjects = subjectsOf('main');
const task = { frameworkId: 'F', taskId: 't1' };
const encoder = new TextEncoder();

/** A cluster with one agent, whose task may be known to the registry. */
async function setUp(t: ExecutionContext, isKnown = true): Promise<{ services: Bus; operator: Operator }> {
  const network = createMemoryNetwork();
  const services = network.connect('services');
  const taskView = {
    launched: { frameworkId: 'F', agentId: 'A', task: { name: 't', taskId: { value: 't1' }, agentId: { value: 'A' } } },
    latest: { state: mesos.v1.TaskState.TASK_RUNNING },
  };
  const agents = ['a1', 'a2'].map((agentName) => ({ agent: { agentId: 'A', agentName } }));
  services.serve(subjects.registryQuery.any, (delivery) => {
    if (delivery.message.getTasks) delivery.reply({ tasks: { tasks: isKnown ? [taskView] : [] } });
    else delivery.reply({ agents: { agents } });
  });
  const operator = await connectOperator({ bus: network.connect('operator'), timeoutMs: 2_000 });
  t.teardown(() => operator.close());
  t.teardown(() => services.close());
  return { services, operator };
}

/** An agent that answers sessions as the test says; gives all that it was asked. */
function serve(services: Bus, answer: (request: Request) => Reply | RefusedError): Request[] {
  const requests: Request[] = [];
  services.serve(subjects.agentExec('a1').any, (delivery) => {
    requests.push(delivery.message);
    const reply = answer(delivery.message);
    if (reply instanceof RefusedError) delivery.refuse(reply);
    else delivery.reply(reply);
  });
  return requests;
}

test('the output of a command comes in order, a piece that comes twice once, and at its end how it ended', async (t) => {
  const { services, operator } = await setUp(t);
  const pieces: mesobus.v1.OutputPiece.$Properties[] = [
    { number: 1, stdout: encoder.encode('out') },
    { number: 0 },
    { number: 1, stdout: encoder.encode('out') },
    { number: 2, stderr: encoder.encode('errors'), end: { status: 3 << 8 } },
  ];
  const requests = serve(services, ({ read }) => (read ? { output: pieces.shift() ?? {} } : { done: {} }));
  const session = await operator.exec(task, { command: ['ls', '-l'], environment: { A: 'b' } });
  const output = session.output();
  const seen: string[] = [];
  for (;;) {
    const next = await output.next();
    if (next.done) {
      t.deepEqual(next.value, { kind: 'exited', exitCode: 3 });
      break;
    }
    seen.push(`${next.value.stream} ${Buffer.from(next.value.data).toString()}`);
  }
  t.deepEqual(seen, ['stdout out', 'stderr errors']);
  t.like(requests[0]?.start, { argv: ['ls', '-l'], environment: { A: 'b' }, interactive: false, terminal: null });
  t.deepEqual(
    requests.flatMap(({ read }) => (read ? [read.received] : [])),
    [0, 1, 1, 1],
  );
  await session.close();
  t.truthy(requests.at(-1)?.close);
  t.is(new Set(requests.map(({ sessionId }) => sessionId)).size, 1);
});

test('input goes in numbered pieces, each again until it is taken, in the order in which it was given', async (t) => {
  const { services, operator } = await setUp(t);
  let refusals = 2;
  const requests = serve(services, ({ write }) => {
    if (!write) return { done: {} };
    const isTaken = write.number !== 2 || refusals-- <= 0;
    return { input: { number: isTaken ? write.number : write.number - 1 } };
  });
  await using session = await operator.exec(task, { command: ['cat'], interactive: true });
  await Promise.all([
    session.write(new Uint8Array(65_536 + 10)),
    session.write(encoder.encode('x')),
    session.endInput(),
  ]);
  const writes = requests.flatMap(({ write }) => (write ? [[write.number, write.data.length, write.end]] : []));
  t.deepEqual(writes, [
    [1, 65_536, false],
    [2, 10, false],
    [2, 10, false],
    [2, 10, false],
    [3, 1, false],
    [4, 0, true],
  ]);
});

test('a session that its agent does not know any more ends with that', async (t) => {
  const { services, operator } = await setUp(t);
  serve(services, ({ read }) => (read ? new RefusedError('session_unknown', 's') : { done: {} }));
  await using session = await operator.exec(task, { command: ['ls'] });
  await t.throwsAsync(session.output().next(), { instanceOf: RefusedError, message: /start another one/ });
});

test('a command that a signal ended, or that never ran, says so', async (t) => {
  const { services, operator } = await setUp(t);
  const ends = [{ status: 9 }, { failure: 'no such file' }];
  serve(services, ({ read }) => (read ? { output: { number: 1, end: ends.shift() ?? {} } } : { done: {} }));
  for (const end of [
    { kind: 'signalled', signal: 'SIGKILL', number: 9 },
    { kind: 'failed', message: 'no such file' },
  ]) {
    await using session = await operator.exec(task, { command: ['x'] });
    const { value } = await session.output().next();
    t.deepEqual(value as unknown, end);
  }
});

test('the sandbox of a task that the cluster has forgotten is found on the agent that still has it', async (t) => {
  const { services, operator } = await setUp(t, false);
  const entries = [{ name: 'stdout', size: 5 }];
  services.serve(subjects.agentFiles('a1').any, (delivery) => delivery.refuse(new RefusedError('path_unknown', 't1')));
  services.serve(subjects.agentFiles('a2').any, (delivery) => delivery.reply({ list: { directory: '/x', entries } }));
  t.is((await operator.files.list(task)).entries[0]?.name, 'stdout');
  const elsewhere = await setUp(t, false);
  await t.throwsAsync(elsewhere.operator.files.list(task), { instanceOf: RefusedError, message: /no such task/ });
});

test('a file is followed by its identity, so that what was rotated away is read too', async (t) => {
  const { services, operator } = await setUp(t);
  const asked: string[] = [];
  services.serve(subjects.agentFiles('a1').any, (delivery) => {
    const { offset = 0, fileId = '' } = delivery.message.read ?? {};
    asked.push(`${fileId}:${offset}`);
    const answers: Record<string, mesobus.v1.FileData.$Properties> = {
      ':0': { fileId: 'old', offset: 0, data: encoder.encode('one') },
      'old:3': { fileId: 'new', offset: 0, data: encoder.encode('two') },
    };
    delivery.reply({ data: answers[asked.at(-1) ?? ''] ?? { fileId, offset, ended: true } });
  });
  let text = '';
  for await (const piece of operator.files.follow(task, 'stdout')) text += Buffer.from(piece).toString();
  t.is(text, 'onetwo');
  t.deepEqual(asked, [':0', 'old:3', 'new:3']);
});

test('what containers use reads as plain values, and what was not measured is absent', async (t) => {
  const { services, operator } = await setUp(t);
  services.serve(subjects.agentUsage('a1').any, (delivery) =>
    delivery.reply({
      measuredAtMs: 5_000,
      containers: [
        { containerId: 'c', taskIds: ['t1'], measuredAtMs: 4_000, cpuSeconds: 1.5, memoryBytes: 7, paused: true },
      ],
      machine: { cpus: 2, load: 0.5 },
    }),
  );
  const { containers, machine, measuredAt } = await operator.usage('a1');
  t.is(measuredAt.getTime(), 5_000);
  t.like(containers[0], { containerId: 'c', taskIds: ['t1'], cpuSeconds: 1.5, memoryBytes: 7, paused: true });
  t.false('processes' in (containers[0] ?? {}));
  t.like(machine, { cpus: 2, load: 0.5 });
});
