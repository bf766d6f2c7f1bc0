// What people do with tasks that run: enter their containers, follow what they write, have them stand still, look at what they use.
import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import type { Operator, TaskKey } from '@mesobus/sdk/operator';
import type { TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import {
  clusterFor,
  envOf,
  eventually,
  firstLine,
  type Happenings,
  mesobus,
  operatorFor,
  runOne,
} from './in-cluster.ts';

const cliMain = fileURLToPath(import.meta.resolve('@mesobus/cli/main'));

interface Stage {
  readonly cluster: LocalCluster;
  readonly operator: Operator;
  readonly task: TaskKey;
  readonly statuses: Happenings<TaskStatus>;
}

/** A cluster in which one task runs. */
async function running(t: ExecutionContext, command: string, agentArgs: readonly string[] = []): Promise<Stage> {
  t.timeout(120_000);
  const argsOf = (name: string): readonly string[] => (name.startsWith('agent') ? agentArgs : []);
  const cluster = await clusterFor(t, { restart: false, argsOf });
  const operator = await operatorFor(t, cluster);
  const { scheduler, statuses } = await runOne(t, cluster, { id: 'task', command });
  await statuses.find(({ state }) => state === 'TASK_RUNNING');
  return { cluster, operator, statuses, task: { frameworkId: scheduler.frameworkId as string, taskId: 'task' } };
}

/** The `mesobus` command while it runs. */
class Running {
  stdout = '';
  stderr = '';
  readonly ended: Promise<{ readonly stdout: string; readonly stderr: string; readonly exitCode: number | null }>;
  readonly stdin: Writable;
  #wake = (): void => {};

  constructor(t: ExecutionContext, cluster: LocalCluster, args: readonly string[]) {
    const env = { ...process.env, ...envOf(cluster) };
    const child = spawn(process.execPath, ['--conditions=mesobus-source', cliMain, ...args], { env });
    t.teardown(() => void child.kill('SIGKILL'));
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
        this.#wake();
      });
    }
    this.stdin = child.stdin;
    this.ended = new Promise((resolve) =>
      child.once('close', (exitCode) => resolve({ stdout: this.stdout, stderr: this.stderr, exitCode })),
    );
  }

  async untilItSays(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function withInput(t: ExecutionContext, cluster: LocalCluster, args: readonly string[], input: string) {
  const command = new Running(t, cluster, args);
  command.stdin.end(input);
  const { stdout, exitCode } = await command.ended;
  return { stdout, exitCode };
}

/** Makes a file that the task waits for. */
async function touch(operator: Operator, task: TaskKey, file: string): Promise<void> {
  await using session = await operator.exec(task, { command: ['touch', file] });
  const output = session.output();
  while (!(await output.next()).done);
}

test.serial('a command is run in the container of a task, with its input, its output and its exit code', async (t) => {
  const { cluster } = await running(t, 'sleep 600');
  const env = envOf(cluster);
  const failing = await mesobus(
    t,
    ['exec', 'task', '--', 'sh', '-c', 'echo $MESOS_TASK_ID; echo bad >&2; exit 3'],
    env,
  );
  t.deepEqual(failing, { stdout: 'task\n', stderr: 'bad\n', exitCode: 3 });
  const input = `${'a line of input\n'.repeat(20_000)}the end\n`;
  const counted = await withInput(t, cluster, ['exec', '-i', 'task', '--', 'sh', '-c', 'wc -l; exit 5'], input);
  t.deepEqual(counted, { stdout: '20001\n', exitCode: 5 });
  const typed = await withInput(t, cluster, ['exec', '-it', 'task', 'sh'], 'stty size; exit 7\n');
  t.true(typed.stdout.includes('24 80'), typed.stdout);
  t.is(typed.exitCode, 7);
  const missing = await mesobus(t, ['exec', 'task', '/no/such/program'], env);
  t.is(missing.exitCode, 127);
  t.regex(missing.stderr, /Cannot run '\/no\/such\/program' in the container: no such file/);
});

test.serial('what a task writes is followed across rotations, without a gap', async (t) => {
  const wait = 'echo ready; while [ ! -e go ]; do sleep 0.05; done';
  const command = `${wait}; i=0; while [ $i -lt 100 ]; do seq -f "$i %08g" 1 600; i=$((i+1)); sleep 0.1; done`;
  const { cluster, operator, task } = await running(t, command, ['--container-log-max-size', '256KB']);
  const logs = new Running(t, cluster, ['logs', '-f', 'task']);
  await logs.untilItSays('ready\n');
  await touch(operator, task, 'go');
  const { stdout, exitCode } = await logs.ended;
  t.is(exitCode, 0);
  const numbers = Array.from({ length: 600 }, (_, index) => String(index + 1).padStart(8, '0'));
  const rounds = Array.from({ length: 100 }, (_, round) => numbers.map((number) => `${round} ${number}\n`).join(''));
  t.true(stdout === `ready\n${rounds.join('')}`, 'every line came, once and in order');
  const { entries } = await operator.files.list(task);
  t.true(
    entries.some(({ name }) => name === 'stdout.1'),
    'it was rotated',
  );
});

test.serial(
  'a task that is paused stands still while its agent is killed and started again, and goes on',
  async (t) => {
    const { cluster, operator, task, statuses } = await running(t, 'echo up; while :; do echo x; sleep 0.02; done');
    const env = envOf(cluster);
    await firstLine(operator, task, 'stdout');
    const size = async (): Promise<number> => (await operator.files.read(task, 'stdout')).sizeBytes;
    const grownAfter = async (ms: number): Promise<boolean> => {
      const before = await size();
      return (await eventually(size, (now) => now > before, ms)) > before;
    };
    t.true(await grownAfter(10_000));
    t.is((await mesobus(t, ['pause', 'task'], env)).exitCode, 0);
    await statuses.find(({ paused }) => paused);
    await grownAfter(200);
    t.false(await grownAfter(500));
    t.regex((await mesobus(t, ['ps'], env)).stdout, /TASK_RUNNING \(paused\)/);

    await cluster.kill('agent-1', 'SIGKILL');
    await cluster.restart('agent-1');
    t.false(await grownAfter(500));
    t.is((await mesobus(t, ['exec', 'task', 'true'], env)).exitCode, 1);
    t.is((await mesobus(t, ['resume', 'task'], env)).exitCode, 0);
    t.true(await grownAfter(10_000));
    await statuses.find((status) => status.message === 'The task goes on' && !status.paused);

    await operator.pauseTask(task);
    await eventually(
      async () => statuses.seen.at(-1)?.paused,
      (paused) => paused === true,
    );
    t.is((await mesobus(t, ['kill', 'task'], env)).exitCode, 0);
    t.is((await statuses.find(({ ended }) => ended)).state, 'TASK_KILLED');
    t.regex((await mesobus(t, ['pause', 'task'], env)).stderr, /task/);
  },
);

test.serial('top shows what a task that burns cpu uses, and its agent', async (t) => {
  const { cluster } = await running(t, 'while :; do :; done');
  const read = async () => JSON.parse((await mesobus(t, ['top', '--json'], envOf(cluster))).stdout);
  // How much it gets is the machine's affair: one that sleeps uses nothing at all.
  const { agents, tasks } = await eventually(read, (top) => top.tasks[0]?.cpus > 0 && top.tasks[0]?.diskBytes >= 0);
  t.like(tasks[0], { taskIds: ['task'], agentName: 'agent-1', paused: false, cpusGiven: 0.1 });
  t.true(tasks[0].memoryBytes > 0);
  t.is(tasks[0].memoryLimitBytes, 32 * 2 ** 20);
  t.true(agents[0].cpus >= tasks[0].cpus * 0.99);
  t.true(agents[0].diskTotalBytes > 0 && agents[0].memoryTotalBytes > 0);
  const { stdout } = await mesobus(t, ['top'], envOf(cluster));
  t.regex(stdout, /^AGENT .*\nagent-1 .*\n\nTASK .*\ntask /);
});

test.serial('whoever is attached sees what a task writes, and how it ends', async (t) => {
  const wait = 'while [ ! -e go ]; do echo tick; sleep 0.1; done';
  const { cluster, operator, task } = await running(t, `${wait}; echo out; echo bad >&2; exit 9`);
  const attached = new Running(t, cluster, ['attach', 'task']);
  await attached.untilItSays('tick\n');
  await touch(operator, task, 'go');
  const { stdout, stderr, exitCode } = await attached.ended;
  t.regex(stdout, /^(tick\n)+out\n$/);
  t.deepEqual([stderr, exitCode], ['bad\n', 9]);
});
