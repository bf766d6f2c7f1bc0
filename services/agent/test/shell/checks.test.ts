import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { mesos } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import type { Probe } from '../../src/core/index.ts';
import { runCheck } from '../../src/shell/checks/run-check.ts';
import { Reason, run, TaskState } from '../world.ts';
import { Bench } from './bench.ts';

const { CheckInfo, HealthCheck } = mesos.v1;
const task = { sandbox: '', frameworkId: 'F', taskId: 't1', agentId: 'S', executorId: 't1', user: '', command: {} };

const addressOf = async () => undefined;

function check(probe: Probe, timeoutMs = 20_000) {
  const runInside = () => {
    throw new Error('it does not run');
  };
  const asked = { kind: 'run_check', containerId: 'c', check: 'health', run: 1, probe, timeoutMs, task } as const;
  return runCheck(asked, { runInside, addressOf });
}

const http = (port: number, path: string): Probe => ({ kind: 'http', scheme: 'http', port, path, ipv6: false });

async function servePort(t: ExecutionContext): Promise<number> {
  const server = createServer(({ url }, response) => {
    if (url === '/moved') response.writeHead(301, { location: '/status/503' }).end();
    else if (url !== '/hangs') response.writeHead(Number(url?.split('/').at(-1))).end('x');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Of a server that has just gone. */
async function deadPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('an HTTP check says the status, after redirects', async (t) => {
  const port = await servePort(t);
  t.deepEqual(await check(http(port, '/status/204')), { kind: 'http', statusCode: 204 });
  t.deepEqual(await check(http(port, 'status/404')), { kind: 'http', statusCode: 404 });
  t.deepEqual(await check(http(port, '/moved')), { kind: 'http', statusCode: 503 });
});

test('an HTTP check without an answer fails, and in its time', async (t) => {
  const port = await servePort(t);
  t.deepEqual(await check(http(port, '/hangs'), 50), { kind: 'failed', message: 'no answer within 50 ms' });
  const refused = await check(http(await deadPort(), '/'));
  t.regex(refused.kind === 'failed' ? refused.message : refused.kind, /ECONNREFUSED/);
});

test('a TCP check says whether somebody listens', async (t) => {
  const port = await servePort(t);
  t.like(await check({ kind: 'tcp', port, ipv6: false }), { kind: 'tcp', succeeded: true });
  t.like(await check({ kind: 'tcp', port: await deadPort(), ipv6: false }), { kind: 'tcp', succeeded: false });
});

test('a command where nothing runs says nothing of the task', async (t) => {
  t.deepEqual(await check({ kind: 'command', command: { value: 'true' } }), {
    kind: 'unknown',
    message: 'it does not run',
  });
});

test('a container with a network of its own is asked there; one that has no address is not judged', async (t) => {
  const runInside = () => {
    throw new Error('it does not run');
  };
  const probe = { kind: 'tcp', port: await servePort(t), ipv6: false } as const;
  const asked = { kind: 'run_check', containerId: 'c', check: 'health', run: 1, probe, timeoutMs: 0, task } as const;
  const at = (address: string) => runCheck(asked, { runInside, addressOf: async () => address });
  t.like(await at('127.0.0.1'), { succeeded: true });
  t.like(await at('127.0.0.2'), { succeeded: false });
  const away = async () => Promise.reject(new Error('nobody knows'));
  t.deepEqual(await runCheck(asked, { runInside, addressOf: away }), { kind: 'unknown', message: 'nobody knows' });
});

test('a command that nobody is there to run says nothing of the task', async (t) => {
  const runInside = () => ({
    ...{ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() },
    ended: Promise.resolve({ kind: 'failed', message: 'Docker is away', unasked: true } as const),
    kill: () => {},
    resize: () => {},
  });
  const probe = { kind: 'command', command: { value: 'true' } } as const;
  const asked = { kind: 'run_check', containerId: 'c', check: 'health', run: 1, probe, timeoutMs: 0, task } as const;
  t.like(await runCheck(asked, { runInside, addressOf }), { kind: 'unknown' });
});

test('a command that takes too long is killed, and has failed', async (t) => {
  const killed = Promise.withResolvers<{ kind: 'exited'; status: number }>();
  const runInside = () => ({
    ...{ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() },
    ended: killed.promise,
    kill: () => killed.resolve({ kind: 'exited', status: 9 }),
    resize: () => {},
  });
  const probe = { kind: 'command', command: { value: 'sleep 60' } } as const;
  const asked = { kind: 'run_check', containerId: 'c', check: 'health', run: 1, probe, timeoutMs: 50, task } as const;
  t.deepEqual(await runCheck(asked, { runInside, addressOf }), { kind: 'failed', message: 'no answer within 50 ms' });
});

const soon = { delaySeconds: 0, intervalSeconds: 0.1, gracePeriodSeconds: 0 };
const byCommand = (value: string) => ({ type: HealthCheck.Type.COMMAND, command: { value } });

test('a command is checked in the sandbox and the environment of its task', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const environment = { variables: [{ name: 'COLOR', value: 'blue' }] };
  const command = { value: 'exec sleep 60', environment };
  const script = 'echo $COLOR $MESOS_TASK_ID $(pwd) > seen; exit 5';
  const check = { ...soon, type: CheckInfo.Type.COMMAND, command: { command: { value: script } } };
  await bench.leader.command((number) => run(number, 't1', { task: { command, check } }));
  const said = () => bench.leader.updates.find(({ status }) => status?.checkStatus?.command?.exitCode === 5);
  await bench.leader.until(() => said() !== undefined);
  t.like(said()?.status, { state: TaskState.TASK_RUNNING, reason: Reason.REASON_TASK_CHECK_STATUS_UPDATED });
  t.is(bench.read('t1', 'seen'), `blue t1 ${bench.sandbox('t1')}\n`);
});

test('a task whose health check fails too often is killed, and that says why', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const command = { value: 'touch well; exec sleep 60' };
  const healthCheck = { ...soon, ...byCommand('rm well || { echo "it is ill" >&2; exit 3; }') };
  await bench.leader.command((number) => run(number, 't1', { task: { command, healthCheck } }));
  const { status } = await bench.leader.end('t1');
  t.like(status, { state: TaskState.TASK_KILLED, healthy: false });
  const why = /^Killed: its health check has failed 3 times in a row: Command exited with status 3: .*it is ill: /;
  t.regex(status?.message ?? '', why);
  const health = bench.leader.updates.filter(({ status }) => Object.hasOwn(status ?? {}, 'healthy'));
  const said = [...new Map(health.map(({ number, status }) => [number, status?.healthy])).values()];
  t.deepEqual(said, [true, false, false]);
});

test('after a restart of the agent a task is checked on', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const command = { value: 'exec sleep 60' };
  const healthCheck = { ...soon, ...byCommand('test ! -e ill'), consecutiveFailures: 1 };
  await bench.leader.command((number) => run(number, 't1', { task: { command, healthCheck } }));
  const health = () => bench.leader.updates.filter(({ status }) => status?.healthy === true).length;
  await bench.leader.until(() => health() > 0);
  await bench.stop();
  bench.leader.updates.length = 0;
  await bench.start();
  await bench.leader.until(() => health() > 0);
  t.is(bench.leader.states('t1').at(-1), 'TASK_RUNNING');
});
