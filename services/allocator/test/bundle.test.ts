// What is read says what was sent, and equal parts of it are one object.
import assert from 'node:assert/strict';
import { decode, encode, mesobus } from '@mesobus/protos';
import { fromWire, type Reservation, type ResourceSpec, resourcesOf, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { AmountTable, Columns } from '../src/core/amounts.ts';
import { readBundle, toResources } from '../src/core/bundle.ts';
import { ExtrasFactory } from '../src/core/extras.ts';
import { FakeLeader } from './fake-leader.ts';

/** Few of each, so that equal ones and nearly equal ones meet. */
const text = fc.constantFrom('a', 'b', '1 a', 'a=b');
const label = fc.record({ key: text, value: text }, { requiredKeys: ['key'] });
/** In one order: it does not count. */
const labels = fc
  .array(label, { minLength: 1, maxLength: 2 })
  .map((list) => list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)));
const reservation: fc.Arbitrary<Reservation> = fc.record(
  {
    type: fc.constant('dynamic' as const),
    role: fc.constantFrom('ads', 'eng'),
    principal: text,
    labels,
  },
  { requiredKeys: ['type', 'role'] },
);
const volume = fc.record({
  persistence: fc.record({ id: text, principal: text }, { requiredKeys: ['id'] }),
  volume: fc.record({ mode: fc.constantFrom('read-write' as const, 'read-only' as const), containerPath: text }),
});
const amount = fc.constantFrom(1_000, 2_000);
const resource: fc.Arbitrary<ResourceSpec> = fc.oneof(
  fc.record({ name: fc.constantFrom('cpus', 'mem'), kind: fc.constant('scalar' as const), amount }),
  fc.tuple(amount, reservation).map(([one, its]) => ({
    name: 'cpus',
    kind: 'scalar' as const,
    amount: one,
    reservations: [its],
  })),
  fc.tuple(amount, reservation, volume, fc.boolean()).map(([one, its, disk, shared]) => ({
    ...{ name: 'disk', kind: 'scalar' as const, amount: one, reservations: [its], disk },
    ...(shared && { shared: true as const }),
  })),
  fc.record({
    name: fc.constant('ports'),
    kind: fc.constant('ranges' as const),
    ranges: fc.constantFrom([{ begin: 1, end: 5 }], [{ begin: 1, end: 6 }]),
  }),
);

test('whatever was read before, what is read says what was sent', (t) => {
  const law = fc.property(fc.array(fc.array(resource, { maxLength: 6 }), { maxLength: 30, size: 'max' }), (lists) => {
    const amounts = new AmountTable(4);
    const columns = new Columns((count) => amounts.widen(count));
    const factory = new ExtrasFactory(columns);
    for (const list of lists) {
      const bytes = encode(mesobus.v1.AgentBook, { total: toWire(resourcesOf(list)) });
      const { total: wire } = decode(mesobus.v1.AgentBook, bytes);
      assert.deepEqual(toResources(columns, readBundle(wire, columns, factory)), fromWire(wire));
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

const labelled = (last: string): ResourceSpec[] =>
  ['cpus', 'mem'].map((name) => ({
    name,
    kind: 'scalar',
    amount: 1_000,
    reservations: [{ type: 'dynamic', role: 'ads', labels: ['same'.repeat(300), last].map((key) => ({ key })) }],
  }));

test('labels that many agents have are one object, and what is held on an agent is what it has', (t) => {
  const leader = new FakeLeader();
  for (const id of ['a1', 'a2']) {
    const total = toWire(resourcesOf(labelled(id)));
    const holdings = [{ frameworkId: 'f1', role: 'ads', resources: total, offered: total }];
    leader.feed([{ agent: new mesobus.v1.AgentBook({ agentId: id, active: true, total, holdings }) }]);
  }
  const labelOf = (id: string, which: number) =>
    leader.state.agents.get(id)?.extras.list[which]?.reservations?.[0]?.labels?.[0];
  t.is(labelOf('a1', 0), labelOf('a2', 1));
  const agent = leader.state.agents.get('a1');
  t.is(agent?.holdings[0]?.extras, agent?.extras);
  t.is(agent?.holdings[0]?.offered.extras, agent?.extras);
});
