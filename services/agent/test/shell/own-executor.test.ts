import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mesos } from '@mesobus/protos';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import { type Command, run, TaskState } from '../world.ts';
import { Bench } from './bench.ts';

const program = fileURLToPath(new URL('echo-executor.ts', import.meta.url));

/** A command that launches a task in the executor of this test. */
const delegate =
  (taskId: string) =>
  (number: number): Command => {
    const command = {
      shell: false,
      value: process.execPath,
      arguments: ['node', '--conditions=mesobus-source', program],
    };
    const { framework, task } = run(number, taskId).runTask ?? {};
    const { command: _, ...rest } = task as mesos.v1.TaskInfo.$Properties;
    const executor = {
      type: mesos.v1.ExecutorInfo.Type.CUSTOM,
      executorId: { value: 'echo' },
      command,
      resources: toWire(parseResources('cpus:0.1;mem:64')),
    };
    return {
      number,
      runTask: { framework: framework ?? null, task: { ...rest, executor }, run: { number: 1, role: '*' } },
    };
  };

test('an executor is started once for its tasks, finds its agent by its environment, and again after a restart', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(delegate('t1'), delegate('t2'));
  const first = await bench.leader.update('t1', 'TASK_RUNNING');
  const second = await bench.leader.update('t2', 'TASK_RUNNING');
  t.is(second.status?.message, first.status?.message, 'one process');
  const containerId = first.status?.containerStatus?.containerId?.value ?? '';
  const told = readFileSync(join(Buffer.from(first.status?.data ?? []).toString(), 'env'), 'utf8');
  const names = told.split('\n').filter((name) => /^(MESOS|LIBPROCESS)/.test(name));
  t.deepEqual(names, [
    'LIBPROCESS_PORT',
    'MESOS_AGENT_ENDPOINT',
    'MESOS_AGENT_ID',
    'MESOS_CHECKPOINT',
    'MESOS_DIRECTORY',
    'MESOS_DOMAIN_SOCKET',
    'MESOS_EXECUTOR_AUTHENTICATION_TOKEN',
    'MESOS_EXECUTOR_ID',
    'MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD',
    'MESOS_FRAMEWORK_ID',
    'MESOS_HTTP_COMMAND_EXECUTOR',
    'MESOS_RECOVERY_TIMEOUT',
    'MESOS_SANDBOX',
    'MESOS_SLAVE_ID',
    'MESOS_SLAVE_PID',
    'MESOS_SUBSCRIPTION_BACKOFF_MAX',
  ]);
  await bench.stop();
  await bench.start();
  await bench.leader.command((number) => ({ number, shutdownExecutor: { frameworkId: 'F', executorId: 'echo' } }));
  for (const taskId of ['t1', 't2']) {
    const { status } = await bench.leader.end(taskId);
    t.is(status?.state, TaskState.TASK_KILLED);
    t.is(status?.message, first.status?.message, 'by the same process');
    t.is(status?.containerStatus?.containerId?.value, containerId);
  }
});
