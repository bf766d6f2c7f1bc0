import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mesos } from '@mesobus/protos';
import test from 'ava';
import { untilIn } from '../shell/bench.ts';
import { kill, Reason, TaskState } from '../world.ts';
import { DockerAgent } from './docker-agent.ts';
import { Dockerd } from './dockerd.ts';
import { findDockerd } from './find-dockerd.ts';

const found = findDockerd();
const why = 'why' in found ? ` (skipped: ${found.why})` : '';
const testOfDocker = 'why' in found ? test.skip : test;
let dockerd: Dockerd;

if ('path' in found) {
  test.before(async () => {
    dockerd = await Dockerd.start(found.path);
  });
  test.after.always(() => dockerd?.stop());
}

const megabytes = (value: number) => [{ name: 'mem', type: mesos.v1.Value.Type.SCALAR, scalar: { value } }];
const { Network } = mesos.v1.ContainerInfo.DockerInfo;

testOfDocker(`a task in an image has its output in its sandbox, and ends as its command does${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', { value: 'echo out; echo err >&2; env; touch $MESOS_SANDBOX/made' });
  await agent.launch('t2', { value: 'exit 3' });
  await agent.launch('t3', { value: 'no-such-program', shell: false });
  const [ended, failed, missing] = await Promise.all(['t1', 't2', 't3'].map((id) => agent.leader.end(id)));
  t.is(ended?.status?.state, TaskState.TASK_FINISHED);
  t.deepEqual(agent.leader.states('t1'), ['TASK_STARTING', 'TASK_RUNNING', 'TASK_FINISHED']);
  t.regex(agent.read('t1', 'stdout'), /^out\n/);
  t.is(agent.read('t1', 'stderr'), 'err\n');
  t.is(agent.read('t1', 'made'), '');
  t.regex(agent.read('t1', 'stdout'), /^MESOS_SANDBOX=\/mnt\/mesos\/sandbox$/m);
  t.regex(agent.read('t1', 'stdout'), /^MESOS_TASK_ID=t1$/m);
  t.regex(agent.read('t1', 'stdout'), /^PATH=.*:\/opt\/own$/m);
  t.is(failed?.status?.state, TaskState.TASK_FAILED);
  t.regex(failed?.status?.message ?? '', /exited with status 3/);
  t.is(missing?.status?.reason, Reason.REASON_CONTAINER_LAUNCH_FAILED);
  t.regex(missing?.status?.message ?? '', /no-such-program/);
});

testOfDocker(`what is fetched is in the sandbox, and what is told of it stays before the output${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  const uris = [{ value: import.meta.url, extract: false }];
  await agent.launch('t1', { value: 'ls $MESOS_SANDBOX; echo err >&2', uris });
  t.is((await agent.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
  t.regex(agent.read('t1', 'stdout'), /^containers.test.ts$/m);
  t.regex(agent.read('t1', 'stderr'), /containers\.test\.ts[\s\S]*\nerr\n$/);
});

testOfDocker(`a task in an image has a secret as a variable and as a file, whoever its user is${why}`, async (t) => {
  const secrets = mkdtempSync(join(tmpdir(), 'mesobus-secrets-'));
  t.teardown(() => rmSync(secrets, { recursive: true }));
  writeFileSync(join(secrets, 'db'), 'open sesame');
  const options = ['--secrets-dir', secrets, '--secret-files-dir', join(secrets, '.files')];
  const agent = await DockerAgent.start(t, dockerd.socketPath, ...options);
  const secret = { type: mesos.v1.Secret.Type.REFERENCE, reference: { name: 'db' } };
  const variables = [{ name: 'DB', type: mesos.v1.Environment.Variable.Type.SECRET, secret }];
  const source = { type: mesos.v1.Volume.Source.Type.SECRET, secret };
  const volumes = [{ containerPath: '/run/db', mode: mesos.v1.Volume.Mode.RW, source }];
  const docker = { image: 'base', parameters: [{ key: 'user', value: '1234' }] };
  const command = {
    value: '[ "$DB" = "$(cat /run/db)" ] && ! echo x 2>/dev/null >/run/db',
    environment: { variables },
  };
  await agent.launch('t1', command, docker, { container: { type: 1, docker, volumes } });
  const { status } = await agent.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FINISHED, status?.message);
});

testOfDocker(`an image has a command of its own, and takes arguments for it${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', { shell: false }, { image: 'own' });
  await agent.launch('t2', { shell: false, arguments: ['a', 'b'] }, { image: 'own' });
  await Promise.all(['t1', 't2'].map((id) => agent.leader.end(id)));
  t.is(agent.read('t1', 'stdout'), 'own: default\n');
  t.is(agent.read('t2', 'stdout'), 'own: a b\n');
});

testOfDocker(
  `an image that is not there fails its task, and so does a parameter that is not possible${why}`,
  async (t) => {
    const agent = await DockerAgent.start(t, dockerd.socketPath);
    await agent.launch('t1', { value: 'true' }, { image: '127.0.0.1:1/none' });
    await agent.launch('t2', { value: 'true' }, { parameters: [{ key: 'magic', value: 'x' }] });
    await agent.launch('t3', { value: 'true' }, { privileged: true });
    const ends = await Promise.all(['t1', 't2', 't3'].map((id) => agent.leader.end(id)));
    t.deepEqual(
      ends.map(({ status }) => status?.reason),
      Array(3).fill(Reason.REASON_CONTAINER_LAUNCH_FAILED),
    );
    t.regex(ends[0]?.status?.message ?? '', /cannot pull the image '127.0.0.1:1\/none'/);
    t.regex(ends[1]?.status?.message ?? '', /'magic' is not possible/);
    t.regex(ends[2]?.status?.message ?? '', /--docker-allow-privileged/);
  },
);

testOfDocker(`a task that takes too much memory fails for that reason, with the limit${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  const command = { value: 'head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null' };
  await agent.launch('t1', command, {}, { resources: megabytes(32) });
  const { status } = await agent.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.is(status?.reason, Reason.REASON_CONTAINER_LIMITATION_MEMORY);
  t.regex(status?.message ?? '', /Memory limit exceeded: Limit: 32MB/);
});

testOfDocker(`a task that is killed has its grace, and no more${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', {
    value: 'trap "echo bye; exit 0" TERM; touch $MESOS_SANDBOX/up; while :; do sleep 0.1; done',
  });
  await agent.launch('t2', { value: 'trap "" TERM; touch $MESOS_SANDBOX/up; while :; do sleep 0.1; done' });
  for (const id of ['t1', 't2']) {
    await agent.running(id, dockerd.docker);
    const sandbox = agent.sandbox(id);
    await untilIn(sandbox, () => existsSync(join(sandbox, 'up')));
  }
  await agent.leader.command(
    (number) => kill(number, 't1', 60_000),
    (number) => kill(number, 't2', 100),
  );
  const ends = await Promise.all(['t1', 't2'].map((id) => agent.leader.end(id)));
  t.deepEqual(
    ends.map(({ status }) => status?.state),
    [TaskState.TASK_KILLED, TaskState.TASK_KILLED],
  );
  t.is(agent.read('t1', 'stdout'), 'bye\n');
  t.regex(ends[1]?.status?.message ?? '', /status 137/);
});

testOfDocker(
  `a paused task stands still, also over a restart of the agent; it goes on, and can be killed${why}`,
  async (t) => {
    const agent = await DockerAgent.start(t, dockerd.socketPath);
    const task = { frameworkId: 'F', taskId: 't1' };
    await agent.launch('t1', { value: 'sleep 1000' });
    const container = await agent.running('t1', dockerd.docker);
    const isPaused = async (): Promise<boolean> => (await container.inspect()).State.Paused;
    const paused = async (wanted: boolean): Promise<void> => {
      while ((await isPaused()) !== wanted) await agent.leader.until(() => true, 50);
    };
    await agent.leader.command((number) => ({ number, pauseTask: { task } }));
    await paused(true);
    await agent.kill();
    await agent.restart();
    t.true(await isPaused());
    await agent.leader.command((number) => ({ number, resumeTask: { task } }));
    await paused(false);
    await agent.leader.command((number) => ({ number, pauseTask: { task } }));
    await paused(true);
    await agent.leader.command((number) => kill(number, 't1', 100));
    t.is((await agent.leader.end('t1')).status?.state, TaskState.TASK_KILLED);
  },
);

testOfDocker(`a port that is mapped leads into the container; a volume shows what the host has${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  const ports = {
    name: 'ports',
    type: mesos.v1.Value.Type.RANGES,
    ranges: { range: [{ begin: 31_000n, end: 31_000n }] },
  };
  const serve = `require('net').createServer((c) => c.end('hello')).listen(80, () => console.log('up'))`;
  await agent.launch(
    't1',
    { value: `/node -e "${serve}"` },
    { network: Network.BRIDGE, portMappings: [{ hostPort: 31_000, containerPort: 80 }] },
    {
      resources: [ports],
      container: {
        type: 1,
        docker: { image: 'base', network: Network.BRIDGE, portMappings: [{ hostPort: 31_000, containerPort: 80 }] },
        volumes: [{ mode: mesos.v1.Volume.Mode.RO, containerPath: '/node', hostPath: process.execPath }],
      },
    },
  );
  await agent.running('t1', dockerd.docker);
  await untilIn(agent.sandbox('t1'), () => agent.read('t1', 'stdout') === 'up\n');
  const ask = `require('net').connect(31000, '127.0.0.1').on('data', (data) => process.stdout.write(data))`;
  t.is(dockerd.runInNetwork(process.execPath, '-e', ask), 'hello');
});

testOfDocker(`a check runs in the container of its task${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  const check = {
    type: mesos.v1.CheckInfo.Type.COMMAND,
    command: { command: { value: 'test "$(cat word)" = inside && exit 7' } },
    delaySeconds: 0,
    intervalSeconds: 0.1,
  };
  await agent.launch('t1', { value: 'echo inside >$MESOS_SANDBOX/word; sleep 1000' }, {}, { check });
  const said = () => agent.leader.updates.find(({ status }) => status?.checkStatus?.command?.exitCode === 7)?.status;
  await agent.leader.until(() => said() !== undefined);
  t.is(said()?.state, mesos.v1.TaskState.TASK_RUNNING);
});

testOfDocker(`a container that has ended is removed after a while, and its output stays${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath, '--docker-remove-delay', '0secs');
  await agent.launch('t1', { value: 'echo out; sleep 0.2' });
  const container = await agent.running('t1', dockerd.docker);
  await agent.leader.end('t1');
  const isThere = (): Promise<boolean> =>
    container.inspect().then(
      () => true,
      () => false,
    );
  while (await isThere()) await agent.leader.until(() => true, 50);
  t.is(agent.read('t1', 'stdout'), 'out\n');
});
