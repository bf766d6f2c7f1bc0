import type { Plan } from './plan.ts';
import { plantInto } from './plants/loader.ts';
import { plants } from './plants/plants.ts';

/*
 * A process that runs plans, one after the other: `node worker.ts [plant]`. It takes a Plan as a message and answers with its
 * Outcome. A plant must be in place before the production code is loaded, so that is imported late.
 */

const [, , name] = process.argv;
const plant = plants.find((one) => one.name === name);
const isPlanted = plant === undefined ? () => true : plantInto(plant);
const { runPlan } = await import('./run-plan.ts');
if (!isPlanted()) throw new Error(`Cannot plant '${name}': not all of its files are loaded`);

process.on('message', (plan: Plan) => {
  void runPlan(plan).then((outcome) => process.send?.(outcome));
});
process.send?.('ready');
