import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { connectNats, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { kill, run, TaskState } from '../world.ts';
import { tempWorkDir } from './bench.ts';
import { FakeLeader } from './fake-leader.ts';

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

interface AgentProcess {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly exited: Promise<number | null>;
}

/** Agents as processes, on a NATS server of their own. */
class Cluster {
  readonly leader: FakeLeader;
  readonly #t: ExecutionContext;
  readonly #url: string;

  private constructor(t: ExecutionContext, url: string, bus: NatsBus) {
    this.#t = t;
    this.#url = url;
    this.leader = new FakeLeader(bus, subjectsOf('main'), 'a');
  }

  static async start(t: ExecutionContext): Promise<Cluster> {
    const server = await startNatsServer();
    t.teardown(() => server.stop());
    const bus = await connectNats({ servers: server.url, name: 'leader' });
    t.teardown(() => bus.close());
    const cluster = new Cluster(t, server.url, bus);
    await bus.flush();
    return cluster;
  }

  agent(workDir: string): AgentProcess {
    const options = ['--name', 'a', '--work-dir', workDir, '--nats', this.#url, '--resources', 'cpus:4;mem:1024'];
    const node = ['-C', 'mesobus-source'];
    const child = spawn(process.execPath, [...node, program, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#t.teardown(() => child.kill('SIGKILL'));
    const lines: string[] = [];
    createInterface({ input: child.stderr as Readable }).on('line', (line) => lines.push(line));
    const exited = once(child, 'close').then(([code]) => code as number | null);
    return { child, lines, exited };
  }

  async registrations(count: number): Promise<void> {
    await this.leader.until(() => this.leader.registrations.length >= count);
  }
}

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
