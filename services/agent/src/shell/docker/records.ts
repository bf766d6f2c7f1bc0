import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerEnd } from '../../core/index.ts';
import type { User } from '../users.ts';

/** What the next process of the agent needs to know of a container. */
export interface DockerRecord {
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /** Whose the files are. */
  readonly user?: User | undefined;
  readonly hasTerminal: boolean;
  readonly memoryLimitBytes?: number | undefined;
}

const recordName = 'docker.json';
const begunName = 'docker-begun';
const stopName = 'docker-stop.json';
const endName = 'docker-end.json';

/** Whether a prepared container is one of Docker's. */
export const isDockerContainer = (folder: string): boolean => existsSync(join(folder, recordName));

export const writeRecord = (folder: string, record: DockerRecord): void => write(folder, recordName, record);
export const readRecord = (folder: string): DockerRecord | undefined => read<DockerRecord>(folder, recordName);

/** From now on it may run, or have run. */
export const noteBegun = (folder: string): void => write(folder, begunName, true);
export const forgetBegun = (folder: string): void => rmSync(join(folder, begunName), { force: true });
export const hasBegun = (folder: string): boolean => existsSync(join(folder, begunName));

/** Remembers since when it is to end; the first time counts. */
export function noteStop(folder: string, atMs: number): void {
  if (!existsSync(join(folder, stopName))) write(folder, stopName, atMs);
}

/** Since when it is to end, in ms since 1970; undefined if it is not. */
export const stopOf = (folder: string): number | undefined => read<number>(folder, stopName);

/** An end that is written down is known even if the container is removed. */
export const writeEnd = (folder: string, end: ContainerEnd): void => write(folder, endName, end);
export const readEnd = (folder: string): ContainerEnd | undefined => read<ContainerEnd>(folder, endName);

/** All of it, or nothing. */
function write(folder: string, name: string, value: unknown): void {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, JSON.stringify(value));
  renameSync(`${path}.new`, path);
}

function read<T>(folder: string, name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, name), 'utf8')) as T;
  } catch {
    return undefined; // there is none, or it was torn by a power cut
  }
}
