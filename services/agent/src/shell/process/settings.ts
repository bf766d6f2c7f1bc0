import { closeSync, constants, openSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { mesos } from '@mesobus/protos';
import type { ContainerSpec, Mount } from '../containerizer.ts';
import { makeWithin } from '../make-within.ts';
import type { Isolation } from './isolation.ts';

const { Type } = mesos.v1.RLimitInfo.RLimit;

/** The kernel's numbers, the same on x64 and arm64. */
const resourceNumbers: Readonly<Record<number, number>> = {
  [Type.RLMT_CPU]: 0,
  [Type.RLMT_FSIZE]: 1,
  [Type.RLMT_DATA]: 2,
  [Type.RLMT_STACK]: 3,
  [Type.RLMT_CORE]: 4,
  [Type.RLMT_RSS]: 5,
  [Type.RLMT_NPROC]: 6,
  [Type.RLMT_NOFILE]: 7,
  [Type.RLMT_MEMLOCK]: 8,
  [Type.RLMT_AS]: 9,
  [Type.RLMT_LOCKS]: 10,
  [Type.RLMT_SIGPENDING]: 11,
  [Type.RLMT_MSGQUEUE]: 12,
  [Type.RLMT_NICE]: 13,
  [Type.RLMT_RTPRIO]: 14,
  [Type.RLMT_RTTIME]: 15,
};
const unlimited = (1n << 64n) - 1n;
/** Mesos' number of a capability is the kernel's plus this. */
const firstCapability = 1000;
const everyCapability = (1n << 64n) - 1n;
const bytesPerMegabyte = 2 ** 20;
/** As Docker. */
const defaultShmMegabytes = 64;

/** What the launcher has to do for a container besides executing its command. */
export function settingsOf(spec: ContainerSpec, isolation: Isolation, logMaxBytes: number): string[] {
  const { cgroups, namespaces } = isolation;
  const settings = cgroups?.settingsOf(spec.containerId, spec.limits) ?? [];
  const { ttyInfo } = spec.container ?? {};
  const size = ttyInfo?.windowSize;
  if (ttyInfo) settings.push('terminal', String(size?.rows ?? 24), String(size?.columns ?? 80));
  if (logMaxBytes > 0) settings.push('log-limit', String(logMaxBytes));

  const needed = needsNamespaces(spec);
  const wrapped = namespaces !== undefined && (isolation.always || needed !== undefined);
  if (wrapped) for (const word of namespaces.wrapperOf(spec)) settings.push('wrap', word);
  else if (needed !== undefined) throw new Error(`${needed} needs namespaces, and this agent cannot make any`);
  for (const mount of spec.volumes) {
    if (wrapped)
      settings.push('bind', mount.readOnly ? 'ro' : 'rw', mount.hostPath, makeTarget(mount, spec.sandboxDir));
    else link(mount, spec.sandboxDir);
  }
  if (spec.container?.hostname) settings.push('hostname', spec.container.hostname);
  const { ipcMode, shmSize } = spec.container?.linuxInfo ?? {};
  if (ipcMode === mesos.v1.LinuxInfo.IpcMode.PRIVATE)
    settings.push('shm', String((shmSize || defaultShmMegabytes) * bytesPerMegabyte));
  settings.push(...rlimitsOf(spec), ...capabilitiesOf(spec, isolation, wrapped));
  // Who may choose what lies at /etc must not find a program there that becomes root and believes it.
  const chooses = wrapped && spec.volumes.length > 0 && (spec.user?.uid ?? 0) !== 0;
  if (isolation.noNewPrivileges || chooses) settings.push('no-new-privileges');
  return settings;
}

/** What of a container there cannot be without namespaces. Other volumes are shown in the sandbox by links. */
function needsNamespaces({ container, volumes }: ContainerSpec): string | undefined {
  const { linuxInfo, hostname } = container ?? {};
  if (hostname) return 'a host name of its own';
  if (linuxInfo?.ipcMode === mesos.v1.LinuxInfo.IpcMode.PRIVATE) return 'a private ipc_mode';
  const wantsOwn = linuxInfo && Object.hasOwn(linuxInfo, 'sharePidNamespace') && !linuxInfo.sharePidNamespace;
  if (wantsOwn) return 'share_pid_namespace false';
  const mounted = volumes.find(({ readOnly, containerPath }) => readOnly || isAbsolute(containerPath));
  return mounted && `the volume at '${mounted.containerPath}', which is absolute or read-only,`;
}

/** What is mounted on has to be there. In the sandbox it is made. */
function makeTarget({ hostPath, containerPath }: Mount, sandboxDir: string): string {
  const source = statSync(hostPath); // says what is missing, if so
  if (isAbsolute(containerPath)) {
    statSync(containerPath);
    return containerPath;
  }
  if (source.isDirectory()) inSandbox(sandboxDir, containerPath, containerPath, () => {});
  else inSandbox(sandboxDir, dirname(containerPath), containerPath, (folder) => makeFile(folder, containerPath));
  return join(sandboxDir, containerPath);
}

/** Shows it in the sandbox. */
function link({ hostPath, containerPath }: Mount, sandboxDir: string): void {
  statSync(hostPath);
  inSandbox(sandboxDir, dirname(containerPath), containerPath, (folder) => {
    const target = join(folder, basename(containerPath));
    try {
      unlinkSync(target); // of a process that did not live to start the task
    } catch {
      // there is none, or what is there is in the way
    }
    symlinkSync(hostPath, target);
  });
}

/** What was fetched into a sandbox, or is put there now, must not have the agent write elsewhere, perhaps as root. */
function inSandbox(sandboxDir: string, path: string, containerPath: string, use: (folder: string) => void): void {
  try {
    makeWithin(sandboxDir, path, undefined, use);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the volume at '${containerPath}': ${why}; name another container path`, { cause });
  }
}

function makeFile(folder: string, containerPath: string): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  closeSync(openSync(join(folder, basename(containerPath)), flags, 0o644));
}

function rlimitsOf({ container }: ContainerSpec): string[] {
  return (container?.rlimitInfo?.rlimits ?? []).flatMap((limit) => {
    const number = resourceNumbers[limit.type ?? 0];
    if (number === undefined) throw new Error(`there is no resource limit of type ${limit.type}`);
    // A message that was read has a default where nothing was said.
    const value = (name: 'soft' | 'hard'): string => String(Object.hasOwn(limit, name) ? limit[name] : unlimited);
    return ['rlimit', String(number), value('soft'), value('hard')];
  });
}

function capabilitiesOf({ container }: ContainerSpec, { isRoot }: Isolation, wrapped: boolean): string[] {
  const { effectiveCapabilities, capabilityInfo, boundingCapabilities } = container?.linuxInfo ?? {};
  const effective = setOf(effectiveCapabilities ?? capabilityInfo);
  const bounding = setOf(boundingCapabilities) ?? effective;
  if (effective === undefined && bounding === undefined) {
    // In a user namespace the command would have all of them, over what is in it.
    return wrapped && !isRoot ? ['capabilities', '0', '0'] : [];
  }
  if (!isRoot) throw new Error('only an agent of root can give capabilities, and this one is not');
  const hex = (set: bigint): string => set.toString(16);
  return ['capabilities', hex(effective ?? 0n), hex(bounding ?? everyCapability)];
}

function setOf(info: mesos.v1.CapabilityInfo.$Properties | null | undefined): bigint | undefined {
  if (!info) return undefined;
  return (info.capabilities ?? []).reduce((set, one) => set | (1n << BigInt(one - firstCapability)), 0n);
}
