// The shell on a bus in memory, with a leader that answers what the test wants.
import type { mesobus } from '@mesobus/protos';
import { type Bus, createMemoryNetwork, ManualClock, type StreamSender, subjectsOf } from '@mesobus/sdk/bus';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import { createLogger, createMetrics } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { Allocator } from '../src/shell/allocator.ts';

const subjects = subjectsOf('test');
const agent = { agentId: 'a1', active: true, total: toWire(parseResources('cpus:4')) };
const framework = { frameworkId: 'f1', active: true, roles: ['*'] };
const items = [{ agent }, { framework }];

function setUp(t: ExecutionContext) {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  const leaderBus: Bus = network.connect('leader');
  leaderBus.setEpoch({ incarnation: 1, epoch: 1 });
  const requests: mesobus.v1.AllocatorRequest[] = [];
  leaderBus.serve(subjects.masterAllocator.any, (delivery) => {
    requests.push(delivery.message);
    delivery.reply({ appointment: 1, appointedAllocatorId: 'al1' });
  });
  const feed = leaderBus.openStream(subjects.allocatorFeed) as StreamSender<mesobus.v1.FeedBatch.$Properties>;
  const allocator = new Allocator({
    bus: network.connect('allocator'),
    subjects,
    allocatorId: 'al1',
    incarnation: 'i1',
    seed: 1,
    clock,
    now: () => clock.now(),
    log: createLogger('allocator', { level: 'silent', secrets: [] }),
    metrics: createMetrics(),
    gatherMs: 5,
  });
  t.teardown(() => allocator.stop());
  allocator.start();
  const send = async (batch: mesobus.v1.FeedBatch.$Properties): Promise<void> => {
    feed.send({ appointment: 1, appointedAllocatorId: 'al1', ...batch });
    await network.settle();
  };
  const allocations = (): mesobus.v1.Allocation[] =>
    requests.flatMap(({ allocations: list }) => list?.allocations ?? []);
  return { clock, network, feed, requests, send, allocations, allocator };
}

test('an allocator asks for the books until it has them', async (t) => {
  const { clock, network, requests, send } = setUp(t);
  await network.settle();
  t.is(requests.filter(({ hello }) => hello).length, 1);
  clock.advance(500);
  await network.settle();
  t.is(requests.filter(({ hello }) => hello).length, 2);
  await send({ snapshotBegins: true, snapshotEnds: true });
  clock.advance(500);
  await network.settle();
  t.is(requests.filter(({ hello }) => hello).length, 2);
});

test('what is free is allocated at once, and what changes right after it is gathered', async (t) => {
  const { clock, network, send, allocations } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  t.deepEqual(
    allocations().map(({ number, agentId, frameworkId }) => [number, agentId, frameworkId]),
    [[1, 'a1', 'f1']],
  );
  await send({ items: [{ agent: { ...agent, agentId: 'a2' } }] });
  await send({ items: [{ agent: { ...agent, agentId: 'a3' } }] });
  t.is(allocations().length, 1);
  clock.advance(5);
  await network.settle();
  t.deepEqual(new Set(allocations().map(({ agentId }) => agentId)), new Set(['a1', 'a2', 'a3']));
});

test('a lost part of the feed stops allocation until a snapshot has come', async (t) => {
  const { network, feed, send, allocations, allocator, requests } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true });
  const undo = network.drop(({ subject }) => subject === subjects.allocatorFeed.subject);
  await send({ items });
  undo();
  const before = requests.length;
  await send({ items: [{ framework }] });
  t.false(allocator.synchronised);
  t.deepEqual(allocations(), []);
  t.true(requests.slice(before).some(({ hello }) => hello));
  feed.restart();
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  t.is(allocations().length, 1);
});

test('an appointed allocator that has nothing to decide still says that it is there', async (t) => {
  const { clock, network, send, requests } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true });
  clock.advance(1_000);
  await network.settle();
  t.true(requests.some(({ allocations: list }) => list?.allocations.length === 0));
});
