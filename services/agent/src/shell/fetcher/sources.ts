import type { Readable } from 'node:stream';
import type { NatsBus } from '@mesobus/sdk/bus';
import { httpGet } from '../http-get.ts';
import type { User } from '../users.ts';
import { FetchProblem } from './fetch-problem.ts';
import { openObject } from './object-source.ts';
import { readAs } from './sandbox.ts';

/** What is at a URI, as it comes. */
export interface Source {
  readonly stream: Readable;
  /** Bytes, where it is known before. */
  readonly size: number | undefined;
}

export type OpenSource = (signal: AbortSignal) => Promise<Source>;

export interface SourceSurroundings {
  /** Who reads what is on this machine. */
  readonly user: User | undefined;
  /** Where the object stores are; absent: there are none. */
  readonly connection: NatsBus['connection'] | undefined;
}

/**
 * How to open what is at a URI, by its scheme.
 *
 * @throws {FetchProblem} nobody can
 */
export function sourceOf(uri: string, { user, connection }: SourceSurroundings): OpenSource {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1]?.toLowerCase();
  if (scheme === 'http' || scheme === 'https') return (signal) => openHttp(parse(uri), signal);
  if (scheme === 'nats') return objectIn(uri, connection);
  const path = scheme === 'file' ? uri.slice('file://'.length) : uri;
  if ((scheme === 'file' || scheme === undefined) && path.startsWith('/')) {
    return async (signal) => ({ stream: readAs(user, path, signal), size: undefined });
  }
  if (scheme === undefined || scheme === 'file') throw new FetchProblem('the path is relative', 'give an absolute one');
  throw new FetchProblem(
    `'${scheme}' is not fetched by this agent`,
    'use http, https, nats (an object store), file, or an absolute path',
  );
}

function parse(uri: string): URL {
  const url = URL.parse(uri);
  if (url === null) throw new FetchProblem('it is no URL', 'correct it');
  return url;
}

async function openHttp(url: URL, signal: AbortSignal): Promise<Source> {
  const response = await httpGet(url, { signal });
  const { statusCode = 0, statusMessage = '', headers } = response;
  if (statusCode < 200 || statusCode >= 300) {
    response.destroy();
    const remedy = 'see that it is there and may be read, or correct the URI';
    throw new FetchProblem(`the server answers ${statusCode} ${statusMessage}`.trimEnd(), remedy);
  }
  const length = headers['content-length'];
  return { stream: response, size: length === undefined ? undefined : Number(length) };
}

function objectIn(uri: string, connection: NatsBus['connection'] | undefined): OpenSource {
  const [, bucket, name] = /^nats:\/\/([^/]+)\/(.+)$/i.exec(uri) ?? [];
  if (bucket === undefined || name === undefined)
    throw new FetchProblem('it names no object', 'write nats://bucket/name');
  if (connection === undefined) throw new FetchProblem('this agent is not connected to NATS', 'use another scheme');
  return (signal) => openObject(connection, bucket, decodeURIComponent(name), signal);
}
