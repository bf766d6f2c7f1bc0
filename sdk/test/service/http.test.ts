import {
  ConfigError,
  createHealth,
  createMetrics,
  type Health,
  type Http,
  type Metrics,
  startHttp,
} from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';

const loopback = { host: '127.0.0.1', port: 0 };

async function serve(t: ExecutionContext): Promise<{ http: Http; metrics: Metrics; health: Health }> {
  const metrics = createMetrics();
  const health = createHealth({ timeoutMs: 50 });
  const http = await startHttp({ address: loopback, service: 'demo', instance: 'demo-1', metrics, health });
  t.teardown(() => http.close());
  return { http, metrics, health };
}

test('/metrics serves our metrics with prefix and help, and those of the process', async (t) => {
  const { http, metrics } = await serve(t);
  metrics.counter('offers_total', 'Offers sent', { labels: ['role'] }).inc({ role: 'ads' }, 3);
  metrics.gauge('agents', 'Agents admitted', { collect: (gauge) => gauge.set(7) });
  metrics.histogram('append_seconds', 'Time of one append', { buckets: [0.1, 1] }).observe(0.5);
  const response = await fetch(`${http.url}/metrics`);
  const body = await response.text();
  t.regex(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  for (const line of [
    '# HELP mesobus_offers_total Offers sent',
    'mesobus_offers_total{role="ads"} 3',
    'mesobus_agents 7',
    'mesobus_append_seconds_bucket{le="1"} 1',
  ]) {
    t.true(body.includes(`${line}\n`), line);
  }
  t.regex(body, /^process_resident_memory_bytes \d/m);
  t.regex(body, /^mesobus_service_info\{service="demo",version="[\d.]+",instance="demo-1"\} 1$/m);
});

test('a counter that is counted elsewhere says what was counted, however often it is read', async (t) => {
  const { http, metrics } = await serve(t);
  metrics.counter('launches', 'Launches', { labels: ['kind'], collect: (it) => it.inc({ kind: 'task' }, 5) });
  for (let i = 0; i < 2; i++) {
    const body = await (await fetch(`${http.url}/metrics`)).text();
    t.regex(body, /^# TYPE mesobus_launches counter\nmesobus_launches\{kind="task"\} 5$/m);
  }
});

test('/health is 200 while every check is well', async (t) => {
  const { http, health } = await serve(t);
  health.check('bus', () => undefined);
  const response = await fetch(`${http.url}/health`);
  t.is(response.status, 200);
  t.like(await response.json(), { status: 'ok', service: 'demo', instance: 'demo-1', checks: ['bus'], failing: {} });
});

test('/health is 503 and names the checks that say so, throw, or do not answer', async (t) => {
  const { http, health } = await serve(t);
  health.check('fine', () => undefined);
  health.check('bus', () => 'not connected');
  health.check('disk', async () => {
    throw new Error('full');
  });
  const forget = health.check('log', () => new Promise(() => undefined));
  const response = await fetch(`${http.url}/health`);
  t.is(response.status, 503);
  t.like(await response.json(), {
    status: 'failing',
    failing: { bus: 'not connected', disk: 'full', log: 'no answer within 50 ms' },
  });
  forget();
  t.deepEqual(Object.keys((await health.report()).failing), ['bus', 'disk']);
});

test('/version says which program runs', async (t) => {
  const { http } = await serve(t);
  const response = await fetch(`${http.url}/version`);
  t.like(await response.json(), { service: 'demo', instance: 'demo-1', node: process.version });
});

test('what is not there is 404, what cannot be written 405, and HEAD has no body', async (t) => {
  const { http } = await serve(t);
  const statusOf = async (path: string, method: string): Promise<number> =>
    (await fetch(`${http.url}${path}`, { method })).status;
  t.is(await statusOf('/constructor', 'GET'), 404);
  t.is(await statusOf('/version', 'POST'), 405);
  t.is(await statusOf('/version?pretty', 'GET'), 200);
  const head = await fetch(`${http.url}/version`, { method: 'HEAD' });
  t.is(head.status, 200);
  t.true(Number(head.headers.get('content-length')) > 0);
  t.is(await head.text(), '');
});

test('a port that is taken is refused with what to do', async (t) => {
  const { http } = await serve(t);
  const again = startHttp({
    address: { host: '127.0.0.1', port: http.port },
    service: 'demo',
    instance: 'demo-2',
    metrics: createMetrics(),
    health: createHealth(),
  });
  const error = await t.throwsAsync(again, { instanceOf: ConfigError });
  t.is(
    error?.message,
    `Cannot serve HTTP on 127.0.0.1:${http.port} (--http): another process listens there; choose another port, or port 0 for a free one`,
  );
});

test('a metric that carries the prefix already, or says nothing, is a bug that shows at once', (t) => {
  const metrics = createMetrics();
  t.throws(() => metrics.counter('mesobus_offers_total', 'Offers'), { name: 'InvariantError' });
  t.throws(() => metrics.counter('offers_total', ''), { name: 'InvariantError' });
});
