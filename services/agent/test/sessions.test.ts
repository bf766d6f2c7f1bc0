import { PassThrough } from 'node:stream';
import { decode, encode, mesobus } from '@mesobus/protos';
import { ManualClock } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import test from 'ava';
import type { InnerEnd, InnerProcess } from '../src/shell/containerizer.ts';
import { Sessions } from '../src/shell/streams/sessions.ts';

interface Fake extends InnerProcess {
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
  readonly stdin: PassThrough;
  readonly killed: string[];
  finish(end: InnerEnd): void;
}

function fakeProcess(): Fake {
  const { promise: ended, resolve: finish } = Promise.withResolvers<InnerEnd>();
  const killed: string[] = [];
  return {
    ...{ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough(), ended, killed, finish },
    kill: (signal) => void killed.push(signal),
    resize: () => {},
  };
}

function setUp() {
  const clock = new ManualClock();
  const processes: Fake[] = [];
  const sessions = new Sessions(clock, () => {
    const process = fakeProcess();
    processes.push(process);
    return { process, interactive: true, check: () => {} };
  });
  const ask = (sessionId: string, what: Omit<mesobus.v1.SessionRequest.$Properties, 'sessionId'>) => {
    const bytes = encode(mesobus.v1.SessionRequest, { sessionId, ...what });
    return sessions.answer('exec', 'ops', decode(mesobus.v1.SessionRequest, bytes));
  };
  const start = (id: string) => ask(id, { start: { argv: ['x'] } });
  return { clock, processes, sessions, ask, start };
}

test('a session of which nothing is heard is ended with its command; one that is kept is not', async (t) => {
  const { clock, processes, ask, start } = setUp();
  await start('silent');
  await start('kept');
  for (let seconds = 0; seconds < 20; seconds += 1) {
    clock.advance(1_000);
    await ask('kept', { keep: {} });
  }
  t.deepEqual(
    processes.map(({ killed }) => killed),
    [['SIGKILL'], []],
  );
  await t.throwsAsync(ask('silent', { keep: {} }), { instanceOf: RefusedError, message: /session 'silent'/ });
});

test('an agent has a bounded number of sessions, and room again when one is closed', async (t) => {
  const { ask, start } = setUp();
  for (let count = 0; count < 128; count += 1) await start(`s${count}`);
  await t.throwsAsync(start('one more'), { instanceOf: RefusedError, message: /128 sessions/ });
  await ask('s0', { close: {} });
  await t.notThrowsAsync(start('one more'));
});

test('who asks for output waits for it, but not for ever; whoever asks again takes the place of the first', async (t) => {
  const { clock, processes, ask, start } = setUp();
  await start('s');
  const waited = ask('s', { read: { received: 0, waitMs: 3_000 } });
  clock.advance(3_000);
  t.like((await waited).output, { number: 0 });
  const first = ask('s', { read: { received: 0, waitMs: 3_000 } });
  const second = ask('s', { read: { received: 0, waitMs: 3_000 } });
  processes[0]?.stdout.write('hello');
  t.is((await first).output?.number, 0);
  t.is(Buffer.from((await second).output?.stdout ?? '').toString(), 'hello');
});

test('the end comes with the last piece of both streams, and again if that was lost', async (t) => {
  const { processes, ask, start } = setUp();
  await start('s');
  const [process] = processes;
  process?.stdout.end('out');
  process?.finish({ kind: 'exited', status: 256 });
  const first = (await ask('s', { read: { received: 0, waitMs: 1_000 } })).output;
  t.is(Buffer.from(first?.stdout ?? '').toString(), 'out');
  t.falsy(first?.end, 'its errors may still come');
  process?.stderr.end('errors');
  const errors = (await ask('s', { read: { received: 1, waitMs: 1_000 } })).output;
  t.is(Buffer.from(errors?.stderr ?? '').toString(), 'errors');
  let received = 2;
  let last = errors;
  while (!last?.end) {
    last = (await ask('s', { read: { received, waitMs: 1_000 } })).output;
    received = Math.max(received, (last?.number ?? 0) - 1);
  }
  const again = (await ask('s', { read: { received, waitMs: 1_000 } })).output;
  t.is(last.end.status, 256);
  t.is(again?.end?.status, 256);
});

test('what is asked for in no session, or asks for nothing, is refused', async (t) => {
  const { ask, start } = setUp();
  await t.throwsAsync(start(''), { instanceOf: RefusedError, message: /session_id/ });
  await t.throwsAsync(ask('none', { read: { received: 0, waitMs: 0 } }), { message: /session 'none'/ });
  await start('s');
  await t.throwsAsync(ask('s', {}), { message: /asks for nothing/ });
});

test('a process that reads in bits leaves nothing behind of each time that it was full', async (t) => {
  const { processes, ask, start } = setUp();
  await start('s');
  const stdin = processes[0]?.stdin as PassThrough;
  const before = stdin.listenerCount('close') + stdin.listenerCount('error');
  const piece = new Uint8Array(65_536);
  for (let number = 1; number <= 20; number += 1) {
    const { input } = await ask('s', { write: { number, data: piece } });
    t.is(input?.number, number);
    for (let left = piece.length; left > 0; ) left -= ((stdin.read() as Uint8Array | null) ?? piece).length;
    while (stdin.writableNeedDrain) await new Promise(setImmediate);
  }
  await new Promise(setImmediate);
  t.is(stdin.listenerCount('close') + stdin.listenerCount('error'), before);
});
