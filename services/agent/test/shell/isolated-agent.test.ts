import { join } from 'node:path';
import { mesos } from '@mesobus/protos';
import test from 'ava';
import { openCgroups } from '../../src/shell/process/cgroups.ts';
import { isSupervised } from '../../src/shell/process/launcher.ts';
import { openWorkDir } from '../../src/shell/work-dir.ts';
import { kill, Reason, run, TaskState } from '../world.ts';
import { tempWorkDir } from './bench.ts';
import { Cluster } from './cluster.ts';
import { groupsOf } from './groups.ts';

const isRoot = process.getuid?.() === 0;
const log = { warn: () => {} };
const cgroups = isRoot
  ? openCgroups({ agentName: 'looks', workDir: 'for groups of an agent', enableCfs: false, log })
  : { why: 'not root' };
if (!('why' in cgroups)) cgroups.close();
const why = 'why' in cgroups ? ` (skipped: ${cgroups.why})` : '';
const testOfGroups = why === '' ? test : test.skip;

const megabytes = (amount: number) => [
  { name: 'mem', type: mesos.v1.Value.Type.SCALAR, scalar: { value: amount } },
  { name: 'cpus', type: mesos.v1.Value.Type.SCALAR, scalar: { value: 0.5 } },
];

testOfGroups(`a task that takes too much memory fails for that reason, with the limit${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  cluster.agent(workDir);
  await cluster.registrations(1);
  const command = { value: 'head -c 200M /dev/zero | tail -c 200M >/dev/null; sleep 60' };
  await cluster.leader.command((number) => run(number, 't1', { task: { command, resources: megabytes(64) } }));
  const { status } = await cluster.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.is(status?.reason, Reason.REASON_CONTAINER_LIMITATION_MEMORY);
  t.regex(status?.message ?? '', /Limit: 64MB Maximum Used: 6[34]MB/);
  t.deepEqual(groupsOf(workDir), []);
});

testOfGroups(`after kill -9 of the agent and of a supervisor nothing of its task is left${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.registrations(1);
  const script = 'setsid sleep 1000 & touch up; sleep 1000';
  const ids = ['t1', 't2'];
  await cluster.leader.command(
    ...ids.map((id) => (number: number) => run(number, id, { task: { command: { value: script } } })),
  );
  const [lost] = await Promise.all(ids.map((id) => cluster.leader.update(id, 'TASK_RUNNING')));
  const containers = ids.map(
    (id) => cluster.leader.updates.find(({ status }) => status?.taskId.value === id)?.status?.containerStatus,
  );
  const [lostId, keptId] = containers.map((status) => status?.containerId?.value ?? '');
  t.true(groupsOf(workDir, lostId).length > 0);
  first.child.kill('SIGKILL');
  await first.exited;
  process.kill(lost?.status?.containerStatus?.executorPid ?? 0, 'SIGKILL');

  cluster.agent(workDir);
  await cluster.registrations(2);
  t.is((await cluster.leader.end('t1')).status?.state, TaskState.TASK_FAILED);
  t.deepEqual(groupsOf(workDir, lostId), []);
  t.true(groupsOf(workDir, keptId).length > 0);
  t.true(isSupervised(join(openWorkDir(workDir).containers, keptId ?? '')));
  await cluster.leader.command((number) => kill(number, 't2'));
  await cluster.leader.end('t2');
  t.deepEqual(groupsOf(workDir), []);
});

const withoutGroups = ['unshare', '--mount', 'sh', '-c', 'umount -R /sys/fs/cgroup && exec "$0" "$@"'];

testOfGroups(
  `an agent without control groups says so once and runs tasks; one that must have them ends${why}`,
  async (t) => {
    const cluster = await Cluster.start(t);
    const workDir = tempWorkDir(t);
    const agent = cluster.agentWithin(withoutGroups, workDir, 'cpus:1;mem:64');
    await cluster.registrations(1);
    t.is(agent.lines.filter((line) => line.includes('nothing holds a task to its cpus')).length, 1);
    await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'true' } } }));
    t.is((await cluster.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);

    const other = cluster.agentWithin(withoutGroups, tempWorkDir(t), 'cpus:1;mem:64', '--isolation', 'cgroups');
    t.not(await other.exited, 0);
    t.regex(other.lines.join(' '), /Cannot isolate containers by cgroups: no hierarchy of version 1.*--isolation/);
  },
);

test('an isolation that there is none of is refused by name', async (t) => {
  const cluster = await Cluster.start(t);
  const agent = cluster.agent(tempWorkDir(t), 'cpus:1;mem:64', '--isolation', 'magic');
  t.not(await agent.exited, 0);
  t.regex(agent.lines.join(' '), /there is no such isolation/);
});
