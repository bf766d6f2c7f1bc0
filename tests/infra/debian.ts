import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);
const maxOutput = 64 * 2 ** 20;
const release = 'bookworm';
const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
const programs = ['apt-get', 'dpkg-deb', 'gpgv', 'ip', 'nsenter', 'pivot_root', 'unshare', 'wget'];

const inMemory = `
mount -t tmpfs tmpfs "$1"
sh "$2" --variant=minbase --include=systemd,systemd-sysv "$3" "$1"
rm -rf "$1/var/cache/apt" "$1/var/lib/apt/lists"
cp -a "$1" "$1.whole"`;

/** What a machine must have to make and run another with Debian. */
export function whatIsMissing(): string | undefined {
  if (process.platform !== 'linux') return 'it takes Linux';
  if (process.getuid?.() !== 0) return 'it takes root';
  const missing = programs.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  return missing.length === 0 ? undefined : `there is no ${missing.join(', no ')}`;
}

/**
 * Makes a small Debian with systemd, once, with debootstrap; nothing of it is installed on this machine.
 *
 * @returns its folder
 * @throws {Error} it cannot be had
 */
export async function bringDebian(cache: string, say: (line: string) => void): Promise<string> {
  const system = join(cache, release);
  if (existsSync(system)) return system;
  say(`making a Debian (${release}) with debootstrap, which takes minutes, once`);
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  const tool = join(cache, 'tool');
  await exec('apt-get', ['-q', '-o', 'APT::Sandbox::User=', 'download', 'debootstrap'], { cwd: cache });
  const file = readdirSync(cache).find((name) => name.endsWith('.deb'));
  await exec('dpkg-deb', ['-x', join(cache, file as string), tool]);
  const fresh = join(cache, 'fresh');
  mkdirSync(fresh);
  // In memory, where the syncing of each package costs nothing.
  await exec('unshare', ['--mount', 'sh', '-euc', inMemory, 'sh', fresh, join(tool, 'usr/sbin/debootstrap'), release], {
    env: { ...process.env, DEBOOTSTRAP_DIR: join(tool, 'usr/share/debootstrap') },
    maxBuffer: maxOutput,
  });
  renameSync(`${fresh}.whole`, system);
  return system;
}
