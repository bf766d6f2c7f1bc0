import { createLogger, inSpan, type Logger, type LoggerSettings, startTracing } from '@mesobus/sdk/service';
import test from 'ava';

function logInto(settings: LoggerSettings = {}): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { log: createLogger('demo', { ...settings, destination }), lines };
}

test('a line has time, level, service, msg and its own fields', (t) => {
  const { log, lines } = logInto();
  log.info({ agentId: 'a1' }, 'admitted');
  t.like(lines[0], { level: 'info', service: 'demo', msg: 'admitted', agentId: 'a1' });
  t.false(Number.isNaN(Date.parse(String(lines[0]?.['time']))));
});

test('lines below the level are not written', (t) => {
  const { log, lines } = logInto({ level: 'warn' });
  log.info('quiet');
  log.warn('loud');
  t.deepEqual(
    lines.map((line) => line['msg']),
    ['loud'],
  );
});

test('fields named like secrets are censored three levels deep', (t) => {
  const { log, lines } = logInto();
  log.info({ token: 'a', nats: { creds: 'b', inner: { password: 'c' } }, user: 'd' }, 'connecting');
  t.like(lines[0], { token: '[secret]', nats: { creds: '[secret]', inner: { password: '[secret]' } }, user: 'd' });
});

test('a known secret is censored wherever it stands, even in an error', (t) => {
  const { log, lines } = logInto({ secrets: ['hun"ter2', undefined] });
  log.error({ err: new Error('refused hun"ter2') }, 'with hun"ter2');
  t.notRegex(JSON.stringify(lines), /ter2/);
  t.is(lines[0]?.['msg'], 'with [secret]');
});

test('user and password are censored in a URL, and an address without them stays', (t) => {
  const { log, lines } = logInto();
  log.info({ servers: ['nats://user:pass@host:4222', 'nats://host:4222'] }, 'mail me@example.org');
  t.like(lines[0], { servers: ['nats://[secret]@host:4222', 'nats://host:4222'], msg: 'mail me@example.org' });
});

test.serial('a line inside a span carries its ids, and one outside carries none', async (t) => {
  const tracing = await startTracing({
    service: 'demo',
    instance: 'demo-1',
    endpoint: 'http://127.0.0.1:9',
    sample: 0,
  });
  t.teardown(() => tracing.shutdown());
  const { log, lines } = logInto();
  const ids = inSpan('outer', {}, (span) => {
    log.info('inside');
    return span.spanContext();
  });
  log.info('outside');
  t.like(lines[0], { trace_id: ids.traceId, span_id: ids.spanId });
  t.false('trace_id' in (lines[1] ?? {}));
});
