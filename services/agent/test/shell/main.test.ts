import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { isTerminal } from '../../src/core/task-state.ts';
import { kill, Reason, run, TaskState } from '../world.ts';
import { tempWorkDir } from './bench.ts';
import { Cluster } from './cluster.ts';

const residentMegabytes = (pid: number | undefined): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('after kill -9 of the agent its task runs on, obeys a kill, and no update is lost', async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.registrations(1);
  cluster.leader.acknowledges = false;
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'exec sleep 60' } } }));
  const running = await cluster.leader.update('t1', 'TASK_RUNNING');
  const supervisor = running.status?.containerStatus?.executorPid ?? 0;
  first.child.kill('SIGKILL');
  await first.exited;
  t.true(isAlive(supervisor));

  cluster.leader.updates.length = 0;
  cluster.agent(workDir);
  await cluster.registrations(2);
  const again = await cluster.leader.update('t1', 'TASK_RUNNING');
  t.deepEqual(again.status?.uuid, running.status?.uuid);
  t.deepEqual(cluster.leader.states('t1'), ['TASK_STARTING', 'TASK_RUNNING']);
  t.is(cluster.leader.registrations[0]?.registrationKey, cluster.leader.registrations[1]?.registrationKey);
  t.true(isAlive(supervisor));
  await cluster.leader.command((number) => kill(number, 't1'));
  const end = await cluster.leader.end('t1');
  t.is(end.status?.state, TaskState.TASK_KILLED);
  t.is(end.status?.message, 'Command terminated with signal SIGTERM');
});

test('a second agent on one work directory is refused by name', async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.registrations(1);
  const second = cluster.agent(workDir);
  t.is(await second.exited, 1);
  t.regex(second.lines.join('\n'), new RegExp(`agent 'a' \\(process ${first.child.pid} of .*uses this work directory`));
  t.is(cluster.leader.registrations.length, 1);
});

test('SIGTERM ends the agent and leaves its tasks alive', async (t) => {
  const cluster = await Cluster.start(t);
  const { child, exited } = cluster.agent(tempWorkDir(t));
  await cluster.registrations(1);
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'exec sleep 60' } } }));
  const { status } = await cluster.leader.update('t1', 'TASK_RUNNING');
  child.kill('SIGTERM');
  t.is(await exited, 0);
  t.true(isAlive(status?.containerStatus?.executorPid ?? 0));
});

test('SIGUSR1 kills all tasks, tells of it, unregisters and exits 0', async (t) => {
  const cluster = await Cluster.start(t);
  const { child, exited } = cluster.agent(tempWorkDir(t));
  await cluster.registrations(1);
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'exec sleep 60' } } }));
  await cluster.leader.update('t1', 'TASK_RUNNING');
  child.kill('SIGUSR1');
  t.is(await exited, 0);
  t.true(cluster.leader.unregistered);
  t.is((await cluster.leader.end('t1')).status?.state, TaskState.TASK_KILLED);
});

test('kill -9 of the agent amid a burst loses no task and doubles none', async (t) => {
  const cluster = await Cluster.start(t);
  const { leader } = cluster;
  const workDir = tempWorkDir(t);
  const ran = join(workDir, 'ran');
  let agent = cluster.agent(workDir);
  await cluster.registrations(1);
  const ids = Array.from({ length: 400 }, (_, index) => `t${index}`);
  const taken = leader.command(
    ...ids.map((taskId) => {
      const command = { value: `echo ${taskId} >> ${ran}` };
      return (number: number) => run(number, taskId, { task: { command } });
    }),
  );
  const ended = (): number =>
    new Set(
      leader.updates.filter(({ latestState }) => isTerminal(latestState)).map(({ commandNumber }) => commandNumber),
    ).size;
  for (const wanted of [0, 1, 100, 250]) {
    await leader.until(() => leader.updates.length > 0 && ended() >= wanted);
    agent.child.kill('SIGKILL');
    await agent.exited;
    agent = cluster.agent(workDir);
  }
  await taken;
  const ends = await Promise.all(ids.map((taskId) => leader.end(taskId)));
  t.deepEqual(
    ends.filter(({ status }) => status?.state !== TaskState.TASK_FINISHED).map(({ status }) => status?.message),
    [],
  );
  t.deepEqual(readFileSync(ran, 'utf8').trimEnd().split('\n').sort(), [...ids].sort());
});

test('an agent whose resources have changed exits with 2 and says what, unless its policy allows it', async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.leader.until(() => cluster.leader.heartbeats.length > 0); // it has heard who it is
  first.child.kill('SIGTERM');
  await first.exited;
  const more = 'cpus:8;mem:1024';
  const refused = cluster.agent(workDir, more);
  t.is(await refused.exited, 2);
  t.regex(refused.lines.join('\n'), /'cpus:4' became 'cpus:8'.*--reconfiguration-policy additive/);
  cluster.agent(workDir, more, '--reconfiguration-policy', 'additive');
  await cluster.registrations(2);
  t.is(cluster.leader.registrations[1]?.registrationKey, cluster.leader.registrations[0]?.registrationKey);
});

test('an agent that is marked gone kills its tasks, exits with 3, and comes back as a new one', async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const { child, exited } = cluster.agent(workDir);
  await cluster.registrations(1);
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'exec sleep 60' } } }));
  const { status } = await cluster.leader.update('t1', 'TASK_RUNNING');
  await cluster.leader.command((number) => ({ number, shutdownAgent: { message: 'marked gone' } }));
  t.is(await exited, 3);
  t.false(isAlive(status?.containerStatus?.executorPid ?? 0));
  t.not(child.exitCode, null);
  cluster.agent(workDir);
  await cluster.registrations(2);
  t.not(cluster.leader.registrations[1]?.registrationKey, cluster.leader.registrations[0]?.registrationKey);
});

test('a drain goes on after kill -9 of the agent', async (t) => {
  const cluster = await Cluster.start(t);
  const { leader } = cluster;
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.registrations(1);
  const stubborn = { value: "trap '' TERM; echo up; while :; do sleep 1; done" };
  await leader.command((number) => run(number, 't1', { task: { command: stubborn } }));
  await leader.update('t1', 'TASK_RUNNING');
  await leader.command((number) => ({ number, drainAgent: { maxGracePeriodMs: 1_500, markGone: false } }));
  first.child.kill('SIGKILL');
  await first.exited;
  cluster.agent(workDir);
  await cluster.registrations(2);
  const { status } = await leader.end('t1');
  t.is(status?.state, TaskState.TASK_KILLED);
  t.is(status?.reason, Reason.REASON_AGENT_DRAINING);
  await leader.command((number) => run(number, 't2', { task: { command: { value: 'true' } } }));
  t.is((await leader.end('t2')).status?.reason, Reason.REASON_AGENT_DRAINING);
});

test('two thousand tasks pass through an agent that stays below 200 MB', async (t) => {
  const cluster = await Cluster.start(t);
  const { child } = cluster.agent(tempWorkDir(t));
  await cluster.registrations(1);
  const ids = Array.from({ length: 2_000 }, (_, index) => `t${index}`);
  const since = performance.now();
  await cluster.leader.command(
    ...ids.map((taskId) => (number: number) => run(number, taskId, { task: { command: { value: 'true' } } })),
  );
  const ended = new Set<string>();
  await cluster.leader.until(() => {
    for (const { status } of cluster.leader.updates.splice(0)) {
      if (status?.state === TaskState.TASK_FINISHED) ended.add(status.taskId.value);
    }
    return ended.size === ids.length;
  });
  const seconds = (performance.now() - since) / 1000;
  const megabytes = residentMegabytes(child.pid);
  t.log(`${Math.round(ids.length / seconds)} tasks a second, ${Math.round(megabytes)} MB`);
  t.true(megabytes < 200);
});
