import type { mesobus } from '@mesobus/protos';
import { parseResources } from '@mesobus/sdk/resources';
import test from 'ava';
import { type LiveFilter, LiveFilters, maxLiveFilters } from '../src/core/live-filters.ts';
import { CallType, Harness } from './harness.ts';

const filter = (more: Partial<LiveFilter> = {}): LiveFilter => ({
  frameworkId: 'f',
  agentId: 'a',
  role: '*',
  resources: parseResources('cpus:1'),
  untilMs: 100,
  ...more,
});

test('a filter is live until it ends', (t) => {
  const filters = new LiveFilters();
  filters.set(0, filter());
  t.is(filters.live(99).length, 1);
  t.deepEqual(filters.live(100), []);
  t.is(filters.size, 0);
});

test('a wider filter that lasts as long makes another needless; a narrower, a shorter, or one of another role does not', (t) => {
  const filters = new LiveFilters();
  filters.set(0, filter());
  for (const more of [
    { resources: parseResources('mem:1') },
    { resources: parseResources('cpus:2'), untilMs: 99 },
    { resources: parseResources('cpus:2'), role: 'other' },
    { resources: parseResources('cpus:2'), agentId: 'other' },
  ]) {
    filters.set(0, filter(more));
  }
  t.is(filters.size, 5);
  filters.set(0, filter({ resources: parseResources('cpus:2;mem:2') }));
  t.is(filters.size, 3);
});

test('filters are lifted by framework and role, and by agent', (t) => {
  const filters = new LiveFilters();
  for (const frameworkId of ['f', 'g']) {
    for (const role of ['r', 's'])
      for (const agentId of ['a', 'b']) filters.set(0, filter({ frameworkId, role, agentId }));
  }
  filters.lift('f', ['r']);
  t.is(filters.size, 6);
  filters.liftOn('a');
  t.is(filters.size, 3);
  filters.lift('g');
  t.deepEqual(
    filters.live(0).map(({ frameworkId, role, agentId }) => [frameworkId, role, agentId]),
    [['f', 's', 'b']],
  );
});

test('of too many filters those that end first are forgotten', (t) => {
  const filters = new LiveFilters();
  for (let n = 0; n < maxLiveFilters + 10; n += 1) {
    filters.set(0, filter({ agentId: `a${n}`, untilMs: 1_000 + ((n * 7_919) % (maxLiveFilters + 10)) }));
  }
  t.is(filters.size, maxLiveFilters);
  t.is(Math.min(...filters.live(0).map(({ untilMs }) => untilMs)), 1_010);
});

test('filters that are set and lifted again and again leave nothing behind', (t) => {
  const filters = new LiveFilters();
  for (let n = 0; n < 20_000; n += 1) {
    filters.set(0, filter({ untilMs: 1e9 }));
    filters.lift('f');
  }
  filters.set(0, filter());
  t.is(filters.size, 1);
});

// ---- what an allocator is told

type Items = mesobus.v1.FeedItem[];
const itemsOf = (batches: readonly mesobus.v1.FeedBatch[]): Items => batches.flatMap(({ items }) => items);
const refused = (items: Items): [string, number][] =>
  items.flatMap(({ filter }) => (filter ? [[filter.agentId, filter.refuseMs] satisfies [string, number]] : []));

const decline = (h: Harness, frameworkId: string, offerId: string, refuseSeconds: number) =>
  h.call(
    { frameworkId },
    { type: CallType.DECLINE, decline: { offerIds: [{ value: offerId }], filters: { refuseSeconds } } },
  );

test('another allocator hears of the filters that are live, with what is left of their time, after all else', (t) => {
  const h = new Harness();
  const [a1, a2, a3] = [h.agent('a1'), h.agent('a2'), h.agent('a3')];
  const f = h.framework();
  h.appoint();
  decline(h, f, h.offer(f, a1, 'cpus:1'), 60);
  decline(h, f, h.offer(f, a2, 'cpus:1'), 2);
  decline(h, f, h.offer(f, a3, 'cpus:1'), 60);
  h.pass(5_000, ['a1', 'a2', 'a3']);
  h.operateOnAgent('markAgentGone', a3);
  h.hello('al2');
  const items = itemsOf(h.feedOf('al2'));
  t.deepEqual(refused(items), [[a1, 55_000]]);
  const last = items.findLastIndex(({ agent, framework }) => agent || framework);
  t.true(items.findIndex(({ filter }) => filter) > last);
});

test('what is left of a filter is said in whole ms, whatever the clock says', (t) => {
  const h = new Harness();
  const f = h.framework();
  const agentId = h.agent();
  h.appoint();
  h.now += 0.3;
  decline(h, f, h.offer(f, agentId, 'cpus:1'), 60);
  t.deepEqual(refused(itemsOf(h.feedOf())), [[agentId, 60_000]]);
});

test('what is declined and lifted while a snapshot is under way is told once, as it is then', (t) => {
  const h = new Harness();
  const agents = Array.from({ length: 600 }, (_, i) => h.agent(`a${i}`));
  const f = h.framework();
  h.appoint();
  const offers = agents.slice(0, 3).map((agentId) => h.offer(f, agentId, 'cpus:1'));
  decline(h, f, offers[0] ?? '', 60);
  h.hello('al2', { incarnation: 'y' });
  const feed = h.state.allocators.feeds.get('al2');
  t.truthy(feed);
  decline(h, f, offers[1] ?? '', 60);
  const items = itemsOf(h.feedOf('al2'));
  t.deepEqual(
    refused(items)
      .map(([agentId]) => agentId)
      .sort(),
    agents.slice(0, 2),
  );
  decline(h, f, offers[2] ?? '', 60);
  t.deepEqual(refused(itemsOf(h.feedOf('al2'))), [[agents[2] ?? '', 60_000]]);
});

test('more filters than a batch takes are all told before the snapshot ends', (t) => {
  const h = new Harness();
  const agents = Array.from({ length: 700 }, (_, i) => h.agent(`a${i}`));
  const f = h.framework();
  h.appoint();
  for (const agentId of agents) decline(h, f, h.offer(f, agentId, 'cpus:1'), 600);
  h.hello('al2');
  const batches = h.feedOf('al2');
  const end = batches.findIndex(({ snapshotEnds }) => snapshotEnds);
  t.is(refused(itemsOf(batches.slice(0, end + 1))).length, 700);
  t.true(batches.every(({ items }) => items.length <= 500));
});

test('a framework that revives, goes away or is another one has no filters any more', (t) => {
  for (const leave of ['revive', 'away', 'again', 'teardown'] as const) {
    const h = new Harness();
    const f = h.framework({ failoverTimeout: 1e6 });
    decline(h, f, h.offer(f, h.agent(), 'cpus:1'), 600);
    t.is(h.state.filters.size, 1);
    if (leave === 'revive') h.call({ frameworkId: f }, { type: CallType.REVIVE });
    else if (leave === 'away') h.step({ kind: 'stream_probed', frameworkId: f, instanceId: 'i1', alive: false });
    else if (leave === 'again') h.subscribe({}, { frameworkId: f, instanceId: 'i2', generation: 1 });
    else h.call({ frameworkId: f }, { type: CallType.TEARDOWN });
    t.is(h.state.filters.size, 0, leave);
  }
});

test('an agent with other attributes than before is looked at again', (t) => {
  const h = new Harness();
  const f = h.framework();
  const agentId = h.agent('a1');
  decline(h, f, h.offer(f, agentId, 'cpus:1'), 600);
  h.register('a1');
  t.is(h.state.filters.size, 1);
  const attributes = [{ name: 'rack', type: 3, text: { value: 'r1' } }];
  h.register('a1', { info: { hostname: 'a1', attributes, resources: [] } });
  t.is(h.state.filters.size, 0);
});
