import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Fetcher } from '../../src/shell/fetcher/fetcher.ts';
import { kill, Reason, run, TaskState } from '../world.ts';
import { Bench, tempWorkDir } from './bench.ts';
import { Cluster } from './cluster.ts';

/** A web server that answers when it is told. */
class Server {
  readonly url: string;
  #answers: ServerResponse[] = [];
  #wake: () => void = () => {};

  private constructor(url: string) {
    this.url = url;
  }

  static async start(t: ExecutionContext): Promise<Server> {
    const http = createServer((_, response) => {
      server.#answers.push(response);
      server.#wake();
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    t.teardown(() => {
      http.closeAllConnections();
      http.close();
    });
    const server = new Server(`http://127.0.0.1:${(http.address() as AddressInfo).port}`);
    return server;
  }

  /** The next request. */
  async asked(): Promise<ServerResponse> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function startBench(t: ExecutionContext): Promise<Bench> {
  const bench = new Bench(t);
  bench.fetcher = new Fetcher({ cacheDir: bench.workDir.cache, cacheBytes: 2 ** 20, stallTimeoutMs: 60_000 });
  await bench.start();
  return bench;
}

const fetching = (uri: string, value = './tool > out') => ({
  task: { command: { value, uris: [{ value: uri, outputFile: 'tool', executable: true }] } },
});

test('a task is started once what it needs is in its sandbox', async (t) => {
  const server = await Server.start(t);
  const bench = await startBench(t);
  const commanded = bench.leader.command((number) => run(number, 't1', fetching(`${server.url}/x`)));
  const answer = await server.asked();
  await commanded;
  await bench.leader.update('t1', 'TASK_STARTING');
  t.deepEqual(bench.leader.states('t1'), ['TASK_STARTING']);
  answer.end('#!/bin/sh\necho fetched');
  t.is((await bench.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
  t.is(bench.read('t1', 'out'), 'fetched\n');
});

test('what cannot be fetched fails the launch, and its status says why', async (t) => {
  const bench = await startBench(t);
  await bench.leader.command((number) => run(number, 't1', fetching('ftp://host/x')));
  const { status } = await bench.leader.end('t1');
  t.like(status, { state: TaskState.TASK_FAILED, reason: Reason.REASON_CONTAINER_LAUNCH_FAILED });
  const why = "Failed to start the command: Cannot fetch 'ftp://host/x': 'ftp' is not fetched by this agent; use http";
  t.true(status?.message?.startsWith(why), status?.message ?? '');
});

test('a task that is killed while it is fetched for ends at once, and never starts', async (t) => {
  const server = await Server.start(t);
  const bench = await startBench(t);
  await bench.leader.command((number) => run(number, 't1', fetching(`${server.url}/x`)));
  await server.asked();
  await bench.leader.command((number) => kill(number, 't1'));
  const { status } = await bench.leader.end('t1');
  t.like(status, { state: TaskState.TASK_KILLED, reason: Reason.REASON_TASK_KILLED_DURING_LAUNCH });
  t.is(status?.message, 'Killed; it could not start: what it needs was still being fetched');
  t.deepEqual(bench.leader.states('t1'), ['TASK_STARTING', 'TASK_KILLED']);
});

test('an agent that is asked after its containers does not give up those that it fetches for', async (t) => {
  const server = await Server.start(t);
  const bench = await startBench(t);
  await bench.leader.command((number) => run(number, 't1', fetching(`${server.url}/x`)));
  const answer = await server.asked();
  process.kill(bench.launcher?.pid ?? 0, 'SIGKILL'); // then all that start are asked after
  await bench.leader.command((number) => run(number, 't2', { task: { command: { value: 'true' } } }));
  await bench.leader.end('t2');
  answer.end('#!/bin/sh\necho fetched');
  t.is((await bench.leader.end('t1')).status?.state, TaskState.TASK_FINISHED);
});

test('a fetch that the death of its agent has cut off is begun again by the next process', async (t) => {
  const server = await Server.start(t);
  const cluster = await Cluster.start(t);
  const workDir = tempWorkDir(t);
  const first = cluster.agent(workDir);
  await cluster.registrations(1);
  await cluster.leader.command((number) => run(number, 't1', fetching(`${server.url}/x`, './tool')));
  (await server.asked()).write('#!/bin/sh\nexit 7\n');
  first.child.kill('SIGKILL');
  await first.exited;
  cluster.agent(workDir);
  (await server.asked()).end('#!/bin/sh\nexit 0\n');
  t.is((await cluster.leader.end('t1')).status?.message, 'Command exited with status 0');
});

test('a link that was fetched does not have the agent put a volume elsewhere', async (t) => {
  const bench = await startBench(t);
  const outside = join(bench.workDir.root, 'outside');
  mkdirSync(outside);
  symlinkSync(outside, join(bench.workDir.root, 'dir'));
  const archive = join(bench.workDir.root, 'a.tar');
  execFileSync('tar', ['-cf', archive, 'dir'], { cwd: bench.workDir.root });
  const volumes = [{ mode: 1, containerPath: 'dir/inside', hostPath: '/usr' }];
  const task = { command: { value: 'true', uris: [{ value: archive }] }, container: { type: 2, volumes } };
  await bench.leader.command((number) => run(number, 't1', { task }));
  const { status } = await bench.leader.end('t1');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.regex(
    status?.message ?? '',
    /the volume at 'dir\/inside': there is no folder at '.*dir', but something else; name another/,
  );
  t.deepEqual(readdirSync(outside), []);
});
