import { resources } from '@mesobus/sdk/resources';
import type { TaskState } from '@mesobus/sdk/scheduler';
import test from 'ava';
import fc from 'fast-check';
import { requestOf } from '../src/commands/run-command.ts';
import { exitCodeOf } from '../src/one-shot/exit-code.ts';
import { howManyFit } from '../src/one-shot/how-many-fit.ts';
import { LinePrefix } from '../src/one-shot/line-prefix.ts';
import { type BookedStatus, TaskBook } from '../src/one-shot/task-book.ts';

const outcomes: readonly (readonly [TaskState, string, number])[] = [
  ['TASK_FINISHED', 'Command exited with status 0', 0],
  ['TASK_FAILED', 'Command exited with status 3', 3],
  ['TASK_FAILED', 'Command terminated with signal SIGKILL', 137],
  ['TASK_KILLED', 'Command terminated with signal SIGTERM', 143],
  ['TASK_FAILED', 'The task ran longer than its limit: Command terminated with signal SIGTERM', 143],
  ['TASK_FAILED', 'Command terminated with signal SIG35', 163],
  ['TASK_KILLED', 'Command exited with status 0', 1],
  ['TASK_FAILED', 'Failed to start the command: ENOENT', 1],
  ['TASK_GONE', '', 1],
];
for (const [state, message, code] of outcomes) {
  test(`${state} with '${message}' gives exit code ${code}`, (t) => {
    t.is(exitCodeOf({ state, message }), code);
  });
}

const each = resources({ cpus: 0.1, mem: 32 });

test('so many tasks fit as the scarcest resource allows', (t) => {
  t.is(howManyFit(resources({ cpus: 1, mem: 100 }), each, 200), 3);
  t.is(howManyFit(resources({ cpus: 0.3, mem: 1000 }), each, 200), 3);
  t.is(howManyFit(resources({ cpus: 0.09, mem: 1000 }), each, 200), 0);
});

test('no more fit than are wanted', (t) => {
  t.is(howManyFit(resources({ cpus: 100, mem: 10_000 }), each, 7), 7);
});

const status = (taskId: string, state: TaskState, message = ''): BookedStatus => {
  const ended = !['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING', 'TASK_UNREACHABLE'].includes(state);
  return { taskId, state, message, ended, agentId: 'a1' };
};

test('one task has the name, several have it with a number', (t) => {
  t.deepEqual(new TaskBook('x', 1).take(1), [{ taskId: 'x', name: 'x' }]);
  t.deepEqual(
    new TaskBook('x', 2).take(5).map(({ taskId }) => taskId),
    ['x-1', 'x-2'],
  );
});

test('all is done when every task has ended, and the worst exit code counts', (t) => {
  const book = new TaskBook('x', 3);
  book.take(3);
  book.note(status('x-1', 'TASK_FINISHED'));
  book.note(status('x-2', 'TASK_FAILED', 'Command exited with status 9'));
  t.false(book.done);
  t.deepEqual(book.live, ['x-3']);
  book.note(status('x-3', 'TASK_FAILED', 'Command exited with status 2'));
  t.true(book.done);
  t.is(book.exitCode, 9);
  t.deepEqual(
    [...book.endStates],
    [
      ['TASK_FINISHED', 1],
      ['TASK_FAILED', 2],
    ],
  );
});

test('a status that comes again, or after the end, counts once', (t) => {
  const book = new TaskBook('x', 1);
  book.take(1);
  t.is(book.note(status('x', 'TASK_RUNNING')), 'news');
  t.is(book.note(status('x', 'TASK_RUNNING')), 'nothing');
  t.is(book.note(status('x', 'TASK_FINISHED')), 'news');
  t.is(book.note(status('x', 'TASK_FAILED')), 'nothing');
  t.is(book.exitCode, 0);
  t.deepEqual([...book.endStates], [['TASK_FINISHED', 1]]);
});

test('a launch that was dropped is tried again under an id that was never used', (t) => {
  const book = new TaskBook('x', 1);
  book.take(1);
  t.is(book.note(status('x', 'TASK_DROPPED')), 'again');
  t.is(book.pending, 1);
  t.deepEqual(book.take(1), [{ taskId: 'x.1', name: 'x' }]);
  t.is(book.nameOf('x.1'), 'x');
  t.is(book.note(status('x', 'TASK_FINISHED')), 'nothing');
  book.note(status('x.1', 'TASK_FINISHED'));
  t.true(book.done);
});

test('a launch that is dropped again and again fails in the end', (t) => {
  const book = new TaskBook('x', 1);
  let tries = 0;
  while (!book.done) {
    const [task] = book.take(1);
    book.note(status(task?.taskId ?? '', 'TASK_DROPPED'));
    tries += 1;
  }
  t.is(tries, 21);
  t.is(book.exitCode, 1);
});

test('what is given up before its launch ends in no state', (t) => {
  const book = new TaskBook('x', 3);
  book.take(1);
  book.dropPending();
  t.false(book.done);
  book.note(status('x-1', 'TASK_KILLED'));
  t.true(book.done);
  t.deepEqual([...book.endStates], [['TASK_KILLED', 1]]);
});

test('lines get their prefix and lose nothing, wherever the pieces are cut', (t) => {
  const law = fc.property(fc.string({ unit: fc.constantFrom('a', 'é', '\n') }), fc.array(fc.nat(8)), (text, cuts) => {
    const bytes = Buffer.from(text);
    const lines = new LinePrefix('> ');
    const out: Uint8Array[] = [];
    let from = 0;
    for (const cut of cuts) {
      out.push(lines.push(bytes.subarray(from, from + cut)));
      from = Math.min(from + cut, bytes.length);
    }
    out.push(lines.push(bytes.subarray(from)), lines.end());
    const whole = text === '' || text.endsWith('\n') ? text : `${text}\n`;
    const expected = whole.replaceAll(/^(?=[\s\S])/gm, '> ');
    if (Buffer.concat(out).toString() !== expected) throw new Error(JSON.stringify({ text, cuts, expected }));
  });
  t.notThrows(() => fc.assert(law));
});

const flags = { cpus: 0.1, mem: 32, count: 1, role: '*', prefix: true };

test('tasks are named after the program unless told otherwise, with what may stand in an id', (t) => {
  t.is(requestOf(['/usr/bin/sleep', '5'], flags).name, 'sleep');
  t.is(requestOf(['echo hello; ls'], flags).name, 'echo');
  t.is(requestOf(['sleep'], { ...flags, name: 'a/b c' }).name, 'a-b-c');
  t.is(requestOf(['..'], flags).name, 'task');
});

test('lines of output have a prefix for people, and none in JSON, which names the task itself', (t) => {
  t.true(requestOf(['true'], flags).prefix);
  t.false(requestOf(['true'], { ...flags, json: true }).prefix);
});
