import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { formatResources, fromWire } from '@mesobus/sdk/resources';
import test, { type ExecutionContext } from 'ava';
import { fitsName, sandboxPath } from '../../src/core/index.ts';
import { checkWritten, detectAttributes, detectResources, measureMachine } from '../../src/shell/detect.ts';
import { lockFile } from '../../src/shell/lock.ts';
import { Users } from '../../src/shell/users.ts';
import { openWorkDir } from '../../src/shell/work-dir.ts';

const gigabyte = 2 ** 30;
const shown = (...given: Parameters<typeof detectResources>): string =>
  formatResources(fromWire(detectResources(...given)));

const machines = [
  [
    'a large machine keeps 1 GB of memory and 5 GB of disk',
    8,
    64,
    100,
    'cpus:8;disk:97280;mem:64512;ports:[31000-32000]',
  ],
  ['a small machine keeps half of both', 1, 1, 8, 'cpus:1;disk:4096;mem:512;ports:[31000-32000]'],
] as const;
for (const [title, cores, memory, disk, expected] of machines) {
  test(title, (t) => {
    const bytes = { memoryBytes: memory * gigabyte, diskBytes: disk * gigabyte };
    const machine = { cores, ...bytes, gpus: 0, os: 'debian', arch: 'x64' };
    t.is(shown(machine).split(';').sort().join(';'), expected);
  });
}

const bytes = { memoryBytes: 8 * gigabyte, diskBytes: 100 * gigabyte };
const machine = { cores: 4, ...bytes, gpus: 0, os: 'debian', arch: 'x64' };

test('what the operator says is taken instead of what is found, and a zero is said', (t) => {
  const text = shown(machine, 'cpus(ads):2;disk:0;gpus:1');
  t.deepEqual(text.split(';').sort(), ['cpus(ads):2', 'gpus:1', 'mem:7168', 'ports:[31000-32000]']);
});

test('resources are taken as JSON too', (t) => {
  const json = JSON.stringify([{ name: 'cpus', type: 'SCALAR', scalar: { value: 1.5 } }]);
  t.true(shown(machine, json).split(';').includes('cpus:1.5'));
});

test('gpus are offered where there are some, and are whole', (t) => {
  const withGpus = { ...machine, gpus: 2 };
  t.true(shown(withGpus).split(';').includes('gpus:2'));
  t.false(shown(withGpus, 'gpus:0').includes('gpus'));
  t.false(shown(machine).includes('gpus'));
  t.throws(() => checkWritten({ resources: 'gpus:0.5' }), { message: /--resources: .*0\.5 gpus are not whole/ });
});

test('an explicit zero, in text or JSON, keeps each kind from being found', (t) => {
  t.is(shown(machine, 'cpus:0;mem:0;disk:0;ports:[]'), '');
  const zero = JSON.stringify([{ name: 'mem', type: 'SCALAR', scalar: { value: 0 } }]);
  t.false(shown(machine, zero).includes('mem'));
});

test('resources of an operator’s own, of all three types, are offered beside what is found', (t) => {
  const text = shown(machine, 'bogomips:1.5;vlans:[1-4,7-9];licences(ads):{a,b};cpus:1').split(';');
  t.deepEqual(text.sort(), [
    'bogomips:1.5',
    'cpus:1',
    'disk:97280',
    'licences(ads):{a,b}',
    'mem:7168',
    'ports:[31000-32000]',
    'vlans:[1-4,7-9]',
  ]);
});

test('the default role has what names no role, also what is found', (t) => {
  const [cpus, ...others] = shown(machine, 'cpus(*):2', 'ads').split(';').sort();
  t.is(cpus, 'cpus:2');
  t.deepEqual(others, ['disk(ads):97280', 'mem(ads):7168', 'ports(ads):[31000-32000]']);
  t.throws(() => checkWritten({ defaultRole: 'a b' }), { message: /--default-role: .*a b/ });
});

test('resources that cannot be read are refused by name', (t) => {
  t.throws(() => detectResources(machine, 'cpus=4'), { message: /cpus=4/ });
});

test('this machine has something to offer', async (t) => {
  const { cores, memoryBytes, diskBytes, gpus, os } = await measureMachine('/');
  t.true(cores > 0 && memoryBytes > 0 && diskBytes > 0 && gpus >= 0);
  t.regex(os, /^\w/);
});

test('attributes are read as Mesos writes them, and what they do not mention is found', (t) => {
  const said = detectAttributes(machine, 'rack:abc;level:10;os:centos5');
  t.deepEqual(
    said.map(({ name, text }) => [name, text?.value]),
    [
      ['rack', 'abc'],
      ['level', undefined],
      ['os', 'centos5'],
      ['arch', 'x64'],
    ],
  );
  t.throws(() => detectAttributes(machine, 'rack'), { message: /rack/ });
});

test('attributes are taken as JSON too', (t) => {
  const json = JSON.stringify([
    { name: 'rack', type: 'TEXT', text: { value: 'abc' } },
    { name: 'level', type: 'SCALAR', scalar: { value: 10 } },
    { name: 'arch', type: 'SET', set: { item: ['a', 'b'] } },
  ]);
  const said = detectAttributes(machine, json);
  t.deepEqual(said, detectAttributes(machine, 'rack:abc;level:10;arch:{a,b}'));
  for (const wrong of ['[{"name":"rack"', '[{"type":"TEXT"}]', '[{"name":"a","type":"TEXT"}]', '[1]']) {
    t.throws(() => checkWritten({ attributes: wrong }), { message: /--attributes: .*[;,] / }, wrong);
  }
});

test('what an operator writes wrong is refused by the names of the flags, all at once', (t) => {
  const error = t.throws(() => checkWritten({ resources: '{"a":1}', attributes: 'rack' }));
  t.regex(error?.message ?? '', /--resources: .*no list/);
  t.regex(error?.message ?? '', /--attributes: .*rack/);
  t.notThrows(() => checkWritten({}));
});

test('a user is found with its groups, and one that does not exist is not', (t) => {
  const users = new Users();
  const { username, uid, gid } = userInfo();
  t.like(users.find(username), { uid, gid });
  t.true(users.find(username)?.groups.includes(gid));
  t.is(users.find('no-such-user'), undefined);
  t.is(users.find('--help'), undefined);
});

test('an id that cannot be the name of a folder is escaped, and cannot lead elsewhere', (t) => {
  t.is(sandboxPath('m1-0001', 'web.1', 'c'), 'm1-0001/web.1/c');
  t.is(sandboxPath('..', 'a/../b', 'c'), '%../a%2f..%2fb/c');
  t.not(sandboxPath('F', '%..', 'c'), sandboxPath('F', '..', 'c'));
  t.false(fitsName('x'.repeat(256)));
  t.false(fitsName(''));
  t.true(fitsName('ä'.repeat(127)));
});

function tempFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-lock-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A process that holds the lock until it is killed. */
async function holder(t: ExecutionContext, path: string): Promise<ChildProcess> {
  const module = new URL('../../src/shell/lock.ts', import.meta.url).href;
  const code = `
    const { lockFile } = await import(${JSON.stringify(module)});
    globalThis.lock = await lockFile(${JSON.stringify(path)}, 'the holder');
    console.log('held');
    setInterval(() => {}, 1000);`;
  const options = ['-C', 'mesobus-source', '--input-type=module', '-e', code];
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

test('a lock is held against other processes, says by whom, and ends with its holder even by SIGKILL', async (t) => {
  const path = join(tempFolder(t), 'lock');
  const child = await holder(t, path);
  await t.throwsAsync(lockFile(path, 'me'), { message: /the holder uses this work directory/ });
  child.kill('SIGKILL');
  await once(child, 'exit');
  const lock = await lockFile(path, 'me');
  lock.release();
});

test('a work directory that cannot be one is refused by name', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-machine-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'file');
  writeFileSync(path, '');
  t.throws(() => openWorkDir(path), { message: /Cannot use the work directory '.*file': .*give another --work-dir/ });
});
