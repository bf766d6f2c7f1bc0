import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { TaskStories } from '../../src/operator/task-history.ts';

const { TaskState } = mesos.v1;
const key = { frameworkId: 'f1', taskId: 't1' };

function fact(writtenAtMs: number, record: mesobus.v1.Record.$Properties): mesobus.v1.TaskFact {
  return new mesobus.v1.TaskFact({
    logIndex: writtenAtMs / 10,
    writtenAtMs,
    record: encode(mesobus.v1.Record, record),
  });
}

const launched = (commandNumber: number, acceptedAtMs: number) => ({
  frameworkId: 'f1',
  agentId: 'S0',
  task: { name: 't1', taskId: { value: 't1' }, agentId: { value: 'S0' } },
  commandNumber,
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  offeredAtMs: acceptedAtMs - 20,
  acceptedAtMs,
  roundMs: 3,
  decidedToOfferedMs: 2,
});
const launch = (commandNumber: number, acceptedAtMs: number): mesobus.v1.Record.$Properties => ({
  taskLaunched: launched(commandNumber, acceptedAtMs),
});

interface Said {
  readonly state: mesos.v1.TaskState;
  readonly atMs: number;
}

function changed(commandNumber: number, updateNumber: number, acknowledgedNumber: number, said?: Said) {
  const uuid = new Uint8Array(16).fill(updateNumber);
  const status = said && { taskId: { value: 't1' }, state: said.state, timestamp: said.atMs / 1_000, uuid };
  const state = said?.state ?? TaskState.TASK_RUNNING;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber };
  return { task: key, ...numbers, state, changedAtMs: (said?.atMs ?? 0) + 5, ...(status && { status }) };
}
const change = (...of: Parameters<typeof changed>): mesobus.v1.Record.$Properties => ({ taskChanged: changed(...of) });

test('the records of a launch are its story: offer, commit, states with their acknowledgements, kills, the end', (t) => {
  const stories = new TaskStories();
  stories.add(fact(1_000, launch(1, 990)));
  stories.add(fact(1_100, change(1, 1, 0, { state: TaskState.TASK_RUNNING, atMs: 1_090 })));
  stories.add(fact(1_200, change(1, 1, 1)));
  const command = { number: 2, killTask: { task: key } };
  stories.add(fact(1_300, { commandIssued: { agentId: 'S0', command, issuedAtMs: 1_290, principal: 'ops' } }));
  stories.add(fact(1_400, change(1, 2, 1, { state: TaskState.TASK_KILLED, atMs: 1_390 })));
  stories.add(fact(1_500, { taskRemoved: { task: key, commandNumber: 1 } }));
  const [story] = stories.all();
  t.like(story, {
    traceId: 'a'.repeat(32),
    allocation: { beganAtMs: 965, decidedAtMs: 968 },
    offeredAtMs: 970,
    acceptedAtMs: 990,
    committed: { atMs: 1_000, logIndex: 100 },
    kills: [{ atMs: 1_290, principal: 'ops', why: '' }],
    removedAtMs: 1_500,
  });
  t.deepEqual(
    story?.updates.map(({ status: { state }, saidAtMs, takenAtMs, acknowledgedAtMs }) => ({
      ...{ state, saidAtMs, takenAtMs, acknowledgedAtMs },
    })),
    [
      { state: 'TASK_RUNNING', saidAtMs: 1_090, takenAtMs: 1_095, acknowledgedAtMs: 1_200 },
      { state: 'TASK_KILLED', saidAtMs: 1_390, takenAtMs: 1_395, acknowledgedAtMs: undefined },
    ],
  );
});

test('a task id that was used again is another story, and what is older than its launch is in none', (t) => {
  const stories = new TaskStories();
  stories.add(fact(900, change(1, 9, 0, { state: TaskState.TASK_FINISHED, atMs: 890 })));
  stories.add(fact(1_000, launch(1, 990)));
  stories.add(fact(2_000, launch(5, 1_990)));
  stories.add(fact(2_100, change(1, 3, 0, { state: TaskState.TASK_FAILED, atMs: 2_090 })));
  stories.add(fact(2_200, change(5, 1, 0, { state: TaskState.TASK_RUNNING, atMs: 2_190 })));
  t.deepEqual(
    stories.all().map(({ updates }) => updates.map(({ status }) => status.state)),
    [[], ['TASK_RUNNING']],
  );
});

test('what the ledger has is added to the history, or stands alone where that has nothing any more', (t) => {
  const latest = changed(1, 1, 1, { state: TaskState.TASK_RUNNING, atMs: 1_090 });
  const view = decode(mesobus.v1.TaskView, encode(mesobus.v1.TaskView, { launched: launched(1, 990), latest }));
  const alone = new TaskStories();
  alone.addLedger(view);
  const [story] = alone.all();
  t.is(story?.committed, undefined);
  t.is(story?.updates[0]?.status.state, 'TASK_RUNNING');
  const both = new TaskStories();
  both.add(fact(1_000, launch(1, 990)));
  both.addLedger(view);
  t.is(both.all().length, 1);
  t.is(both.all()[0]?.updates.length, 1);
});
