import { isAbsolute, join, normalize } from 'node:path';
import { mesos } from '@mesobus/protos';
import type { Mount } from './containerizer.ts';
import { makeWithin } from './make-within.ts';
import type { User } from './users.ts';

const { Type: SourceType, SandboxPath } = mesos.v1.Volume.Source;

/** The sandboxes that a container's volumes may be in. */
interface Sandboxes {
  readonly own: string;
  /** What the tasks of its group share. */
  readonly parent?: string | undefined;
}

/** What is mounted, without where. */
export type MountedFile = Pick<Mount, 'hostPath' | 'readOnly'>;

/**
 * The volumes that a container names by paths of the host or of a sandbox, or by secrets. Folders in a sandbox are made, and belong to
 * its user; what is on the host has to be there.
 *
 * @param secretFile - makes the file of a secret
 * @throws {Error} on a path that leads out of the sandbox, and on other kinds of volumes
 */
export function mountsOf(
  container: mesos.v1.ContainerInfo.$Properties | undefined,
  sandboxes: Sandboxes,
  user: User | undefined,
  secretFile: (secret: mesos.v1.Secret.$Properties | null | undefined) => MountedFile,
): Mount[] {
  return (container?.volumes ?? []).map((volume) => {
    const { containerPath, mode, source } = volume;
    if (!isAbsolute(containerPath)) within('', containerPath);
    if (source?.type === SourceType.SECRET) return { containerPath, ...secretFile(source.secret) };
    const readOnly = mode === mesos.v1.Volume.Mode.RO;
    return { hostPath: hostPathOf(volume, sandboxes, user), containerPath, readOnly };
  });
}

function hostPathOf(
  { hostPath, source }: mesos.v1.Volume.$Properties,
  sandboxes: Sandboxes,
  user: User | undefined,
): string {
  const path = source?.type === SourceType.HOST_PATH ? source.hostPath?.path : hostPath;
  if (path) return isAbsolute(path) ? path : folder(sandboxes.own, path, user);
  if (source?.type === SourceType.SANDBOX_PATH && source.sandboxPath) {
    const ofParent = source.sandboxPath.type === SandboxPath.Type.PARENT;
    const sandbox = ofParent ? sandboxes.parent : sandboxes.own;
    if (sandbox === undefined) throw new Error('a volume is in the sandbox of a parent, and the task has none');
    return folder(sandbox, source.sandboxPath.path, user);
  }
  throw new Error('a volume is neither a path of the host nor one of a sandbox');
}

function folder(sandbox: string, path: string, user: User | undefined): string {
  const whole = within(sandbox, path);
  makeWithin(sandbox, path, user, () => {});
  return whole;
}

function within(sandbox: string, path: string): string {
  const plain = normalize(path);
  if (isAbsolute(plain) || plain === '..' || plain.startsWith('../')) {
    throw new Error(`the path '${path}' of a volume leads out of the sandbox; name one in it`);
  }
  return join(sandbox, plain);
}
