import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findDockerd } from '../../services/agent/test/docker/find-dockerd.ts';

/** What a daemon of Docker and docker-compose are started from. */
export interface Programs {
  /** Where those of the daemon are: a value of PATH. */
  readonly path: string;
  /** Version 2. */
  readonly compose: string;
}

const cache = fileURLToPath(new URL('../../node_modules/.cache/compose', import.meta.url));
const folders = (process.env['PATH'] ?? '').split(delimiter);

/** Docker resolves the names of services with it, in the networks of containers. */
const iptables = [
  ...['iptables', 'libxtables12', 'libip4tc2', 'libip6tc2', 'libmnl0', 'libnetfilter-conntrack3', 'libnfnetlink0'],
  'libnftnl11',
];

/** Programs of this machine, or else of Debian's packages, unpacked and not installed. */
export function findPrograms(): Programs | { readonly why: string } {
  const dockerd = findDockerd();
  if ('why' in dockerd) return dockerd;
  try {
    const own = find('iptables') === undefined ? [bringIptables()] : [];
    return { path: [...own, dockerd.path].join(delimiter), compose: findCompose() ?? bringCompose() };
  } catch (error) {
    const { message } = error as Error;
    return { why: `docker-compose or iptables are not there and cannot be had: ${message.split('\n')[0]}` };
  }
}

const find = (program: string): string | undefined =>
  [...folders, '/usr/sbin'].map((folder) => join(folder, program)).find((file) => existsSync(file));

/** Version 1 is a program of Python, and cannot wait for health. */
function findCompose(): string | undefined {
  const plugins = [
    '/usr/libexec/docker/cli-plugins',
    '/usr/lib/docker/cli-plugins',
    '/usr/local/lib/docker/cli-plugins',
  ];
  const known = [process.env['MESOBUS_COMPOSE'], ...plugins.map((folder) => join(folder, 'docker-compose'))];
  return [...known, find('docker-compose')].find(
    (file) => file !== undefined && existsSync(file) && /v?2\.\d+/.test(versionOf(file)),
  );
}

function versionOf(file: string): string {
  try {
    return execFileSync(file, ['version', '--short'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}

function bringCompose(): string {
  const root = join(cache, 'docker-compose');
  const file = join(root, 'usr/libexec/docker/cli-plugins/docker-compose');
  if (existsSync(file)) return file;
  // Debian 12 has version 1 only. That of 13 needs no more than the C library of 12.
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg';
  unpack(root, ['docker-compose'], `deb [signed-by=${keys}] http://deb.debian.org/debian trixie main`);
  return file;
}

/** @returns the folder of a program that finds its libraries where they were unpacked */
function bringIptables(): string {
  const root = join(cache, 'iptables');
  const bin = join(root, 'bin');
  if (existsSync(bin)) return bin;
  unpack(root, iptables);
  const library = join(root, 'usr/lib/x86_64-linux-gnu');
  const environment = `LD_LIBRARY_PATH='${library}' XTABLES_LIBDIR='${library}/xtables'`;
  mkdirSync(bin);
  for (const name of ['iptables', 'ip6tables']) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${environment} exec '${root}/usr/sbin/${name}-nft' "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return bin;
}

/** @param source - a line of a list of sources; those of the machine unless given */
function unpack(into: string, packages: readonly string[], source?: string): void {
  const work = `${into}.new`;
  rmSync(work, { recursive: true, force: true });
  for (const folder of ['lists/partial', 'archives/partial']) mkdirSync(join(work, folder), { recursive: true });
  const archives = join(work, 'archives');
  if (source !== undefined) writeFileSync(join(work, 'sources.list'), `${source}\n`);
  const run = (...[file = '', ...args]: string[]): void => {
    execFileSync(file, args, { cwd: archives, stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 });
  };
  const sources = source === undefined ? [] : [`Dir::Etc::sourcelist=${work}/sources.list`, 'Dir::Etc::sourceparts=-'];
  const places = [`Dir::State::lists=${work}/lists`, `Dir::Cache=${work}`, `Dir::Cache::archives=${archives}`];
  const settings = ['APT::Sandbox::User=', 'Debug::NoLocking=1', 'Acquire::Languages=none', ...places, ...sources];
  const apt = (...args: string[]) => run('apt-get', '-q', ...settings.flatMap((one) => ['-o', one]), ...args);
  apt('update');
  apt('download', ...packages);
  for (const name of readdirSync(archives).filter((file) => file.endsWith('.deb')))
    run('dpkg-deb', '-x', name, join(work, 'root'));
  rmSync(into, { recursive: true, force: true });
  mkdirSync(join(into, '..'), { recursive: true });
  renameSync(join(work, 'root'), into);
  rmSync(work, { recursive: true });
}
