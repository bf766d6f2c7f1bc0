import type { mesobus } from '@mesobus/protos';
import test from 'ava';
import { feedWaits, takeFeed } from '../src/core/index.ts';
import { CallType, Harness, TaskState, task } from './harness.ts';

function drain(h: Harness): mesobus.v1.FeedBatch[] {
  const batches: mesobus.v1.FeedBatch[] = [];
  for (let batch = takeFeed(h.state); batch !== undefined; batch = takeFeed(h.state)) batches.push(batch);
  return batches;
}
const agentBook = (batches: readonly mesobus.v1.FeedBatch[]): mesobus.v1.AgentBook.$Properties | undefined =>
  batches.flatMap(({ items }) => items.flatMap(({ agent }) => (agent ? [agent] : []))).at(-1);
const appointedIn = (h: Harness): string => h.state.feed.allocatorId;

test('nothing is gathered for the feed while no allocator is appointed', (t) => {
  const h = new Harness();
  h.agent();
  t.false(feedWaits(h.state));
  t.is(takeFeed(h.state), undefined);
});

test('an appointed allocator gets a snapshot in bounded batches, marked at both ends', (t) => {
  const h = new Harness();
  for (let i = 0; i < 1_100; i += 1) h.agent(`a${i}`);
  h.framework();
  t.true(h.appoint().some(({ kind }) => kind === 'restart_feed'));
  const batches = drain(h);
  t.deepEqual(
    batches.map(({ items }) => items.length),
    [500, 500, 101],
  );
  t.deepEqual(
    batches.map(({ snapshotBegins }) => snapshotBegins),
    [true, false, false],
  );
  t.deepEqual(
    batches.map(({ snapshotEnds }) => snapshotEnds),
    [false, false, true],
  );
  t.false(feedWaits(h.state));
});

test('the snapshot of an empty cluster begins and ends in one batch', (t) => {
  const h = new Harness();
  h.appoint();
  t.like(drain(h), [{ snapshotBegins: true, snapshotEnds: true, appointment: 1, appointedAllocatorId: 'al1' }]);
});

test('an agent says what is offered and allocated on it in one holding per framework and role', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.offer(frameworkId, agentId, 'cpus:2');
  const book = agentBook(drain(h));
  t.is(book?.holdings?.length, 1);
  const amounts = Object.fromEntries(
    (book?.holdings?.[0]?.resources ?? []).map(({ name, scalar }) => [name, scalar?.value]),
  );
  t.deepEqual(amounts, { cpus: 3, mem: 64 });
});

test('a task that ends is told in the same step', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  drain(h);
  h.update('a1', frameworkId, 't1', 1, TaskState.TASK_FINISHED);
  t.deepEqual(agentBook(drain(h))?.holdings, []);
});

test('the number of the last allocation judged comes with the books that show its outcome', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.appoint();
  t.is(drain(h).at(-1)?.allocationsSeen, 0);
  h.offer(frameworkId, agentId);
  const [batch] = drain(h);
  t.is(batch?.allocationsSeen, 1);
  t.truthy(agentBook(batch ? [batch] : []));
});

test('a second allocator is appointed only when the first is silent for 2 s', (t) => {
  const h = new Harness();
  h.appoint('al1');
  h.appoint('al2');
  t.is(appointedIn(h), 'al1');
  h.now += 2_000;
  h.appoint('al2');
  t.is(appointedIn(h), 'al2');
  t.is(h.state.feed.appointment, 2);
});

test('a hello that is repeated while its snapshot is under way does not begin it again', (t) => {
  const h = new Harness();
  for (let i = 0; i < 600; i += 1) h.agent(`a${i}`);
  h.appoint();
  takeFeed(h.state);
  h.appoint();
  t.is(h.state.feed.appointment, 1);
  drain(h);
  h.appoint();
  t.is(h.state.feed.appointment, 2);
});

test('allocations of an earlier appointment, seen before, or after a gap are not judged', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.appoint();
  const allocation = { agentId, frameworkId, role: '*', resources: task('x', agentId).resources ?? [] };
  const send = (appointment: number, number: number) =>
    h.allocator('al1', { allocations: { appointment, allocations: [{ ...allocation, number }] } });
  send(0, 1);
  send(1, 2);
  t.is(h.state.offers.size, 0);
  send(1, 1);
  send(1, 1);
  t.is(h.state.offers.size, 1);
  const [reply] = send(1, 1).flatMap((effect) => (effect.kind === 'answer_allocator' ? [effect.reply] : []));
  t.is(reply?.allocationsSeen, 1);
});

test('an allocation of what is already offered is dropped, and its agent told again', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.offer(frameworkId, agentId, 'cpus:3');
  drain(h);
  h.offer(frameworkId, agentId, 'cpus:2');
  t.is(h.state.offers.size, 1);
  t.is(agentBook(drain(h))?.agentId, agentId);
});

test('a framework that is removed leaves the feed', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  h.appoint();
  drain(h);
  h.call({ frameworkId }, { type: CallType.TEARDOWN });
  t.deepEqual(
    drain(h).flatMap(({ items }) => items.map(({ frameworkRemoved }) => frameworkRemoved)),
    [frameworkId],
  );
});

test('an operator sets the weight of a role, and the allocator hears of it', (t) => {
  const h = new Harness();
  h.appoint();
  drain(h);
  const call = { callId: 'o1', call: { type: 13, updateWeights: { weightInfos: [{ role: 'ads', weight: 2 }] } } };
  const sent = h.step({ kind: 'operator_call', principal: 'ops', call: call as never, token: 'o' });
  t.true(sent.some(({ kind }) => kind === 'accept_operator'));
  t.is(drain(h)[0]?.items[0]?.role?.weight, 2);
});
