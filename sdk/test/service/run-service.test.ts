import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { startOtlpReceiver } from '../../src/testing/otlp-receiver.ts';

type Line = Record<string, unknown> & { msg?: string };

interface Demo {
  readonly child: ChildProcess;
  /** What it wrote to standard error so far; lines that are not JSON as `{ raw }`. */
  readonly lines: Line[];
  /** Waits for a line with this msg; fails when the process ends without. */
  line(msg: string): Promise<Line>;
  /** Waits for the end. */
  exit(): Promise<number | null>;
}

const program = fileURLToPath(new URL('fixtures/demo-service.ts', import.meta.url));

function start(t: ExecutionContext, args: string[] = [], env: Record<string, string> = {}): Demo {
  const child = spawn(process.execPath, ['-C', 'mesobus-source', program, ...args], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  const reader = createInterface({ input: child.stderr as Readable });
  reader.on('line', (raw) => {
    lines.push(raw.startsWith('{') ? JSON.parse(raw) : { raw });
    for (const check of waiting) check();
  });
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(([[code]]) => code as number | null);
  return {
    child,
    lines,
    line: (msg) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const found = lines.find((line) => line.msg === msg);
          if (found !== undefined) resolve(found);
        };
        waiting.add(check);
        check();
        void ended.then(() => reject(new Error(`ended without '${msg}': ${JSON.stringify(lines)}`)));
      }),
    exit: () => ended,
  };
}

const messages = (demo: Demo): unknown[] => demo.lines.map((line) => line.msg ?? line['raw']);

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} runs the shutdown hooks, last first, and exits 0`, async (t) => {
    const demo = start(t);
    await demo.line('ready');
    demo.child.kill(signal);
    t.is(await demo.exit(), 0);
    t.deepEqual(messages(demo).slice(-4), ['stopping', 'second closed', 'first closed', 'stopped']);
    t.is(demo.lines.find((line) => line.msg === 'stopping')?.['reason'], signal);
  });
}

test('a service that waits for nothing keeps running, and says once on the given descriptor which instance is ready', async (t) => {
  const demo = start(t, [], { MESOBUS_READY_FD: '3' });
  // It ends because the child closes it.
  t.regex(await readAll(demo.child.stdio[3] as Readable), /^ready demo-[\da-f]{16}\n$/);
  t.is(demo.child.exitCode, null);
  t.is((await demo.line('environment'))['readyFd'], 'gone');
});

test('a descriptor that cannot be written is only warned of', async (t) => {
  const demo = start(t, [], { MESOBUS_READY_FD: 'stdout' });
  await demo.line('cannot tell MESOBUS_READY_FD that the service is ready');
  t.is(demo.child.exitCode, null);
});

test('a shutdown hook that does not end is given up at its deadline, and the others still run', async (t) => {
  const demo = start(t, ['--mode', 'slow-stop']);
  await demo.line('ready');
  demo.child.kill('SIGTERM');
  t.is(await demo.exit(), 0);
  t.deepEqual(messages(demo).slice(-4), [
    'while stopping: could not wait for ever',
    'second closed',
    'first closed',
    'stopped',
  ]);
});

test('a second signal exits at once', async (t) => {
  const demo = start(t, ['--mode', 'slow-stop'], { PATIENT: '1' });
  await demo.line('ready');
  demo.child.kill('SIGTERM');
  await demo.line('stopping');
  demo.child.kill('SIGINT');
  t.is(await demo.exit(), 130);
});

test('a signal during the start aborts it and exits 0 without ever being ready', async (t) => {
  const demo = start(t, ['--mode', 'slow-start']);
  await demo.line('waiting');
  demo.child.kill('SIGTERM');
  t.is(await demo.exit(), 0);
  t.true(messages(demo).includes('start aborted'));
  t.true(messages(demo).includes('first closed'));
  t.false(messages(demo).includes('ready'));
});

test('a start that fails says so, closes what was open and exits 1', async (t) => {
  const demo = start(t, ['--mode', 'start-fails']);
  t.is(await demo.exit(), 1);
  t.like(
    demo.lines.find((line) => line['level'] === 'fatal'),
    { msg: 'the service cannot start', err: { message: 'the disk is full' } },
  );
  t.true(messages(demo).includes('first closed'));
});

test('a start that refuses the configuration prints the problem and exits 2', async (t) => {
  const demo = start(t, ['--mode', 'start-refuses']);
  t.is(await demo.exit(), 2);
  t.true(messages(demo).includes('Cannot use the work folder'));
});

test('a configuration that cannot be used prints nothing but the problems and exits 2', async (t) => {
  const demo = start(t, ['--mode', 'idle', '--cluster', 'a.b']);
  t.is(await demo.exit(), 2);
  t.is(demo.lines.length, 2);
  t.regex(String(demo.lines[0]?.['raw']), /^Cannot use "idle" from flag --mode: expected one of well/);
});

test('--help is printed whole on standard output and exits 0', async (t) => {
  const demo = start(t, ['--help']);
  t.regex(await readAll(demo.child.stdout as Readable), /--mode .*--trace-sample /s);
  t.is(await demo.exit(), 0);
  t.deepEqual(demo.lines, []);
});

for (const [mode, msg, message] of [
  ['throws', 'an error was not caught', 'a bug'],
  ['rejects', 'a rejected promise was not handled', 'a forgotten promise'],
] as const) {
  test(`a service that ${mode} in the background logs a fatal line and exits 1`, async (t) => {
    const demo = start(t, ['--mode', mode]);
    t.is(await demo.exit(), 1);
    t.like(
      demo.lines.find((line) => line['level'] === 'fatal'),
      { msg, err: { message } },
    );
  });
}

test('a service may end itself in order, with an exit code of its own', async (t) => {
  const demo = start(t, ['--mode', 'stops']);
  t.is(await demo.exit(), 3);
  t.deepEqual(messages(demo).slice(-4), ['stopping', 'second closed', 'first closed', 'stopped']);
});

test('the log shows the configuration without its secrets', async (t) => {
  const demo = start(t, ['--nats', 'nats://user:hunter2@host:4222'], { MESOBUS_NATS_TOKEN: 'hunter2' });
  const { config } = await demo.line('starting');
  t.like(config, { mode: 'well', natsToken: '[secret]', nats: ['nats://[secret]@host:4222'] });
  t.notRegex(JSON.stringify(demo.lines), /hunter2/);
});

test('the HTTP address is in the log, and health turns well when the service is ready', async (t) => {
  const demo = start(t, ['--http', ':0']);
  const { url } = await demo.line('serving /metrics, /health and /version');
  await demo.line('ready');
  const response = await fetch(`${url}/health`);
  t.like(await response.json(), { status: 'ok', service: 'demo' });
});

test('health fails while the service starts', async (t) => {
  const demo = start(t, ['--http', ':0', '--mode', 'slow-start']);
  const { url } = await demo.line('serving /metrics, /health and /version');
  const response = await fetch(`${url}/health`);
  t.is(response.status, 503);
  t.like(await response.json(), { failing: { started: 'the service is still starting' } });
});

test('with a collector that is away the service still stops in order', async (t) => {
  const receiver = await startOtlpReceiver();
  await receiver.stop();
  const demo = start(t, ['--otlp-endpoint', receiver.endpoint]);
  await demo.line('ready');
  demo.child.kill('SIGTERM');
  t.is(await demo.exit(), 0);
});
