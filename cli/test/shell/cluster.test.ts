import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { WhatIfResult } from '@mesobus/sdk/operator';
import { mayReplicate } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import {
  type ClusterEvent,
  describeClusterEvent,
  type LocalContext,
  readLocalContext,
  startLocalCluster,
  stopRecordedCluster,
} from '../../src/local-cluster/index.ts';
import { isRunning } from '../../src/local-cluster/process-identity.ts';
import { done, mesobus } from './mesobus.ts';
import { tempFolder } from './temp-folder.ts';

// One test after the other: each has a whole cluster.

async function up(
  t: ExecutionContext,
  ...args: string[]
): Promise<{ cwd: string; dir: string; context: LocalContext }> {
  t.timeout(180_000);
  const cwd = tempFolder(t);
  const dir = path.join(cwd, '.mesobus');
  t.teardown(() => stopRecordedCluster({ dir }));
  await done(t, cwd, 'up', '--detach', ...args);
  const context = readLocalContext(path.join(dir, 'context.json'));
  if (context === undefined) throw new Error('there is no context');
  return { cwd, dir, context };
}

const tokenIn = (pid: number, token: string): boolean => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(token);

test.serial('up starts a cluster, a second one starts nothing, and down leaves no process', async (t) => {
  const { cwd, dir, context } = await up(t, '--agents', '2');
  const names = context.processes.map(({ name }) => name);
  t.deepEqual(names, ['nats-server', 'registry', 'master', 'allocator', 'agent-1', 'agent-2']);
  t.true(context.ready);
  t.false(
    context.processes.some(({ pid }) => tokenIn(pid, context.token)),
    'no argument holds the token',
  );

  const agents = JSON.parse((await done(t, cwd, 'agents', '--json')).join('\n')) as { name: string; total: unknown }[];
  t.deepEqual(agents.map(({ name }) => name).sort(), ['agent-1', 'agent-2']);

  const second = await done(t, cwd, 'up');
  t.regex(second.join('\n'), new RegExp(`runs already.*${context.nats}.*master ${context.processes[2]?.pid}`, 's'));
  t.true([context.owner, ...context.processes].every(isRunning));
  const log = readFileSync(path.join(dir, 'logs', 'up.log'), 'utf8');
  t.regex((await done(t, cwd, 'up', '--detach')).join('\n'), /runs already/);
  t.is(readFileSync(path.join(dir, 'logs', 'up.log'), 'utf8'), log, 'the log of the one that runs is left alone');

  await done(t, cwd, 'down');
  t.false([context.owner, ...context.processes].some(isRunning));
  t.false(existsSync(path.join(dir, 'context.json')));
  t.true(existsSync(path.join(dir, 'agents', 'agent-1')));
  await done(t, cwd, 'down', '--purge');
  t.false(existsSync(dir));
});

test.serial(
  'a cluster of three NATS servers and two masters runs tasks, and the doctor finds nothing unfit',
  async (t) => {
    if (!(await mayReplicate())) {
      const refused = mesobus(t, tempFolder(t), 'up', '--nats', '3');
      t.is(await refused.exit(), 1);
      t.regex(refused.err.join('\n'), /Cannot start 3 times nats-server .*; use 2\.9\.21 or newer, or one alone/);
      return;
    }
    const { cwd, context } = await up(t, '--nats', '3', '--masters', '2', '--registries', '2', '--allocators', '2');
    const names = context.processes.map(({ name }) => name);
    const services = ['registry', 'master', 'allocator'].flatMap((service) => [`${service}-1`, `${service}-2`]);
    t.deepEqual(names, ['nats-1', 'nats-2', 'nats-3', ...services, 'agent-1']);
    t.is(context.nats.split(',').length, 3);
    t.deepEqual(await done(t, cwd, 'run', '--', 'echo', 'hello'), ['hello']);
    const found = (await done(t, cwd, 'doctor')).join('\n');
    t.regex(found, /nats-3 .* on .*KV_mesobus-main-log +3 .*master \w+ leads/s);
  },
);

test.serial('tasks are run, listed, read and torn down from the command line', async (t) => {
  const { cwd } = await up(t);
  const failed = mesobus(t, cwd, 'run', '--name', 'failing', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3');
  t.is(await failed.exit(), 3);
  t.deepEqual(failed.out, ['out']);
  t.true(failed.err.includes('err'));

  const several = mesobus(
    t,
    cwd,
    'run',
    '--count',
    '5',
    '--cpus',
    '0.01',
    '--env',
    'GREETING=hello',
    '--',
    'echo $GREETING',
  );
  t.is(await several.exit(), 0, several.err.join('\n'));
  t.deepEqual(
    [...several.out].sort(),
    [1, 2, 3, 4, 5].map((number) => `[echo-${number}] hello`),
  );
  t.true(several.err.includes('5 TASK_FINISHED'));

  const big = mesobus(t, cwd, 'run', '--', 'seq 1 100000');
  t.is(await big.exit(), 0);
  t.is(big.out.length, 100_000, 'nothing is lost at the end');

  const napping = mesobus(t, cwd, 'run', '--name', 'nap', '--json', '--', 'echo awake; exec sleep 600');
  await napping.line(/"kind":"output".*awake/);
  t.regex((await done(t, cwd, 'ps')).join('\n'), /^nap .*agent-1 .*TASK_RUNNING/m);
  t.deepEqual(await done(t, cwd, 'logs', 'nap'), ['awake']);
  t.regex((await done(t, cwd, 'files', 'nap')).join('\n'), /^0644 +6 .* stdout$/m);
  t.regex((await done(t, cwd, 'roles')).join('\n'), /^\* +1 /m);
  await done(t, cwd, 'teardown', 'run nap');
  t.is(await napping.exit(), 1, 'an operator has torn its framework down');

  await done(t, cwd, 'weights', 'ads=2');
  t.regex((await done(t, cwd, 'roles')).join('\n'), /^ads +2 /m);

  await done(t, cwd, 'quota', 'set', 'ads', '--guarantee', 'cpus=0.1', '--limit', 'cpus=0.5', 'mem=64');
  const quotas = (await done(t, cwd, 'quota', 'list')).join('\n');
  t.regex(quotas, /^ads +cpus +0\.1 +0\.5 +0\nads +mem +0 +64 +0$/m);
  const refused = mesobus(t, cwd, 'quota', 'set', 'ads/web', '--limit', 'cpus=1');
  t.is(await refused.exit(), 1);
  t.regex(
    refused.err.join('\n'),
    /'ads\/web' would have the limit cpus:1, above the limit of role 'ads', cpus:0\.5; lower/,
  );
  t.deepEqual(await done(t, cwd, 'quota', 'remove', 'ads'), ['role ads has no quota']);

  const planned = await done(t, cwd, 'maintenance', 'schedule', 'Far', 'away', '--start', '1hrs', '--for', '90mins');
  t.regex(planned.join('\n'), /^Far +draining +\S+Z +1h30m\naway +draining /m);
  await done(t, cwd, 'maintenance', 'start', 'far');
  t.regex((await done(t, cwd, 'maintenance', 'status')).join('\n'), /^Far +down /m);
  t.deepEqual(await done(t, cwd, 'maintenance', 'stop', 'far'), ['machine far is up again']);
  t.is((await done(t, cwd, 'maintenance', 'schedule', 'away', '--cancel')).length, 1, 'the heads alone');
});

test.serial('a task that an operator kills ends its run with the signal', async (t) => {
  const { cwd } = await up(t);
  const napping = mesobus(t, cwd, 'run', '--name', 'nap', '--json', '--', 'exec sleep 600');
  await napping.line(/TASK_RUNNING/);
  await done(t, cwd, 'kill', 'na');
  t.is(await napping.exit(), 143);
  t.regex(napping.out.at(-1) ?? '', /"kind":"summary".*"TASK_KILLED":1.*"exitCode":143/);
});

test.serial('Ctrl-C kills the tasks of a run and removes its framework', async (t) => {
  const { cwd } = await up(t);
  const run = mesobus(t, cwd, 'run', '--', 'echo $$; exec sleep 600');
  const pid = Number(await run.line(/^\d+$/));
  run.child.kill('SIGINT');
  t.is(await run.exit(), 130);
  t.false(existsSync(`/proc/${pid}`));
  t.deepEqual(JSON.parse((await done(t, cwd, 'frameworks', '--json')).join('\n')), []);
});

test.serial('a task that never fits is explained, and given up after the time limit', async (t) => {
  const { cwd } = await up(t, '--resources', 'cpus:1;mem:64');
  const run = mesobus(t, cwd, 'run', '--mem', '1000', '--timeout', '1s', '--', 'true');
  t.is(await run.exit(), 1);
  t.regex(
    run.err.join('\n'),
    /each needs .*mem:1000.*of 1 agent: no task that is wanted fits in what is free, cpus:1;.*mem:64/,
  );
});

test.serial('who waits is told why, what would help, and what the leader knows of its offers', async (t) => {
  const { cwd } = await up(t, '--resources', 'cpus:1;mem:64');
  const run = mesobus(t, cwd, 'run', '--name', 'big', '--cpus', '0.5', '--mem', '1000', '--', 'true');
  await run.line(/still waiting/, 'err');
  const read = async (...args: string[]): Promise<unknown> =>
    JSON.parse((await done(t, cwd, ...args, '--json')).join('\n'));
  t.like(((await read('explain', 'run big')) as object[])[0], {
    role: '*',
    reason: 'shape_does_not_fit',
    agents: 1,
    agentNames: ['agent-1'],
  });
  t.deepEqual(await read('explain', 'run big', '--agent', 'agent-1'), await read('explain', 'run big', '--role', '*'));
  t.regex((await done(t, cwd, 'explain', 'run big')).join('\n'), /shape does not fit +no task that is wanted fits/);
  const supposed = (await read('whatif', '--agents', '+2=cpus:4;mem:4096', '--weight', 'eng=2')) as WhatIfResult;
  t.deepEqual(supposed.before.offers, []);
  // One task is wanted, so that one of the two agents is enough, and no more of it than the task takes.
  t.like(supposed.after.offers, [{ role: '*', agents: 1, quantities: { cpus: 0.5, mem: 1000 } }]);
  const [framework] = (await read('frameworks')) as { offers: object }[];
  t.like(framework?.offers, {
    openOffers: 0,
    expiredOffers: 0,
    demands: [{ role: '*', shapes: [{ quantities: { cpus: 0.5, mem: 1000 }, count: 1 }] }],
  });
  const gone = mesobus(t, cwd, 'whatif', '--agents', '-nobody');
  t.is(await gone.exit(), 1);
  run.child.kill('SIGINT');
  await run.exit();
});

test.serial('stopping a cluster kills its tasks, also those of an agent that has just died', async (t) => {
  t.timeout(180_000);
  const cwd = tempFolder(t);
  const dir = path.join(cwd, '.mesobus');
  await using cluster = await startLocalCluster({ dir });
  const run = mesobus(t, cwd, 'run', '--', 'echo $$; exec sleep 600');
  const pid = Number(await run.line(/^\d+$/));
  await cluster.kill('agent-1');
  t.true(existsSync(`/proc/${pid}`), 'a task outlives its agent');
  await cluster.stop();
  t.false(existsSync(`/proc/${pid}`));
  run.child.kill('SIGKILL');
});

test.serial(
  'an agent that is down and cannot be started is named when the cluster stops: its tasks may go on',
  async (t) => {
    t.timeout(180_000);
    const dir = path.join(tempFolder(t), '.mesobus');
    const events: ClusterEvent[] = [];
    await using cluster = await startLocalCluster({ dir, restart: false, report: (event) => events.push(event) });
    await cluster.kill('agent-1');
    const workDir = path.join(dir, 'agents', 'agent-1');
    rmSync(workDir, { recursive: true });
    writeFileSync(workDir, 'a file where a folder should be');
    await cluster.stop();
    const left = events.find(({ kind }) => kind === 'tasks_left');
    t.regex(
      left === undefined ? '' : describeClusterEvent(left),
      /the tasks of agent-1 may go on, .*Cannot start agent-1/,
    );
  },
);

test.serial('every service that dies is started again, and the cluster goes on', async (t) => {
  t.timeout(180_000);
  const cwd = tempFolder(t);
  await using cluster = await startLocalCluster({ dir: path.join(cwd, '.mesobus') });
  for (const name of cluster.names) {
    const before = cluster.pidOf(name);
    await cluster.kill(name);
    t.not(await cluster.untilReady(name), before);
  }
  const run = mesobus(t, cwd, 'run', '--', 'echo still here');
  t.is(await run.exit(), 0, run.err.join('\n'));
  t.deepEqual(run.out, ['still here']);
});
