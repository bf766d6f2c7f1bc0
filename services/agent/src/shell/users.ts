import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whom a command becomes. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** How long an answer is believed, ms. */
const cacheMs = 60_000;

/** Looks users up by name. */
export class Users {
  readonly #cache = new Map<string, { readonly user: User | undefined; readonly until: number }>();

  /** undefined if there is no such user. */
  find(name: string): User | undefined {
    const now = performance.now();
    const known = this.#cache.get(name);
    if (known !== undefined && known.until > now) return known.user;
    const user = fromFiles(name) ?? fromDirectory(name);
    this.#cache.set(name, { user, until: now + cacheMs });
    return user;
  }

  /** undefined if there is no user of this number. */
  nameOf(uid: number): string | undefined {
    return rows('/etc/passwd').find(([, , id]) => id === String(uid))?.[0] ?? nameFromDirectory(uid);
  }
}

function fromFiles(name: string): User | undefined {
  const line = rows('/etc/passwd').find(([user]) => user === name);
  return line === undefined ? undefined : withGroups(name, line, rows('/etc/group'));
}

function withGroups(name: string, [, , uid, gid]: string[], groups: string[][]): User {
  const mine = groups.filter(([, , , members = '']) => members.split(',').includes(name)).map(([, , id]) => Number(id));
  return { uid: Number(uid), gid: Number(gid), groups: [...new Set([Number(gid), ...mine])] };
}

const rows = (path: string): string[][] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));

function nameFromDirectory(uid: number): string | undefined {
  try {
    const name = execFileSync('id', ['-un', '--', String(uid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    });
    return name.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Users of LDAP and the like are not in the files; `id` asks where the machine is told to ask. */
function fromDirectory(name: string): User | undefined {
  if (name.startsWith('-')) return undefined;
  try {
    const ask = (option: string): number[] =>
      execFileSync('id', [option, '--', name], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 5_000,
      })
        .trim()
        .split(/\s+/)
        .map(Number);
    const [uid] = ask('-u');
    const [gid] = ask('-g');
    return uid === undefined || gid === undefined ? undefined : { uid, gid, groups: ask('-G') };
  } catch {
    return undefined;
  }
}
