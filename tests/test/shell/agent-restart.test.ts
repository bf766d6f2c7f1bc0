// A killed agent finds its tasks again and misses no exit.
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, firstLine, isAlive, operatorFor, runOne } from './in-cluster.ts';

const alive = (pid: number): boolean => isAlive(pid, (of) => readFileSync(`/proc/${of}/stat`, 'utf8'));

/** A running task that wrote its pid into its sandbox; its agent stays down when it is killed. */
async function napping(t: ExecutionContext) {
  const cluster = await clusterFor(t, { restart: false });
  const operator = await operatorFor(t, cluster);
  const { scheduler, statuses } = await runOne(t, cluster, { id: 'nap', command: 'echo $$; exec sleep 600' });
  const running = await statuses.find(({ state }) => state === 'TASK_RUNNING');
  const pid = Number(
    await firstLine(operator, { frameworkId: scheduler.frameworkId as string, taskId: 'nap' }, 'stdout'),
  );
  return { cluster, operator, scheduler, statuses, running, pid };
}

test.serial(
  'an agent that is killed and started again keeps its id and its running task, and can still kill it',
  async (t) => {
    t.timeout(120_000);
    const { cluster, operator, scheduler, statuses, running, pid } = await napping(t);
    await cluster.kill('agent-1', 'SIGKILL');
    t.true(alive(pid), 'the task outlives its agent');
    await cluster.restart('agent-1');
    const [agent] = await operator.agents();
    t.is(agent?.id, running.agentId);
    t.true(alive(pid), 'the same process still runs');

    await scheduler.kill('nap', { gracePeriodMs: 2_000 });
    const killed = await statuses.find(({ ended }) => ended);
    t.is(killed.state, 'TASK_KILLED');
    t.false(alive(pid));
  },
);

test.serial('a task that ends while its agent is away is reported when it is back', async (t) => {
  t.timeout(120_000);
  const { cluster, statuses, pid } = await napping(t);
  await cluster.kill('agent-1', 'SIGKILL');
  process.kill(pid, 'SIGTERM');
  await cluster.restart('agent-1');
  const ended = await statuses.find((status) => status.ended);
  t.is(ended.state, 'TASK_FAILED');
  t.regex(ended.message, /SIGTERM/);
});

test.serial('a task whose process is killed by hand fails with the signal', async (t) => {
  t.timeout(120_000);
  const { statuses, pid } = await napping(t);
  process.kill(pid, 'SIGKILL');
  const ended = await statuses.find((status) => status.ended);
  t.is(ended.state, 'TASK_FAILED');
  t.regex(ended.message, /SIGKILL/);
});

test.serial('updates of a task come in order and without gaps over a restart of the agent', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t, { restart: false });
  const { statuses } = await runOne(t, cluster, { id: 'short', command: 'sleep 1; exit 5' });
  await statuses.find(({ state }) => state === 'TASK_RUNNING');
  await cluster.kill('agent-1', 'SIGKILL');
  await cluster.restart('agent-1');
  const ended = await statuses.find((status) => status.ended);
  t.is(ended.state, 'TASK_FAILED');
  t.regex(ended.message, /5/);
  t.deepEqual(
    statuses.seen.map(({ state }) => state),
    ['TASK_STARTING', 'TASK_RUNNING', 'TASK_FAILED'],
  );
});
