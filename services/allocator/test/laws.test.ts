import assert from 'node:assert/strict';
import { add, noResources, quantitiesOf, type Resources, resources, trySubtract } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { toResources } from '../src/core/bundle.ts';
import { availableOn, type Decision } from '../src/core/index.ts';
import { FakeLeader } from './fake-leader.ts';
import { quantitiesAt } from './quantities-at.ts';

const agentIds = ['a1', 'a2', 'a3'];
const frameworkIds = ['f1', 'f2', 'f3'];
const roles = ['ads', 'web'];
const pick = <T>(list: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...list);

type Act = (leader: FakeLeader, open: Decision[]) => void;

const anyAct: fc.Arbitrary<Act> = fc.oneof(
  fc.tuple(pick(agentIds), fc.integer({ min: 1, max: 9 })).map(
    ([id, cpus]): Act =>
      (leader) => {
        if (!leader.agents.has(id)) leader.addAgent(id, `cpus:${cpus};mem:${cpus * 100};ports:[1-${cpus}]`);
      },
  ),
  pick(agentIds).map(
    (id): Act =>
      (leader, open) => {
        leader.agents.delete(id);
        leader.feed([{ agentRemoved: id }]);
        open.splice(0, open.length, ...open.filter(({ agentId }) => agentId !== id));
      },
  ),
  fc.tuple(pick(frameworkIds), fc.subarray(roles), fc.boolean(), fc.subarray(roles)).map(
    ([id, own, active, suppressedRoles]): Act =>
      (leader) =>
        leader.addFramework(id, own, { active, suppressedRoles }),
  ),
  pick(frameworkIds).map(
    (id): Act =>
      (leader) =>
        void leader.feed([{ frameworkRemoved: id }]),
  ),
  fc.tuple(pick(roles), fc.integer({ min: 1, max: 5 })).map(
    ([role, weight]): Act =>
      (leader) =>
        void leader.feed([{ role: { role, weight } }]),
  ),
  fc.constant<Act>((leader, open) => void open.push(...leader.round())),
  fc.tuple(fc.nat(), fc.integer({ min: 0, max: 3 })).map(
    ([at, kept]): Act =>
      (leader, open) => {
        // Outcomes come in the order of the numbers: all up to one of the open decisions.
        for (const decision of open.splice(0, at % (open.length + 1))) {
          const keeps = resources({ cpus: kept });
          leader.settle(decision, trySubtract(decision.resources, keeps) === undefined ? decision.resources : keeps);
        }
      },
  ),
  fc.tuple(pick(agentIds), pick(frameworkIds), pick(roles)).map(
    ([agentId, frameworkId, role]): Act =>
      (leader) => {
        const held = leader.agents.get(agentId)?.held.get(`${frameworkId} ${role}`);
        if (held !== undefined) leader.release(agentId, frameworkId, role, held.resources);
      },
  ),
  fc.integer({ min: 0, max: 10_000 }).map(
    (ms): Act =>
      (leader) => {
        leader.at += ms;
      },
  ),
);

function checkBooks(leader: FakeLeader): void {
  const { state } = leader;
  let cluster: Resources = noResources;
  const heldIn = new Map<string, Resources>();
  for (const [id, { total, held }] of leader.agents) {
    const agent = state.agents.get(id);
    const open = (agent?.open ?? []).map((decision) => ({
      role: decision.member.role.name,
      resources: toResources(state.columns, decision),
    }));
    const taken = [...held.values(), ...open];
    const all = taken.map(({ resources: list }) => list).reduce(add, availableOn(state, id));
    assert.deepEqual(all, total, `books of ${id}`);
    cluster = add(cluster, total);
    for (const { role, resources: list } of taken) heldIn.set(role, add(heldIn.get(role) ?? noResources, list));
  }
  assert.deepEqual(quantitiesAt(state, state.total), quantitiesOf(cluster));
  for (const role of state.roles.values()) {
    const expected = quantitiesOf(heldIn.get(role.name) ?? noResources);
    assert.deepEqual(quantitiesAt(state, role.held), { ...expected }, `account of ${role.name}`);
  }
}

test('available + offered + allocated is the total of every agent, and roles are charged what they hold', (t) => {
  const law = fc.property(fc.array(anyAct, { maxLength: 120, size: 'max' }), (acts) => {
    const leader = new FakeLeader();
    const open: Decision[] = [];
    for (const act of acts) {
      act(leader, open);
      checkBooks(leader);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('no resource is in two decisions at a time', (t) => {
  const law = fc.property(fc.array(anyAct, { maxLength: 120, size: 'max' }), (acts) => {
    const leader = new FakeLeader();
    const open: Decision[] = [];
    for (const act of acts) {
      act(leader, open);
      for (const [id, { total, held }] of leader.agents) {
        let left: Resources | undefined = total;
        const taken = [...held.values(), ...open.filter(({ agentId }) => agentId === id)];
        for (const holding of taken) left = left && trySubtract(left, holding.resources);
        assert.notEqual(left, undefined, `${id} is oversold`);
      }
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});
