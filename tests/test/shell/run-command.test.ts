// `mesobus run`: tasks, their output and exit codes come back to the terminal.
import test from 'ava';
import { clusterFor, envOf, mesobus } from './in-cluster.ts';

test.serial('200 tasks finish', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t);
  const args = ['run', '--count', '200', '--cpus', '0.01', '--mem', '1', '--', 'sh', '-c', 'exit 0'];
  const run = await mesobus(t, args, envOf(cluster));
  t.is(run.exitCode, 0, run.stderr);
  t.regex(run.stdout + run.stderr, /200 TASK_FINISHED/);
});

test.serial('both streams of a task are printed and its exit code is returned', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t);
  const run = await mesobus(t, ['run', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'], envOf(cluster));
  t.is(run.exitCode, 3, run.stderr);
  t.regex(run.stdout, /^out$/m);
  t.regex(run.stderr, /^err$/m);
});

test.serial('a task that is ended by a signal gives 128 and the signal, as a shell does', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t);
  const run = await mesobus(t, ['run', '--', 'sh', '-c', 'kill -TERM $$'], envOf(cluster));
  t.is(run.exitCode, 143, run.stderr);
});

const refused: readonly (readonly [string[], RegExp])[] = [
  [['run', '--no-such-flag', '--', 'true'], /no-such-flag/],
  [['run', '--cpus', 'many', '--', 'true'], /many/],
  [['run'], /command/],
  [['frobnicate'], /frobnicate/],
];
for (const [args, message] of refused) {
  test.serial(`'mesobus ${args.join(' ')}' is refused with a reason`, async (t) => {
    const run = await mesobus(t, args, { MESOBUS_NATS: 'nats://127.0.0.1:1' });
    t.is(run.exitCode, 2, run.stderr);
    t.regex(run.stderr, message);
  });
}

test.serial('an unreachable NATS is named, with what to do', async (t) => {
  t.timeout(60_000);
  const run = await mesobus(t, ['agents'], { MESOBUS_NATS: 'nats://127.0.0.1:1' });
  t.is(run.exitCode, 1);
  t.regex(run.stderr, /127\.0\.0\.1:1/);
});
