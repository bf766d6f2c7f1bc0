import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
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
  const about = { service, version, instance };
  const routes: Readonly<Record<string, Route | undefined>> = {
    '/metrics': async () => ({ type: metrics.contentType, body: await metrics.text() }),
    '/health': async () => {
      const report = await health.report();
      const body = { ...report, ...about, uptimeSeconds: Math.round(process.uptime()) };
      return inJson(body, report.status === 'ok' ? 200 : 503);
    },
    '/version': async () => inJson({ ...about, node: process.version }),
  };
  const server = serve(routes);
  metrics.collectProcess();
  metrics
    .gauge('service_info', 'Always 1; its labels say which program this is', {
      labels: ['service', 'version', 'instance'],
    })
    .set(about, 1);
  const port = await listen(server, address);
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { url: `http://${host}:${port}`, port, close: () => close(server) };
}

interface Answer {
  readonly status?: number;
  readonly type: string;
  readonly body: string;
}

type Route = () => Promise<Answer>;

const inJson = (body: object, status = 200): Answer => ({
  status,
  type: 'application/json; charset=utf-8',
  body: JSON.stringify(body),
});

/** Three texts need no more than Node has: a framework would take 15 MB of memory in every process. */
function serve(routes: Readonly<Record<string, Route | undefined>>): Server {
  return createServer(async (request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const answer = async (): Promise<Answer> => {
      if (route === undefined) return inJson({ error: `There is nothing at ${path}` }, 404);
      if (!isRead) return inJson({ error: `${path} can only be read` }, 405);
      return route();
    };
    const failed = (error: unknown): Answer => inJson({ error: String(error) }, 500);
    const { status = 200, type, body } = await answer().catch(failed);
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there; choose another port, or port 0 for a free one',
  EACCES: 'this user may not take the port; choose one above 1023',
  EADDRNOTAVAIL: 'this machine does not have the address; choose one of its own, or 127.0.0.1',
  ENOTFOUND: 'the host name is unknown; write an address of this machine',
};

async function listen(server: Server, { host, port }: HostPort): Promise<number> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = reasons[code] ?? `${message}; choose another address`;
    throw new ConfigError([`Cannot serve HTTP on ${host}:${port} (--http): ${reason}`], { cause: error });
  }
  const taken = server.address();
  return typeof taken === 'object' && taken !== null ? taken.port : port;
}
