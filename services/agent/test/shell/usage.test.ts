import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { ProcessUsage } from '../../src/shell/usage.ts';

/** A shell that runs a script, once it has said a word. */
async function shell(t: ExecutionContext, script: string): Promise<number> {
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => void child.stdin.end());
  await once(child.stdout, 'data');
  return child.pid ?? 0;
}

const burn = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done';

test('a container uses what its processes do, and what those did that have ended', async (t) => {
  const busy = await shell(t, `(${burn}; (${burn})); sh -c 'echo ready; read x'; :`);
  const idle = await shell(t, 'echo ready; read x');
  const pids = new Map([
    ['busy', busy],
    ['idle', idle],
    ['ended', 4_194_305], // above the highest that Linux gives
  ]);
  const usage = new ProcessUsage(
    (containerId) => pids.get(containerId),
    () => 7,
  );
  const measured = new Map((await usage.of(['busy', 'idle', 'ended', 'unknown'])).map((one) => [one.containerId, one]));
  t.deepEqual([...measured.keys()].sort(), ['busy', 'idle']);
  const [of, none] = [measured.get('busy'), measured.get('idle')];
  t.true((of?.cpuSeconds ?? 0) >= 0.1, `${of?.cpuSeconds} s`);
  t.true((none?.cpuSeconds ?? 1) < 0.1, `${none?.cpuSeconds} s`);
  t.is(of?.atMs, 7);
  t.true((none?.memoryBytes ?? 0) > 2 ** 16);
  t.true((of?.memoryBytes ?? 0) > 1.5 * (none?.memoryBytes ?? 0), 'two processes against one');
});

test('with nothing to measure nobody looks', async (t) => {
  t.deepEqual(
    await new ProcessUsage(
      () => t.fail() as never,
      () => 0,
    ).of([]),
    [],
  );
});
