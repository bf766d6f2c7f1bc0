import { encode, mesobus } from '@mesobus/protos';
import { maxAmountUnits } from '@mesobus/sdk/resources';
import type { CallTurn } from './call-turn.ts';
import { frameworkChanged } from './feed.ts';
import { rolesOf } from './frameworks.ts';
import type { FrameworkLink } from './state.ts';

type Demand = mesobus.v1.Demand;
type WantedShape = mesobus.v1.WantedShape;

const maxDemandBytes = 64 * 1024;
/** The allocator looks at no more. */
const maxShapesPerRole = 64;
const maxNamesPerShape = 32;
const maxNameLength = 256;
const maxCount = 10_000_000;

/** A framework says what it wants from now on. */
export function onDemand(turn: CallTurn, demand: Demand): void {
  const { state, framework } = turn;
  const link = state.frameworks.get(framework.id);
  if (link?.subscribed !== true) {
    turn.refuse('not_subscribed', framework.id); // with SUBSCRIBE it says it again
    return;
  }
  const problem = demandProblem(demand, rolesOf(framework.record.info));
  if (problem !== undefined) {
    turn.refuse('call_invalid', 'demand', problem);
    return;
  }
  takeDemand(link, demand);
  frameworkChanged(state, framework.id);
  turn.accept('now', false);
}

/**
 * What a scheduler says replaces what it said before. Of two that come in the wrong order, the one with the higher number
 * counts; the number is the scheduler's own, and starts afresh with each subscription.
 */
export function takeDemand(link: FrameworkLink, { roles, number }: Demand): void {
  if (number < link.demandNumber) return;
  link.demandNumber = number;
  link.demands = roles;
}

/** Says what is wrong with a demand and how to mend it; undefined if nothing is. */
export function demandProblem(demand: Demand, ownRoles: readonly string[]): string | undefined {
  const bytes = encode(mesobus.v1.Demand, demand).length;
  if (bytes > maxDemandBytes) return `it takes ${bytes} bytes, of at most ${maxDemandBytes}: ask for fewer sizes`;
  const seen = new Set<string>();
  for (const { role, shapes } of demand.roles) {
    if (!ownRoles.includes(role)) return `the role '${role}' is not among the framework's: subscribe with it first`;
    if (seen.has(role)) return `the role '${role}' is named twice: put all that it wants into one list`;
    seen.add(role);
    if (shapes.length > maxShapesPerRole) {
      return `in the role '${role}' it names ${shapes.length} sizes, of at most ${maxShapesPerRole}: leave some for later`;
    }
    for (const shape of shapes) {
      const problem = shapeProblem(shape);
      if (problem !== undefined) return `in the role '${role}' ${problem}`;
    }
  }
  return undefined;
}

function shapeProblem({ quantities, count }: WantedShape): string | undefined {
  const entries = Object.entries(quantities);
  if (entries.length === 0) return 'a size is empty: say how much one task takes';
  if (entries.length > maxNamesPerShape)
    return `a size names ${entries.length} resources, of at most ${maxNamesPerShape}`;
  for (const [name, { value }] of entries) {
    if (name === '' || name.length > maxNameLength) return 'the name of a resource is empty or too long';
    if (!(value > 0 && value <= maxAmountUnits)) {
      return `a task takes ${value} of '${name}': give a number above 0, or leave the resource out`;
    }
  }
  if (count >= 1 && count <= maxCount) return undefined;
  return `${count} tasks of a size are wanted: give 1 to ${maxCount}, or leave the size out`;
}
