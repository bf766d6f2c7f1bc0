// One trace follows a launch through every process.
import { type ReceivedSpan, startOtlpReceiver } from '@mesobus/sdk/testing';
import test from 'ava';
import { clusterFor, envOf, mesobus } from './in-cluster.ts';

const wanted = ['allocate', 'offer', 'accept', 'commit', 'run task', 'start container', 'status update', 'acknowledge'];

test.serial('a launch is one trace from allocate to acknowledge, across all processes', async (t) => {
  t.timeout(120_000);
  const receiver = await startOtlpReceiver();
  t.teardown(() => receiver.stop());
  const cluster = await clusterFor(t, { otlpEndpoint: receiver.endpoint });
  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
  const run = await mesobus(t, ['run', '--', 'true'], { ...envOf(cluster), ...otlp });
  t.is(run.exitCode, 0, run.stderr);

  // Each process sends its spans on its own time: the tree is whole once every parent has come.
  const spans = await receiver.waitFor((received) => isWhole(traceOfLaunch(received)), { timeoutMs: 60_000 });
  const trace = traceOfLaunch(spans);
  t.deepEqual(
    rootsOf(trace).map(({ name }) => name),
    ['allocate'],
  );
  const updates = trace.filter(({ name }) => name === 'status update').map(({ attributes }) => attributes);
  t.deepEqual(updates.map((attributes) => attributes['mesobus.task_state']).sort(), [
    'TASK_FINISHED',
    'TASK_RUNNING',
    'TASK_STARTING',
  ]);
  const services = new Set(trace.map(({ service }) => service));
  t.deepEqual([...services].sort(), ['mesobus-agent', 'mesobus-cli', 'mesobus-master']);
});

/** The spans of the trace in which something was accepted. */
function traceOfLaunch(spans: readonly ReceivedSpan[]): ReceivedSpan[] {
  const accepted = spans.find(({ name }) => name === 'accept');
  return spans.filter(({ traceId }) => traceId === accepted?.traceId);
}

const rootsOf = (trace: readonly ReceivedSpan[]): ReceivedSpan[] => trace.filter(({ parentSpanId }) => !parentSpanId);

function isWhole(trace: readonly ReceivedSpan[]): boolean {
  const names = new Set(trace.map(({ name }) => name));
  const ids = new Set(trace.map(({ spanId }) => spanId));
  const updates = trace.filter(({ name }) => name === 'status update').length;
  const hanging = trace.every(({ parentSpanId }) => !parentSpanId || ids.has(parentSpanId));
  return wanted.every((name) => names.has(name)) && hanging && updates === 3;
}
