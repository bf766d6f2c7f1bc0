import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { firstNatsServerWith, isOlder, type NatsServerBinary } from '@mesobus/sdk/service';
import type { ClusterPaths } from './cluster-paths.ts';
import { writePrivately } from './context-file.ts';
import { type Place, within } from './place.ts';
import type { Program } from './supervised.ts';

export interface NatsServerSettings {
  /** The file of the nats-server. */
  readonly binary: string;
  /** Without it nobody may connect: any user of this machine could run commands through the cluster. */
  readonly token: string;
  /** How often JetStream syncs to disk, as nats-server writes it: `always`, `2m`. */
  readonly syncInterval?: string | undefined;
}

/** One nats-server of a cluster: where it runs and listens. */
export interface NatsAddress {
  readonly name: string;
  readonly place: Place;
  readonly port: number;
  /** For the other servers; unused while it is the only one. */
  readonly routePort: number;
}

export const natsUrl = ({ place, port }: NatsAddress): string => `nats://${place.host}:${port}`;

/**
 * Refuses what this nats-server cannot do, before anything is started with it.
 *
 * @throws {Error} saying which would do
 */
export function requireAble(
  { path, version, clusterable }: NatsServerBinary,
  { servers, syncInterval }: { readonly servers: number; readonly syncInterval?: string | undefined },
): void {
  const binary = `nats-server ${version} ('${path}')`;
  const { soundReplicas, syncInterval: firstWithSync } = firstNatsServerWith;
  if (servers > 1 && !clusterable) {
    const why = 'with replicas on it two masters could both win (nats-server #4320)';
    throw new Error(`Cannot start ${servers} times ${binary}: ${why}; use ${soundReplicas} or newer, or one alone`);
  }
  if (syncInterval !== undefined && isOlder(version, firstWithSync)) {
    const todo = `use ${firstWithSync} or newer, or leave that to it`;
    throw new Error(`Cannot tell ${binary} how often to sync: it has no sync_interval; ${todo}`);
  }
}

/**
 * The nats-servers of a local cluster, joined by routes if they are several. Their configuration, which holds the
 * token, is written to private files.
 */
export function natsServerPrograms(
  addresses: readonly NatsAddress[],
  settings: NatsServerSettings,
  paths: ClusterPaths,
): Program[] {
  return addresses.map((address) => natsServerProgram(address, addresses, settings, paths));
}

function natsServerProgram(
  address: NatsAddress,
  all: readonly NatsAddress[],
  { binary, token, syncInterval }: NatsServerSettings,
  paths: ClusterPaths,
): Program {
  const { name, place, port } = address;
  const files = all.length === 1 ? { config: paths.natsConfig, store: paths.nats } : paths.natsOf(name);
  const config = [
    `server_name: ${JSON.stringify(name)}`,
    `listen: "${place.host}:${port}"`,
    `authorization { token: ${JSON.stringify(token)} }`,
    // Whoever is cut off, or hangs, is noticed within half a minute.
    'ping_interval: "10s"',
    'ping_max: 2',
    'jetstream {',
    `  store_dir: ${JSON.stringify(files.store)}`,
    ...(syncInterval === undefined ? [] : [`  sync_interval: ${syncInterval}`]),
    '}',
    ...(all.length === 1 ? [] : routesOf(address, all, token)),
  ];
  writePrivately(files.config, `${config.join('\n')}\n`);
  return within(place, {
    name,
    command: binary,
    args: ['--config', files.config],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
    log: paths.logOf(name),
    untilReady: (signal) => untilGreeted(place.host, port, signal),
    stopSignal: 'SIGTERM',
    stopDeadlineMs: 10_000,
  });
}

/** Routes ask for the token too: whoever joins as a server may do everything. */
function routesOf(self: NatsAddress, all: readonly NatsAddress[], token: string): string[] {
  const routes = all.map(({ place, routePort }) => `"nats-route://route:${token}@${place.host}:${routePort}"`);
  return [
    'cluster {',
    '  name: "local"',
    `  listen: "${self.place.host}:${self.routePort}"`,
    `  authorization { user: "route", password: ${JSON.stringify(token)} }`,
    `  routes: [${routes.join(', ')}]`,
    '}',
  ];
}

const loopback = '127.0.0.1';

/** In a place of its own nobody else listens. */
const ownPort = 4222;
const ownRoutePort = 6222;

/**
 * Chooses where each nats-server listens: free ports on loopback, the usual ones elsewhere.
 *
 * @param firstPort - of the first server; the others have those that follow
 * @throws {Error} a port is not free; nats-server would say so in its log only
 */
export async function chooseAddresses(
  places: readonly { readonly name: string; readonly place: Place }[],
  firstPort: number | undefined,
): Promise<NatsAddress[]> {
  const held: Server[] = [];
  const choose = async (place: Place, wanted: number, usual: number): Promise<number> =>
    place.host === loopback ? portOf(await hold(held, wanted)) : usual;
  try {
    const chosen: NatsAddress[] = [];
    for (const [index, { name, place }] of places.entries()) {
      const port = await choose(place, firstPort === undefined ? 0 : firstPort + index, ownPort);
      chosen.push({ name, place, port, routePort: places.length === 1 ? 0 : await choose(place, 0, ownRoutePort) });
    }
    return chosen;
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

const portOf = (server: Server): number => (server.address() as { port: number }).port;

/** Listens until all ports are chosen, so that none is chosen twice. */
async function hold(held: Server[], wanted: number): Promise<Server> {
  const server = createServer();
  try {
    server.listen({ host: loopback, port: wanted });
    await once(server, 'listening');
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'another process listens there' : String(error);
    const todo = 'choose another, or none for any that is free';
    throw new Error(`Cannot use port ${wanted} for the nats-server: ${why}; ${todo}`, { cause: error });
  }
  held.push(server);
  return server;
}

const retryMs = 20;

/** A nats-server greets whoever connects, once it has recovered JetStream. */
async function untilGreeted(host: string, port: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !(await greeted(host, port))) await new Promise((resolve) => setTimeout(resolve, retryMs));
}

async function greeted(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(1000) })) as [Buffer];
    return chunk.toString('latin1').startsWith('INFO ');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
