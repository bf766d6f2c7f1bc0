import test from 'ava';
import { Harness, resources } from './harness.ts';

const appointed = (h: Harness): [string, number] => [h.state.allocators.appointedId, h.state.allocators.appointment];

/** Time passes in ticks; these allocators say that they are there. */
function pass(h: Harness, ms: number, alive: readonly string[]): void {
  for (let passed = 0; passed < ms; passed += 100) {
    for (const id of alive) h.hello(id);
    h.tick(100);
  }
}

test('the first to have digested its snapshot is appointed; the next one stands by', (t) => {
  const h = new Harness();
  h.agent();
  h.hello('al1');
  t.deepEqual(appointed(h), ['', 0]);
  h.feedOf('al1');
  t.deepEqual(appointed(h), ['al1', 1]);
  h.appoint('al2');
  t.deepEqual(appointed(h), ['al1', 1]);
  const connections = [...h.state.allocators.feeds.keys()];
  t.deepEqual(connections, ['al1', 'al2']);
});

test('an appointed allocator that is silent for half a second is replaced, and the books need no snapshot', (t) => {
  const h = new Harness();
  h.agent();
  h.appoint('al1');
  h.appoint('al2');
  pass(h, 400, ['al2']);
  t.deepEqual(appointed(h), ['al1', 1]);
  pass(h, 200, ['al2']);
  t.deepEqual(appointed(h), ['al2', 2]);
  const [batch] = h.feedOf('al2');
  t.like(batch, { appointedAllocatorId: 'al2', appointment: 2, snapshotBegins: false, allocationsSeen: 0 });
});

test('what a replaced allocator has decided is refused, also when it comes back', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.appoint('al1');
  h.appoint('al2');
  pass(h, 600, ['al2']);
  const allocation = { number: 1, agentId, frameworkId, role: '*', resources: resources('cpus:1') };
  h.allocate([allocation], { allocatorId: 'al1', appointment: 1 });
  t.is(h.state.offers.size, 0);
  h.hello('al1');
  t.deepEqual(appointed(h), ['al2', 2]);
  h.allocate([allocation], { allocatorId: 'al1', appointment: 2 });
  t.is(h.state.offers.size, 0);
  h.allocate([allocation], { allocatorId: 'al2', appointment: 2 });
  t.is(h.state.offers.size, 1);
});

test('nobody is replaced by an allocator that has no books yet, or is silent itself', (t) => {
  const h = new Harness();
  h.agent();
  h.appoint('al1');
  h.hello('al2');
  pass(h, 1_000, ['al2']);
  t.deepEqual(appointed(h), ['al1', 1]);
  h.feedOf('al2');
  t.deepEqual(appointed(h), ['al2', 2]);
  pass(h, 1_000, []);
  t.deepEqual(appointed(h), ['al2', 2]);
});

test('a pause of the master itself replaces nobody', (t) => {
  const h = new Harness();
  h.appoint('al1');
  h.appoint('al2');
  h.tick(5_000);
  h.hello('al2');
  t.deepEqual(appointed(h), ['al1', 1]);
  h.step({ kind: 'bus_connection', connected: false });
  pass(h, 2_000, ['al2']);
  h.step({ kind: 'bus_connection', connected: true });
  h.hello('al2');
  t.deepEqual(appointed(h), ['al1', 1]);
});

test('a new process under the id of a silent one gets books of its own; under that of a living one it is refused', (t) => {
  const h = new Harness();
  h.appoint('al1');
  t.true(
    h.hello('al1', { incarnation: 'y' }).some((effect) => effect.kind === 'refuse' && effect.code === 'overloaded'),
  );
  t.deepEqual(appointed(h), ['al1', 1]);
  h.now += 500;
  t.true(h.hello('al1', { incarnation: 'y' }).some(({ kind }) => kind === 'open_feed'));
  t.deepEqual(appointed(h), ['', 1]);
});

test('an allocator that is silent for long gets no feed any more, and one when it comes back', (t) => {
  const h = new Harness();
  h.appoint('al1');
  h.appoint('al2');
  pass(h, 10_100, ['al2']);
  t.deepEqual([...h.state.allocators.feeds.keys()], ['al2']);
  t.like(h.appoint('al1'), [{ snapshotBegins: true }]);
});

test('only so many allocators are heard', (t) => {
  const h = new Harness();
  for (let i = 0; i < 16; i += 1) h.appoint(`al${i}`);
  t.true(h.hello('one too many').some(({ kind }) => kind === 'refuse'));
});

test('allocations of another appointment or master, seen before, or after a gap are not judged', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  h.appoint();
  const allocation = { agentId, frameworkId, role: '*', resources: resources('cpus:1') };
  h.allocate([{ ...allocation, number: 1 }], { appointment: 0 });
  h.allocate([{ ...allocation, number: 1 }], { masterId: 'm0' });
  h.allocate([{ ...allocation, number: 2 }]);
  t.is(h.state.offers.size, 0);
  h.allocate([{ ...allocation, number: 1 }]);
  const again = h.allocate([{ ...allocation, number: 1 }]);
  t.is(h.state.offers.size, 1);
  const [reply] = again.flatMap((effect) => (effect.kind === 'answer_allocator' ? [effect.reply] : []));
  t.is(reply?.allocationsSeen, 1);
});
