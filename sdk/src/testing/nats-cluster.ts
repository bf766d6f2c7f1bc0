import { createServer, type Server } from 'node:net';
import { resolveNatsServer } from '../service/nats-server-binary.ts';
import { startNatsServer, type TestNatsServer, type TestNatsServerOptions } from './nats-server.ts';

/** NATS servers of one test, joined by routes, on loopback. */
export interface TestNatsCluster extends AsyncDisposable {
  /** Named `nats-1` and so on. */
  readonly servers: readonly TestNatsServer[];
  readonly urls: readonly string[];
  /** Ends all of them and removes their temporary files. */
  stop(): Promise<void>;
}

/**
 * Starts NATS servers that form a cluster, and waits until each takes clients. JetStream answers once they have elected
 * its leader: some seconds later.
 *
 * @throws {Error} as `startNatsServer`
 */
export async function startNatsCluster(
  options: Omit<TestNatsServerOptions, 'port' | 'storeDir'> & { readonly size?: number } = {},
): Promise<TestNatsCluster> {
  const { size = 3, config = '', ...rest } = options;
  const ports = await freePorts(2 * size);
  const routePorts = ports.slice(size);
  const routes = routePorts.map((port) => `nats-route://127.0.0.1:${port}`).join(', ');
  const starting = routePorts.map((port, index) => {
    const cluster = `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
    return startNatsServer({
      ...rest,
      port: ports[index] as number,
      config: [`server_name: nats-${index + 1}`, cluster, config].join('\n'),
    });
  });
  const started = (await Promise.allSettled(starting)).map((outcome) =>
    outcome.status === 'fulfilled' ? outcome.value : undefined,
  );
  const servers = started.filter((server) => server !== undefined);
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  if (servers.length < size) {
    await stop();
    await Promise.all(starting); // throws what failed
  }
  return { servers, urls: servers.map(({ url }) => url), stop, [Symbol.asyncDispose]: stop };
}

/**
 * Whether the nats-server that tests start may keep replicas. Where it may not, a test of replicas asserts that they are
 * refused.
 */
export async function mayReplicate(): Promise<boolean> {
  return (await resolveNatsServer()).clusterable;
}

/** Below the ports that systems give to whoever asks for any: those may be taken between the choice and the use. */
const firstPort = 15_000;
const lastPort = 29_999;

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  while (held.length < count) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort + 1));
    const server = createServer();
    const listening = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (listening) held.push(server);
  }
  const ports = held.map((server) => (server.address() as { port: number }).port);
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
