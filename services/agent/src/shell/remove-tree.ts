import { execFile, execFileSync } from 'node:child_process';

/**
 * Removes a folder with all that is in it, if it is there.
 *
 * What a task has made may change meanwhile: a folder becomes a link to one elsewhere, just after it was looked at. Node's
 * own recursion would follow it, with the rights of root. That of `rm` goes by descriptors, and does not.
 *
 * @throws {Error} something in it cannot be removed
 */
export function removeTree(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('rm', argumentsFor(path), { env }, (error) => (error ? reject(error) : resolve()));
  });
}

/** As {@link removeTree}, and waits for it. */
export function removeTreeNow(path: string): void {
  execFileSync('rm', argumentsFor(path), { env, stdio: ['ignore', 'ignore', 'pipe'] });
}

const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' };

const argumentsFor = (path: string): string[] => ['-rf', '--', path];
