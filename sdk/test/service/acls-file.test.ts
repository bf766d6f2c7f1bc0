import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { authorize } from '../../src/authorization/index.ts';
import { ManualClock, silentLogger } from '../../src/bus/index.ts';
import { ConfigError, openAcls } from '../../src/service/index.ts';

const allowing = (user: string): string =>
  JSON.stringify({ run_tasks: [{ principals: { type: 'ANY' }, users: { values: [user] } }] });

function fileIn(t: ExecutionContext, text: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-acls-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'acls.json');
  writeFileSync(file, text);
  return file;
}

function openIn(t: ExecutionContext, text: string) {
  const warned: string[] = [];
  let onWarned = (): void => undefined;
  const log = {
    ...silentLogger,
    warn: (fields: { err?: Error }, message: string) => {
      warned.push(`${message} ${fields.err?.message ?? ''}`);
      onWarned();
    },
  };
  const clock = new ManualClock();
  const file = fileIn(t, text);
  const acls = openAcls(file, { clock, log });
  if (acls === undefined) throw new Error('there are none');
  t.teardown(() => acls.stop());
  const warning = () =>
    new Promise<void>((resolve) => {
      onWarned = resolve;
    });
  const mayRun = (user: string): boolean => authorize(acls.value, 'p', 'run_tasks', user).allowed;
  return { acls, clock, file, warned, warning, mayRun };
}

test('without a file there are no ACLs', (t) => {
  t.is(openAcls(undefined, { clock: new ManualClock(), log: silentLogger }), undefined);
});

test('a file that is wrong at the start ends it, and says where', (t) => {
  const file = fileIn(t, '{"run_task":[]}');
  const error = t.throws(() => openAcls(file, { clock: new ManualClock(), log: silentLogger }), {
    instanceOf: ConfigError,
  });
  t.regex(error?.message ?? '', /^--acls: '.*acls.json': 'run_task' is no action: .*; mend it, or leave --acls out/);
});

test('a file that changes counts within 5 s', async (t) => {
  const { acls, clock, file, mayRun } = openIn(t, allowing('web'));
  t.deepEqual([mayRun('web'), mayRun('root')], [true, false]);
  const changed = Promise.withResolvers<void>();
  acls.onChange(() => changed.resolve());
  writeFileSync(file, allowing('root'));
  clock.advance(5_000);
  await changed.promise;
  t.deepEqual([mayRun('web'), mayRun('root')], [false, true]);
});

test('a file that becomes wrong counts as it was, which is said once for each fault', async (t) => {
  const { clock, file, warned, warning, mayRun, acls } = openIn(t, allowing('web'));
  const expected = ["'permissive' is neither", 'it is not JSON'];
  for (const [index, text] of ['{"permissive":1}', '{'].entries()) {
    writeFileSync(file, text);
    const said = warning();
    clock.advance(5_000);
    await said;
    t.true(warned[index]?.includes(expected[index] as string), warned[index]);
    t.true(mayRun('web'));
  }
  const changed = Promise.withResolvers<void>();
  acls.onChange(() => changed.resolve());
  writeFileSync(file, allowing('root'));
  // The file is read without a pause between the clock and the disk: ask until it was.
  const again = setInterval(() => clock.advance(5_000), 10);
  t.teardown(() => clearInterval(again));
  await changed.promise;
  t.true(mayRun('root'));
  t.is(warned.length, 2);
});

test('rules without effect are said', (t) => {
  const rule = '{"set_log_level":[{"principals":{"type":"ANY"},"level":{"type":"ANY"}}]}';
  const { warned } = openIn(t, rule);
  t.regex(warned[0] ?? '', /The ACLs are used, but 'set_log_level' has no effect/);
});
