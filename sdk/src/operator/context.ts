import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { NatsSecurity } from '../bus/index.ts';

/** How to reach a cluster. */
export interface ClusterContext extends NatsSecurity {
  /** The NATS servers; any of them will do. */
  readonly nats: readonly string[];
  readonly cluster: string;
  /** Where this was found, for people: `the environment` or the path of the file. */
  readonly from: string;
}

/** No cluster was named and none was found. */
export class NoContextError extends Error {
  override readonly name = 'NoContextError';
}

/** Relative to the folder where `mesobus up` was started. */
export const contextFile: string = path.join('.mesobus', 'context.json');

export interface ContextSources {
  /** Where the search for the file begins; default: the working directory. */
  readonly directory?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Finds the cluster to talk to: `MESOBUS_NATS` with `MESOBUS_NATS_TOKEN`, `MESOBUS_NATS_CREDS`, `MESOBUS_NATS_TLS_CA`,
 * `MESOBUS_NATS_TLS_CERT`, `MESOBUS_NATS_TLS_KEY` and `MESOBUS_CLUSTER`, or else the file `.mesobus/context.json` that
 * `mesobus up` writes, in this folder or the nearest one above.
 *
 * @throws {NoContextError} there is neither, or the file cannot be read
 */
export function findContext(sources: ContextSources = {}): ClusterContext {
  const env = sources.env ?? process.env;
  const directory = path.resolve(sources.directory ?? process.cwd());
  const fromEnv = contextFromEnv(env);
  if (fromEnv !== undefined) return fromEnv;
  const file = findUpwards(directory);
  if (file !== undefined) return readContextFile(file, env['MESOBUS_CLUSTER']);
  throw new NoContextError(
    `Cannot find a cluster: MESOBUS_NATS is not set and no ${contextFile} is in ${directory} or above; ` +
      'start a local cluster with `mesobus up`, or set MESOBUS_NATS=nats://<host>:4222 (and MESOBUS_NATS_TOKEN)',
  );
}

/** Names of files, by their variable in the environment; in a context file they are relative to it. */
const files = {
  credsFile: 'MESOBUS_NATS_CREDS',
  tlsCaFile: 'MESOBUS_NATS_TLS_CA',
  tlsCertFile: 'MESOBUS_NATS_TLS_CERT',
  tlsKeyFile: 'MESOBUS_NATS_TLS_KEY',
} as const;

function contextFromEnv(env: Readonly<Record<string, string | undefined>>): ClusterContext | undefined {
  const nats = listOf(env['MESOBUS_NATS'] ?? '');
  if (nats.length === 0) return undefined;
  return {
    nats,
    ...(env['MESOBUS_NATS_TOKEN'] ? { token: env['MESOBUS_NATS_TOKEN'] } : {}),
    ...Object.fromEntries(Object.entries(files).flatMap(([key, name]) => (env[name] ? [[key, env[name]]] : []))),
    cluster: env['MESOBUS_CLUSTER'] || 'main',
    from: 'the environment',
  };
}

function findUpwards(directory: string): string | undefined {
  const file = path.join(directory, contextFile);
  if (existsSync(file)) return file;
  const parent = path.dirname(directory);
  return parent === directory ? undefined : findUpwards(parent);
}

function readContextFile(file: string, cluster: string | undefined): ClusterContext {
  const content = parseContextFile(file);
  const { nats, token, cluster: written } = content;
  const servers = typeof nats === 'string' ? listOf(nats) : [];
  if (servers.length === 0) throw unreadable(file, 'it has no text "nats"');
  return {
    nats: servers,
    ...(typeof token === 'string' && token !== '' && { token }),
    ...Object.fromEntries(
      Object.keys(files).flatMap((key) => {
        const name = content[key as keyof typeof files];
        return typeof name === 'string' && name !== '' ? [[key, path.resolve(path.dirname(file), name)]] : [];
      }),
    ),
    cluster: cluster || (typeof written === 'string' ? written : 'main'),
    from: file,
  };
}

function parseContextFile(file: string): Partial<Record<'nats' | 'token' | 'cluster' | keyof typeof files, unknown>> {
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof content === 'object' && content !== null) return content;
  } catch (error) {
    throw unreadable(file, (error as Error).message, { cause: error });
  }
  throw unreadable(file, 'it holds no object');
}

function unreadable(file: string, why: string, options?: ErrorOptions): NoContextError {
  const remedy = 'remove it and start `mesobus up` again, or set MESOBUS_NATS';
  return new NoContextError(`Cannot read the context ${file}: ${why}; ${remedy}`, options);
}

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
