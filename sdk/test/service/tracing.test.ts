import {
  activeTraceparent,
  childTraceparent,
  contextFrom,
  inSpan,
  mintTraceparent,
  parseTraceparent,
  startSpan,
  startTracing,
  type Tracing,
  traceparentOf,
  tracingEnabled,
  withSpan,
} from '@mesobus/sdk/service';
import test from 'ava';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../src/testing/otlp-receiver.ts';

// One process has one tracing: the tests take turns.
async function trace(sample?: number): Promise<AsyncDisposable & { receiver: OtlpReceiver; tracing: Tracing }> {
  const receiver = await startOtlpReceiver();
  const tracing = await startTracing({ service: 'demo', instance: 'demo-1', endpoint: receiver.endpoint, sample });
  return {
    receiver,
    tracing,
    [Symbol.asyncDispose]: async () => {
      await tracing.shutdown();
      await receiver.stop();
    },
  };
}

const named = (spans: readonly ReceivedSpan[], name: string): ReceivedSpan | undefined =>
  spans.find((span) => span.name === name);
const remote = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test.serial('without an endpoint nothing is recorded, and the ids of a message still pass through', async (t) => {
  const tracing = await startTracing({ service: 'demo', instance: 'demo-1' });
  t.false(tracing.enabled);
  t.false(tracingEnabled());
  t.is(
    inSpan('a', { traceparent: remote }, (span) => traceparentOf(span)),
    remote,
  );
  t.is(traceparentOf(startSpan('b', { parent: contextFrom(remote) })), remote);
  t.is(
    inSpan('c', {}, () => activeTraceparent()),
    '',
  );
  t.is(traceparentOf(startSpan('d')), '');
});

test.serial('a span of another process is the parent of ours, with resource, kind, times and attributes', async (t) => {
  await using traced = await trace();
  inSpan(
    'outer',
    { traceparent: remote, kind: 'CONSUMER', startTime: 1_700_000_000_000, attributes: { cpus: 4, rack: 'r1' } },
    () => inSpan('inner', {}, () => undefined),
  );
  const spans = await traced.receiver.waitFor((all) => all.length === 2);
  const outer = named(spans, 'outer');
  t.like(outer, {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    parentSpanId: 'b7ad6b7169203331',
    service: 'mesobus-demo',
    instance: 'demo-1',
    kind: 5,
    startTimeUnixNano: 1_700_000_000_000_000_000n,
    attributes: { cpus: 4, rack: 'r1' },
  });
  t.like(named(spans, 'inner'), { traceId: outer?.traceId, parentSpanId: outer?.spanId });
});

test.serial('the context lasts over awaiting, and the span ends with the promise', async (t) => {
  await using traced = await trace();
  const [inside, span] = await inSpan('outer', {}, async (outer) => {
    await new Promise(setImmediate);
    return [activeTraceparent(), traceparentOf(outer)];
  });
  t.is(inside, span);
  await traced.tracing.flush();
  t.deepEqual(
    traced.receiver.spans().map(({ name }) => name),
    ['outer'],
  );
});

test.serial('an error thrown or rejected marks the span and passes on', async (t) => {
  await using traced = await trace();
  t.throws(
    () =>
      inSpan('thrown', {}, () => {
        throw new Error('no');
      }),
    { message: 'no' },
  );
  await t.throwsAsync(
    inSpan('rejected', {}, () => Promise.reject(new Error('never'))),
    { message: 'never' },
  );
  const spans = await traced.receiver.waitFor((all) => all.length === 2);
  t.deepEqual(
    spans.map(({ name, statusCode }) => [name, statusCode]),
    [
      ['thrown', 2],
      ['rejected', 2],
    ],
  );
});

test.serial('a span started by hand is a parent where it is passed on', async (t) => {
  await using traced = await trace();
  const outer = startSpan('outer');
  t.is(activeTraceparent(), '');
  startSpan('child', { parent: outer }).end();
  withSpan(outer, () => startSpan('other child').end());
  outer.end();
  const spans = await traced.receiver.waitFor((all) => all.length === 3);
  const parentId = named(spans, 'outer')?.spanId;
  t.is(named(spans, 'child')?.parentSpanId, parentId);
  t.is(named(spans, 'other child')?.parentSpanId, parentId);
});

test.serial('a span written later has the ids that were minted for it, whatever the sampling', async (t) => {
  await using traced = await trace(0);
  const minted = mintTraceparent();
  const dropped = mintTraceparent({ sampled: false });
  inSpan('answer', { traceparent: minted }, () => undefined);
  inSpan('unsampled answer', { traceparent: dropped }, () => undefined);
  startSpan('offer', { identity: minted, startTime: Date.now() - 1_000 }).end();
  startSpan('unsampled offer', { identity: dropped }).end();
  const within = mintTraceparent({ within: minted });
  startSpan('accept', { identity: within, traceparent: minted }).end();
  startSpan('new trace').end();
  await traced.tracing.flush();
  const spans = traced.receiver.spans();
  const ids = parseTraceparent(minted);
  t.deepEqual(spans.map(({ name }) => name).toSorted(), ['accept', 'answer', 'offer']);
  t.like(named(spans, 'offer'), { traceId: ids?.traceId, spanId: ids?.spanId, parentSpanId: '' });
  t.like(named(spans, 'answer'), { traceId: ids?.traceId, parentSpanId: ids?.spanId });
  t.like(named(spans, 'accept'), {
    traceId: ids?.traceId,
    spanId: parseTraceparent(within)?.spanId,
    parentSpanId: ids?.spanId,
  });
});

test.serial('shutdown sends what has ended and leaves tracing off', async (t) => {
  const traced = await trace();
  startSpan('last').end();
  await traced.tracing.shutdown();
  t.deepEqual(
    traced.receiver.spans().map(({ name }) => name),
    ['last'],
  );
  t.false(tracingEnabled());
  await traced.receiver.stop();
});

test.serial('a burst of 50,000 spans arrives whole', async (t) => {
  await using traced = await trace();
  for (let count = 0; count < 50_000; count += 1) startSpan('burst').end();
  await traced.tracing.flush();
  t.is(traced.receiver.spans().length, 50_000);
});

test.serial('a collector that does not answer is told of', async (t) => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const receiver = await startOtlpReceiver();
  await receiver.stop();
  const tracing = await startTracing({
    service: 'demo',
    instance: 'demo-1',
    endpoint: receiver.endpoint,
    onProblem: resolve,
  });
  // The exporter waits on timers that do not keep a process alive.
  const alive = setInterval(() => undefined, 2 ** 30);
  t.teardown(() => clearInterval(alive));
  startSpan('lost').end();
  t.true((await promise).length > 0);
  startSpan('lost as well').end();
  await t.throwsAsync(tracing.shutdown());
  t.false(tracingEnabled());
});

test('minted ids are valid and never the same', (t) => {
  const minted = Array.from({ length: 1_000 }, () => parseTraceparent(mintTraceparent()));
  t.is(new Set(minted.map((ids) => ids?.traceId)).size, 1_000);
  t.is(new Set(minted.map((ids) => ids?.spanId)).size, 1_000);
});

test('a child has the same ids whenever it is asked for, in the trace of its parent, and others by another key', (t) => {
  const parent = mintTraceparent();
  const children = Array.from({ length: 1_000 }, (_, i) => childTraceparent(parent, `update ${i}`));
  t.is(children[7], childTraceparent(parent, 'update 7'));
  const ids = children.map((child) => parseTraceparent(child));
  t.true(ids.every((one) => one?.traceId === parseTraceparent(parent)?.traceId));
  t.is(new Set(ids.map((one) => one?.spanId)).size, 1_000);
  t.is(childTraceparent('', 'update 1'), '');
});

const malformed = [
  '',
  'x',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331',
  `ff${remote.slice(2)}`,
  remote.toUpperCase(),
  '00-00000000000000000000000000000000-b7ad6b7169203331-01',
];
for (const written of malformed) {
  test(`'${written}' is no traceparent`, (t) => {
    t.is(parseTraceparent(written), undefined);
    t.is(traceparentOf(contextFrom(written)), '');
  });
}
