// The event streams of schedulers on a bus in memory, with a follower as the SDK has it.
import type { mesobus } from '@mesobus/protos';
import { createMemoryNetwork, ManualClock, type MemoryNetwork, silentLogger, subjectsOf } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { SchedulerStreams } from '../src/shell/scheduler-streams.ts';
import { EventType } from './harness.ts';

const subjects = subjectsOf('test');
const to = { principal: 'p1', instanceId: 'i1', frameworkId: 'f1', generation: 1 };

function setUp(t: ExecutionContext, maxMessageBytes = 64 * 1024) {
  const clock = new ManualClock();
  const network: MemoryNetwork = createMemoryNetwork({ clock, maxMessageBytes });
  const probed: boolean[] = [];
  const streams = new SchedulerStreams({
    bus: network.connect('master'),
    subjects,
    clock,
    log: silentLogger,
    onProbed: (_frameworkId, _instanceId, alive) => probed.push(alive),
  });
  t.teardown(() => streams.stop());
  const messages: (mesobus.v1.SchedulerEvents & { first: boolean })[] = [];
  network.connect('scheduler').followStream(subjects.schedulerEvents('p1', 'i1'), {
    onMessage: (message, { first }) => messages.push(Object.assign(message, { first })),
    onGap: () => {},
  });
  streams.open(to);
  return { clock, network, streams, messages, probed };
}

const saying = (data: string): mesobus.v1.SchedulerEvent.$Properties => ({
  event: {
    type: EventType.MESSAGE,
    message: { agentId: { value: 'a' }, executorId: { value: 'e' }, data: Buffer.from(data) },
  },
});
const said = (messages: readonly mesobus.v1.SchedulerEvents[]): string[] =>
  messages.flatMap(({ events }) => events.map(({ event }) => Buffer.from(event?.message?.data ?? []).toString()));

test('events that do not fit into one message together come in several, in their order', async (t) => {
  const { network, streams, messages } = setUp(t);
  const texts = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(10_000, '.'));
  streams.send(to, texts.map(saying));
  await network.settle();
  t.true(messages.length > 6);
  t.deepEqual(said(messages), texts);
});

test('an event that no message can hold is dropped, and those around it arrive', async (t) => {
  const { network, streams, messages, probed } = setUp(t);
  streams.send(to, [saying('before'), saying('x'.repeat(100_000)), saying('after')]);
  await network.settle();
  t.deepEqual(said(messages), ['before', 'after']);
  t.deepEqual(probed, []);
});

test('when events are lost the stream begins anew without SUBSCRIBED, and is silent until it is opened again', async (t) => {
  const { network, streams, messages, probed } = setUp(t);
  streams.send(to, [saying('first')]);
  await network.settle();
  streams.send(to, [{ event: { type: 'nonsense' as never } }]);
  await network.settle();
  t.deepEqual([messages.at(-1)?.first, messages.at(-1)?.events], [true, []]);
  t.deepEqual(probed, [false]);
  streams.send(to, [saying('dropped')]);
  await network.settle();
  t.deepEqual(said(messages), ['first']);
  streams.open({ ...to, generation: 2 });
  streams.send({ ...to, generation: 2 }, [saying('again')]);
  await network.settle();
  t.deepEqual(said(messages), ['first', 'again']);
  t.true(messages.at(-1)?.first);
});

test('a scheduler for which too much waits has to subscribe anew, and what waits is bounded', async (t) => {
  const { clock, network, streams, messages, probed } = setUp(t);
  const many = Array.from({ length: 150_000 }, () => saying('x'));
  streams.send(to, many);
  streams.send(to, many);
  await network.settle();
  t.deepEqual(said(messages), []);
  t.true(messages.at(-1)?.first);
  clock.advance(3_000);
  await network.settle();
  t.deepEqual(probed, [false, false]);
});
