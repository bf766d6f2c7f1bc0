// The worked example of the DRF paper: 9 cpus and 18 GB; a task of A takes 1 cpu and 4 GB, one of B 3 cpus and 1 GB.
import {
  add,
  contains,
  noResources,
  parseResources,
  type Resources,
  resources,
  subtract,
} from '@mesobus/sdk/resources';
import test from 'ava';
import { shares } from '../src/core/index.ts';
import { FakeLeader } from './fake-leader.ts';

const tasks: Readonly<Record<string, Resources>> = {
  A: resources({ cpus: 1, mem: 4_000 }),
  B: resources({ cpus: 3, mem: 1_000 }),
};

test('two frameworks that launch one task per offer end at equal dominant shares of 2/3', (t) => {
  const leader = new FakeLeader();
  leader.addAgent('a1', 'cpus:9;mem:18000');
  for (const id of ['A', 'B']) leader.addFramework(id, [id]);
  const launched: string[] = [];
  for (let idle = 0; idle < 4; ) {
    const [decision] = leader.round();
    if (decision === undefined) break;
    const task = tasks[decision.frameworkId] as Resources;
    const fits = contains(decision.resources, task);
    if (fits) launched.push(decision.frameworkId);
    idle = fits ? 0 : idle + 1;
    // A framework whose task does not fit declines for ever, so that the other one is asked.
    leader.settle(decision, fits ? task : noResources);
    if (!fits) {
      const { frameworkId, role, agentId } = decision;
      const wire = leader.bookOf(agentId).agent?.total ?? [];
      leader.feed([{ filter: { frameworkId, role, agentId, resources: wire, refuseMs: 1e9 } }]);
    }
  }
  t.deepEqual(launched, ['A', 'B', 'A', 'B', 'A']);
  const byRole = Object.fromEntries(
    (shares(leader.state, leader.at).roles ?? []).map(({ role, dominantShare }) => [role, dominantShare]),
  );
  t.deepEqual(byRole, { A: 2 / 3, B: 2 / 3 });
  const held = [...leader.books('a1').held.values()].map((holding) => holding.resources).reduce(add);
  t.deepEqual(subtract(leader.books('a1').total, held), resources({ mem: 4_000 }));
});

test('the framework with the lower dominant share is always served first', (t) => {
  const leader = new FakeLeader();
  for (let i = 0; i < 9; i += 1) leader.addAgent(`a${i}`, 'cpus:1;mem:2000');
  for (const id of ['A', 'B']) leader.addFramework(id, [id]);
  for (const decision of leader.round()) {
    t.true(decision.roleShare <= 0.5, `given at a share of ${decision.roleShare}`);
    leader.offer(decision);
  }
  const held = (shares(leader.state, leader.at).roles ?? []).map(({ dominantShare }) => dominantShare ?? 0);
  t.true(Math.abs((held[0] as number) - (held[1] as number)) <= 1 / 9 + 1e-9);
});

const cases = [
  ['cpus:3;mem:1000', 'cpus:9;mem:18000', 1, 1 / 3, 'cpus'],
  ['cpus:1;mem:4000', 'cpus:9;mem:18000', 1, 2 / 9, 'mem'],
  ['cpus:3', 'cpus:9', 2, 1 / 6, 'cpus'],
  ['', 'cpus:9', 1, 0, ''],
  ['cpus(ads):3', 'cpus:6;cpus(ads):3', 1, 1 / 3, 'cpus'],
  ['ports:[1-9]', 'cpus:9;ports:[1-9]', 1, 0, ''],
] as const;
for (const [held, total, weight, share, resource] of cases) {
  test(`holding '${held}' of '${total}' at weight ${weight} is a share of ${share}`, (t) => {
    const leader = new FakeLeader();
    leader.addAgent('a1', total);
    leader.feed([{ role: { role: 'ads', weight } }]);
    leader.addFramework('f1', ['ads']);
    leader.hold('a1', 'f1', 'ads', parseResources(held));
    t.like(shares(leader.state, 0).roles, [{ role: 'ads', weight, dominantShare: share, dominantResource: resource }]);
  });
}
