import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { untilIn } from '../shell/bench.ts';
import { kill, TaskState } from '../world.ts';
import { DockerAgent } from './docker-agent.ts';
import { Dockerd } from './dockerd.ts';
import { findDockerd } from './find-dockerd.ts';

const found = findDockerd();
const why = 'why' in found ? ` (skipped: ${found.why})` : '';
const testOfDocker = 'why' in found ? test.skip : test.serial;
let dockerd: Dockerd;

if ('path' in found) {
  test.before(async () => {
    dockerd = await Dockerd.start(found.path);
  });
  test.after.always(() => dockerd?.stop());
}

/** Writes numbered lines until somebody makes a file. */
const counts = 'i=0; while [ ! -e $MESOS_SANDBOX/enough ]; do i=$((i+1)); echo line $i; sleep 0.01; done; echo end';
const linesOf = (text: string): string[] => text.trimEnd().split('\n');
/** Says something once somebody has made the file. */
const waits = 'while [ ! -e $MESOS_SANDBOX/enough ]; do sleep 0.1; done; echo out';
const letGo = (agent: DockerAgent): void => writeFileSync(join(agent.sandbox('t1'), 'enough'), '');
const stopCounting = 'touch $MESOS_SANDBOX/enough';

testOfDocker(
  `what a task says while its agent is killed again and again is neither lost nor doubled${why}`,
  async (t) => {
    const agent = await DockerAgent.start(t, dockerd.socketPath);
    await agent.launch('t1', { value: counts });
    const container = await agent.running('t1', dockerd.docker);
    for (let round = 1; round <= 3; round += 1) {
      const before = linesOf(agent.read('t1', 'stdout')).length;
      await untilIn(agent.sandbox('t1'), () => linesOf(agent.read('t1', 'stdout')).length > before + 20);
      await agent.kill();
      await agent.restart();
    }
    const exec = await container.exec({
      Cmd: ['/bin/sh', '-c', stopCounting],
      Env: ['MESOS_SANDBOX=/mnt/mesos/sandbox'],
    });
    await exec.start({ Detach: true });
    t.is((await agent.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
    const lines = linesOf(agent.read('t1', 'stdout'));
    t.is(lines.pop(), 'end');
    t.deepEqual(
      lines,
      lines.map((_, index) => `line ${index + 1}`),
    );
    t.true(lines.length > 60);
  },
);

testOfDocker(`a task that ended while its agent was down has ended as it did, with all its output${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', { value: 'sleep 1; echo out; exit 4' });
  const container = await agent.running('t1', dockerd.docker);
  await agent.kill();
  await container.wait();
  await agent.restart();
  const { status } = await agent.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.regex(status?.message ?? '', /exited with status 4/);
  t.is(agent.read('t1', 'stdout'), 'out\n');
});

testOfDocker(
  `a task whose container was removed behind the agent's back has failed, and it is said why${why}`,
  async (t) => {
    const agent = await DockerAgent.start(t, dockerd.socketPath);
    await agent.launch('t1', { value: 'sleep 1000' });
    const container = await agent.running('t1', dockerd.docker);
    await agent.kill();
    await container.remove({ force: true });
    await agent.restart();
    const { status } = await agent.leader.end('t1');
    t.is(status?.state, TaskState.TASK_FAILED);
    t.regex(status?.message ?? '', /removed from Docker/);
  },
);

testOfDocker(
  `a container that the journal does not know is ended; one of another agent is left alone${why}`,
  async (t) => {
    const agent = await DockerAgent.start(t, dockerd.socketPath);
    await agent.kill();
    const start = async (owner: string) => {
      const Labels = { 'mesobus.work-dir': owner, 'mesobus.container': owner.slice(-8) };
      const name = `mesobus-${owner.slice(-8)}`;
      const container = await dockerd.docker.createContainer({ name, Image: 'base', Cmd: ['sleep', '1000'], Labels });
      await container.start();
      return container;
    };
    const mine = await start(agent.workDir);
    const other = await start('/somebody-else');
    await agent.restart();
    await mine.wait({ condition: 'removed' }).catch(() => {}); // it may be gone already
    await t.throwsAsync(mine.inspect(), { message: /no such container/i });
    t.true((await other.inspect()).State.Running);
    await other.remove({ force: true });
  },
);

testOfDocker(`tasks outlive a daemon that is killed, and are watched over again when it is back${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', { value: waits });
  await agent.launch('t2', { value: 'sleep 1000' });
  for (const id of ['t1', 't2']) await agent.running(id, dockerd.docker);
  await dockerd.kill();
  await agent.launch('t3', { value: 'true' });
  const refused = await agent.leader.end('t3');
  t.is(refused.status?.state, TaskState.TASK_FAILED);
  t.regex(refused.status?.message ?? '', /Cannot reach Docker at .*--docker-socket/);
  await agent.leader.command((number) => kill(number, 't2', 0));
  await dockerd.run();
  letGo(agent);
  t.is((await agent.leader.end('t2')).status?.state, TaskState.TASK_KILLED);
  t.is((await agent.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
  t.is(agent.read('t1', 'stdout'), 'out\n');
});

testOfDocker(`an agent that starts while the daemon is away finds its tasks when it is back${why}`, async (t) => {
  const agent = await DockerAgent.start(t, dockerd.socketPath);
  await agent.launch('t1', { value: waits });
  await agent.running('t1', dockerd.docker);
  await agent.kill();
  await dockerd.kill();
  await agent.restart();
  await dockerd.run();
  letGo(agent);
  t.is((await agent.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
  t.is(agent.read('t1', 'stdout'), 'out\n');
});

test('without a daemon an agent starts, and its tasks of Docker fail and say why', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-no-docker-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const agent = await DockerAgent.start(t, join(folder, 'docker.sock'));
  await agent.launch('t1', { value: 'true' });
  const { status } = await agent.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.regex(status?.message ?? '', /Cannot reach Docker at .*--docker-socket/);
});
