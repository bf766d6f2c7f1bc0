import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { rareBranches } from './counters.ts';
import { invariants } from './invariants.ts';
import { minimise } from './minimise.ts';
import { type Plan, planOf } from './plan.ts';
import { plants } from './plants/plants.ts';
import { Pool } from './pool.ts';
import { restInvariants } from './rest.ts';
import type { Outcome } from './run-plan.ts';

const usage = `Usage: npm run simulate -- [--seeds N] [--seed S] [--plant NAME|all] [--list]

  --seeds N     how many seeds to run; 100 unless given
  --seed S      the first of them; with --seeds 1, or alone, that seed is run and its story told;
                'fresh' begins where nobody has: what is printed tells where
  --plant NAME  the same with a mistake planted into production code: it must be found; 'all' for every one
  --list        the invariants, rare branches and plants by name
`;

/** A set of so many seeds or more must have seen every rare branch. */
const seedsForAllBranches = 1_000;

interface Flags {
  readonly seeds: number;
  readonly first: number;
  readonly plant: string | undefined;
  readonly list: boolean;
}

const cores = Math.max(1, Math.min(2, availableParallelism()));

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const flags = readFlags(argv);
  if (typeof flags === 'string') {
    process.stderr.write(`${flags}\n\n${usage}`);
    return 2;
  }
  if (flags.list) return list();
  if (flags.plant === undefined) return await simulate(flags);
  const chosen = flags.plant === 'all' ? plants : plants.filter(({ name }) => name === flags.plant);
  return await hunt(flags, chosen);
}

function readFlags(argv: readonly string[]): Flags | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        plant: { type: 'string' },
        list: { type: 'boolean', default: false },
      },
    });
    const { plant, list } = values;
    const seeds = wholeNumber('--seeds', values.seeds ?? (plant ? '2000' : values.seed === undefined ? '100' : '1'), 1);
    const first = values.seed === 'fresh' ? randomInt(2 ** 40) : wholeNumber('--seed', values.seed ?? '1', 0);
    if (plant !== undefined && plant !== 'all' && !plants.some(({ name }) => name === plant)) {
      return `There is no plant '${plant}'; --list names them`;
    }
    return { seeds, first, plant, list };
  } catch (error) {
    return (error as Error).message;
  }
}

function wholeNumber(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new Error(`${flag} takes a whole number from ${least}, not '${text}'`);
}

function list(): number {
  const section = (title: string, lines: readonly string[]): string =>
    `${title}\n${lines.map((line) => `  ${line}\n`).join('')}\n`;
  const named = Object.entries({ ...invariants, ...restInvariants }).map(([name, what]) => `${name}: ${what}`);
  process.stdout.write(section('Invariants', named));
  process.stdout.write(section('Rare branches', rareBranches));
  process.stdout.write(
    section(
      'Plants',
      plants.map(({ name, what }) => `${name}: ${what}`),
    ),
  );
  return 0;
}

function* plansOf({ first, seeds }: Pick<Flags, 'first' | 'seeds'>): Iterable<Plan> {
  for (let seed = first; seed < first + seeds; seed += 1) yield planOf(seed);
}

// ---- production code as it is

async function simulate(flags: Flags): Promise<number> {
  const pool = new Pool(Math.min(cores, flags.seeds));
  const outcomes: Outcome[] = [];
  let failed: { outcome: Outcome; plan: Plan } | undefined;
  await pool.run(plansOf(flags), (outcome, plan) => {
    outcomes.push(outcome);
    if (outcome.violation !== undefined) failed = { outcome, plan };
    return outcome.violation === undefined ? 'go on' : 'stop';
  });
  if (failed !== undefined) await tell(pool, failed.plan, failed.outcome);
  await pool.close();
  process.stdout.write(summary(flags, outcomes));
  if (failed !== undefined) return 1;
  return flags.seeds < seedsForAllBranches ? 0 : untried(outcomes);
}

/** The story of a seed that failed, as short as it gets. */
async function tell(pool: Pool, plan: Plan, outcome: Outcome): Promise<void> {
  const { seed } = plan;
  process.stdout.write(`seed ${seed} breaks '${outcome.violation?.invariant}': ${outcome.violation?.what}\n`);
  process.stdout.write(`looking for the shortest story…\n`);
  const run = async (shorter: Plan): Promise<Outcome> => {
    let result: Outcome | undefined;
    await pool.run([shorter], (one) => {
      result = one;
      return 'go on';
    });
    return result as Outcome;
  };
  const shortest = await minimise(plan, outcome, run);
  const { faults, wants, operations } = shortest.plan;
  const left = `${faults.length} of ${plan.faults.length} faults, ${wants.length} of ${plan.wants.length} tasks`;
  process.stdout.write(`after ${shortest.tries} tries: ${left}, ${operations.length} operations\n\n`);
  process.stdout.write(`${shortest.outcome.story.join('\n')}\n\n`);
  process.stdout.write(`replay it with: npm run simulate -- --seed ${seed}\n`);
}

function summary({ first, seeds }: Flags, outcomes: readonly Outcome[]): string {
  const spread = (name: string, values: number[]): string => {
    const sorted = values.sort((a, b) => a - b);
    return `${name} ${sorted[0] ?? 0} / ${sorted[sorted.length >> 1] ?? 0}`;
  };
  const all = [
    spread(
      'inputs',
      outcomes.map(({ inputs }) => inputs),
    ),
    spread(
      'faults',
      outcomes.map(({ faults }) => faults),
    ),
    spread(
      'virtual minutes',
      outcomes.map(({ virtualMs }) => Math.round(virtualMs / 6_000) / 10),
    ),
  ];
  const counts = countsOf(outcomes).map(([name, count]) => `  ${String(count).padStart(8)}  ${name}\n`);
  return `seeds ${first} to ${first + seeds - 1}, least / median of a seed: ${all.join(', ')}\n${counts.join('')}`;
}

function countsOf(outcomes: readonly Outcome[]): [string, number][] {
  const names = new Set<string>([...rareBranches, ...outcomes.flatMap(({ counters }) => Object.keys(counters))]);
  return [...names].map((name) => [name, outcomes.reduce((sum, { counters }) => sum + (counters[name] ?? 0), 0)]);
}

function untried(outcomes: readonly Outcome[]): number {
  const counts = new Map(countsOf(outcomes));
  const never = rareBranches.filter((name) => counts.get(name) === 0);
  for (const name of never) process.stdout.write(`never tried: ${name}\n`);
  return never.length === 0 ? 0 : 1;
}

// ---- with mistakes

async function hunt(flags: Flags, chosen: readonly { readonly name: string }[]): Promise<number> {
  let last = flags.first;
  let missed = 0;
  const queue = [...chosen];
  const next = async (): Promise<void> => {
    for (let plant = queue.shift(); plant !== undefined; plant = queue.shift()) {
      const caught = await find(plant.name, flags);
      if (caught?.violation === undefined) missed += 1;
      else last = Math.max(last, caught.seed);
      const where =
        caught?.violation === undefined ? 'NOT FOUND' : `seed ${caught.seed}  ${caught.violation.invariant}`;
      process.stdout.write(`${plant.name.padEnd(28)} ${where}\n`);
    }
  };
  await Promise.all(Array.from({ length: cores }, next));
  const control = await simulateControl({ ...flags, seeds: last - flags.first + 1 });
  process.stdout.write(`${chosen.length - missed} of ${chosen.length} found; ${control}\n`);
  return missed === 0 && control.startsWith('the control') ? 0 : 1;
}

/** The first seed that a mistake breaks. */
async function find(plant: string, flags: Flags): Promise<Outcome | undefined> {
  const pool = new Pool(1, plant);
  let caught: Outcome | undefined;
  await pool.run(plansOf(flags), (outcome) => {
    if (outcome.violation !== undefined) caught = outcome;
    return caught === undefined ? 'go on' : 'stop';
  });
  await pool.close();
  return caught;
}

/** The same seeds without any mistake stay green, or the mistakes were not what broke them. */
async function simulateControl(flags: Flags): Promise<string> {
  const pool = new Pool(cores);
  let broken: Outcome | undefined;
  await pool.run(plansOf(flags), (outcome) => {
    if (outcome.violation !== undefined) broken = outcome;
    return broken === undefined ? 'go on' : 'stop';
  });
  await pool.close();
  const seeds = `seeds ${flags.first} to ${flags.first + flags.seeds - 1}`;
  if (broken === undefined) return `the control without a plant is green over ${seeds}`;
  return `BUT seed ${broken.seed} breaks '${broken.violation?.invariant}' without any plant: ${broken.violation?.what}`;
}
