import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { connectNats } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import {
  type ClusterEvent,
  FolderInUseError,
  type LocalCluster,
  type LocalClusterOptions,
  readLocalContext,
  StartError,
  startLocalCluster,
  stopRecordedCluster,
} from '../../src/local-cluster/index.ts';
import { identify, isRunning, type ProcessIdentity } from '../../src/local-cluster/process-identity.ts';
import { tempFolder } from './temp-folder.ts';

/** A cluster of a nats-server alone: it has all that supervision needs. */
async function start(t: ExecutionContext, options: Partial<LocalClusterOptions> = {}): Promise<LocalCluster> {
  const cluster = await startLocalCluster({ dir: path.join(tempFolder(t), 'cluster'), natsOnly: true, ...options });
  t.teardown(() => cluster.stop());
  return cluster;
}

function identityOf(cluster: LocalCluster, name = 'nats-server'): ProcessIdentity {
  const identity = identify(cluster.pidOf(name) ?? -1);
  if (identity === undefined) throw new Error(`${name} does not run`);
  return identity;
}

const owner = fileURLToPath(new URL('fixtures/owner.ts', import.meta.url));

/** A process that runs a cluster; it says the pid of its nats-server. */
async function startOwner(t: ExecutionContext, dir: string): Promise<{ owner: ChildProcess; nats: ProcessIdentity }> {
  const child = spawn(process.execPath, ['-C', 'mesobus-source', owner, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  t.teardown(() => stopRecordedCluster({ dir }));
  const [line] = (await once(createInterface({ input: child.stdout as Readable }), 'line')) as [string];
  const nats = identify(Number(line));
  if (nats === undefined) throw new Error(`no nats-server runs: ${line}`);
  return { owner: child, nats };
}

test('the nats-server of a cluster takes clients with its token and refuses those without', async (t) => {
  const cluster = await start(t);
  const bus = await connectNats({ servers: cluster.nats, token: cluster.token, name: 'test' });
  await bus.close();
  await t.throwsAsync(connectNats({ servers: cluster.nats, name: 'test' }), { message: /refuses the credentials/ });
});

test('what holds the token can be read by its owner alone, and no argument holds it', async (t) => {
  const cluster = await start(t);
  for (const file of [cluster.context, path.join(cluster.dir, 'run', 'nats.conf')]) {
    t.true(readFileSync(file, 'utf8').includes(cluster.token));
    t.is(statSync(file).mode & 0o777, 0o600, file);
  }
  t.false(readFileSync(`/proc/${cluster.pidOf('nats-server')}/cmdline`, 'utf8').includes(cluster.token));
});

test('a stopped cluster leaves no process and no context, and keeps its state', async (t) => {
  const cluster = await start(t);
  const nats = identityOf(cluster);
  await cluster.stop();
  t.false(isRunning(nats));
  t.false(existsSync(cluster.context));
  t.true(existsSync(path.join(cluster.dir, 'nats')));
});

test('purging removes the folder', async (t) => {
  const cluster = await start(t);
  await cluster.stop({ purge: true });
  t.false(existsSync(cluster.dir));
});

test('a process that dies is started again on the same address, and the context has its new pid', async (t) => {
  const events: ClusterEvent[] = [];
  const cluster = await start(t, { report: (event) => events.push(event) });
  const before = cluster.pidOf('nats-server');
  await cluster.kill('nats-server', 'SIGKILL');
  const after = await cluster.untilReady('nats-server');
  t.not(after, before);
  t.is(readLocalContext(cluster.context)?.processes[0]?.pid, after);
  t.like(
    events.find(({ kind }) => kind === 'died'),
    { name: 'nats-server', pid: before, how: 'was ended by SIGKILL' },
  );
  await (await connectNats({ servers: cluster.nats, token: cluster.token, name: 'test' })).close();
});

test('without supervision a process that dies stays down until it is restarted', async (t) => {
  const cluster = await start(t, { restart: false });
  await cluster.kill('nats-server', 'SIGKILL');
  t.is(cluster.pidOf('nats-server'), undefined);
  await cluster.restart('nats-server');
  t.not(cluster.pidOf('nats-server'), undefined);
});

test('a second cluster in the folder is refused and disturbs nothing', async (t) => {
  const cluster = await start(t);
  const nats = identityOf(cluster);
  const error = await t.throwsAsync(startLocalCluster({ dir: cluster.dir, natsOnly: true }), {
    instanceOf: FolderInUseError,
  });
  t.is(error?.owner.pid, process.pid);
  t.true(isRunning(nats));
  t.is(readLocalContext(cluster.context)?.token, cluster.token);
});

test('a port that is taken is refused before anything starts, and the folder is free again', async (t) => {
  const first = await start(t);
  const dir = path.join(tempFolder(t), 'cluster');
  const port = Number(new URL(first.nats).port);
  await t.throwsAsync(startLocalCluster({ dir, natsOnly: true, port }), { message: /another process listens there/ });
  const second = await start(t, { dir });
  t.not(second.nats, first.nats);
});

test('a nats-server that cannot start is reported with the end of its log', async (t) => {
  const dir = path.join(tempFolder(t), 'cluster');
  const store = path.join(dir, 'nats', 'jetstream');
  mkdirSync(path.dirname(store), { recursive: true });
  writeFileSync(store, 'a file where a folder should be');
  const error = await t.throwsAsync(startLocalCluster({ dir, natsOnly: true }), { instanceOf: StartError });
  t.regex(error?.message ?? '', /nats-server: it exited with 1 before it was ready; .*storage directory/s);
  t.false(existsSync(path.join(dir, 'context.json')));
});

test('an aborted start leaves nothing running', async (t) => {
  const dir = path.join(tempFolder(t), 'cluster');
  const controller = new AbortController();
  let nats: ProcessIdentity | undefined;
  const report = (event: ClusterEvent): void => {
    if (event.kind !== 'started') return;
    nats = identify(event.pid);
    controller.abort(new Error('changed my mind'));
  };
  const starting = startLocalCluster({ dir, natsOnly: true, signal: controller.signal, report });
  await t.throwsAsync(starting, { message: 'changed my mind' });
  t.truthy(nats);
  t.false(isRunning(nats as ProcessIdentity));
});

test('what a killed owner left running is ended before a cluster starts anew', async (t) => {
  const dir = path.join(tempFolder(t), 'cluster');
  const left = await startOwner(t, dir);
  left.owner.kill('SIGKILL');
  await once(left.owner, 'exit');
  t.true(isRunning(left.nats));
  const events: ClusterEvent[] = [];
  await start(t, { dir, report: (event) => events.push(event) });
  t.false(isRunning(left.nats));
  t.like(events[0], { kind: 'orphan_ended', pid: left.nats.pid });
});

test('a cluster can be stopped from another process', async (t) => {
  const dir = path.join(tempFolder(t), 'cluster');
  const other = await startOwner(t, dir);
  t.true(await stopRecordedCluster({ dir }));
  t.false(isRunning(other.nats));
  t.false(await stopRecordedCluster({ dir }));
});

test('a recorded pid that belongs to another process by now is left alone', async (t) => {
  const dir = path.join(tempFolder(t), 'cluster');
  const left = await startOwner(t, dir);
  left.owner.kill('SIGKILL');
  await once(left.owner, 'exit');
  const context = path.join(dir, 'context.json');
  const bystander = spawn('sleep', ['60'], { stdio: 'ignore' });
  t.teardown(() => bystander.kill('SIGKILL'));
  const recorded = readLocalContext(context);
  const [first] = recorded?.processes ?? [];
  const processes = [first, { ...first, name: 'registry', pid: bystander.pid }];
  writeFileSync(context, JSON.stringify({ ...recorded, processes }));
  t.true(await stopRecordedCluster({ dir }));
  t.false(isRunning(left.nats));
  t.is(bystander.exitCode, null);
  t.is(bystander.signalCode, null);
});
