// The feeds of several allocators on a bus in memory.
import type { mesobus } from '@mesobus/protos';
import { createMemoryNetwork, ManualClock, silentLogger, subjectsOf } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { FeedSender } from '../src/shell/feed-sender.ts';
import { CallType, Harness, type Sent } from './harness.ts';

const subjects = subjectsOf('test');

function setUp(t: ExecutionContext) {
  const h = new Harness();
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  const failed: string[] = [];
  const onFailed = (allocatorId: string): void => {
    failed.push(allocatorId);
    void carryOut(h.step({ kind: 'feed_failed', allocatorId }));
  };
  const master = network.connect('master');
  const sender = new FeedSender({ state: h.state, bus: master, subjects, clock, log: silentLogger, onFailed });
  t.teardown(() => sender.stop());
  const heard = new Map<string, mesobus.v1.FeedBatch[]>();
  const gaps: string[] = [];
  const carryOut = async (sent: readonly Sent[]): Promise<void> => {
    for (const effect of sent) {
      if (effect.kind === 'open_feed') sender.open(effect.allocatorId, effect.incarnation);
      if (effect.kind === 'close_feed') sender.close(effect.allocatorId);
    }
    sender.flushSoon();
    await network.settle();
  };
  const follow = async (id: string): Promise<void> => {
    const batches: mesobus.v1.FeedBatch[] = [];
    heard.set(id, batches);
    network.connect(id).followStream(subjects.allocatorFeed(id, 'x'), {
      onMessage: (batch) => batches.push(batch),
      onGap: () => gaps.push(id),
    });
    await carryOut(h.hello(id));
    const last = batches.at(-1);
    await carryOut(h.hello(id, { feed: last?.feed ?? 0, digested: last?.number ?? 0 }));
  };
  const count = (id: string): number => heard.get(id)?.length ?? 0;
  return { h, clock, network, sender, heard, gaps, failed, carryOut, follow, count };
}

test('who allocates hears of a change at once, a standby every 100 ms of all of them together', async (t) => {
  const { h, clock, network, carryOut, follow, count, heard } = setUp(t);
  const frameworkId = h.framework();
  await follow('al1');
  await follow('al2');
  const [first, second] = [count('al1'), count('al2')];
  for (const type of [CallType.SUPPRESS, CallType.REVIVE, CallType.SUPPRESS]) {
    await carryOut(h.call({ frameworkId }, { type }));
  }
  t.is(count('al1'), first + 3);
  t.is(count('al2'), second);
  clock.advance(100);
  await network.settle();
  t.is(count('al2'), second + 1);
  const said = heard
    .get('al2')
    ?.at(-1)
    ?.items.flatMap(({ framework }) => (framework ? [framework.suppressedRoles] : []));
  t.deepEqual(said, [['*']]);
});

test('a standby that becomes the appointed one hears so at once, and so does the one before', async (t) => {
  const { h, carryOut, follow, heard } = setUp(t);
  await follow('al1');
  await follow('al2');
  for (let i = 0; i < 6; i += 1) {
    h.hello('al2');
    await carryOut(h.tick(100));
  }
  for (const id of ['al1', 'al2']) {
    t.like(heard.get(id)?.at(-1), { appointment: 2, appointedAllocatorId: 'al2' });
  }
});

test('a batch that cannot be made is said to have failed, and the others go on', async (t) => {
  const { h, carryOut, follow, failed, count } = setUp(t);
  const frameworkId = h.framework();
  await follow('al1');
  await follow('al2');
  h.state.allocators.feeds.get('al2')?.filters.push({ filter: { frameworkId: 5 as never } });
  h.state.allocators.appointment += 1; // so that both are told now
  const before = count('al1');
  await carryOut(h.call({ frameworkId }, { type: CallType.SUPPRESS }));
  t.deepEqual(new Set(failed), new Set(['al2']));
  t.true(count('al1') > before);
});
