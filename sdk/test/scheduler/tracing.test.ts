import { createMemoryNetwork } from '@mesobus/sdk/bus';
import { Scheduler } from '@mesobus/sdk/scheduler';
import { inSpan, mintTraceparent, startTracing } from '@mesobus/sdk/service';
import test from 'ava';
import { startOtlpReceiver } from '../../src/testing/otlp-receiver.ts';
import { FakeLeader, offers, until, update } from './fake-leader.ts';

// One test, as tracing is on for the whole process.
test('decisions, accepts, updates and acknowledgements are spans in the traces of their offers and tasks', async (t) => {
  await using receiver = await startOtlpReceiver();
  const tracing = await startTracing({ service: 'test', instance: 'i', endpoint: receiver.endpoint });
  const network = createMemoryNetwork();
  const leader = new FakeLeader(network);
  const scheduler = new Scheduler(
    { bus: network.connect('scheduler'), framework: { name: 'traced' } },
    {
      resourceOffers: ([first, second, third, fourth]) => {
        if (!first || !second || !third || !fourth) return;
        inSpan("the author's own", {}, () => undefined);
        void scheduler.decline(second);
        void scheduler.launch(first, [{ id: 't1', command: 'true', resources: { cpus: 1 } }]);
        void scheduler.launch(third, [{ id: 't2', command: 'true', resources: { cpus: 1 } }]);
        void scheduler.decline(fourth);
      },
    },
  );
  t.teardown(async () => {
    await scheduler.stop({ failover: true });
    leader.stop();
    await tracing.shutdown();
  });
  await scheduler.start();
  const unsampled = { o3: mintTraceparent({ sampled: false }), o4: mintTraceparent({ sampled: false }) };
  const traces = { o1: mintTraceparent(), o2: mintTraceparent(), ...unsampled };
  const updateTrace = mintTraceparent();
  leader.send({ ...offers('o1', 'o2', 'o3', 'o4', 'o5'), offerTraces: traces });
  leader.send({ ...update('t1', 'TASK_RUNNING', 1), traceparent: updateTrace });
  await until(() => leader.callsOf('ACCEPT').length + leader.callsOf('ACKNOWLEDGE').length === 3);
  await network.settle();
  await tracing.flush();
  const spans = await receiver.waitFor((all) => all.length >= 8);

  const traceOf = (traceparent: string) => traceparent.split('-')[1];
  const named = (name: string) => spans.filter((span) => span.name === name);
  const ofTrace = (name: string, traceparent: string) =>
    named(name).find(({ traceId }) => traceId === traceOf(traceparent));
  const accept = ofTrace('accept', traces.o1);
  const decisions = named('resourceOffers');
  t.deepEqual(
    decisions.map(({ traceId }) => traceId).sort(),
    [traceOf(traces.o1), traceOf(traces.o2), traceOf(traces.o3)].sort(),
  );
  const decision = decisions.find(({ traceId }) => traceId === traceOf(traces.o1));
  t.is(decision?.parentSpanId, traces.o1.split('-')[2]);
  t.is(accept?.parentSpanId, decision?.spanId);
  t.is(named("the author's own")[0]?.parentSpanId, decision?.spanId);
  t.is(leader.callsOf('ACCEPT')[0]?.traceparent, `00-${accept?.traceId}-${accept?.spanId}-01`);
  // An offer that is traced only if it is accepted was accepted: the leader is told to keep it.
  const late = ofTrace('accept', traces.o3);
  t.is(late?.parentSpanId, ofTrace('resourceOffers', traces.o3)?.spanId);
  t.is(ofTrace('resourceOffers', traces.o3)?.parentSpanId, traces.o3.split('-')[2]);
  t.is(leader.callsOf('ACCEPT')[1]?.traceparent, `00-${late?.traceId}-${late?.spanId}-01`);
  const [statusUpdate] = named('statusUpdate');
  t.is(statusUpdate?.traceId, traceOf(updateTrace));
  t.is(named('acknowledge')[0]?.parentSpanId, statusUpdate?.spanId);
});
