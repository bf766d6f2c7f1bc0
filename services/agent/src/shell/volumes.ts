import { chownSync, mkdirSync, mkdtempSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { TaskVolume, VolumePlace } from '../core/index.ts';
import { removeTree, removeTreeNow } from './remove-tree.ts';
import type { User } from './users.ts';

/** What an agent needs of its disk for persistent volumes. */
export interface Volumes {
  /**
   * Makes the folder of a volume that is not there yet.
   *
   * @throws {Error} saying why it cannot be used
   */
  prepare(place: VolumePlace): void;
  /** Sees that the folder is there. */
  make(place: VolumePlace): void;
  /** It is gone at once; that its content is deleted may take a while. */
  remove(place: VolumePlace): void;
  move(from: VolumePlace, to: VolumePlace): void;
  /** Where a volume is, for a task of this user. */
  open(volume: TaskVolume, user: User | undefined): string;
}

/** Begins the name of a folder with what is being deleted. */
const doomed = 'destroyed-';

/** The volumes of an agent: folders below its work directory, or below the disks that they are made of, as in Mesos. */
export class VolumeFolders implements Volumes {
  readonly #workDir: string;
  readonly #onFailure: (error: unknown) => void;

  /**
   * @param disks - roots of other disks on which there are volumes
   * @param onFailure - what was removed cannot be deleted
   */
  constructor(workDir: string, disks: readonly string[], onFailure: (error: unknown) => void) {
    this.#workDir = workDir;
    this.#onFailure = onFailure;
    for (const root of [undefined, ...disks]) this.#sweep(join(this.#diskOf(root), 'volumes'));
  }

  prepare(place: VolumePlace): void {
    const path = this.#path(place);
    if (!place.isWhole && entriesOf(path).length > 0) {
      throw new Error(`there is something in '${path}' already; move it away, or give the volume another id`);
    }
    this.make(place);
  }

  make(place: VolumePlace): void {
    mkdirSync(this.#path(place), { recursive: true, mode: 0o755 });
  }

  remove(place: VolumePlace): void {
    const path = this.#path(place);
    if (place.isWhole) {
      for (const name of entriesOf(path)) removeTreeNow(join(path, name));
    } else if (statSync(path, { throwIfNoEntry: false }) !== undefined) {
      // To where nobody looks for it: a volume of the same name may be made at once.
      const grave = mkdtempSync(join(dirname(dirname(dirname(path))), doomed));
      renameSync(path, join(grave, 'content'));
      removeTree(grave).catch(this.#onFailure);
    }
  }

  move(from: VolumePlace, to: VolumePlace): void {
    if (from.isWhole || statSync(this.#path(from), { throwIfNoEntry: false }) === undefined) return;
    mkdirSync(dirname(this.#path(to)), { recursive: true, mode: 0o755 });
    renameSync(this.#path(from), this.#path(to));
  }

  open({ place, shared }: TaskVolume, user: User | undefined): string {
    const path = this.#path(place);
    this.make(place);
    // As in Mesos a volume is the user's whose task has it; a shared one stays the first user's.
    if (user !== undefined && (!shared || statSync(path).uid === process.getuid?.()))
      chownSync(path, user.uid, user.gid);
    return path;
  }

  #path({ role, id, root, isWhole }: VolumePlace): string {
    const disk = this.#diskOf(root);
    return isWhole ? disk : join(disk, 'volumes', 'roles', role.replaceAll('/', ' '), id);
  }

  #diskOf(root: string | undefined): string {
    return root === undefined ? this.#workDir : resolve(this.#workDir, root);
  }

  /** An earlier process may not have lived to delete what it had removed. */
  #sweep(volumes: string): void {
    try {
      for (const name of entriesOf(volumes)) {
        if (name.startsWith(doomed)) removeTree(join(volumes, name)).catch(this.#onFailure);
      }
    } catch (error) {
      this.#onFailure(error); // a disk that cannot be read says so to whoever uses it
    }
  }
}

function entriesOf(path: string): string[] {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(path) : [];
}
