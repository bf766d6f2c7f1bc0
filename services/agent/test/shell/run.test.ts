import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type mesobus, mesos } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import test from 'ava';
import { findExit } from '../../src/shell/process/launcher.ts';
import { type Command, kill, Reason, type RunOptions, run, Source, TaskState } from '../world.ts';
import { Bench, untilIn } from './bench.ts';

const shell =
  (taskId: string, value: string, options: RunOptions = {}) =>
  (number: number): Command =>
    run(number, taskId, { ...options, task: { command: { value }, ...options.task } });

test('a task that succeeds is starting, running, finished, and then forgotten', async (t) => {
  const bench = new Bench(t);
  const agent = await bench.start();
  await bench.leader.command(shell('t1', 'echo hello'));
  const { status } = await bench.leader.end('t1');
  t.deepEqual(bench.leader.states('t1'), ['TASK_STARTING', 'TASK_RUNNING', 'TASK_FINISHED']);
  t.is(status?.message, 'Command exited with status 0');
  t.is(bench.read('t1', 'stdout'), 'hello\n');
  await bench.leader.until(() => agent.counts.unacknowledged === 0);
  t.is(agent.counts.tasks, 0);
});

test('a command that exits with another code, or by a signal, fails and says which', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(shell('code', 'exit 3'), shell('like-kill', 'exit 137'), shell('signal', 'kill -9 $$'));
  const ends = await Promise.all(['code', 'like-kill', 'signal'].map((taskId) => bench.leader.end(taskId)));
  t.deepEqual(
    ends.map(({ status }) => [TaskState[status?.state ?? 0], status?.message]),
    [
      ['TASK_FAILED', 'Command exited with status 3'],
      ['TASK_FAILED', 'Command exited with status 137'],
      ['TASK_FAILED', 'Command terminated with signal SIGKILL'],
    ],
  );
});

test('a file that cannot be executed fails the launch', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const command = { shell: false, value: '/no/such/file', arguments: ['file'] };
  await bench.leader.command((number) => run(number, 't1', { task: { command } }));
  const { status } = await bench.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.is(status?.reason, Reason.REASON_CONTAINER_LAUNCH_FAILED);
  t.is(status?.source, Source.SOURCE_AGENT);
  t.regex(status?.message ?? '', /no such file or directory.*ENOENT/);
});

test('a task is killed, and one that ignores SIGTERM is killed for good after the grace', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(
    shell('obeys', 'exec sleep 60'),
    shell('ignores', "trap '' TERM; echo up; while :; do sleep 1; done"),
  );
  await bench.leader.update('obeys', 'TASK_RUNNING');
  await bench.leader.update('ignores', 'TASK_RUNNING');
  await untilIn(bench.sandbox('ignores'), () => bench.read('ignores', 'stdout') !== '');
  await bench.leader.command(
    (number) => kill(number, 'obeys'),
    (number) => kill(number, 'ignores', 50),
  );
  const obeys = await bench.leader.end('obeys');
  const ignores = await bench.leader.end('ignores');
  t.is(obeys.status?.state, TaskState.TASK_KILLED);
  t.is(obeys.status?.message, 'Command terminated with signal SIGTERM');
  t.is(ignores.status?.state, TaskState.TASK_KILLED);
  t.is(ignores.status?.message, 'Command terminated with signal SIGKILL');
});

test("a command gets Mesos' environment with the task's own on top, and nothing of the agent's", async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const environment = { variables: [{ name: 'COLOR', value: 'red' }] };
  const command = { value: 'env | sort; pwd', environment };
  await bench.leader.command((number) => run(number, 't1', { task: { command } }));
  await bench.leader.end('t1');
  const lines = bench.read('t1', 'stdout').trimEnd().split('\n');
  const sandbox = lines.at(-1) ?? '';
  t.is(sandbox, join(bench.workDir.sandboxes, 'F/t1', sandbox.split('/').at(-1) ?? ''));
  const names = lines.slice(0, -1).map((line) => line.split('=')[0]);
  t.deepEqual(names, [
    'COLOR',
    'MESOS_AGENT_ID',
    'MESOS_DIRECTORY',
    'MESOS_EXECUTOR_ID',
    'MESOS_FRAMEWORK_ID',
    'MESOS_SANDBOX',
    'MESOS_TASK_ID',
    'PATH',
    'PWD',
  ]);
  t.true(lines.includes(`MESOS_SANDBOX=${sandbox}`));
});

test('without a shell the value is executed and the arguments begin with the name it goes by', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const command = { shell: false, value: '/bin/sh', arguments: ['called', '-c', 'echo $0 $1', 'one', 'two'] };
  await bench.leader.command((number) => run(number, 't1', { task: { command } }));
  await bench.leader.end('t1');
  t.is(bench.read('t1', 'stdout'), 'one two\n');
});

const asRoot = process.getuid?.() === 0 ? test : test.skip; // only root can become somebody else
asRoot('a command becomes the user that its task names, and an unknown one fails the task', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const nobody = { value: 'id -un; touch mine', user: 'nobody' };
  const stranger = { value: 'true', user: 'no-such-user' };
  await bench.leader.command(
    (number) => run(number, 'nobody', { task: { command: nobody } }),
    (number) => run(number, 'stranger', { task: { command: stranger } }),
  );
  t.is((await bench.leader.end('nobody')).status?.state, TaskState.TASK_FINISHED);
  t.is(bench.read('nobody', 'stdout'), 'nobody\n');
  const { status } = await bench.leader.end('stranger');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.regex(status?.message ?? '', /no user 'no-such-user'/);
});

test('an agent that is started again finds its task running, and how the other ended', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(
    shell('stays', 'exec sleep 60'),
    shell('ends', 'while [ ! -e go ]; do sleep 0.05; done; exit 4'),
  );
  await bench.leader.update('stays', 'TASK_RUNNING');
  const { status: started } = await bench.leader.update('ends', 'TASK_RUNNING');
  const containerId = started?.containerStatus?.containerId?.value ?? '';
  await bench.stop();
  writeFileSync(join(bench.workDir.sandboxes, 'F/ends', containerId, 'go'), '');
  const folder = join(bench.workDir.containers, containerId);
  await untilIn(folder, () => findExit(folder) !== undefined);
  await bench.start();
  const { status } = await bench.leader.end('ends');
  t.is(status?.message, 'Command exited with status 4');
  const tasks = bench.leader.registrations[1]?.tasks.map(({ taskId, state }) => [taskId, TaskState[state]]);
  t.deepEqual(tasks?.[0], ['stays', 'TASK_RUNNING']);
  await bench.leader.command((number) => kill(number, 'stays'));
  t.is((await bench.leader.end('stays')).status?.state, TaskState.TASK_KILLED);
  t.deepEqual(bench.leader.states('stays'), ['TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLED']);
});

test('the death of the launcher costs no task', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(shell('before', 'exec sleep 60'));
  await bench.leader.update('before', 'TASK_RUNNING');
  process.kill(bench.launcher?.pid ?? 0, 'SIGKILL');
  await bench.leader.command((number) => kill(number, 'before'));
  t.is((await bench.leader.end('before')).status?.state, TaskState.TASK_KILLED);
  await bench.leader.until(() => bench.launcher?.pid !== undefined);
  await bench.leader.command(shell('after', 'true'));
  t.is((await bench.leader.end('after')).status?.state, TaskState.TASK_FINISHED);
});

test('a task that the launcher had not begun when it died fails and says so', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const launcher = bench.launcher?.pid ?? 0;
  process.kill(launcher, 'SIGSTOP');
  await bench.leader.command(shell('t1', 'true'));
  await bench.leader.update('t1', 'TASK_STARTING');
  process.kill(launcher, 'SIGKILL');
  const { status } = await bench.leader.end('t1');
  t.is(status?.reason, mesos.v1.TaskStatus.Reason.REASON_CONTAINER_LAUNCH_FAILED);
  t.regex(status?.message ?? '', /the launcher ended before/);
});

test('a shutdown kills all tasks, tells the leader, unregisters and asks for the end', async (t) => {
  const bench = new Bench(t);
  const agent = await bench.start();
  await bench.leader.command(shell('t1', 'exec sleep 60'));
  await bench.leader.update('t1', 'TASK_RUNNING');
  agent.shutdown('the test says so');
  await bench.leader.until(() => bench.leader.unregistered);
  t.is((await bench.leader.end('t1')).status?.state, TaskState.TASK_KILLED);
  await bench.stopped;
  t.deepEqual(bench.stops, [{ reason: 'the test says so', exitCode: 0 }]);
});

test('five hundred tasks at once all end, and nothing of them is left but their sandboxes', async (t) => {
  const bench = new Bench(t);
  const agent = await bench.start();
  const ids = Array.from({ length: 500 }, (_, index) => `t${index}`);
  await bench.leader.command(...ids.map((taskId) => shell(taskId, 'true')));
  for (const taskId of ids) t.is((await bench.leader.end(taskId)).status?.state, TaskState.TASK_FINISHED);
  await bench.leader.until(() => agent.counts.unacknowledged === 0);
  const { containers } = bench.workDir;
  await untilIn(containers, () => readdirSync(containers).length === 0);
  t.is(readdirSync(join(bench.workDir.sandboxes, 'F')).length, 500);
});

test('a sandbox is listed and read over the bus, and only a sandbox', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(shell('t1', 'ln -s /etc/passwd out; printf 0123456789 > data; echo done; sleep 60'));
  await bench.leader.update('t1', 'TASK_RUNNING');
  const task = { frameworkId: 'F', taskId: 't1' };
  const ask = async (request: mesobus.v1.FileRequest.$Properties): Promise<unknown> =>
    (await bench.operator.request(bench.subjects.agentFiles('a').of('alice'), request, { timeoutMs: 30_000 })).message;
  await untilIn(bench.sandbox('t1'), () => bench.read('t1', 'stdout') !== '');
  const listed = (await ask({ task, list: {} })) as { list: { entries: { name: string }[] } };
  t.deepEqual(
    listed.list.entries.map(({ name }) => name),
    ['data', 'out', 'stderr', 'stdout'],
  );
  const read = (await ask({ task, path: 'data', read: { offset: 3, length: 4 } })) as { data: { data: Uint8Array } };
  t.is(Buffer.from(read.data.data).toString(), '3456');
  const refused = async (path: string): Promise<string | undefined> => {
    const error = await t.throwsAsync(ask({ task, path, read: {} }), { instanceOf: RefusedError });
    return error?.code;
  };
  t.is(await refused('out'), 'path_forbidden');
  t.is(await refused('../../../../meta/journal'), 'path_forbidden');
  t.is(await refused('/etc/passwd'), 'path_forbidden');
  t.is(await refused('missing'), 'path_unknown');
});
