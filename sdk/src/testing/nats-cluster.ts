import { createServer } from 'node:net';
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
  const routePorts = await freePorts(size);
  const routes = routePorts.map((port) => `nats-route://127.0.0.1:${port}`).join(', ');
  const starting = routePorts.map((port, index) => {
    const cluster = `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
    return startNatsServer({ ...rest, config: [`server_name: nats-${index + 1}`, cluster, config].join('\n') });
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

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const holders = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = holders.map((server) => (server.address() as { port: number }).port);
  await Promise.all(holders.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
