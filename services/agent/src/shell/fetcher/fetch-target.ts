import { posix } from 'node:path';
import type { mesos } from '@mesobus/protos';
import { FetchProblem } from './fetch-problem.ts';
import type { ArchiveKind } from './sandbox.ts';

/** Where in the sandbox something goes, and what happens to it there. */
export interface FetchTarget {
  /** Below the sandbox, without '..'. */
  readonly path: string;
  readonly executable: boolean;
  /** Absent: it is left as it is. */
  readonly archive: ArchiveKind | undefined;
}

const archives: readonly (readonly [RegExp, ArchiveKind])[] = [
  [/\.(tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)$/, 'tar'],
  [/\.zip$/, 'zip'],
  [/\.gz$/, 'gz'],
];

/** @throws {FetchProblem} it has no name, or leads out of the sandbox */
export function fetchTargetOf({
  value,
  outputFile,
  executable,
  extract,
}: mesos.v1.CommandInfo.URI.$Properties): FetchTarget {
  const path = outputFile ? checked(outputFile) : nameIn(value);
  const archive = executable || extract === false ? undefined : archives.find(([names]) => names.test(path))?.[1];
  return { path, executable: executable ?? false, archive };
}

function checked(outputFile: string): string {
  const path = posix.normalize(outputFile);
  if (posix.isAbsolute(path) || path === '.' || path === '..' || path.startsWith('../') || path.endsWith('/')) {
    throw new FetchProblem(`its output_file '${outputFile}' is no file below the sandbox`, 'give a relative path');
  }
  return path;
}

/** The last part of the path of a URI, without query and fragment. */
function nameIn(uri: string): string {
  const [, scheme, rest = uri] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(uri) ?? [];
  const path = scheme !== undefined && /^https?$/i.test(scheme) ? rest.replace(/[?#].*$/s, '') : rest;
  const name = path.includes('/') ? path.slice(path.lastIndexOf('/') + 1) : '';
  const decoded = scheme === undefined || /^file$/i.test(scheme) ? name : decode(name);
  if (decoded === '' || decoded === '.' || decoded === '..' || decoded.includes('/')) {
    throw new FetchProblem('it does not end with the name of a file', 'name one, or set output_file');
  }
  return decoded;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
