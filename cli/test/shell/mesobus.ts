import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** A running `mesobus` command. */
export interface Running {
  readonly child: ChildProcess;
  readonly out: string[];
  readonly err: string[];
  /** Waits for a line of its standard output, or of standard error; fails if the command ends without. */
  line(pattern: RegExp, from?: 'out' | 'err'): Promise<string>;
  /** Waits for the end. */
  exit(): Promise<number | null>;
}

/** Starts the command in a folder, as a user would: of the environment of Mesobus only with the nats-server in use. */
export function mesobus(t: ExecutionContext, cwd: string, ...args: string[]): Running {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('MESOBUS_') || name === 'MESOBUS_NATS_SERVER',
  );
  const child = spawn(process.execPath, ['-C', 'mesobus-source', main, ...args], {
    cwd,
    env: Object.fromEntries(inherited),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const out: string[] = [];
  const err: string[] = [];
  const waiting = new Set<() => void>();
  const gather = (from: Readable | null, lines: string[]): void => {
    createInterface({ input: from as Readable }).on('line', (line) => {
      lines.push(line);
      for (const check of waiting) check();
    });
  };
  gather(child.stdout, out);
  gather(child.stderr, err);
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const line = (pattern: RegExp, from: 'out' | 'err' = 'out'): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        const found = (from === 'out' ? out : err).find((one) => pattern.test(one));
        if (found !== undefined) resolve(found);
      };
      waiting.add(check);
      check();
      void ended.then((code) =>
        reject(new Error(`ended with ${code} without ${pattern}:\n${[...out, ...err].join('\n')}`)),
      );
    });
  return { child, out, err, line, exit: () => ended };
}

/** Runs the command to its end; fails unless it exits with 0. */
export async function done(t: ExecutionContext, cwd: string, ...args: string[]): Promise<string[]> {
  const running = mesobus(t, cwd, ...args);
  const code = await running.exit();
  if (code !== 0) throw new Error(`mesobus ${args.join(' ')} ended with ${code}:\n${running.err.join('\n')}`);
  return running.out;
}
