import { Dice } from './engine/dice.ts';
import { enterVirtualTime } from './engine/virtual-globals.ts';
import type { Plan } from './plan.ts';
import { unrestOf } from './rest.ts';
import { type Violation, World } from './world/world.ts';

/** What came of a run. */
export interface Outcome {
  readonly seed: number;
  readonly inputs: number;
  readonly faults: number;
  readonly virtualMs: number;
  readonly steps: number;
  /** Of everything that happened, in order. */
  readonly hash: number;
  readonly counters: Record<string, number>;
  readonly violation: Violation | undefined;
  readonly story: readonly string[];
}

/** How often one looks whether everything has come to rest, ms. */
const lookEveryMs = 5_000;

/** Runs what a plan says, from the first step to the last or to the first that breaks an invariant. */
export async function runPlan(plan: Plan): Promise<Outcome> {
  const world = new World(plan);
  const { engine } = world;
  const leave = enterVirtualTime(engine, new Dice(`globals ${plan.seed}`));
  const onRejection = (error: unknown): void =>
    world.violate('nothing-dies-of-others', `a promise was rejected: ${(error as Error).stack}`);
  process.on('unhandledRejection', onRejection);
  try {
    await engine.run(plan.calmAt);
    while (world.violation === undefined && engine.now < plan.restBy) await engine.run(engine.now + lookEveryMs);
    const [unrest] = unrestOf(world);
    if (unrest !== undefined) world.violate(unrest.invariant, unrest.what);
  } catch (error) {
    world.violate('nothing-dies-of-others', String((error as Error).stack));
  } finally {
    leave();
    process.off('unhandledRejection', onRejection);
  }
  return outcomeOf(world);
}

function outcomeOf(world: World): Outcome {
  const { engine, plan, stream, network, agents, counters, inputs, violation, story } = world;
  counters.add('append of unknown outcome, written', stream.tally.unknownWritten);
  counters.add('append of unknown outcome, not written', stream.tally.unknownAbsent);
  counters.add('load of the log began on a stale replica', stream.tally.staleLoads);
  counters.add('tail of the log begun anew', stream.tally.tailRestarts);
  counters.add('snapshot taken', stream.tally.snapshots);
  counters.add('log purged behind a snapshot', stream.tally.purges);
  counters.add('request found nobody', network.tally.foundNobody);
  for (const { disk, containers } of agents) {
    counters.add('journal cut off at its torn end', disk.tornWrites);
    counters.add('container that was prepared and never begun', containers.neverBegun);
  }
  return {
    seed: plan.seed,
    inputs,
    faults: plan.faults.length,
    virtualMs: engine.now,
    steps: engine.steps,
    hash: engine.hash,
    counters: counters.toJSON(),
    violation,
    story,
  };
}
