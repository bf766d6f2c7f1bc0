import type { DrainOptions } from '@mesobus/sdk/operator';
import { Dice } from './engine/dice.ts';

/** One thing that goes wrong at a time, in ms of virtual time. */
export interface Fault {
  readonly at: number;
  readonly kind: FaultKind;
  /** The host that it befalls; absent where it befalls the stream. */
  readonly host?: string;
  /** How long it lasts, or until the program is started again. */
  readonly ms: number;
}

export type FaultKind =
  | 'crash'
  | 'crash_leader'
  | 'crash_unread_leader'
  | 'crash_draining_leader'
  | 'crash_writing'
  | 'crash_starting'
  | 'pause'
  | 'pause_leader'
  | 'oversleep_leader'
  | 'stop_leader'
  | 'partition'
  | 'partition_in'
  | 'partition_out'
  | 'partition_leader'
  | 'disconnect'
  | 'loss'
  | 'duplication'
  | 'delay'
  | 'stall'
  | 'lost_answers'
  | 'lagging_readers'
  | 'slow_tail'
  | 'reboot'
  | 'slow_disk'
  | 'full_disk'
  | 'lose_container'
  | 'damage'
  | 'twin'
  | 'abandon';

/** A task that a framework wants to see through. */
export interface Want {
  readonly framework: string;
  readonly id: string;
  readonly at: number;
  readonly runMs: number;
  readonly exitCode: number;
  readonly cpus: number;
  readonly mem: number;
  /** Its framework kills it so long after it was launched; 0: never. */
  readonly killAfterMs: number;
  /** It is wanted only if the run has had too few inputs by then. */
  readonly spare: boolean;
}

export interface FrameworkPlan {
  readonly name: string;
  readonly role: string;
  readonly failoverTimeoutMs: number;
  /** How long it takes to acknowledge an update; 0: at once, by the SDK. */
  readonly acknowledgeAfterMs: number;
}

/** What an operator does. */
export type Operation = FrameworkOperation | AgentOperation;

export interface FrameworkOperation {
  readonly at: number;
  readonly kind: 'weights' | 'kill' | 'teardown';
  readonly framework: string;
}

/** About whatever agent runs on a machine at that time, or `again` about the one that was named before. */
export interface AgentOperation {
  readonly at: number;
  /** `drain` comes when it has work, or soon; `gone_if_unreachable` when it is unreachable, within a minute. */
  readonly kind: 'drain' | 'deactivate' | 'reactivate' | 'gone' | 'gone_if_unreachable';
  readonly agent: string;
  readonly drain?: DrainOptions;
  readonly again: boolean;
}

/** Everything that a seed decides beforehand. What is left out of it does not happen: so a story gets shorter. */
export interface Plan {
  readonly seed: number;
  readonly masters: number;
  readonly registries: number;
  readonly allocators: number;
  readonly agents: readonly { readonly name: string; readonly cpus: number; readonly mem: number }[];
  readonly frameworks: readonly FrameworkPlan[];
  readonly wants: readonly Want[];
  readonly operations: readonly Operation[];
  readonly faults: readonly Fault[];
  /** Faults have ended by then, and everything that was taken down is up again. */
  readonly calmAt: number;
  /** So many inputs must have come by then, at an even pace: where faults keep work from coming, spare work makes up. */
  readonly inputs: number;
  /** By then everything must have come to rest. */
  readonly restBy: number;
  /** What the masters are configured with, other than by default. */
  readonly master: { readonly maxCompletedTasksPerFramework: number };
  /** How the registries take snapshots. */
  readonly snapshots: {
    readonly limits: { readonly logBytes: number; readonly logEntries: number; readonly ageMs: number };
    readonly leaveToOthersMs: number;
  };
  /** An agent's journal is compacted above so many bytes. */
  readonly journalBytes: number;
}

const calmAt = 330_000;
const restBy = 600_000;
/** A run has 2,000 inputs at least, and few more than that: they are what it costs. */
const inputs = 2_100;
/** Of all frameworks together: with these alone most runs have too few inputs, and hardly one far too many. */
const tasksOfSeed = 66;
const spareTasksOfSeed = 220;

/** What a seed stands for. */
export function planOf(seed: number): Plan {
  const dice = new Dice(`plan ${seed}`);
  const masters = dice.chance(0.35) ? 3 : 2;
  const registries = dice.chance(0.3) ? 2 : 1;
  const allocators = dice.chance(0.4) ? 2 : 1;
  const agents = Array.from({ length: dice.chance(0.5) ? 3 : 2 }, (_, index) => ({
    name: `agent-${index + 1}`,
    cpus: dice.pick([2, 4, 8]),
    mem: dice.pick([2048, 4096]),
  }));
  const frameworks = Array.from({ length: dice.chance(0.3) ? 3 : 2 }, (_, index) => ({
    name: `framework-${index + 1}`,
    role: dice.pick(['*', 'ads', 'web', 'web/blog']),
    failoverTimeoutMs: index === 0 ? 30_000 : 3_600_000,
    acknowledgeAfterMs: index === 1 && dice.chance(0.5) ? dice.pick([500, 5_000]) : 0,
  }));
  const shape = { masters, registries, allocators, agents, frameworks };
  const takesSnapshots = dice.chance(0.6);
  const agentsWork = agentOperationsOf(agents, dice.fork('operator of agents'));
  return {
    seed,
    ...shape,
    wants: frameworks.flatMap(({ name }) => [
      ...wantsOf(name, tasksOfSeed / frameworks.length, dice.fork(name)),
      ...sparesOf(name, spareTasksOfSeed / frameworks.length, dice.fork(`${name} spare`)),
    ]),
    operations: [...operationsOf(frameworks, dice.fork('operator')), ...agentsWork.operations].sort(byTime),
    faults: [...faultsOf(shape, dice.fork('faults')), ...agentsWork.faults].sort(byTime),
    calmAt,
    inputs,
    restBy,
    master: { maxCompletedTasksPerFramework: dice.pick([2, 20, 1000]) },
    snapshots: {
      limits: { logBytes: 1 << 26, logEntries: takesSnapshots ? dice.pick([40, 150]) : 50_000, ageMs: 3_600_000 },
      leaveToOthersMs: dice.pick([1_000, 10_000]),
    },
    journalBytes: dice.pick([2_000, 20_000, 1 << 20]),
  };
}

function wantsOf(framework: string, count: number, dice: Dice): Want[] {
  const wants: Want[] = [];
  while (wants.length < count) {
    const at = Math.round(dice.between(500, calmAt));
    const burst = dice.chance(0.15) ? 2 + dice.below(8) : 1;
    for (let left = burst; left > 0; left -= 1) {
      wants.push({ framework, id: `${framework}-t${wants.length + 1}`, at, ...taskOf(dice), spare: false });
    }
  }
  return wants;
}

/** Work that comes, one task at a time, where it is needed. */
function sparesOf(framework: string, count: number, dice: Dice): Want[] {
  return Array.from({ length: count }, (_, index) => {
    const at = Math.round(dice.between(20_000, calmAt + 90_000));
    return { framework, id: `${framework}-s${index + 1}`, at, ...taskOf(dice), spare: true };
  });
}

function taskOf(dice: Dice): Pick<Want, 'runMs' | 'exitCode' | 'cpus' | 'mem' | 'killAfterMs'> {
  const isService = dice.chance(0.06);
  return {
    runMs: Math.round(isService ? 1e9 : dice.pick([50, 300, 2_000, 10_000]) * dice.between(0.5, 1.5)),
    exitCode: dice.chance(0.9) ? 0 : 1 + dice.below(3),
    cpus: dice.pick([0.1, 0.25, 0.5, 1]),
    mem: dice.pick([32, 64, 128, 256]),
    killAfterMs: isService ? Math.round(dice.between(1_000, 40_000)) : dice.chance(0.06) ? dice.pick([1, 20, 500]) : 0,
  };
}

const byTime = (a: { readonly at: number }, b: { readonly at: number }): number => a.at - b.at;

function operationsOf(frameworks: readonly FrameworkPlan[], dice: Dice): Operation[] {
  const operations: Operation[] = [];
  for (let count = dice.below(5); count > 0; count -= 1) {
    const kind = dice.pick(['weights', 'kill', 'kill'] as const);
    operations.push({ at: Math.round(dice.between(20_000, calmAt)), kind, framework: dice.pick(frameworks).name });
  }
  if (dice.chance(0.25)) {
    operations.push({
      at: Math.round(dice.between(60_000, calmAt)),
      kind: 'teardown',
      framework: dice.pick(frameworks).name,
    });
  }
  return operations;
}

interface AgentsWork {
  readonly operations: AgentOperation[];
  readonly faults: Fault[];
}

/** Agents are taken out one way or another, asked once or twice, and taken back, but for one at most; masters change. */
function agentOperationsOf(agents: readonly { readonly name: string }[], dice: Dice): AgentsWork {
  const work: AgentsWork = { operations: [], faults: [] };
  let staysOut = dice.chance(0.4);
  for (let count = dice.below(4); count > 0; count -= 1) {
    const at = Math.round(dice.between(20_000, calmAt - 50_000));
    const kind = dice.pick(['drain', 'drain', 'deactivate', 'gone', 'gone_if_unreachable'] as const);
    const agent = dice.pick(agents).name;
    const drain = { maxGracePeriodMs: dice.pick([0, 300, 20_000]), markGone: dice.chance(0.35) };
    const operation: AgentOperation = { at, kind, agent, ...(kind === 'drain' && { drain }), again: false };
    work.operations.push(operation);
    if (dice.chance(0.4)) work.operations.push(repeated(operation, dice));
    if (kind === 'drain' && dice.chance(0.7)) {
      work.faults.push({ at: at - 1, kind: 'crash_draining_leader', ms: dice.pick([300, 5_000]) });
    } else if (kind === 'gone_if_unreachable') work.faults.push({ at: at + 1, kind: 'crash', host: agent, ms: 50_000 });
    else if (dice.chance(0.5))
      work.faults.push({ at: at + dice.pick([1, 50, 1_500]), kind: 'crash_leader', ms: 5_000 });
    if (kind !== 'drain' && kind !== 'deactivate') continue;
    const last = work.operations.at(-1) ?? operation;
    if (last.drain?.markGone && dice.chance(0.7)) continue; // it comes back by itself, as another agent
    const backAt = last.at + Math.round(dice.between(10, 45_000));
    if (!staysOut) work.operations.push({ at: backAt, kind: 'reactivate', agent, again: true });
    staysOut = false;
  }
  return work;
}

/** Asked again, perhaps to do it another way. */
function repeated(operation: AgentOperation, dice: Dice): AgentOperation {
  const at = operation.at + dice.pick([5, 300, 5_000]);
  const { drain } = operation;
  return {
    ...operation,
    at,
    again: true,
    ...(drain && dice.chance(0.5) && { drain: { ...drain, markGone: !drain.markGone } }),
  };
}

type Shape = Pick<Plan, 'masters' | 'registries' | 'allocators' | 'agents' | 'frameworks'>;

export const hostNames = {
  masters: ({ masters }: Shape): string[] => numbered('master', masters),
  registries: ({ registries }: Shape): string[] => numbered('registry', registries),
  allocators: ({ allocators }: Shape): string[] => numbered('allocator', allocators),
};

const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${index + 1}`);

function faultsOf(shape: Shape, dice: Dice): Fault[] {
  const agents = shape.agents.map(({ name }) => name);
  const frameworks = shape.frameworks.map(({ name }) => name);
  const registries = hostNames.registries(shape);
  const masters = hostNames.masters(shape);
  const services = [...masters, ...registries, ...hostNames.allocators(shape)];
  const anyone = [...services, ...agents, ...frameworks];
  const faults: Fault[] = [];
  const count = 24 + dice.below(12);
  for (let made = 0; made < count; made += 1) {
    const at = Math.round(dice.between(8_000, calmAt - 30_000));
    faults.push({ at, ...draw({ agents, frameworks, masters, registries, anyone }, dice) });
  }
  if (dice.chance(0.2)) {
    faults.push({
      at: Math.round(dice.between(100_000, calmAt)),
      kind: 'abandon',
      host: frameworks[0] as string,
      ms: 0,
    });
  }
  return faults;
}

/** How often what goes wrong, beside each other. */
const likelihoods: readonly (readonly [FaultKind, number])[] = [
  ['crash', 16],
  ['crash_leader', 6],
  ['crash_unread_leader', 5],
  ['pause', 6],
  ['pause_leader', 3],
  ['oversleep_leader', 3],
  ['stop_leader', 4],
  ['partition', 6],
  ['partition_in', 4],
  ['partition_out', 4],
  ['partition_leader', 4],
  ['disconnect', 8],
  ['loss', 8],
  ['duplication', 4],
  ['delay', 6],
  ['stall', 6],
  ['lost_answers', 6],
  ['lagging_readers', 3],
  ['slow_tail', 5],
  ['crash_writing', 5],
  ['crash_starting', 3],
  ['reboot', 6],
  ['slow_disk', 4],
  ['full_disk', 5],
  ['lose_container', 3],
  ['damage', 2],
  ['twin', 3],
];

function draw(
  hosts: { agents: string[]; frameworks: string[]; masters: string[]; registries: string[]; anyone: string[] },
  dice: Dice,
): Omit<Fault, 'at'> {
  const kind = drawKind(dice);
  const ms = (low: number, high: number): number => Math.round(dice.between(low, high));
  switch (kind) {
    case 'crash_leader':
    case 'crash_unread_leader':
    case 'stop_leader':
      return { kind, ms: ms(300, 20_000) };
    case 'pause_leader':
      return { kind, ms: ms(200, 40_000) };
    case 'oversleep_leader':
      return { kind, ms: ms(300, 1_500) };
    case 'partition_leader':
      return { kind, ms: ms(500, 30_000) };
    case 'stall':
      return { kind, ms: ms(4_000, 9_000) };
    case 'lost_answers':
    case 'lagging_readers':
      return { kind, ms: ms(5_000, 20_000) };
    case 'slow_tail':
      return { kind, host: dice.pick(hosts.masters), ms: ms(3_000, 30_000) };
    case 'crash_writing':
    case 'crash_starting':
    case 'reboot':
    case 'slow_disk':
    case 'full_disk':
    case 'lose_container':
      return { kind, host: dice.pick(hosts.agents), ms: ms(500, 40_000) };
    case 'damage':
      return { kind, host: dice.pick(hosts.registries), ms: 0 };
    case 'twin':
      return { kind, host: dice.pick(hosts.frameworks), ms: ms(500, 10_000) };
    case 'crash':
      return { kind, host: dice.pick(hosts.anyone), ms: dice.chance(0.1) ? ms(20_000, 60_000) : ms(300, 8_000) };
    default:
      return { kind, host: dice.pick(hosts.anyone), ms: dice.chance(0.2) ? ms(10_000, 45_000) : ms(200, 8_000) };
  }
}

function drawKind(dice: Dice): FaultKind {
  let left = dice.below(likelihoods.reduce((sum, [, weight]) => sum + weight, 0));
  for (const [kind, weight] of likelihoods) {
    if (left < weight) return kind;
    left -= weight;
  }
  throw new Error('the likelihoods add up to less than their sum');
}
