import { duration, flag, type Option, text } from '@mesobus/sdk/service';
import type { DockerContainerizer, DockerContainerizerOptions } from './shell/docker/docker-containerizer.ts';
import type { WorkDir } from './shell/work-dir.ts';

interface Written {
  readonly containerizers: string;
  readonly dockerSocket: string;
  readonly dockerRemoveDelayMs: number;
  readonly dockerKillOrphans: boolean;
  readonly dockerAllowPrivileged: boolean;
}

/** Options of containers of Docker, with Mesos' names and defaults where it has them. */
export const dockerOptions: { readonly [Key in keyof Written]: Option<Written[Key]> } = {
  containerizers: text({
    help: "what runs tasks: 'process', or 'process,docker' for those with an image of Docker too",
    default: 'process',
  }),
  dockerSocket: text({ help: 'where Docker listens', default: '/var/run/docker.sock' }),
  dockerRemoveDelayMs: duration({
    help: 'how long containers of Docker are kept after their end',
    default: '6hrs',
    min: '0ms',
  }),
  dockerKillOrphans: flag({
    help: 'end containers of this agent in Docker that it does not know any more',
    default: true,
  }),
  dockerAllowPrivileged: flag({
    help: 'run privileged containers, and give capabilities, devices and namespaces of the host to those that ask',
    default: false,
  }),
};

type Rest = Omit<
  DockerContainerizerOptions,
  'owner' | 'containersDir' | 'socketPath' | 'allowPrivileged' | 'killOrphans' | 'removeDelayMs'
> & { readonly workDir: WorkDir };

/**
 * The containerizer for images of Docker; undefined if the agent is to have none. Whether Docker is there is found out
 * when it is needed.
 *
 * @throws {Error} naming what is no containerizer
 */
export async function openDocker(
  written: Written,
  { workDir, ...rest }: Rest,
): Promise<DockerContainerizer | undefined> {
  if (!parseContainerizers(written.containerizers).has('docker')) return undefined;
  // Its client takes 20 MB of memory: only where it is used.
  const { DockerContainerizer } = await import('./shell/docker/docker-containerizer.ts');
  return new DockerContainerizer({
    ...rest,
    owner: workDir.root,
    containersDir: workDir.containers,
    socketPath: written.dockerSocket,
    allowPrivileged: written.dockerAllowPrivileged,
    killOrphans: written.dockerKillOrphans,
    removeDelayMs: written.dockerRemoveDelayMs,
  });
}

/** 'mesos' is what Mesos calls its own. */
export function parseContainerizers(text: string): ReadonlySet<string> {
  const names = text.split(',').map((name) => name.trim().replace(/^mesos$/, 'process'));
  const unknown = names.find((name) => name !== 'process' && name !== 'docker');
  if (unknown !== undefined) {
    throw new Error(`Cannot run containers by '${unknown}': there is no such containerizer; use 'process' or 'docker'`);
  }
  if (!names.includes('process')) {
    throw new Error(`Cannot run containers by '${text}' alone: commands need 'process'; use 'process,docker'`);
  }
  return new Set(names);
}
