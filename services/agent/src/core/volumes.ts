import type { mesos } from '@mesobus/protos';
import {
  fromWire,
  isPersistentVolume,
  noResources,
  type Resource,
  type Resources,
  reservationRole,
  select,
  sum,
  unallocate,
} from '@mesobus/sdk/resources';
import { isLive, type State } from './state.ts';

/** Where the content of a persistent volume lies. */
export interface VolumePlace {
  readonly role: string;
  readonly id: string;
  /** Of the disk that it is made of; absent: the work directory. */
  readonly root?: string | undefined;
  /** It is all of that disk, and not a folder on it. */
  readonly isWhole: boolean;
}

/** A volume as a task sees it: under a name in its sandbox. */
export interface TaskVolume {
  readonly place: VolumePlace;
  readonly containerPath: string;
  readonly shared: boolean;
}

export function placeOf(volume: Resource): VolumePlace {
  const { persistence, source } = volume.disk ?? {};
  return {
    role: reservationRole(volume),
    id: persistence?.id ?? '',
    root: source?.root,
    isWhole: source?.type === 'mount',
  };
}

/** The roots of the disks, beside the work directory, that an agent makes folders for volumes on. */
export function disksOf({ resources }: Pick<mesos.v1.AgentInfo.$Properties, 'resources'>): string[] {
  const roots = fromWire(resources ?? []).map(({ disk }) =>
    disk?.source?.type === 'path' ? disk.source.root : undefined,
  );
  return [...new Set(roots.filter((root) => root !== undefined))];
}

/** Volumes with one key have one place at a time. */
export const placeKey = ({ role, id }: VolumePlace): string => `${role}\n${id}`;

/** A task or an executor. */
export type ResourceHolder = Pick<mesos.v1.TaskInfo.$Properties, 'resources'>;

/** What a task asks for; nothing if that cannot be read, as the leader would not have let it pass. */
export function resourcesOfTask({ resources }: ResourceHolder): Resources {
  try {
    return unallocate(fromWire(resources ?? []));
  } catch {
    return noResources;
  }
}

export function volumesOfTask(task: ResourceHolder): TaskVolume[] {
  return select(resourcesOfTask(task), isPersistentVolume).map((volume) => ({
    place: placeOf(volume),
    containerPath: volume.disk?.volume?.containerPath ?? '',
    shared: volume.shared === true,
  }));
}

/**
 * The volumes that tasks use. A task that is being ended does not count: while the leader waits for its end, it destroys
 * nothing of it; and it waits for no end of a framework that was removed.
 */
export function usedVolumes(state: State): Resources {
  const used: Resources[] = [];
  for (const launch of state.launches.values()) {
    if (isLive(launch) && launch.kill === undefined && launch.task)
      used.push(select(resourcesOfTask(launch.task), isPersistentVolume));
  }
  for (const executor of state.executors.values()) {
    if (isLive(executor) && executor.ending === undefined)
      used.push(select(resourcesOfTask(executor.info), isPersistentVolume));
  }
  return sum(used);
}
