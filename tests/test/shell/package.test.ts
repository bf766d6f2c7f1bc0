// The package as its users have it: far from the checkout, with nothing but the shell and its tools on the PATH.
import { execFile } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const exec = promisify(execFile);
const repository = join(import.meta.dirname, '../../..');
const version = '7.8.9';
const hasNatsServer = process.platform === 'linux' && process.arch === 'x64';

async function pack(out: string): Promise<string> {
  const args = ['-C', 'mesobus-source', 'infra/package/main.ts', '--version', version, '--out', out];
  await exec(process.execPath, args, { cwd: repository });
  return join(out, `mesobus-${version}-linux-${process.arch}.tar.gz`);
}

(hasNatsServer ? test : test.skip)('the package runs a cluster from any folder, through any link', async (t) => {
  t.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-package-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  await exec('tar', ['-xzf', await pack(folder), '-C', folder]);
  const unpacked = join(folder, `mesobus-${version}`);
  const elsewhere = join(folder, 'elsewhere');
  mkdirSync(elsewhere);
  symlinkSync(`../mesobus-${version}/bin/mesobus`, join(elsewhere, 'link'));
  symlinkSync('link', join(elsewhere, 'mesobus'));
  const env = { PATH: '/usr/bin:/bin', HOME: folder };
  const mesobus = (...args: string[]) => exec('./mesobus', args, { cwd: elsewhere, env });

  t.is((await mesobus('--version')).stdout.trim(), version);
  for (const service of ['master', 'allocator', 'registry', 'agent']) {
    const { stdout } = await exec(join(unpacked, `bin/mesobus-${service}`), ['--version'], { env });
    t.is(stdout.trim(), version, service);
  }
  await mesobus('up', '--detach');
  try {
    const error = await t.throwsAsync(mesobus('run', '--', 'echo out; exit 3'));
    t.like(error, { code: 3, stdout: 'out\n' });
  } finally {
    await mesobus('down', '--purge');
  }

  const files = (readdirSync(unpacked, { recursive: true }) as string[]).filter((file) =>
    lstatSync(join(unpacked, file)).isFile(),
  );
  t.deepEqual(
    files.filter((file) => /\.ts$|\.map$|\.test\.|\/typescript\//.test(file)),
    [],
    'sources and tests have no place in it',
  );
  t.true(files.includes('vm/install.sh'));
  t.regex(readFileSync(join(unpacked, 'LICENSE.node'), 'utf8'), /Node\.js is licensed/);
});
