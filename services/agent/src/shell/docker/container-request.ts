import { isAbsolute, join } from 'node:path';
import { mesos } from '@mesobus/protos';
import type Docker from 'dockerode';
import type { ContainerSpec, Limits } from '../containerizer.ts';
import { applyParameters } from './parameters.ts';

const { Network } = mesos.v1.ContainerInfo.DockerInfo;

/** Where a container sees its sandbox, as with Mesos. */
export const sandboxInside = '/mnt/mesos/sandbox';

/** By these labels an agent knows its containers. */
export const labels = {
  /** The work directory: one agent has it. */
  owner: 'mesobus.work-dir',
  container: 'mesobus.container',
} as const;

/** Nobody else can start a container of this name: the claim to have it run. */
export const nameOf = (containerId: string): string => `mesobus-${containerId}`;

export interface RequestOptions {
  readonly owner: string;
  readonly allowPrivileged: boolean;
  /** Hold to its cpus also when others need none. */
  readonly enableCfs: boolean;
  readonly pidsLimit?: number | undefined;
}

/** As Docker: it takes no less. */
const minMemoryBytes = 6 * 2 ** 20;

/**
 * What Docker is asked to create.
 *
 * @throws {Error} saying what the agent does not do, and why
 */
export function requestOf(spec: ContainerSpec, options: RequestOptions): Docker.ContainerCreateOptions {
  const { docker, hostname, ttyInfo } = spec.container ?? {};
  if (!docker?.image) throw new Error('the container names no image');
  if (docker.privileged && !options.allowPrivileged) {
    throw new Error('a privileged container is not possible: this agent runs without --docker-allow-privileged');
  }
  const host: NonNullable<Docker.ContainerCreateOptions['HostConfig']> = {
    NetworkMode: networkOf(spec),
    PortBindings: portsOf(docker, ({ hostPort }) => [{ HostPort: String(hostPort) }]),
    Mounts: mountsOf(spec),
    Privileged: docker.privileged ?? false,
    LogConfig: { Type: 'json-file', Config: {} },
    ...limitsFor(spec.limits, options),
  };
  const request = {
    name: nameOf(spec.containerId),
    Image: docker.image,
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    Labels: { [labels.owner]: options.owner, [labels.container]: spec.containerId },
    ExposedPorts: portsOf(docker, () => ({})),
    WorkingDir: undefined as string | undefined,
    ...(hostname && { Hostname: hostname }),
    ...(ttyInfo && { Tty: true, OpenStdin: true }),
    ...commandOf(spec),
    HostConfig: host,
  };
  applyParameters({ request, host }, docker.parameters ?? [], options.allowPrivileged);
  return request;
}

/** With a shell the value is a line for the image's shell. Without, the image's own entry point gets what there is. */
function commandOf({ command }: ContainerSpec): Pick<Docker.ContainerCreateOptions, 'Entrypoint' | 'Cmd'> {
  const { value, shell, arguments: rest } = command ?? {};
  if (value && (shell ?? true)) return { Entrypoint: ['/bin/sh'], Cmd: ['-c', value] };
  const words = [...(value ? [value] : []), ...(rest ?? [])];
  return words.length > 0 ? { Cmd: words } : {};
}

function networkOf({ container }: ContainerSpec): string {
  const network = container?.docker?.network ?? Network.HOST;
  if (network === Network.USER) return container?.networkInfos?.[0]?.name ?? '';
  return Network[network]?.toLowerCase() ?? '';
}

function portsOf<T>(
  { portMappings }: mesos.v1.ContainerInfo.DockerInfo.$Properties,
  of: (mapping: mesos.v1.ContainerInfo.DockerInfo.PortMapping.$Properties) => T,
): Record<string, T> {
  return Object.fromEntries(
    (portMappings ?? []).map((mapping) => [`${mapping.containerPort}/${mapping.protocol || 'tcp'}`, of(mapping)]),
  );
}

function mountsOf({ sandboxDir, volumes }: ContainerSpec): Docker.MountConfig {
  const bind = (source: string, target: string, readOnly: boolean) =>
    ({ Type: 'bind', Source: source, Target: target, ReadOnly: readOnly }) as const;
  return [
    bind(sandboxDir, sandboxInside, false),
    ...volumes.map(({ hostPath, containerPath, readOnly }) =>
      bind(hostPath, isAbsolute(containerPath) ? containerPath : join(sandboxInside, containerPath), readOnly),
    ),
  ];
}

export interface DockerLimits {
  readonly CpuShares: number;
  readonly NanoCpus?: number;
  readonly Memory?: number;
  readonly MemoryReservation?: number;
  readonly PidsLimit?: number;
}

/** As Mesos: shares follow the cpus, and what it is ended for is the limit of its memory. */
export function limitsFor(
  { cpus, hardCpus, memBytes, hardMemBytes, pids }: Limits,
  { enableCfs, pidsLimit }: Pick<RequestOptions, 'enableCfs' | 'pidsLimit'>,
): DockerLimits {
  const most = hardCpus ?? (enableCfs ? cpus : Number.POSITIVE_INFINITY);
  const processes = pids ?? pidsLimit;
  return {
    CpuShares: Math.max(2, Math.round(cpus * 1024)),
    ...(most > 0 && Number.isFinite(most) && { NanoCpus: Math.max(Math.round(most * 1e9), 1e7) }),
    ...(hardMemBytes > 0 && Number.isFinite(hardMemBytes) && { Memory: Math.max(hardMemBytes, minMemoryBytes) }),
    ...(memBytes > minMemoryBytes && memBytes < hardMemBytes && { MemoryReservation: memBytes }),
    ...(processes !== undefined && { PidsLimit: processes }),
  };
}
