// The installer, with a package that has no program in it, into a folder: no service is started.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

const vm = join(import.meta.dirname, '../../infra/vm');
const all = ['--role', 'nats', '--role', 'control', '--role', 'agent'];

interface Place {
  readonly root: string;
  packageOf(version: string): string;
  /** What it says. */
  install(...args: readonly string[]): string;
  read(file: string): string;
}

function makePlace(t: ExecutionContext): Place {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-installer-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const root = join(folder, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  for (const file of ['passwd', 'group']) {
    writeFileSync(join(root, 'etc', file), 'mesobus:x:4001:\nmesobus-nats:x:4002:\n');
  }
  const installer = join(vm, 'install.sh');
  return {
    root,
    packageOf(version) {
      const name = `mesobus-${version}`;
      mkdirSync(join(folder, name, 'bin'), { recursive: true });
      writeFileSync(join(folder, name, 'bin/node'), '#!/bin/sh\n', { mode: 0o755 });
      cpSync(vm, join(folder, name, 'vm'), { recursive: true });
      execFileSync('tar', ['-czf', `${name}.tar.gz`, name], { cwd: folder });
      return join(folder, `${name}.tar.gz`);
    },
    install: (...args) => execFileSync('sh', [installer, '--root', root, ...args], { encoding: 'utf8', stdio: 'pipe' }),
    read: (file) => readFileSync(join(root, file), 'utf8'),
  };
}

const filesOf = (root: string): string[] => (readdirSync(root, { recursive: true }) as string[]).sort();

test('a second run changes nothing', (t) => {
  const { packageOf, install, root } = makePlace(t);
  const file = packageOf('1.0.0');
  t.notRegex(install(...all, '--package', file), /nothing to change/);
  const before = filesOf(root);
  t.regex(install(...all, '--package', file), /nothing to change/);
  t.deepEqual(filesOf(root), before);
  t.true(before.includes('etc/systemd/system/multi-user.target.wants/mesobus.target'));
});

test('a dry run says what would be done, and does nothing', (t) => {
  const { packageOf, install, root } = makePlace(t);
  const before = filesOf(root);
  t.regex(install(...all, '--package', packageOf('1.0.0'), '--dry-run'), /would run: .*mesobus-agent\.service/);
  t.deepEqual(filesOf(root), before);
});

test('a machine has what its roles need, and no more', (t) => {
  const { packageOf, install, root } = makePlace(t);
  install('--role', 'agent', '--package', packageOf('1.0.0'));
  t.deepEqual(readdirSync(join(root, 'usr/local/lib/systemd/system')).sort(), [
    'mesobus-agent.service',
    'mesobus.target',
  ]);
  t.deepEqual(
    filesOf(join(root, 'etc/mesobus')).filter((name) => /\.(env|conf)$/.test(name)),
    ['agent.env', 'cluster.env'],
  );
});

test('configuration that nobody edited is replaced; an edited file stays, with the new one beside it', (t) => {
  const { packageOf, install, read, root } = makePlace(t);
  const file = packageOf('1.0.0');
  const config = join(root, '../config');
  mkdirSync(config);
  const give = (text: string): void => {
    for (const name of ['cluster.env', 'agent.env']) writeFileSync(join(config, name), text);
  };
  give('FIRST=1\n');
  install('--role', 'agent', '--package', file, '--config', config);
  appendFileSync(join(root, 'etc/mesobus/agent.env'), 'MINE=1\n');
  give('SECOND=1\n');
  t.regex(install('--role', 'agent', '--package', file, '--config', config), /keeps \/etc\/mesobus\/agent\.env/);
  t.is(read('etc/mesobus/cluster.env'), 'SECOND=1\n');
  t.is(read('etc/mesobus/agent.env'), 'FIRST=1\nMINE=1\n');
  t.is(read('etc/mesobus/agent.env.new'), 'SECOND=1\n');
  t.regex(install('--role', 'agent', '--package', file, '--config', config), /nothing to change/);
});

test('the version before stays to go back to, and older ones go', (t) => {
  const { packageOf, install, root } = makePlace(t);
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) install(...all, '--package', packageOf(version));
  const opt = join(root, 'opt/mesobus');
  t.is(readlinkSync(join(opt, 'current')), '1.0.2');
  t.false(existsSync(join(opt, '1.0.0')));
  install(...all, '--activate', '1.0.1');
  t.is(readlinkSync(join(opt, 'current')), '1.0.1');
  t.true(existsSync(join(opt, '1.0.2')));
  const error = t.throws(() => install(...all, '--activate', '1.0.0')) as Error & { stderr: string };
  t.regex(error.stderr, /Cannot go to 1\.0\.0: .* give its --package/);
});

test('removal leaves the configuration alone', (t) => {
  const { packageOf, install, root } = makePlace(t);
  install(...all, '--package', packageOf('1.0.0'));
  install('--uninstall');
  const left = filesOf(root).filter((name) => /mesobus/.test(name) && !name.startsWith('etc/mesobus'));
  t.deepEqual(left, []);
  t.true(existsSync(join(root, 'etc/mesobus/agent.env')));
  t.regex(install('--uninstall'), /nothing to change/);
});
