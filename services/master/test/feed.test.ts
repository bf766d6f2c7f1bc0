import { encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import { takeFeed, waitingFeeds } from '../src/core/index.ts';
import { CallType, filtersOf, Harness, TaskState } from './harness.ts';

type Batches = readonly mesobus.v1.FeedBatch[];

const agentBook = (batches: Batches): mesobus.v1.AgentBook.$Properties | undefined =>
  batches.flatMap(({ items }) => items.flatMap(({ agent }) => (agent ? [agent] : []))).at(-1);
const agentsIn = (batches: Batches): string[] =>
  batches.flatMap(({ items }) => items.flatMap(({ agent }) => (agent ? [agent.agentId] : [])));
const waiting = (h: Harness): string[] => [...waitingFeeds(h.state)].map(({ allocatorId }) => allocatorId);

test('nothing is gathered for the feed while no allocator is there', (t) => {
  const h = new Harness();
  h.agent();
  t.deepEqual(waiting(h), []);
  t.is(takeFeed(h.state, 'al1'), undefined);
});

test('an allocator gets a snapshot in bounded batches, numbered and marked at both ends', (t) => {
  const h = new Harness();
  for (let i = 0; i < 1_100; i += 1) h.agent(`a${i}`);
  h.framework();
  t.true(h.hello().some(({ kind }) => kind === 'open_feed'));
  const batches = h.feedOf();
  t.true(batches.every(({ items }) => items.length <= 500));
  t.true(batches.every((batch) => encode(mesobus.v1.FeedBatch, batch).length < 160 * 1024));
  t.is(agentsIn(batches).length, 1_100);
  // The last one says that it is appointed.
  const count = batches.length - 1;
  const marked = batches.flatMap(({ number, snapshotBegins, snapshotEnds }) => [
    ...(snapshotBegins ? [['begins', number]] : []),
    ...(snapshotEnds ? [['ends', number]] : []),
  ]);
  t.deepEqual(marked, [
    ['begins', 1],
    ['ends', count],
  ]);
  t.deepEqual(waiting(h), []);
});

test('large items make small batches', (t) => {
  const h = new Harness();
  const attributes = Array.from({ length: 100 }, (_, i) => ({
    name: `attribute-${i}`,
    type: 3,
    text: { value: 'x'.repeat(500) },
  }));
  for (let i = 0; i < 20; i += 1) {
    h.register(`a${i}`, { info: { hostname: `a${i}`, attributes, resources: [] } } as never);
  }
  const batches = h.appoint();
  t.true(batches.length > 5);
  t.true(batches.every((batch) => encode(mesobus.v1.FeedBatch, batch).length < 256 * 1024));
});

test('the snapshot of an empty cluster begins and ends in one batch', (t) => {
  const h = new Harness();
  h.hello();
  t.like(h.feedOf(), [{ snapshotBegins: true, snapshotEnds: true, masterId: 'm1', feed: 1, number: 1 }]);
});

test('a snapshot says nothing of agents that are gone or out of reach, and tells one that comes back', (t) => {
  const h = new Harness();
  const [gone, away, here] = [h.agent('a1'), h.agent('a2'), h.agent('a3')];
  h.operateOnAgent('markAgentGone', gone);
  h.pass(31_000, ['a3']);
  const snapshot = h.appoint();
  t.deepEqual(agentsIn(snapshot), [here]);
  t.deepEqual(
    snapshot.flatMap(({ items }) => items.flatMap(({ agentRemoved }) => agentRemoved ?? [])),
    [],
  );
  t.true(snapshot.some(({ snapshotEnds }) => snapshotEnds));
  h.register('a2');
  t.deepEqual(agentsIn(h.feedOf()), [away]);
});

test('agents that change while a snapshot is under way do not end it early', (t) => {
  const h = new Harness();
  for (let i = 0; i < 1_100; i += 1) h.agent(`a${i}`);
  h.hello();
  const first = takeFeed(h.state, 'al1');
  for (let i = 0; i < 500; i += 1) h.heartbeat(`a${i}`);
  for (let i = 0; i < 400; i += 1) h.framework({}, { instanceId: `i${i}` });
  for (let i = 0; i < 400; i += 1) h.agent(`b${i}`);
  const rest = [];
  for (let batch = first; batch !== undefined && !batch.snapshotEnds; ) {
    batch = takeFeed(h.state, 'al1');
    if (batch !== undefined) rest.push(batch);
  }
  const told = new Set(agentsIn(first === undefined ? rest : [first, ...rest]));
  for (let i = 0; i < 1_100; i += 1) t.true(told.has(`m1-S${i}`));
});

test('an allocator that does not digest is sent no more than a window, and hears each entity once when it does', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.appoint();
  const frameworkId = h.framework();
  let sent = 0;
  for (let i = 0; i < 100; i += 1) {
    h.call({ frameworkId }, { type: i % 2 === 0 ? CallType.SUPPRESS : CallType.REVIVE });
    if (waiting(h).length > 0 && takeFeed(h.state, 'al1') !== undefined) sent += 1;
  }
  t.is(sent, 32);
  h.register('a1');
  const { feed, sent: number } = { feed: h.state.allocators.feeds.get('al1')?.number ?? 0, sent: 33 };
  h.hello('al1', { feed, digested: number });
  const rest = h.feedOf();
  t.deepEqual(agentsIn(rest), [agentId]);
});

test('an agent says what is offered and allocated on it in one holding per framework and role', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.offer(frameworkId, agentId, 'cpus:2');
  const book = agentBook(h.feedOf());
  t.is(book?.holdings?.length, 1);
  const amounts = Object.fromEntries(
    (book?.holdings?.[0]?.resources ?? []).map(({ name, scalar }) => [name, scalar?.value]),
  );
  t.deepEqual(amounts, { cpus: 3, mem: 64 });
});

test('a task that ends is told in the same step', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  h.feedOf();
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED);
  t.deepEqual(agentBook(h.feedOf())?.holdings, []);
});

test('the number of the last allocation judged comes with the books that show its outcome', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  t.is(h.appoint().at(-1)?.allocationsSeen, 0);
  h.offer(frameworkId, agentId);
  const [batch] = h.feedOf();
  t.is(batch?.allocationsSeen, 1);
  t.truthy(agentBook(batch ? [batch] : []));
});

test('who does not want what has become free is said no later than that it is free', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const agentId = h.agent();
  for (let i = 0; i < 600; i += 1) h.agent(`b${i}`);
  const offerId = h.offer(frameworkId, agentId);
  h.feedOf();
  for (let i = 0; i < 600; i += 1) h.register(`b${i}`, {}, 'n2');
  h.call({ frameworkId }, { type: CallType.DECLINE, decline: { offerIds: [{ value: offerId }] } });
  const batches = h.feedOf();
  const filterAt = batches.findIndex(({ items }) => items.some(({ filter }) => filter));
  const freeAt = batches.findIndex(({ items }) => items.some(({ agent }) => agent?.agentId === agentId));
  t.true(filterAt >= 0 && filterAt <= freeAt);
});

test('an allocation of what is already offered is dropped, and its agent told again', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.offer(frameworkId, agentId, 'cpus:3');
  h.feedOf();
  h.offer(frameworkId, agentId, 'cpus:2');
  t.is(h.state.offers.size, 1);
  t.is(agentBook(h.feedOf())?.agentId, agentId);
});

test('a framework that is removed leaves the feed', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.appoint();
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  t.deepEqual(
    h.feedOf().flatMap(({ items }) => items.map(({ frameworkRemoved }) => frameworkRemoved)),
    [frameworkId],
  );
});

test('an operator sets the weight of a role, and the allocator hears of it', (t) => {
  const h = new Harness();
  h.appoint();
  const updateWeights = { weightInfos: [{ role: 'ads', weight: 2 }] };
  const sent = h.operatorCall({ callId: 'o1', call: { type: 13, updateWeights } });
  t.true(sent.some(({ kind }) => kind === 'accept_operator'));
  t.is(h.feedOf()[0]?.items[0]?.role?.weight, 2);
});

test('one allocator that has lost something gets a snapshot, and the other goes on', (t) => {
  const h = new Harness();
  h.agent();
  h.appoint('al1');
  h.appoint('al2');
  const sent = h.hello('al2', { losses: 2 });
  t.deepEqual(
    sent.flatMap((effect) => (effect.kind === 'open_feed' ? [effect.allocatorId] : [])),
    ['al2'],
  );
  t.like(h.feedOf('al2'), [{ snapshotBegins: true, snapshotEnds: true }]);
  t.deepEqual(h.feedOf('al1'), []);
  t.is(h.state.allocators.appointment, 1);
});

test('a hello that is repeated while its snapshot is under way does not begin it again', (t) => {
  const h = new Harness();
  for (let i = 0; i < 600; i += 1) h.agent(`a${i}`);
  h.hello();
  takeFeed(h.state, 'al1');
  for (let i = 0; i < 20; i += 1) h.hello();
  t.is(h.state.allocators.feeds.get('al1')?.sent, 1);
  t.false(h.feedOf()[0]?.snapshotBegins);
});

test('a feed for which too much waits is ended; its allocator asks and gets a new one', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const agentId = h.agent();
  h.appoint();
  for (let i = 0; i <= 20_000; i += 1) filtersOf(h).push({ filter: { frameworkId, role: '*', agentId, refuseMs: 5 } });
  t.true(h.tick().some(({ kind }) => kind === 'close_feed'));
  t.is(h.state.allocators.appointedId, '');
  t.like(h.appoint(), [{ snapshotBegins: true }]);
  t.is(h.state.allocators.appointedId, 'al1');
});

test('a feed that could not be sent begins anew with the next hello', (t) => {
  const h = new Harness();
  h.appoint();
  t.true(h.step({ kind: 'feed_failed', allocatorId: 'al1' }).some(({ kind }) => kind === 'close_feed'));
  t.true(h.hello().some(({ kind }) => kind === 'open_feed'));
});
