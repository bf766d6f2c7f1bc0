import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { taskFactsIn } from '../src/core/task-history.ts';
import { isEndOfPull } from '../src/shell/read-history.ts';

const { TASK_RUNNING } = mesos.v1.TaskState;

const entryOf = (...records: mesobus.v1.Record.$Properties[]): Uint8Array =>
  encode(mesobus.v1.LogEntry, {
    index: 7,
    writtenAtMs: 1_000,
    records: records.map((record) => encode(mesobus.v1.Record, record)),
  });
const task = (taskId: string, frameworkId = 'f1') => ({ frameworkId, taskId });
const changed = (taskId: string, frameworkId = 'f1') => ({
  taskChanged: { task: task(taskId, frameworkId), commandNumber: 1, state: TASK_RUNNING },
});

function kindsIn(entry: Uint8Array, taskId: string, frameworkId = ''): string[] {
  return taskFactsIn(entry, { frameworkId, taskId }).map(({ record, logIndex, writtenAtMs }) => {
    const { fact } = decode(mesobus.v1.Record, record ?? new Uint8Array()) as { fact?: string };
    return `${fact} ${logIndex} ${writtenAtMs}`;
  });
}

test('launches, changes, removals and kills of a task are found, by the beginning of its id', (t) => {
  const info = { name: 't', taskId: { value: 'task-1' }, agentId: { value: 'S0' } };
  const entry = entryOf(
    { taskLaunched: { frameworkId: 'f1', agentId: 'S0', task: info } },
    changed('task-1'),
    { commandIssued: { agentId: 'S0', command: { number: 2, killTask: { task: task('task-1') } } } },
    { taskRemoved: { task: task('task-1'), commandNumber: 1 } },
    { commandsApplied: { agentId: 'task-1', cursor: 3 } },
  );
  const all = ['taskLaunched', 'taskChanged', 'commandIssued', 'taskRemoved'].map((kind) => `${kind} 7 1000`);
  t.deepEqual(kindsIn(entry, 'task-1'), all);
  t.deepEqual(kindsIn(entry, 'task'), all);
  t.deepEqual(kindsIn(entry, 'ask-1'), [], 'not by its middle');
});

test('tasks of other frameworks and other tasks are not found', (t) => {
  const entry = entryOf(changed('task-1', 'f1'), changed('task-1', 'f2'), changed('task-2', 'f1'));
  t.is(kindsIn(entry, 'task-1', 'f2').length, 1);
  t.is(kindsIn(entry, 'task-1').length, 2);
});

test('what is no entry of the log says nothing', (t) => {
  t.deepEqual(kindsIn(Buffer.from('task-1'), 'task-1'), []);
});

const statuses = [
  [404, 'No Messages', true],
  [408, 'Request Timeout', true],
  [409, 'Message Size Exceeds MaxBytes', true],
  [409, 'Consumer Deleted', false],
  [409, 'Leadership Change', false],
  [503, '', false],
] as const;
for (const [code, description, isEnd] of statuses) {
  test(`${code} '${description}' ${isEnd ? 'is an end of what stands there' : 'does not pass for the end of the history'}`, (t) => {
    t.is(isEndOfPull(code, description), isEnd);
  });
}
