// One trace follows a launch through every process.
import { type ReceivedSpan, startOtlpReceiver } from '@mesobus/sdk/testing';
import test from 'ava';
import { clusterFor, envOf, mesobus } from './in-cluster.ts';

test.serial('a launch is one trace from allocate to acknowledge, across all processes', async (t) => {
  t.timeout(120_000);
  const receiver = await startOtlpReceiver();
  t.teardown(() => receiver.stop());
  const cluster = await clusterFor(t, { otlpEndpoint: receiver.endpoint });
  const run = await mesobus(t, ['run', '--', 'true'], {
    ...envOf(cluster),
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
  });
  t.is(run.exitCode, 0, run.stderr);

  const spans = await receiver.waitFor((received) => {
    const names = new Set(traceOfAllocation(received).map(({ name }) => name));
    return [
      'allocate',
      'offer',
      'accept',
      'commit',
      'run task',
      'start container',
      'status update',
      'acknowledge',
    ].every((wanted) => [...names].some((name) => name.startsWith(wanted)));
  });
  const trace = traceOfAllocation(spans);
  const byId = new Map(trace.map((span) => [span.spanId, span]));
  const roots = trace.filter(({ parentSpanId }) => parentSpanId === undefined || parentSpanId === '');
  t.deepEqual(
    roots.map(({ name }) => name),
    ['allocate'],
    'the trace has one root',
  );
  const orphans = trace.filter(({ parentSpanId }) => parentSpanId && !byId.has(parentSpanId));
  t.deepEqual(
    orphans.map(({ name }) => name),
    [],
    'every span hangs on another one of the trace',
  );
  const services = new Set(trace.map(({ service }) => service));
  for (const service of ['mesobus-master', 'mesobus-agent']) t.true(services.has(service), `${service} takes part`);
  t.true(
    [...services].some((service) => !/master|agent/.test(service)),
    'the framework takes part',
  );
});

/** The spans of the trace in which something was accepted. */
function traceOfAllocation(spans: readonly ReceivedSpan[]): ReceivedSpan[] {
  const accepted = spans.find(({ name }) => name.startsWith('accept'));
  return spans.filter(({ traceId }) => traceId === accepted?.traceId);
}
