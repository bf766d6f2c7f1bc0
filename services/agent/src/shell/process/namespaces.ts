import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { mesos } from '@mesobus/protos';
import type { ContainerSpec } from '../containerizer.ts';
import { launcherBinary } from './launcher.ts';

/** What makes namespaces on this machine. */
export interface Namespaces {
  /** For people. */
  readonly description: string;
  /** The program, with its arguments, that executes another one in namespaces of its own. */
  wrapperOf(spec: Pick<ContainerSpec, 'container'>): string[];
}

interface Maker {
  readonly name: string;
  readonly path: string;
  wrapperOf(kinds: Kinds): string[];
}

interface Kinds {
  readonly pid: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
}

const folders = ['/usr/bin', '/bin', '/usr/local/bin'];
const tryTimeoutMs = 10_000;

const find = (program: string): string | undefined =>
  folders.map((folder) => `${folder}/${program}`).find((path) => existsSync(path));

/**
 * Looks for a program that makes namespaces here, and tries it. Root prefers unshare of util-linux: bubblewrap forbids new
 * privileges to whatever it starts, and set-user-ID programs would stop to work. Who is not root needs a user namespace,
 * in which they do not work anyway, and prefers bubblewrap, which may have the right to make one where others have not.
 *
 * @returns why there is none, if so
 */
export async function findNamespaces(
  isRoot: boolean,
  programs: readonly ('unshare' | 'bwrap')[] = ['unshare', 'bwrap'],
): Promise<Namespaces | { readonly why: string }> {
  const [unshare, bubblewrap] = (['unshare', 'bwrap'] as const).map((name) =>
    programs.includes(name) ? find(name) : undefined,
  );
  const makers: Maker[] = [];
  if (unshare !== undefined) makers.push({ name: 'unshare', path: unshare, wrapperOf: unshareOf(unshare, isRoot) });
  if (bubblewrap !== undefined)
    makers.push({ name: 'bubblewrap', path: bubblewrap, wrapperOf: bubblewrapOf(bubblewrap) });
  if (!isRoot) makers.reverse();
  const reasons = makers.length === 0 ? ['neither unshare (util-linux) nor bwrap (bubblewrap) is installed'] : [];
  for (const maker of makers) {
    const failure = await failureOf(maker.wrapperOf({ pid: true, ipc: true, uts: true }));
    if (failure === undefined) return namespacesBy(maker);
    reasons.push(`${maker.name}: ${failure}`);
  }
  return { why: reasons.join('; ') };
}

const namespacesBy = ({ name, path, wrapperOf }: Maker): Namespaces => ({
  description: `namespaces of processes and mounts, made by ${name} (${path})`,
  wrapperOf: ({ container }) => {
    const { sharePidNamespace, ipcMode } = container?.linuxInfo ?? {};
    const ipc = ipcMode === mesos.v1.LinuxInfo.IpcMode.PRIVATE;
    return wrapperOf({ pid: !sharePidNamespace, ipc, uts: Boolean(container?.hostname) });
  },
});

const unshareOf =
  (path: string, isRoot: boolean) =>
  ({ pid, ipc, uts }: Kinds): string[] => [
    path,
    ...(isRoot ? [] : ['--user', '--map-current-user', '--keep-caps']),
    '--mount',
    ...(pid ? ['--pid', '--kill-child', '--mount-proc'] : []),
    ...(ipc ? ['--ipc'] : []),
    ...(uts ? ['--uts'] : []),
    '--',
  ];

const bubblewrapOf =
  (path: string) =>
  ({ pid, ipc, uts }: Kinds): string[] => [
    path,
    ...['--dev-bind', '/', '/', '--die-with-parent', '--cap-add', 'ALL'],
    ...(pid ? ['--unshare-pid', '--as-pid-1', '--proc', '/proc'] : []),
    ...(ipc ? ['--unshare-ipc'] : []),
    ...(uts ? ['--unshare-uts'] : []),
    '--',
  ];

async function failureOf([file = '', ...args]: string[]): Promise<string | undefined> {
  try {
    await promisify(execFile)(file, [...args, launcherBinary(), '--version'], { timeout: tryTimeoutMs, env: {} });
    return undefined;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    return said || String(error);
  }
}
