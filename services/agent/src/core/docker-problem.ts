import { mesos } from '@mesobus/protos';

const { Network } = mesos.v1.ContainerInfo.DockerInfo;

type Container = mesos.v1.ContainerInfo.$Properties;
type Docker = mesos.v1.ContainerInfo.DockerInfo.$Properties;
type Given = readonly mesos.v1.Resource.$Properties[];

const protocols: ReadonlySet<string> = new Set(['', 'tcp', 'udp', 'sctp']);

/** What of a container of Docker this agent cannot do, or cannot make sense of; undefined if nothing. */
export function dockerProblem(container: Container, given: Given): string | undefined {
  const { docker, linuxInfo, rlimitInfo } = container;
  if (!docker?.image) return 'The container is of type DOCKER and names no image';
  if (docker.volumeDriver) return 'The container names a volume driver: this agent has none';
  if (linuxInfo) return 'The container is of type DOCKER and has a linux_info: say it by parameters of DockerInfo';
  if (rlimitInfo)
    return "The container is of type DOCKER and has an rlimit_info: use the parameter 'ulimit' of DockerInfo";
  return networkProblem(container, docker) ?? portsProblem(docker, given);
}

function networkProblem({ networkInfos, hostname }: Container, docker: Docker): string | undefined {
  const network = docker.network ?? Network.HOST;
  if (network === Network.USER) {
    const names = networkInfos?.map(({ name }) => name) ?? [];
    return names.length === 1 && names[0]
      ? undefined
      : 'A container in a network of type USER needs one network_info with the name of the network';
  }
  if (networkInfos && networkInfos.length > 0) {
    return `The container has a network_info, and its network is ${Network[network]}: only USER takes one`;
  }
  if (network === Network.HOST && hostname) {
    return 'The container has a host name and the network of the host: choose another network for it';
  }
  return undefined;
}

/** As in Mesos, a port of the host is a resource: nobody else has it. */
function portsProblem({ network, portMappings }: Docker, given: Given): string | undefined {
  if (!portMappings || portMappings.length === 0) return undefined;
  const kind = network ?? Network.HOST;
  if (kind !== Network.BRIDGE && kind !== Network.USER) {
    return `The container has port mappings, and its network is ${Network[kind]}: only BRIDGE and USER take them`;
  }
  const ranges = given.flatMap(({ name, ranges }) => (name === 'ports' ? (ranges?.range ?? []) : []));
  for (const { hostPort, protocol } of portMappings) {
    if (!protocols.has(protocol ?? '')) return `There are no port mappings of the protocol '${protocol}'`;
    const isGiven = ranges.some(({ begin, end }) => begin <= BigInt(hostPort) && BigInt(hostPort) <= end);
    if (!isGiven) return `Port ${hostPort} of the host is mapped, and is not among the ports that the task was given`;
  }
  return undefined;
}
