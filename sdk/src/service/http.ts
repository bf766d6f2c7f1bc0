import type { FastifyInstance } from 'fastify';
import { ConfigError } from './config-error.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import type { HostPort } from './option.ts';
import { version } from './version.ts';

export interface HttpSettings {
  readonly address: HostPort;
  readonly service: string;
  readonly instance: string;
  readonly metrics: Metrics;
  readonly health: Health;
}

/** A listening server. */
export interface Http {
  /** With the port that was really taken: `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly port: number;
  /** Stops listening and cuts what is still connected. */
  close(): Promise<void>;
}

/**
 * Serves GET /metrics (Prometheus text), /health (200, or 503 with the failing checks) and /version, without any
 * authentication: keep it on loopback or in a network of its own.
 *
 * @throws {ConfigError} the address cannot be listened on
 */
export async function startHttp(settings: HttpSettings): Promise<Http> {
  const { address, service, instance, metrics, health } = settings;
  const { fastify } = await import('fastify');
  const server = fastify({ forceCloseConnections: true, exposeHeadRoutes: true });
  const about = { service, version, instance };
  server.get('/metrics', async (_request, reply) => {
    reply.type(metrics.contentType);
    return metrics.text();
  });
  server.get('/health', async (_request, reply) => {
    const report = await health.report();
    reply.code(report.status === 'ok' ? 200 : 503);
    return { ...report, ...about, uptimeSeconds: Math.round(process.uptime()) };
  });
  server.get('/version', async () => ({ ...about, node: process.version }));
  metrics.collectProcess();
  metrics
    .gauge('service_info', 'Always 1; its labels say which program this is', {
      labels: ['service', 'version', 'instance'],
    })
    .set(about, 1);
  const port = await listen(server, address);
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { url: `http://${host}:${port}`, port, close: () => server.close() };
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there; choose another port, or port 0 for a free one',
  EACCES: 'this user may not take the port; choose one above 1023',
  EADDRNOTAVAIL: 'this machine does not have the address; choose one of its own, or 127.0.0.1',
  ENOTFOUND: 'the host name is unknown; write an address of this machine',
};

async function listen(server: FastifyInstance, { host, port }: HostPort): Promise<number> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    await server.close();
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = reasons[code] ?? `${message}; choose another address`;
    throw new ConfigError([`Cannot serve HTTP on ${host}:${port} (--http): ${reason}`], { cause: error });
  }
  const taken = server.server.address();
  return typeof taken === 'object' && taken !== null ? taken.port : port;
}
