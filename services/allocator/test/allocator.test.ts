// The shell on a bus in memory, with a leader that answers what the test wants.
import { mesobus } from '@mesobus/protos';
import { type Bus, createMemoryNetwork, ManualClock, type StreamSender, subjectsOf } from '@mesobus/sdk/bus';
import { parseResources, pushReservation, toWire } from '@mesobus/sdk/resources';
import { createLogger, createMetrics } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { Allocator } from '../src/shell/allocator.ts';

const subjects = subjectsOf('test');
const { OFFERED_ALREADY } = mesobus.v1.Withheld.Reason;
const agent = { agentId: 'a1', active: true, total: toWire(parseResources('cpus:4')) };
const framework = { frameworkId: 'f1', active: true, roles: ['*'] };
const items = [{ agent }, { framework }];

function setUp(t: ExecutionContext, clock: ManualClock = new ManualClock()) {
  const network = createMemoryNetwork({ clock });
  const leaderBus: Bus = network.connect('leader');
  leaderBus.setEpoch({ incarnation: 1, epoch: 1 });
  const requests: mesobus.v1.AllocatorRequest[] = [];
  leaderBus.serve(subjects.masterAllocator.any, (delivery) => {
    requests.push(delivery.message);
    delivery.reply({ appointment: 1, appointedAllocatorId: 'al1' });
  });
  const channel = subjects.allocatorFeed('al1', 'i1');
  const feed = leaderBus.openStream(channel) as StreamSender<mesobus.v1.FeedBatch.$Properties>;
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
  let number = 0;
  const send = async (batch: mesobus.v1.FeedBatch.$Properties): Promise<void> => {
    number = batch.snapshotBegins ? 1 : number + 1;
    feed.send({ masterId: 'm1', appointment: 1, appointedAllocatorId: 'al1', feed: 1, number, ...batch });
    await network.settle();
  };
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await network.settle();
  };
  const allocations = (): mesobus.v1.Allocation[] =>
    requests.flatMap(({ allocations: list }) => list?.allocations ?? []);
  const hellos = (): mesobus.v1.AllocatorHello[] => requests.flatMap(({ hello }) => (hello ? [hello] : []));
  return { clock, network, leaderBus, channel, feed, requests, send, pass, allocations, hellos, allocator };
}

test('an allocator says that it is there several times in half a second, and what it has digested', async (t) => {
  const { network, send, pass, hellos } = setUp(t);
  await network.settle();
  t.like(hellos(), [{ incarnation: 'i1', losses: 1, feed: 0, digested: 0 }]);
  await pass(150);
  await pass(150);
  t.is(hellos().length, 3);
  await send({ snapshotBegins: true, snapshotEnds: true });
  t.like(hellos().at(-1), { losses: 1, feed: 1, digested: 1 });
});

test('while a long snapshot comes the leader hears how far it is, and is not asked for another', async (t) => {
  const { send, hellos } = setUp(t);
  await send({ snapshotBegins: true });
  for (let i = 0; i < 20; i += 1) await send({ items });
  t.true(hellos().some(({ digested }) => digested >= 16));
  t.true(hellos().every(({ losses }) => losses === 1));
});

test('what is free is allocated at once, and what changes right after it is gathered', async (t) => {
  const { send, pass, allocations } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  t.deepEqual(
    allocations().map(({ number, agentId, frameworkId }) => [number, agentId, frameworkId]),
    [[1, 'a1', 'f1']],
  );
  await send({ items: [{ agent: { ...agent, agentId: 'a2' } }] });
  await send({ items: [{ agent: { ...agent, agentId: 'a3' } }] });
  t.is(allocations().length, 1);
  await pass(5);
  const agents = allocations().map(({ agentId }) => agentId);
  t.deepEqual(agents.sort(), ['a1', 'a2', 'a3']);
});

test('a standby follows the books, and allocates as soon as it is appointed', async (t) => {
  const { send, allocations, allocator } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true, items, appointedAllocatorId: 'al2' });
  t.true(allocator.synchronised);
  t.deepEqual(allocations(), []);
  await send({ appointment: 2 });
  t.like(allocations(), [{ number: 1, agentId: 'a1' }]);
});

test('what was decided under another appointment is not told', async (t) => {
  const { network, send, pass, requests } = setUp(t);
  const undo = network.drop(({ subject }) => subject === subjects.masterAllocator.of('al1').subject);
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  await send({ appointment: 2, appointedAllocatorId: 'al2' });
  undo();
  for (let i = 0; i < 20; i += 1) await pass(100);
  t.deepEqual(
    requests.filter(({ allocations }) => allocations),
    [],
  );
});

test('a lost part of the feed stops allocation until a snapshot has come', async (t) => {
  const { network, channel, feed, send, allocations, allocator, hellos } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true });
  const undo = network.drop(({ subject }) => subject === channel.subject);
  await send({ items });
  undo();
  await send({ items: [{ framework }] });
  t.false(allocator.synchronised);
  t.deepEqual(allocations(), []);
  t.like(hellos().at(-1), { losses: 2, feed: 0 });
  feed.restart();
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  t.is(allocations().length, 1);
});

test('a new leader is asked for its books, and a deposed one is not heard any more', async (t) => {
  const { network, leaderBus, send, hellos, allocations, allocator } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true });
  const next = network.connect('next leader');
  next.setEpoch({ incarnation: 1, epoch: 2 });
  next.publish(subjects.leader, { masterId: 'm2', phase: 1 });
  await network.settle();
  t.false(allocator.synchronised);
  t.is(hellos().at(-1)?.losses, 2);
  leaderBus.publish(subjects.leader, { masterId: 'm1', phase: 1 });
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  t.false(allocator.synchronised);
  t.deepEqual(allocations(), []);
});

/** Node's timers may ring almost a millisecond before their time. */
class EarlyClock extends ManualClock {
  override after(delayMs: number, call: () => void): () => void {
    return super.after(Math.max(0.5, delayMs - 0.5), call);
  }
}

test('what was declined is offered again when the filter ends, though the timer rings early', async (t) => {
  const { send, pass, allocations } = setUp(t, new EarlyClock());
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  await pass(10);
  t.is(allocations().length, 1);

  const filter = { frameworkId: 'f1', role: '*', agentId: 'a1', resources: agent.total, refuseMs: 100 };
  await send({ allocationsSeen: 1, items: [{ filter }, { agent }] });
  for (let ms = 0; ms < 99; ms += 0.5) await pass(0.5);
  t.is(allocations().length, 1);
  for (let ms = 0; ms < 10; ms += 0.5) await pass(0.5);
  t.is(allocations().length, 2);
});

test('the appointed allocator answers what it is asked, long answers too', async (t) => {
  const { network, send } = setUp(t);
  await send({ snapshotBegins: true, snapshotEnds: true, items });
  const asker = network.connect('asker');
  const ask = async (query: mesobus.v1.AllocatorQuery.$Properties) => {
    const answer = asker.request(subjects.allocatorQuery.of('p1'), query, { timeoutMs: 1_000 });
    let answered = false;
    const done = (): void => {
      answered = true;
    };
    answer.then(done, done);
    while (!answered) await new Promise((resolve) => setImmediate(resolve)).then(() => network.settle());
    return (await answer).message;
  };
  t.is((await ask({ getShares: {} })).shares?.roles[0]?.role, '*');
  t.deepEqual((await ask({ getQuotas: {} })).quotas?.roles, []);
  const { explanation } = await ask({ explain: { frameworkId: 'f1', maxAgents: 1 } });
  t.like(explanation?.roles[0]?.agents[0], { count: 1, agentIds: ['a1'], reason: { reason: OFFERED_ALREADY } });
  const { whatIf } = await ask({ whatIf: { agentsRemoved: [] } });
  t.like(whatIf?.offersAfter, [{ role: '*', frameworkId: 'f1', agents: 1 }]);
  await t.throwsAsync(ask({ whatIf: { agentsRemoved: ['a9'] } }), { code: 'call_invalid', message: /no agent 'a9'/ });
  await t.throwsAsync(ask({}), { code: 'call_invalid' });
  const many = Array.from({ length: 17 }, () => ask({ explain: { frameworkId: 'f1' } }));
  const codes = (await Promise.allSettled(many)).map((one) =>
    one.status === 'rejected' ? one.reason.code : 'answered',
  );
  t.deepEqual(
    codes.filter((code) => code !== 'answered'),
    ['overloaded'],
  );
});

test('what is decided at once is told in messages that are not too large', async (t) => {
  const { send, requests, allocations, pass } = setUp(t);
  const labels = Array.from({ length: 40 }, (_, i) => ({ key: `a long key ${i}`, value: 'a long value of a label' }));
  const total = toWire(pushReservation(parseResources('cpus:4'), { type: 'dynamic', role: 'ads', labels }));
  const many = Array.from({ length: 400 }, (_, i) => ({ agent: { agentId: `b${i}`, active: true, total } }));
  await send({
    snapshotBegins: true,
    snapshotEnds: true,
    items: [{ framework: { ...framework, roles: ['ads'] } }, ...many],
  });
  for (let i = 0; i < 20 && allocations().length < 400; i += 1) await pass(10);
  t.deepEqual(
    allocations().map(({ number }) => number),
    Array.from({ length: 400 }, (_, i) => i + 1),
  );
  for (const request of requests) {
    t.true(mesobus.v1.AllocatorRequest.encode(request).finish().length < 512 * 1024);
  }
});
