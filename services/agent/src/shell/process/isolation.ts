import { type Cgroups, type CgroupsOptions, openCgroups } from './cgroups.ts';
import { findNamespaces, type Namespaces } from './namespaces.ts';

/** What keeps containers apart, and to what they were given. */
export interface Isolation {
  readonly cgroups?: Cgroups | undefined;
  /** For those that need them. */
  readonly namespaces?: Namespaces | undefined;
  /** Give all containers namespaces of their own, not only those that need them. */
  readonly always: boolean;
  readonly noNewPrivileges: boolean;
  /** What runs a container is root, and may give it any user and any of its own capabilities. */
  readonly isRoot: boolean;
}

export interface IsolationOptions extends Omit<CgroupsOptions, 'log'> {
  /** As the option says it: see {@link parseIsolation}. */
  readonly isolation: string;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

type Feature = 'cgroups' | 'namespaces' | 'no-new-privileges';

/** What Mesos calls it. */
const mesosNames: Readonly<Record<string, Feature | undefined>> = {
  'cgroups/all': 'cgroups',
  'cgroups/cpu': 'cgroups',
  'cgroups/mem': 'cgroups',
  'cgroups/pids': 'cgroups',
  'filesystem/linux': 'namespaces',
  'namespaces/pid': 'namespaces',
  'namespaces/ipc': 'namespaces',
  'volume/host_path': 'namespaces',
  'volume/sandbox_path': 'namespaces',
  'linux/nnp': 'no-new-privileges',
};
/** Nothing has to be done for these. */
const plainNames: ReadonlySet<string> = new Set(
  'posix/cpu posix/mem posix/disk posix/rlimits filesystem/posix linux/capabilities'.split(' '),
);
const features: ReadonlySet<string> = new Set<Feature>(['cgroups', 'namespaces', 'no-new-privileges']);

/**
 * @param text - 'auto', 'none', or a list of 'cgroups', 'namespaces', 'no-new-privileges' and of Mesos' names for them
 * @throws {Error} naming what is not one
 */
export function parseIsolation(text: string): 'auto' | ReadonlySet<Feature> {
  if (text === 'auto') return 'auto';
  const chosen = new Set<Feature>();
  for (const name of text.split(',').map((part) => part.trim())) {
    const feature = mesosNames[name] ?? (features.has(name) ? (name as Feature) : undefined);
    if (feature !== undefined) chosen.add(feature);
    else if (name !== 'none' && !plainNames.has(name)) {
      const known = `'auto', 'none', ${[...features].map((one) => `'${one}'`).join(', ')}, or Mesos' names for them`;
      throw new Error(`Cannot isolate by '${name}': there is no such isolation; use ${known}`);
    }
  }
  return chosen;
}

/**
 * Finds out what this machine and this user can do, and says it once. 'auto' takes what there is; what is named must be
 * possible.
 *
 * @throws {Error} saying what that was named is not possible, and why
 */
export async function openIsolation(options: IsolationOptions): Promise<Isolation> {
  const { isolation, log } = options;
  const chosen = parseIsolation(isolation);
  const wants = (feature: Feature): boolean => chosen === 'auto' || chosen.has(feature);
  const isRoot = process.getuid?.() === 0;
  const cgroups = wants('cgroups') ? openCgroups(options) : { why: 'not wanted' };
  const namespaces = await findNamespaces(isRoot);
  if (chosen !== 'auto') {
    if ('why' in cgroups && chosen.has('cgroups')) throw impossible('cgroups', cgroups.why);
    if ('why' in namespaces && chosen.has('namespaces')) throw impossible('namespaces', namespaces.why);
  }
  const found = {
    cgroups: 'why' in cgroups ? undefined : cgroups,
    namespaces: 'why' in namespaces ? undefined : namespaces,
    always: chosen !== 'auto' && chosen.has('namespaces'),
    noNewPrivileges: chosen !== 'auto' && chosen.has('no-new-privileges'),
    isRoot,
  };
  log.info(
    {
      cgroups: 'why' in cgroups ? `none: ${cgroups.why}` : cgroups.description,
      namespaces: 'why' in namespaces ? `none: ${namespaces.why}` : namespaces.description,
      namespacesFor: found.always ? 'every container' : 'containers that need them',
    },
    'Containers are isolated by what this machine offers',
  );
  if (found.cgroups === undefined && wants('cgroups')) {
    const fields = { why: 'why' in cgroups ? cgroups.why : '' };
    log.warn(fields, 'There are no control groups for this agent: nothing holds a task to its cpus and memory');
  }
  return found;
}

const impossible = (what: string, why: string): Error =>
  new Error(`Cannot isolate containers by ${what}: ${why}; mend that, or leave it out of --isolation`);
