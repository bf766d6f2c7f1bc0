import type { TaskSummary } from '@mesobus/sdk/operator';
import type { TaskState } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { findByPrefix } from '../src/find-by-prefix.ts';
import { findTask } from '../src/find-task.ts';

const find = (wanted: string, ids: readonly string[]): string =>
  findByPrefix('agent', wanted, ids, (id) => [id], 'mesobus agents');

test('an id that is written in full wins over longer ones that begin with it', (t) => {
  t.is(find('agent-1', ['agent-10', 'agent-1']), 'agent-1');
});

test('the beginning of an id will do if only one begins so', (t) => {
  t.is(find('b', ['agent-1', 'bgent-2']), 'bgent-2');
});

test('a beginning of several ids is refused with the ids', (t) => {
  t.throws(() => find('agent', ['agent-1', 'agent-2']), {
    message: "Cannot tell which agent is meant by 'agent': agent-1, agent-2; write more of it",
  });
});

test('of many that begin so only some are shown', (t) => {
  const ids = Array.from({ length: 9 }, (_, index) => `x${index}`);
  t.throws(() => find('x', ids), { message: /x0, x1, x2, x3, x4 and 4 more/ });
});

test('an id that nothing begins with is refused with the command that lists them', (t) => {
  t.throws(() => find('c', ['agent-1']), { message: "Cannot find agent 'c'; 'mesobus agents' lists what there is" });
});

function operatorWith(...tasks: readonly (readonly [string, string, TaskState])[]): Parameters<typeof findTask>[0] {
  const summaries = tasks.map(([frameworkId, id, state]) => ({ frameworkId, id, state }) as TaskSummary);
  return {
    async *tasks() {
      yield* summaries;
    },
  };
}

async function found(wanted: string, ...tasks: readonly (readonly [string, string, TaskState])[]): Promise<string> {
  const task = await findTask(operatorWith(...tasks), wanted, { includeEnded: true });
  return `${task.frameworkId}/${task.id}`;
}

test('a task that lives goes before one of the same id that has ended', async (t) => {
  t.is(await found('sleep', ['f1', 'sleep', 'TASK_FINISHED'], ['f2', 'sleep', 'TASK_RUNNING']), 'f2/sleep');
});

test('an exact id that has ended goes before a longer one that lives', async (t) => {
  t.is(await found('sleep', ['f1', 'sleep', 'TASK_FINISHED'], ['f2', 'sleep-2', 'TASK_RUNNING']), 'f1/sleep');
});

test('the framework tells tasks of one id apart, and beginnings of both will do', async (t) => {
  const tasks = [
    ['aa-1', 'sleep', 'TASK_RUNNING'],
    ['bb-2', 'sleep', 'TASK_RUNNING'],
  ] as const;
  t.is(await found('bb/sl', ...tasks), 'bb-2/sleep');
  await t.throwsAsync(found('sleep', ...tasks), { message: /aa-1\/sleep, bb-2\/sleep/ });
});

test('a task that is not there is named as it was asked for', async (t) => {
  await t.throwsAsync(found('x/y', ['f1', 'sleep', 'TASK_RUNNING']), { message: /^Cannot find task 'x\/y'/ });
});
