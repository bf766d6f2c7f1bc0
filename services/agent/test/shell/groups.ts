import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseMounts } from '../../src/shell/process/cgroups.ts';

/** Of an agent in each hierarchy. */
function ownersOf(workDir: string): string[] {
  const roots = parseMounts(readFileSync('/proc/self/mountinfo', 'utf8')).map(({ path }) => join(path, 'mesobus'));
  const hash = createHash('sha256').update(workDir).digest('hex').slice(0, 8);
  return roots
    .filter((path) => existsSync(path))
    .flatMap(foldersIn)
    .filter((path) => path.endsWith(hash));
}

/** The control groups of a container, or of all that the agent of this work directory has. */
export const groupsOf = (workDir: string, containerId = ''): string[] =>
  ownersOf(workDir)
    .flatMap(foldersIn)
    .filter((path) => path.endsWith(containerId));

/** What an agent that was killed has left of its own, when its containers are gone. */
export function removeOwner(workDir: string): void {
  for (const owner of ownersOf(workDir)) {
    try {
      for (const group of foldersIn(owner)) rmdirSync(group);
      rmdirSync(owner);
    } catch {
      // something is in it, and will say so itself
    }
  }
}

const foldersIn = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(path, name));
