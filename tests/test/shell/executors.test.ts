// Frameworks bring executors of their own: tasks share one, it talks with its scheduler, and it outlives its agent.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import type { Task, TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { runHelloWithExecutor } from '../../../frameworks/hello/src/with-executor.ts';
import { clusterFor, connectionOf, Happenings, isAlive, schedulerFor } from './in-cluster.ts';

const alive = (pid: number): boolean => isAlive(pid, (of) => readFileSync(`/proc/${of}/stat`, 'utf8'));

/** A machine with other work on it takes its time. */
const patient = { restart: false, env: { MESOBUS_EXECUTOR_REREGISTRATION_TIMEOUT: '30secs' } };

/** Three tasks in one executor, all running, and what is heard of them. */
async function threeTasks(t: ExecutionContext, cluster: LocalCluster, program: string) {
  const statuses = new Happenings<TaskStatus>();
  const answers = new Happenings<string>();
  const ends = new Happenings<number>();
  const executor = {
    id: 'own',
    command: { argv: [process.execPath, '--conditions=mesobus-source', program] as const },
    resources: { cpus: 0.1, mem: 64 },
  };
  const resources = { cpus: 0.1, mem: 32 };
  let waiting: Task[] = ['t1', 't2', 't3'].map((id) => ({ id, executor, resources }));
  const scheduler = await schedulerFor(
    t,
    cluster,
    { name: t.title },
    {
      place() {
        const tasks = waiting;
        waiting = [];
        return tasks;
      },
      statusUpdate: statuses.note,
      frameworkMessage: (_agentId, _executorId, data) => answers.note(Buffer.from(data).toString()),
      executorLost: (_agentId, _executorId, status) => ends.note(status),
    },
  );
  let agentId = '';
  for (const id of ['t1', 't2', 't3']) {
    const first = await statuses.find(({ taskId }) => taskId === id);
    t.is(first.state, 'TASK_RUNNING', first.message);
    t.is(first.executorId, 'own');
    agentId = first.agentId as string;
  }
  /** Says something until it is answered: messages may be lost. @returns the answer */
  const talk = async (words: string): Promise<string> => {
    const say = () => void scheduler.sendMessage(agentId, 'own', Buffer.from(words)).catch(() => undefined);
    say();
    const again = setInterval(say, 500);
    try {
      return (await answers.find((answer) => answer.startsWith(`${words}: `))).slice(words.length + 2);
    } finally {
      clearInterval(again);
    }
  };
  const states = (id: string): string[] =>
    statuses.seen
      .filter(({ taskId }) => taskId === id)
      .map(({ state, message }) => [state, message].filter((part) => part !== '').join(' '));
  return { scheduler, agentId, statuses, ends, talk, states };
}

for (const [what, url] of [
  ['on the SDK', new URL('talking-executor.ts', import.meta.url)],
  ['that knows Mesos alone', new URL('plain-executor.ts', import.meta.url)],
] as const) {
  test.serial(
    `an executor ${what} talks with its scheduler of its three tasks, across kill -9 of its agent`,
    async (t) => {
      t.timeout(180_000);
      const cluster = await clusterFor(t, patient);
      const { scheduler, agentId, statuses, ends, talk, states } = await threeTasks(t, cluster, fileURLToPath(url));
      const before = await talk('before');
      t.regex(before, /^t1,t2,t3 in \d+$/);
      const pid = Number(before.split(' ').at(-1));
      await cluster.kill('agent-1', 'SIGKILL');
      t.true(alive(pid), 'the executor outlives its agent');
      await cluster.restart('agent-1');
      t.is(await talk('after'), before, 'it is the same one, with the same tasks');

      await talk('finish');
      for (const id of ['t1', 't2', 't3']) {
        await statuses.find(({ taskId, state }) => taskId === id && state === 'TASK_FINISHED');
        t.deepEqual(
          states(id),
          ['TASK_RUNNING', 'TASK_RUNNING all alone', 'TASK_FINISHED'],
          'nothing is lost or doubled',
        );
      }
      t.true(alive(pid), 'it stays for further tasks');
      await scheduler.shutdownExecutor(agentId, 'own');
      t.is(await ends.find(() => true), 7 << 8, 'it has ended as it wanted to');
      t.false(alive(pid));
    },
  );
}

test.serial('hello runs its tasks in an executor of its own', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t);
  const lines: string[] = [];
  await runHelloWithExecutor({ ...connectionOf(cluster), print: (line) => lines.push(line) });
  t.true(lines.some((line) => /^greeter says: hello-1, hello-2, hello-3 are well in process \d+$/.test(line)));
  t.is(lines.at(-1), 'all 3 tasks have finished');
});
