// A framework whose process is killed: its tasks go on, and the next process with its id hears how they are.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, Happenings, operatorFor } from './in-cluster.ts';

interface Heard {
  readonly registered?: string;
  readonly reregistered?: boolean;
  readonly taskId?: string;
  readonly state?: string;
  readonly reason?: string;
}

const program = fileURLToPath(new URL('fragile-framework.ts', import.meta.url));

function start(
  t: ExecutionContext,
  { nats, token, cluster }: LocalCluster,
  file: string,
  frameworkId?: string,
): { child: ChildProcess; heard: Happenings<Heard> } {
  const args = [nats, token, cluster, file, ...(frameworkId === undefined ? [] : [frameworkId])];
  const options = ['--conditions=mesobus-source', program, ...args];
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => void child.kill('SIGKILL'));
  const heard = new Happenings<Heard>();
  createInterface({ input: child.stdout }).on('line', (line) => heard.note(JSON.parse(line)));
  return { child, heard };
}

const ids = Array.from({ length: 10 }, (_, index) => `task-${index + 1}`);

test.serial(
  'a framework that is killed with its tasks running comes back with its id and hears every end',
  async (t) => {
    t.timeout(120_000);
    const cluster = await clusterFor(t, { resources: 'cpus:2;mem:1000' });
    const operator = await operatorFor(t, cluster);
    const file = path.join(cluster.dir, 'ran');
    const first = start(t, cluster, file);
    const frameworkId = (await first.heard.find(({ registered }) => registered !== undefined)).registered ?? '';
    for (const id of ids) await first.heard.find(({ taskId, state }) => taskId === id && state === 'TASK_RUNNING');
    const dead = once(first.child, 'exit');
    first.child.kill('SIGKILL');
    await dead;
    writeFileSync(`${file}.go`, ''); // they end while nobody listens
    const second = start(t, cluster, file, frameworkId);
    await second.heard.find(({ reregistered }) => reregistered === true);
    for (const id of ids) await second.heard.find(({ taskId, state }) => taskId === id && state === 'TASK_FINISHED');
    t.deepEqual(readFileSync(file, 'utf8').trim().split('\n').sort(), [...ids].sort());
    const [framework] = await operator.frameworks({ frameworkId });
    t.is(framework?.id, frameworkId);
    await operator.teardown(frameworkId);
    const [code] = await once(second.child, 'exit');
    t.not(code, 0, 'a framework that an operator has ended does not wait for ever');
  },
);
