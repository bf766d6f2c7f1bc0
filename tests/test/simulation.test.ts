import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { minimise } from '../simulation/minimise.ts';
import { type Plan, planOf } from '../simulation/plan.ts';
import { plants } from '../simulation/plants/plants.ts';
import { Pool } from '../simulation/pool.ts';
import type { Outcome } from '../simulation/run-plan.ts';

const root = path.resolve(import.meta.dirname, '../..');

async function outcomesOf(plans: readonly Plan[], plant?: string): Promise<Outcome[]> {
  const pool = new Pool(Math.min(2, plans.length), plant);
  const outcomes: Outcome[] = [];
  try {
    await pool.run(plans, (outcome) => {
      outcomes.push(outcome);
      return outcome.violation === undefined ? 'go on' : 'stop';
    });
    return outcomes;
  } finally {
    await pool.close();
  }
}

test('a few fixed seeds and a fresh one break no invariant', async (t) => {
  t.timeout(300_000);
  const fresh = Math.floor(Math.random() * 1e9);
  t.log(`the fresh seed is ${fresh}: npm run simulate -- --seed ${fresh}`);
  const outcomes = await outcomesOf([1, 2, 3, 4, fresh].map(planOf));
  const broken = outcomes.map(({ seed, violation }) => violation && { seed, ...violation });
  t.deepEqual(broken.filter(Boolean), []);
  for (const { inputs, faults, virtualMs } of outcomes) {
    t.true(inputs >= 2_000);
    t.true(faults >= 20);
    t.true(virtualMs >= 600_000);
  }
});

test('the same seed gives the same run in every process', async (t) => {
  t.timeout(300_000);
  const [one, other] = await outcomesOf([planOf(5), planOf(5)]);
  t.truthy(one?.hash);
  t.is(one?.hash, other?.hash);
  t.is(one?.steps, other?.steps);
  t.deepEqual(one?.story, other?.story);
});

test('a planted mistake is found', async (t) => {
  t.timeout(300_000);
  const outcomes = await outcomesOf([1, 2, 3, 4, 5].map(planOf), 'act-before-commit');
  t.is(outcomes.find(({ violation }) => violation !== undefined)?.violation?.invariant, 'commit-before-effect');
});

test('every plant finds the code that it changes', (t) => {
  for (const { name, edits } of plants) {
    for (const { file, find } of edits) {
      const count = readFileSync(path.join(root, file), 'utf8').split(find).length - 1;
      t.is(count, 1, `${name}: its anchor stands ${count} times in ${file}`);
    }
  }
  t.true(plants.length >= 15);
});

test('a story is shortened to what it needs', async (t) => {
  const plan = planOf(1);
  const culprit = plan.faults[7];
  const work = plan.wants[3];
  const violation = { invariant: 'start-once', what: '', atMs: 0 } as const;
  const run = async (shorter: Plan): Promise<Outcome> => {
    const fails =
      shorter.faults.some(({ at }) => at === culprit?.at) && shorter.wants.some(({ id }) => id === work?.id);
    return { violation: fails ? violation : undefined } as Outcome;
  };
  const shortest = await minimise(plan, await run(plan), run);
  t.deepEqual(shortest.plan.faults, [culprit]);
  t.deepEqual(shortest.plan.wants, [work]);
});
