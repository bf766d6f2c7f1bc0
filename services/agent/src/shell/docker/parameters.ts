import type { mesos } from '@mesobus/protos';
import type Docker from 'dockerode';

type Request = Docker.ContainerCreateOptions;
type Host = NonNullable<Request['HostConfig']>;
/** A request that is being made. */
interface Draft {
  readonly request: Request & { Env: string[]; Labels: Record<string, string> };
  readonly host: Host;
}
type Apply = (draft: Draft, value: string) => void;

const isTrue = (value: string): boolean => value === '' || value === 'true';

/** Adds to a list of the host's part. */
const adds =
  (
    name:
      | 'CapAdd'
      | 'CapDrop'
      | 'Dns'
      | 'DnsSearch'
      | 'DnsOptions'
      | 'ExtraHosts'
      | 'GroupAdd'
      | 'SecurityOpt'
      | 'Binds',
  ): Apply =>
  ({ host }, value) => {
    host[name] = [...((host[name] as string[] | undefined) ?? []), value];
  };

/** What those who may not have privileged containers may not have either: it comes to the same. */
const privileged: Readonly<Record<string, Apply>> = {
  'cap-add': adds('CapAdd'),
  'security-opt': adds('SecurityOpt'),
  device: ({ host }, value) => {
    const [onHost = '', inside = onHost, permissions = 'rwm'] = value.split(':');
    const device = { PathOnHost: onHost, PathInContainer: inside, CgroupPermissions: permissions };
    host.Devices = [...((host.Devices as object[] | undefined) ?? []), device] as never;
  },
  ipc: ({ host }, value) => {
    host.IpcMode = value;
  },
  pid: ({ host }, value) => {
    host.PidMode = value;
  },
  userns: ({ host }, value) => {
    host.UsernsMode = value;
  },
};

/** Options of `docker run` by their long names. */
const parameters: Readonly<Record<string, Apply>> = {
  ...privileged,
  'add-host': adds('ExtraHosts'),
  'cap-drop': adds('CapDrop'),
  'cpuset-cpus': ({ host }, value) => {
    host.CpusetCpus = value;
  },
  dns: adds('Dns'),
  'dns-option': adds('DnsOptions'),
  'dns-search': adds('DnsSearch'),
  entrypoint: ({ request }, value) => {
    request.Entrypoint = [value];
  },
  env: ({ request }, value) => {
    request.Env.push(value);
  },
  'group-add': adds('GroupAdd'),
  hostname: ({ request }, value) => {
    request.Hostname = value;
  },
  init: ({ host }, value) => {
    host.Init = isTrue(value);
  },
  label: ({ request }, value) => {
    const [name = '', ...rest] = value.split('=');
    if (name.startsWith('mesobus.')) throw new Error(`the label '${name}' is the agent's own; choose another name`);
    request.Labels[name] = rest.join('=');
  },
  'network-alias': ({ request, host }, value) => {
    const network = host.NetworkMode ?? '';
    const before = request.NetworkingConfig?.EndpointsConfig?.[network]?.Aliases ?? [];
    request.NetworkingConfig = { EndpointsConfig: { [network]: { Aliases: [...before, value] } } };
  },
  'pids-limit': ({ host }, value) => {
    const { PidsLimit: most = Number.POSITIVE_INFINITY } = host;
    const wanted = numberOf('pids-limit', value);
    // With Docker 0 and -1 are no limit at all.
    if (most !== null && (wanted < 1 ? Number.isFinite(most) : wanted > most)) {
      throw new Error(`the parameter 'pids-limit' is ${value}, and this agent lets a container have ${most} at most`);
    }
    host.PidsLimit = wanted;
  },
  'read-only': ({ host }, value) => {
    host.ReadonlyRootfs = isTrue(value);
  },
  'shm-size': ({ host }, value) => {
    host.ShmSize = bytesOf('shm-size', value);
  },
  'stop-signal': ({ request }, value) => {
    request.StopSignal = value;
  },
  sysctl: ({ host }, value) => {
    const [name = '', ...rest] = value.split('=');
    host.Sysctls = { ...host.Sysctls, [name]: rest.join('=') };
  },
  tmpfs: ({ host }, value) => {
    const [path = '', ...rest] = value.split(':');
    host.Tmpfs = { ...(host.Tmpfs as Record<string, string> | undefined), [path]: rest.join(':') };
  },
  ulimit: ({ host }, value) => {
    const [name = '', limits = ''] = value.split('=');
    const [soft = '', hard = soft] = limits.split(':');
    const one = { Name: name, Soft: numberOf('ulimit', soft), Hard: numberOf('ulimit', hard) };
    host.Ulimits = [...((host.Ulimits as object[] | undefined) ?? []), one] as never;
  },
  user: ({ request }, value) => {
    request.User = value;
  },
  volume: adds('Binds'),
  workdir: ({ request }, value) => {
    request.WorkingDir = value;
  },
};

/** Options that are refused for a reason of their own. */
const refused: Readonly<Record<string, string>> = {
  'cpu-shares': "it follows from the task's resources",
  cpus: "it follows from the task's resources; give limits",
  'log-driver': 'the agent reads the output',
  memory: "it follows from the task's resources; give limits",
  name: 'the name is how the agent knows its containers',
  net: 'say the network in DockerInfo',
  network: 'say the network in DockerInfo',
  privileged: 'say it in DockerInfo',
  publish: 'say port mappings in DockerInfo',
  restart: 'a task ends with its container; the framework starts it again',
  rm: 'the agent removes containers',
};

/**
 * Carries out the parameters of a container.
 *
 * @throws {Error} naming the one that cannot be, and why
 */
export function applyParameters(
  draft: Draft,
  given: readonly mesos.v1.Parameter.$Properties[],
  allowPrivileged: boolean,
): void {
  for (const { key, value } of given) {
    const apply = Object.hasOwn(parameters, key) ? parameters[key] : undefined;
    if (apply === undefined) {
      const known = `known are ${Object.keys(parameters).sort().join(', ')}`;
      throw new Error(`the parameter '${key}' is not possible: ${refused[key] ?? known}`);
    }
    if (Object.hasOwn(privileged, key) && !allowPrivileged) {
      throw new Error(`the parameter '${key}' is not possible: this agent runs without --docker-allow-privileged`);
    }
    apply(draft, value);
  }
}

function numberOf(key: string, value: string): number {
  const number = Number(value);
  if (value === '' || !Number.isInteger(number)) throw new Error(`the parameter '${key}' is no number: '${value}'`);
  return number;
}

const units: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function bytesOf(key: string, value: string): number {
  const [, amount = '', unit = 'b'] = /^(\d+)([bkmg])?b?$/i.exec(value) ?? [];
  return numberOf(key, amount) * (units[unit.toLowerCase()] ?? 1);
}
