import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { ClusterPaths } from './cluster-paths.ts';
import { writePrivately } from './context-file.ts';
import type { Program } from './supervised.ts';

export interface NatsServerSettings {
  /** The file of the nats-server. */
  readonly binary: string;
  readonly port: number;
  /** Without it nobody may connect: any user of this machine could run commands through the cluster. */
  readonly token: string;
  /** How often JetStream syncs to disk, as nats-server writes it: `always`, `2m`. */
  readonly syncInterval?: string | undefined;
}

const loopback = '127.0.0.1';

export const natsUrl = (port: number): string => `nats://${loopback}:${port}`;

/** The nats-server of a local cluster; its configuration, which holds the token, is written to a private file. */
export function natsServerProgram(settings: NatsServerSettings, paths: ClusterPaths): Program {
  const { binary, port, token, syncInterval } = settings;
  const config = [
    `listen: "${loopback}:${port}"`,
    `authorization { token: ${JSON.stringify(token)} }`,
    'jetstream {',
    `  store_dir: ${JSON.stringify(paths.nats)}`,
    ...(syncInterval === undefined ? [] : [`  sync_interval: ${syncInterval}`]),
    '}',
  ];
  writePrivately(paths.natsConfig, `${config.join('\n')}\n`);
  return {
    name: 'nats-server',
    command: binary,
    args: ['--config', paths.natsConfig],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
    log: paths.logOf('nats-server'),
    untilReady: (signal) => untilGreeted(port, signal),
    stopSignal: 'SIGTERM',
    stopDeadlineMs: 10_000,
  };
}

/** @throws {Error} the port is not free; nats-server would say so in its log only */
export async function choosePort(wanted: number): Promise<number> {
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
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const retryMs = 20;

/** A nats-server greets whoever connects, once it has recovered JetStream. */
async function untilGreeted(port: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !(await greeted(port))) await new Promise((resolve) => setTimeout(resolve, retryMs));
}

async function greeted(port: number): Promise<boolean> {
  const socket = connect({ host: loopback, port });
  try {
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(1000) })) as [Buffer];
    return chunk.toString('latin1').startsWith('INFO ');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
