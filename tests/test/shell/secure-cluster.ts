import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import type { ExecutionContext } from 'ava';
import { mesobus } from './in-cluster.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A service as it was started by itself, without anyone who starts it again. */
export interface Service {
  readonly child: ChildProcess;
  /** Resolves when it says that it is ready; false: it has ended instead. */
  readonly ready: Promise<boolean>;
  /** All that it has written so far. */
  output(): string;
  /** Resolves with what it has written when that passes. */
  untilSaid(pattern: RegExp): Promise<string>;
}

/** NATS with credentials and TLS as `mesobus auth` makes them. */
export interface SecureNats {
  readonly server: TestNatsServer;
  /** Of `mesobus auth`. */
  readonly dir: string;
  readonly ca: string;
  /** Runs `mesobus auth <args>`, and gives what it says. */
  auth(...args: string[]): Promise<string>;
  /** Makes credentials. They stay, also when they are revoked. */
  add(kind: string, name: string, ...args: string[]): Promise<string>;
  /** What the server has refused so far. */
  violations(): string[];
  /** What whoever has these credentials is to be told. */
  environment(credsFile: string): Readonly<Record<string, string>>;
}

export async function startSecureNats(t: ExecutionContext): Promise<SecureNats> {
  const root = mkdtempSync(path.join(tmpdir(), 'mesobus-secure-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));
  const dir = path.join(root, 'auth');
  const auth = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await mesobus(t, ['auth', ...args, '--dir', dir], {});
    if (exitCode !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  await auth('init');
  const log = path.join(root, 'nats.log');
  const included = readFileSync(path.join(dir, 'nats', 'auth.conf'), 'utf8');
  const config = `${included}\nlog_file: ${JSON.stringify(log)}`;
  const server = await startNatsServer({ jetstream: true, config });
  t.teardown(() => server.stop());
  const ca = path.join(dir, 'nats', 'tls-ca.pem');
  return {
    server,
    dir,
    ca,
    auth,
    async add(kind, name, ...args) {
      const kept = path.join(root, `${kind}-${name}.creds`);
      copyFileSync(await auth('add', kind, name, ...args), kept);
      return kept;
    },
    violations: () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line.includes('Violation')),
    environment: (credsFile) => ({
      MESOBUS_NATS: server.url,
      MESOBUS_NATS_CREDS: credsFile,
      MESOBUS_NATS_TLS_CA: ca,
    }),
  };
}

/** Starts a service; it is killed at the end of the test, an agent with its tasks. */
export function startService(
  t: ExecutionContext,
  name: 'master' | 'registry' | 'allocator' | 'agent',
  args: readonly string[],
  env: Environment,
): Service {
  const main = fileURLToPath(import.meta.resolve(`@mesobus/${name}/main`));
  const child = spawn(process.execPath, ['--conditions=mesobus-source', main, ...args], {
    env: { PATH: process.env['PATH'], ...env, MESOBUS_READY_FD: '3' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(name === 'agent' ? 'SIGUSR1' : 'SIGKILL');
      await ended;
    }
  });
  let output = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    (stream as Readable).setEncoding('utf8').on('data', (text: string) => {
      output += text;
      for (const listener of listeners) listener();
    });
  }
  const ready = new Promise<boolean>((resolve) => {
    (child.stdio[3] as Readable).setEncoding('utf8').once('data', () => resolve(true));
    void ended.then(() => resolve(false));
  });
  const untilSaid = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!pattern.test(output)) return;
        listeners.delete(look);
        resolve(output);
      };
      listeners.add(look);
      look();
      void ended.then(() => reject(new Error(`${name} has ended without saying ${pattern}: ${output}`)));
    });
  return { child, ready, output: () => output, untilSaid };
}
