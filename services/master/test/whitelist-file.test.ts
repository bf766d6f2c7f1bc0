import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createLedger } from '@mesobus/registry/core';
import { createMemoryNetwork, ManualClock, silentLogger, subjectsOf } from '@mesobus/sdk/bus';
import { ConfigError } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { defaultConfig } from '../src/core/index.ts';
import { run } from '../src/shell/run.ts';
import { openWhitelist } from '../src/shell/whitelist.ts';
import { masterInfo } from './harness.ts';

function fileIn(t: ExecutionContext, text: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-whitelist-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'whitelist');
  writeFileSync(file, text);
  return file;
}

test('the file is read at once and again every 5 s; whoever listens hears of changes only', async (t) => {
  const file = fileIn(t, 'a1\n\n  a2 \n');
  const clock = new ManualClock();
  const whitelist = openWhitelist(`file://${file}`, { clock, log: silentLogger });
  t.teardown(() => whitelist.stop());
  t.deepEqual([...whitelist.value], ['a1', 'a2']);
  const changed = Promise.withResolvers<ReadonlySet<string>>();
  whitelist.onChange(changed.resolve);
  writeFileSync(file, 'a2\n');
  clock.advance(4_999);
  t.deepEqual([...whitelist.value], ['a1', 'a2']);
  clock.advance(1);
  t.deepEqual([...(await changed.promise)], ['a2']);
});

test('a file that cannot be read ends the start, and says so', (t) => {
  const error = t.throws(() => openWhitelist('/no/such/file', { clock: new ManualClock(), log: silentLogger }), {
    instanceOf: ConfigError,
  });
  t.regex(error?.message ?? '', /--whitelist.*\/no\/such\/file/);
});

test('a file that cannot be read any more counts as it was, and is said once', async (t) => {
  const file = fileIn(t, 'a1\n');
  const clock = new ManualClock();
  const warned = Promise.withResolvers<void>();
  const whitelist = openWhitelist(file, { clock, log: { ...silentLogger, warn: () => warned.resolve() } });
  t.teardown(() => whitelist.stop());
  rmSync(file);
  clock.advance(5_000);
  await warned.promise;
  t.deepEqual([...whitelist.value], ['a1']);
});

test('a master that begins to lead offers by the list at once, and by every change of it', async (t) => {
  const file = fileIn(t, 'a1\n');
  const clock = new ManualClock();
  const whitelist = openWhitelist(file, { clock, log: silentLogger });
  t.teardown(() => whitelist.stop());
  const leadership = {
    epoch: 1,
    incarnation: 1,
    ledger: createLedger(),
    lastIndex: 0,
    lease: 'fresh',
    lagging: false,
    submit: () => 0,
    barrier: () => 0,
    onCommitted: () => undefined,
    onLease: () => undefined,
  } as const;
  const master = run({
    bus: createMemoryNetwork({ clock }).connect('master'),
    subjects: subjectsOf('test'),
    leadership,
    config: { ...defaultConfig, masterId: 'm1', masterInfo },
    clock,
    now: () => clock.now(),
    log: silentLogger,
    whitelist,
    onFatal: (error) => t.fail(String(error)),
    onOutranked: () => t.fail(),
  });
  t.teardown(() => master.stop());
  t.deepEqual(master.state.whitelist, new Set(['a1']));
  const changed = Promise.withResolvers<void>();
  whitelist.onChange(() => changed.resolve());
  writeFileSync(file, '');
  clock.advance(5_000);
  await changed.promise;
  t.deepEqual(master.state.whitelist, new Set());
});
