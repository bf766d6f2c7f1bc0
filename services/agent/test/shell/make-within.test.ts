import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmdirSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { makeWithin } from '../../src/shell/make-within.ts';
import { settingsOf } from '../../src/shell/process/settings.ts';
import { tempWorkDir } from './bench.ts';

const isRoot = process.getuid?.() === 0;
const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [] };

test('what is missing of a folder is made, and what is there stays', (t) => {
  const base = tempWorkDir(t);
  mkdirSync(join(base, 'there'), { mode: 0o700 });
  makeWithin(base, './there//missing/', user, (folder) => mkdirSync(join(folder, 'new')));
  t.true(statSync(join(base, 'there/missing/new')).isDirectory());
  t.is(statSync(join(base, 'there')).mode & 0o777, 0o700);
  t.is(
    makeWithin(base, '.', user, (folder) => readdirSync(folder).join()),
    'there',
  );
});

test('a link, or a way out, is refused', (t) => {
  const base = tempWorkDir(t);
  const outside = tempWorkDir(t);
  symlinkSync(outside, join(base, 'link'));
  for (const path of ['link', 'link/new', '../x', 'new/../../x']) {
    t.throws(() => makeWithin(base, path, user, () => {}), { message: /something else|leads out/ });
  }
  t.deepEqual(readdirSync(outside), []);
});

test('a folder that becomes a link meanwhile leads nowhere', (t) => {
  const base = tempWorkDir(t);
  const outside = tempWorkDir(t);
  makeWithin(base, 'a/b', user, (folder) => {
    renameSync(join(base, 'a'), join(base, 'moved'));
    symlinkSync(outside, join(base, 'a'));
    mkdirSync(join(folder, 'new'));
  });
  t.true(existsSync(join(base, 'moved/b/new')));
  t.deepEqual(readdirSync(outside), []);
});

(isRoot ? test : test.skip)("what is made becomes the user's, and nothing else does", (t) => {
  const base = tempWorkDir(t);
  mkdirSync(join(base, 'there'));
  const nobody = { uid: 65_534, gid: 65_534, groups: [] };
  makeWithin(base, 'there/new', nobody, () => {});
  t.is(lstatSync(join(base, 'there')).uid, 0);
  t.is(lstatSync(join(base, 'there/new')).uid, 65_534);
  rmdirSync(join(base, 'there/new'));
});

test('a persistent volume whose path leads out of the sandbox is not shown there', (t) => {
  const base = tempWorkDir(t);
  const sandboxDir = join(base, 'sandbox');
  mkdirSync(sandboxDir);
  const spec = {
    ...{
      containerId: 'c',
      controlDir: base,
      sandboxDir,
      stdoutPath: '',
      stderrPath: '',
      argv: ['true'] as [string],
      env: {},
    },
    ...{ limits: { cpus: 1, memBytes: 0, hardMemBytes: 0 } },
    volumes: [{ hostPath: base, containerPath: '../elsewhere/volume', readOnly: false }],
  };
  const isolation = { always: false, noNewPrivileges: false, isRoot };
  t.throws(() => settingsOf(spec, isolation, 0), {
    message: /the volume at '\.\.\/elsewhere\/volume': .* leads out of/,
  });
  t.deepEqual(readdirSync(base), ['sandbox']);
});
