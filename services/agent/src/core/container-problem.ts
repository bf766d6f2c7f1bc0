import { mesos } from '@mesobus/protos';
import { dockerProblem } from './docker-problem.ts';

const { Type: SourceType } = mesos.v1.Volume.Source;

const { Type: ContainerType } = mesos.v1.ContainerInfo;

type Container = mesos.v1.ContainerInfo.$Properties;
/** A task or an executor: what it was given, and its container. */
interface Holder {
  readonly container?: Container | null | undefined;
  readonly resources?: readonly mesos.v1.Resource.$Properties[] | null | undefined;
}

/** What of a container this agent cannot do, or cannot make sense of; undefined if nothing. */
export function containerProblem(holder: Holder): string | undefined {
  const { container } = holder;
  if (!container) return undefined;
  if (container.type === ContainerType.DOCKER) {
    return dockerProblem(container, holder.resources ?? []) ?? volumeProblem(container);
  }
  const { linuxInfo, networkInfos } = container;
  if (container.docker || container.mesos?.image) return unsupported('container images');
  if (networkInfos && networkInfos.length > 0) return unsupported('container networks');
  if (linuxInfo?.seccomp?.profileName) return unsupported('seccomp profiles');
  return volumeProblem(container) ?? rlimitProblem(container);
}

export const unsupported = (what: string): string => `The task needs what is not supported by this agent: ${what}`;

/** Of paths of the host or of a sandbox, and of secrets; whether they are there is seen when they are mounted. */
function volumeProblem({ volumes }: Container): string | undefined {
  for (const { containerPath, hostPath, image, source } of volumes ?? []) {
    const where = `The volume at '${containerPath}'`;
    if (containerPath === '') return 'A volume has no container path';
    if (image) return unsupported('volumes from images');
    const type = source?.type ?? SourceType.UNKNOWN;
    switch (type) {
      case SourceType.UNKNOWN:
        if (!hostPath) return `${where} says nothing of what is to be there: give a host path or a source`;
        break;
      case SourceType.HOST_PATH:
        if (!source?.hostPath?.path) return `${where} has a source of type HOST_PATH without a path`;
        if (source.hostPath.mountPropagation?.mode) return unsupported('mount propagation');
        break;
      case SourceType.SANDBOX_PATH:
        if (!source?.sandboxPath?.path) return `${where} has a source of type SANDBOX_PATH without a path`;
        break;
      case SourceType.SECRET:
        if (!source?.secret?.reference?.name) return `${where} has a source of type SECRET without a reference`;
        break;
      default:
        return unsupported(`volumes of type ${SourceType[type]}`);
    }
  }
  return undefined;
}

function rlimitProblem({ rlimitInfo }: Container): string | undefined {
  for (const limit of rlimitInfo?.rlimits ?? []) {
    const { type, soft, hard } = limit;
    const name = mesos.v1.RLimitInfo.RLimit.Type[type ?? 0];
    if (!type || name === undefined) return 'A resource limit has no type';
    // A message that was read has a default where nothing was said.
    if (Object.hasOwn(limit, 'soft') !== Object.hasOwn(limit, 'hard')) {
      return `The resource limit ${name} has either a soft or a hard limit: give both, or neither`;
    }
    if (BigInt(soft ?? 0) > BigInt(hard ?? 0)) return `The soft limit of ${name} is above its hard one`;
  }
  return undefined;
}
