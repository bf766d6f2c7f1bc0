import type { Plan } from './plan.ts';
import type { Outcome } from './run-plan.ts';

/** So many runs may be tried for a shorter story. */
const maxTries = 300;

type Listed = 'faults' | 'wants' | 'operations' | 'frameworks';

/** The smallest plan found that still breaks the same invariant: faults, work and operations are left out while it does. */
export async function minimise(
  plan: Plan,
  failed: Outcome,
  run: (plan: Plan) => Promise<Outcome>,
): Promise<{ plan: Plan; outcome: Outcome; tries: number }> {
  let best = { plan, outcome: failed };
  let tries = 0;
  const stillFails = async (shorter: Plan): Promise<boolean> => {
    if (tries >= maxTries) return false;
    tries += 1;
    const outcome = await run(shorter);
    if (outcome.violation?.invariant !== failed.violation?.invariant) return false;
    best = { plan: shorter, outcome };
    return true;
  };
  for (const list of ['faults', 'wants', 'operations'] as const) await thin(list);
  return { ...best, tries };

  /** Leaves out halves, then quarters, down to single ones. */
  async function thin(list: Listed): Promise<void> {
    for (let size = Math.ceil(best.plan[list].length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let from = 0; from < best.plan[list].length; ) {
        const items: readonly unknown[] = best.plan[list];
        const rest = [...items.slice(0, from), ...items.slice(from + size)];
        if (!(await stillFails({ ...best.plan, [list]: rest } as Plan))) from += size;
      }
    }
  }
}
