import { chownSync, readFileSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { kill, run, TaskState } from '../world.ts';
import { tempWorkDir } from './bench.ts';
import { Cluster } from './cluster.ts';

const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const testAsRoot = isRoot ? test : test.skip;
const why = isRoot ? '' : ' (skipped: it needs root)';

const asNobody = ['setpriv', '--reuid', String(nobody), '--regid', String(nobody), '--clear-groups'];
/** Mounts something at the work directory, for the agent alone. */
const within = (mount: string, workDir: string): string[] => {
  const script = `dir=$0; ${mount} && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, workDir];
};

testAsRoot(`an agent of a normal user runs tasks as itself, and says what it does not do${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  chownSync(workDir, nobody, nobody);
  const agent = cluster.agentWithin(asNobody, workDir, 'cpus:4;mem:1024');
  await cluster.registrations(1);
  t.is(agent.lines.filter((line) => line.includes('does not run as root')).length, 1);
  const out = join(workDir, 'out');
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: `id -u > ${out}` } } }));
  t.is((await cluster.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
  t.is(readFileSync(out, 'utf8'), `${nobody}\n`);
  t.is(statSync(out).uid, nobody);
  await cluster.leader.command((number) => run(number, 't2', { task: { command: { value: 'exec sleep 60' } } }));
  await cluster.leader.update('t2', 'TASK_RUNNING');
  await cluster.leader.command((number) => kill(number, 't2'));
  t.is((await cluster.leader.end('t2')).status?.state, TaskState.TASK_KILLED);
});

testAsRoot(`an agent of a normal user that is to run tasks as other users is refused${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  chownSync(workDir, nobody, nobody);
  const agent = cluster.agentWithin(asNobody, workDir, 'cpus:4', '--switch-user');
  t.is(await agent.exited, 2);
  t.regex(agent.lines.join('\n'), /--switch-user.*user 65534.*start the agent as root/);
});

testAsRoot(`a work directory of somebody else is refused, with whose the agent is${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const agent = cluster.agentWithin(asNobody, tempWorkDir(t), 'cpus:4');
  t.is(await agent.exited, 1);
  t.regex(agent.lines.join('\n'), /Cannot use the work directory.*user with id 65534 may not write to it/);
});

testAsRoot(`a work directory that is read-only is refused, with what to do${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const mount = 'mount --bind "$dir" "$dir" && mount -o remount,bind,ro "$dir"';
  const agent = cluster.agentWithin(within(mount, workDir), workDir, 'cpus:4');
  t.is(await agent.exited, 1);
  t.regex(agent.lines.join('\n'), /Cannot use the work directory.*is read-only; mount it for writing/);
});

test('a work directory where nobody can make a folder is refused', async (t) => {
  const cluster = await Cluster.start(t);
  for (const path of ['/proc/mesobus', '/proc/mesobus/agent', '/proc']) {
    const agent = cluster.agent(path);
    t.is(await agent.exited, 1, path);
    t.regex(agent.lines.join('\n'), /Cannot use the work directory '\/proc.*give another --work-dir/);
  }
});

testAsRoot(`an agent that starts where the disk is full waits for room, and registers then${why}`, async (t) => {
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const filler = join(workDir, 'filler');
  const mount = 'mount -t tmpfs -o size=16m none "$dir" && { head -c 32m /dev/zero > "$dir/filler"; :; } 2>/dev/null';
  const agent = cluster.agentWithin(within(mount, workDir), workDir, 'cpus:4;mem:1024');
  await agent.said(/disk is full, and so is what was set aside/);
  const seen = `/proc/${agent.child.pid}/root`;
  t.is(statfsSync(join(seen, workDir)).bavail, 0);
  t.is(cluster.leader.registrations.length, 0);
  rmSync(join(seen, filler));
  await cluster.registrations(1);
  await agent.said(/There is room on the disk again/);
  await cluster.leader.command((number) => run(number, 't1', { task: { command: { value: 'true' } } }));
  t.is((await cluster.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
});
