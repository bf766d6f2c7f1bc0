// `mesobus trace` tells what became of a task from the log and its history alone: nothing is traced here.
import test, { type ExecutionContext } from 'ava';
import { clusterFor, envOf, eventually, mesobus, operatorFor, runOne } from './in-cluster.ts';

interface Branch {
  readonly name: string;
  readonly atMs: number;
  readonly detail: string;
  readonly below: readonly Branch[];
}
interface Told {
  readonly taskId: string;
  readonly frameworkId: string;
  readonly traceId: string;
  readonly jaeger?: string;
  readonly tree: Branch;
}

const flat = (tree: Branch): Branch[] => [tree, ...tree.below.flatMap(flat)];

async function told(
  t: ExecutionContext,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<Told | undefined> {
  const { stdout, stderr, exitCode } = await mesobus(t, ['trace', ...args, '--json'], env);
  if (exitCode !== 0) t.log(stderr);
  return exitCode === 0 ? JSON.parse(stdout) : undefined;
}

test.serial('a task is told of from offer to end, while the ledger has it and after it has left', async (t) => {
  t.timeout(120_000);
  const argsOf = (name: string) => (name === 'master' ? ['--max-completed-tasks-per-framework', '0'] : []);
  const cluster = await clusterFor(t, { argsOf });
  const env = envOf(cluster);
  const operator = await operatorFor(t, cluster);
  const { scheduler, statuses } = await runOne(t, cluster, { id: 'long-lived', command: 'exec sleep 1000' });
  await statuses.find(({ state }) => state === 'TASK_RUNNING');
  const frameworkId = scheduler.frameworkId ?? '';
  const running = await told(t, { ...env, MESOBUS_JAEGER_URL: 'http://jaeger:16686/' }, ['long']);
  t.is(running?.taskId, 'long-lived');
  t.regex(running?.traceId ?? '', /^[\da-f]{32}$/);
  t.is(running?.jaeger, `http://jaeger:16686/trace/${running?.traceId}`);

  await operator.killTask({ frameworkId, taskId: 'long-lived' });
  await statuses.find(({ state }) => state === 'TASK_KILLED');
  const hasLeft = (it: Told | undefined): boolean =>
    it !== undefined && flat(it.tree).some(({ name }) => name === 'forgotten');
  const whole = await eventually(() => told(t, env, [`${frameworkId}/long-lived`]), hasLeft);
  for await (const { id } of operator.tasks({ includeEnded: true })) t.not(id, 'long-lived');
  const branches = whole === undefined ? [] : flat(whole.tree);
  const names = branches.map(({ name }) => name);
  t.deepEqual(
    names.filter((name) => name !== 'taken' && name !== 'acknowledged'),
    [
      'allocate',
      'offer',
      'accept',
      'commit',
      'TASK_STARTING',
      'TASK_RUNNING',
      'kill',
      'TASK_KILLING',
      'TASK_KILLED',
      'forgotten',
    ],
  );
  t.is(names.filter((name) => name === 'acknowledged').length, 4);
  t.is(branches.find(({ name }) => name === 'kill')?.detail, "by 'default'");
  t.is(whole?.traceId, running?.traceId);
  const { stderr, exitCode } = await mesobus(t, ['trace', 'nobody'], env);
  t.is(exitCode, 1);
  t.regex(stderr, /Cannot find task 'nobody': the ledger has none, nor the history since .*; say --since/);
});
