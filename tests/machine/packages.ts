import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** Unpacked packages of Debian; nothing of them is installed on this machine. */
export interface Packages {
  /** The emulator and the libraries that this machine lacks for it. */
  readonly emulator: string;
  readonly kernel: string;
  /** What the emulated machine has of a system. */
  readonly system: string;
}

const systemPackages = [
  ...['base-files', 'base-passwd', 'dash', 'coreutils', 'grep', 'util-linux', 'mount', 'bubblewrap'],
  ...['libc6', 'libgcc-s1', 'gcc-12-base', 'libstdc++6', 'libacl1', 'libattr1', 'libblkid1', 'libcap-ng0', 'libcap2'],
  ...['libcrypt1', 'libgmp10', 'libmount1', 'libpcre2-8-0', 'libselinux1', 'libsmartcols1', 'libsystemd0'],
  ...['libtinfo6', 'libudev1', 'libuuid1', 'zlib1g', 'libpam0g', 'libaudit1', 'busybox-static'],
];
const programs = ['apt-get', 'apt-cache', 'dpkg-deb', 'mke2fs'];
const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** What a machine must have to be able to emulate another. */
export function whatIsMissing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `the machine is for linux x64, not ${process.arch}`;
  const missing = programs.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  return missing.length === 0 ? undefined : `there is no ${missing.join(', no ')}`;
}

/**
 * Downloads and unpacks what the emulated machine is made of, once.
 *
 * @throws {Error} a package cannot be had
 */
export async function bringPackages(cache: string, say: (line: string) => void): Promise<Packages> {
  const packages = { emulator: join(cache, 'emulator'), kernel: join(cache, 'kernel'), system: join(cache, 'system') };
  const complete = join(cache, 'complete');
  const list = systemPackages.join(' ');
  if (existsSync(complete) && readFileSync(complete, 'utf8') === list) return packages;
  say('downloading an emulator, a kernel and a small system');
  rmSync(cache, { recursive: true, force: true });
  const [lists, archives] = [join(cache, 'lists'), join(cache, 'archives')];
  for (const folder of [lists, archives]) mkdirSync(join(folder, 'partial'), { recursive: true });
  const settings = [
    ...['-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${cache}`, '-o', `Dir::Cache::archives=${archives}`],
    ...['-o', 'APT::Sandbox::User=', '-o', 'Debug::NoLocking=1', '-o', 'Acquire::Languages=none'],
  ];
  const apt = (...args: string[]) => exec('apt-get', [...settings, '-q', ...args], { cwd: archives });
  await apt('update');
  const unpack = async (into: string): Promise<void> => {
    mkdirSync(into, { recursive: true });
    const files = readdirSync(archives).filter((name) => name.endsWith('.deb'));
    for (const file of files) {
      await exec('dpkg-deb', ['-x', join(archives, file), into]);
      rmSync(join(archives, file));
    }
  };
  // Of what the emulator depends on, the libraries that are installed here are taken from here.
  await apt('install', '--yes', '--reinstall', '--download-only', '--no-install-recommends', 'qemu-system-x86');
  await unpack(packages.emulator);
  const { stdout } = await exec('apt-cache', [...settings, 'show', '--no-all-versions', 'linux-image-cloud-amd64']);
  const kernel = /^Depends: (linux-image-\S+)/m.exec(stdout)?.[1];
  if (kernel === undefined) throw new Error(`linux-image-cloud-amd64 names no kernel: ${stdout}`);
  await apt('download', kernel);
  await unpack(packages.kernel);
  await apt('download', ...systemPackages);
  await unpack(packages.system);
  for (const folder of [lists, archives]) rmSync(folder, { recursive: true });
  writeFileSync(complete, list);
  return packages;
}
