import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseMounts } from '../../src/shell/process/cgroups.ts';

/** The control groups of a container, or of all that the agent of this work directory has. */
export function groupsOf(workDir: string, containerId = ''): string[] {
  const roots = parseMounts(readFileSync('/proc/self/mountinfo', 'utf8')).map(({ path }) => join(path, 'mesobus'));
  const hash = createHash('sha256').update(workDir).digest('hex').slice(0, 8);
  return roots
    .filter((path) => existsSync(path))
    .flatMap(foldersIn)
    .filter((path) => path.endsWith(hash))
    .flatMap(foldersIn)
    .filter((path) => path.endsWith(containerId));
}

const foldersIn = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(path, name));
