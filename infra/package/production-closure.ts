import { posix } from 'node:path';

/** What is read of an entry of package-lock.json. */
export interface LockEntry {
  readonly link?: boolean;
  /** Of a link: the folder of the workspace. */
  readonly resolved?: string;
  readonly optional?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The entries of package-lock.json, by folder. */
export type LockPackages = Readonly<Record<string, LockEntry>>;

export interface Closure {
  /** Folders of our own packages, such as `services/agent`. */
  readonly workspaces: readonly string[];
  /** Folders of packages from npm, such as `node_modules/pino`. */
  readonly installed: readonly string[];
}

/**
 * What runs in production: a workspace and all that it depends on, as npm has resolved it.
 *
 * Types are left out, and so is what is optional and built by an install script, for no such script has run.
 *
 * @throws {Error} the lock file lacks a dependency
 */
export function productionClosure(lock: LockPackages, root: string): Closure {
  const seen = new Set<string>();
  const open = [root];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    if (seen.has(folder)) continue;
    seen.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = lock[folder] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = name.startsWith('@types/') ? undefined : resolve(lock, folder, name);
      if (found !== undefined) open.push(found);
      else if (name in dependencies && !(name in optionalDependencies) && !name.startsWith('@types/'))
        throw new Error(`Cannot find '${name}', which ${folder} needs, in package-lock.json; run npm install`);
    }
  }
  const isInstalled = (folder: string): boolean => folder.includes('node_modules/');
  const all = [...seen].sort();
  return { workspaces: all.filter((one) => !isInstalled(one)), installed: all.filter(isInstalled) };
}

/** As node does: in the package's own node_modules, then in those above it. */
function resolve(lock: LockPackages, from: string, name: string): string | undefined {
  for (let folder = from; ; folder = posix.dirname(folder)) {
    const candidate = posix.join(folder, 'node_modules', name);
    const entry = lock[candidate];
    if (entry?.link === true) return entry.resolved;
    if (entry !== undefined) return entry.optional && entry.hasInstallScript ? undefined : candidate;
    if (folder === '.') return undefined;
  }
}
