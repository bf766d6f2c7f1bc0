import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where programs are: a value of PATH. */
export type Found = { readonly path: string } | { readonly why: string };

const programs = ['dockerd', 'containerd', 'runc', 'docker-proxy'];
const packages = ['docker.io', 'containerd', 'runc'];
const needed = ['unshare', 'nsenter', 'ip', 'tar', 'ldd'];
const cache = fileURLToPath(new URL('../../../../node_modules/.cache/dockerd', import.meta.url));

/** Docker's daemon: that of the machine, or else that of Debian's packages, unpacked and not installed. */
export function findDockerd(): Found {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { why: 'a daemon of Docker needs root on Linux' };
  const missing = needed.filter((program) => !isIn(process.env['PATH'] ?? '', program));
  if (missing.length > 0) return { why: `there is no ${missing.join(', ')}` };
  const path = pathWith();
  if (programs.every((program) => isIn(path, program))) return { path };
  if (!isIn(path, 'apt-get')) return { why: 'there is no dockerd, and no apt-get to get it' };
  try {
    unpack();
  } catch (error) {
    return { why: `there is no dockerd, and its packages cannot be had: ${firstLineOf(error)}` };
  }
  const lacking = programs.filter((program) => !isIn(path, program));
  return lacking.length === 0 ? { path } : { why: `the packages of Docker are without ${lacking.join(', ')}` };
}

const pathWith = (): string =>
  [process.env['PATH'] ?? '', ...['usr/sbin', 'usr/bin'].map((folder) => join(cache, 'root', folder))].join(delimiter);

const isIn = (path: string, program: string): boolean =>
  path.split(delimiter).some((folder) => existsSync(join(folder, program)));

function unpack(): void {
  const folder = `${cache}.new`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const run = (...[file = '', ...args]: string[]): void => {
    execFileSync(file, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 });
  };
  try {
    run('apt-get', 'download', ...packages);
  } catch {
    run('apt-get', 'update'); // its lists may be of yesterday, or not there at all
    run('apt-get', 'download', ...packages);
  }
  for (const name of readdirSync(folder)) run('dpkg-deb', '-x', name, 'root');
  rmSync(cache, { recursive: true, force: true });
  renameSync(folder, cache);
}

const firstLineOf = (error: unknown): string =>
  String(error instanceof Error ? error.message : error).split('\n')[0] ?? '';
