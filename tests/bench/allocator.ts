// The allocator's core alone: what it takes to digest the books of a cluster and to decide. No bus, no leader. Times are
// processor times of its one thread, so that they hold on a busy machine; but for those of single changes, which are too
// short for that clock.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Decision, initialState, type State, step } from '@mesobus/allocator/core';
import { decode, encode, mesobus } from '@mesobus/protos';
import { toWire } from '@mesobus/sdk/resources';
import { type Cluster, type ClusterShape, createCluster, overdueFramework } from './allocator-shapes.ts';
import { percentile, rounded } from './percentiles.ts';

export { shapes } from './allocator-shapes.ts';

const itemsPerBatch = 500;
const singleChanges = 1_000;
const fullRounds = 5;
/** As in Mesos' own benchmarks. */
const curveAgents = [1_000, 5_000, 10_000, 20_000, 30_000, 50_000];
const curveFrameworks = [1, 50, 100, 200, 500, 1_000, 3_000, 6_000];
const foreverMs = 3.6e9;
/** Frameworks that are overdue at once, and how long that takes. */
const overdueFrameworks = 500;
const boundMs = 2_000;
const intervalMs = 1_000;

export interface AllocatorBenchOptions {
  readonly agents: number;
  readonly frameworks: number;
  readonly shape: ClusterShape;
  readonly curve: boolean;
}

export function benchAllocator({ agents, frameworks, shape, curve }: AllocatorBenchOptions): unknown {
  if (!curve) return measure(shape, agents, frameworks);
  const rows = curveAgents.flatMap((size) => curveFrameworks.map((count) => curveRow(shape, size, count)));
  return { bench: 'allocator', shape, rows };
}

function measure(shape: ClusterShape, agents: number, frameworks: number): unknown {
  if (shape === 'overdue') return measureSearches(agents, frameworks);
  const bytesPerAgent = measureMemory(shape, agents, frameworks);
  const load = loadTimed(shape, agents, frameworks);
  const rounds =
    shape === 'decline'
      ? declineRounds(load.bench)
      : shape === 'suppress'
        ? suppressRounds(load.bench)
        : repeatRounds(load.bench);
  const { bench } = loadTimed(shape, agents, frameworks);
  const changes = bench.changeOneByOne(Math.min(singleChanges, agents));
  return {
    bench: 'allocator',
    shape,
    agents,
    frameworks,
    ...(shape === 'add' && { add_agents_ms: rounded(load.ms) }),
    full_round_ms: { p50: rounded(percentile(rounds.ms, 0.5)), max: rounded(Math.max(...rounds.ms)) },
    single_change_ms: { p50: rounded(percentile(changes, 0.5), 3), p99: rounded(percentile(changes, 0.99), 3) },
    allocations_per_second: rounded(rounds.allocations / (rounds.allocatingMs / 1_000), 0),
    bytes_per_agent: rounded(bytesPerAgent, 0),
  };
}

/** What it takes to seek, for hundreds at once, which offers are to be taken back: the first time, and when that helps no more. */
function measureSearches(agents: number, frameworks: number): unknown {
  const { bench } = loadTimed('overdue', agents, frameworks);
  bench.feed(Array.from({ length: overdueFrameworks }, (_, i) => overdueFramework(i)));
  const searches = Array.from({ length: 1 + fullRounds }, (_, i) => bench.search(i === 0 ? boundMs : intervalMs));
  const [first, ...later] = searches.map((rounds) => rounds.reduce((a, b) => a + b, 0));
  return {
    bench: 'allocator',
    shape: 'overdue',
    agents,
    frameworks,
    overdue: overdueFrameworks,
    first_search_ms: rounded(first ?? 0),
    later_search_ms: rounded(percentile(later, 0.5)),
    longest_round_ms: rounded(Math.max(...searches.flat())),
  };
}

function curveRow(shape: ClusterShape, agents: number, frameworks: number): unknown {
  const { bench, ms } = loadTimed(shape, agents, frameworks);
  const rounds = repeatRounds(bench);
  return {
    agents,
    frameworks,
    add_agents_ms: rounded(ms),
    full_round_ms: rounded(percentile(rounds.ms, 0.5)),
    us_per_allocation: rounded((rounds.allocatingMs * 1_000) / rounds.allocations),
  };
}

/** Adds the agents, allocating after each batch. */
function loadTimed(shape: ClusterShape, agents: number, frameworks: number): { bench: Bench; ms: number } {
  const bench = new Bench(createCluster(shape, agents, frameworks));
  bench.begin();
  let ms = 0;
  for (const batch of bench.agentBatches()) ms += bench.feed(batch) + bench.roundsUntilQuiet();
  return { bench, ms };
}

/** Heap and array buffers that the books of an agent take, with what is offered on it. */
function measureMemory(shape: ClusterShape, agents: number, frameworks: number): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  loadTimed(shape, Math.min(agents, 2_000), frameworks); // the code that is compiled meanwhile is no part of the books
  const bench = new Bench(createCluster(shape, agents, frameworks));
  bench.begin();
  const before = used();
  for (const batch of bench.agentBatches()) {
    bench.feed(batch);
    bench.roundsUntilQuiet();
  }
  bench.decisions.length = 0;
  const bytes = used() - before;
  bench.feed([]);
  return bytes / agents;
}

interface Rounds {
  /** Of each full round. */
  readonly ms: number[];
  /** In those rounds, or in others that gave something, and what they took. */
  allocations: number;
  allocatingMs: number;
}

/** Everything that is free is given again and again: a new appointment takes back what was decided. */
function repeatRounds(bench: Bench): Rounds {
  const rounds: Rounds = { ms: [], allocations: 0, allocatingMs: 0 };
  for (let i = 0; i < fullRounds; i += 1) {
    bench.appointAnew();
    const ms = bench.roundsUntilQuiet();
    rounds.ms.push(ms);
    rounds.allocations += bench.decisions.length;
    rounds.allocatingMs += ms;
  }
  return rounds;
}

/** Everyone declines everything for ever; when nobody is left, rounds only look at filters. Those are the full rounds. */
function declineRounds(bench: Bench): Rounds {
  const rounds: Rounds = { ms: [], allocations: 0, allocatingMs: 0 };
  bench.declineAll(foreverMs);
  for (let given = 1; given > 0; ) {
    bench.considerAll();
    rounds.allocatingMs += bench.roundsUntilQuiet();
    given = bench.decisions.length;
    rounds.allocations += given;
    bench.declineAll(foreverMs);
  }
  for (let i = 0; i < fullRounds; i += 1) {
    bench.considerAll();
    rounds.ms.push(bench.roundsUntilQuiet());
  }
  return rounds;
}

/** More and more frameworks suppress offers, up to 99 of 100; the others decline without a filter. */
function suppressRounds(bench: Bench): Rounds {
  const rounds: Rounds = { ms: [], allocations: 0, allocatingMs: 0 };
  bench.declineAll(0);
  for (const percent of [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99]) {
    bench.suppress(percent);
    bench.considerAll();
    const ms = bench.roundsUntilQuiet();
    rounds.ms.push(ms);
    rounds.allocations += bench.decisions.length;
    rounds.allocatingMs += ms;
    bench.declineAll(0);
  }
  return rounds;
}

type Item = mesobus.v1.FeedItem.$Properties;

/** A leader that says what the benchmark wants. */
class Bench {
  readonly state: State = initialState('al1', 1);
  readonly cluster: Cluster;
  decisions: Decision[] = [];
  #at = 0;
  #appointment = 1;
  #seen = 0;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  begin(): void {
    this.feed([...this.cluster.roles, ...this.cluster.frameworks], { snapshotBegins: true, snapshotEnds: true });
  }

  *agentBatches(): Iterable<Item[]> {
    const { agents, agentItem } = this.cluster;
    for (let from = 0; from < agents; from += itemsPerBatch) {
      const count = Math.min(itemsPerBatch, agents - from);
      yield Array.from({ length: count }, (_, i) => agentItem(from + i));
    }
  }

  /** @returns what digesting took, in ms, without decoding */
  feed(items: Item[], extra: mesobus.v1.FeedBatch.$Properties = {}): number {
    const batch = this.#travelled(items, extra);
    return cpuMs(() => step(this.state, this.#at, { kind: 'feed', batch }));
  }

  /** As it comes from the bus: nothing in it is shared. */
  #travelled(items: Item[], extra: mesobus.v1.FeedBatch.$Properties = {}): mesobus.v1.FeedBatch {
    const common = { appointment: this.#appointment, appointedAllocatorId: 'al1', allocationsSeen: this.#seen };
    return decode(mesobus.v1.FeedBatch, encode(mesobus.v1.FeedBatch, { ...common, items, ...extra }));
  }

  /** @returns what all of it took, in ms */
  roundsUntilQuiet(): number {
    this.decisions = [];
    let ms = 0;
    for (let wanted = true; wanted; ) {
      wanted = false;
      ms += cpuMs(() => {
        for (const effect of step(this.state, this.#at, { kind: 'round' })) {
          if (effect.kind === 'allocated') this.decisions.push(...effect.decisions);
          if (effect.kind === 'round_wanted') wanted = true;
        }
      });
    }
    return ms;
  }

  /** @returns what each round took, in ms, until nothing is left to do at the time */
  search(afterMs: number): number[] {
    this.#at += afterMs;
    const rounds: number[] = [];
    for (let atMs = this.#at; atMs <= this.#at; ) {
      atMs = Number.POSITIVE_INFINITY;
      rounds.push(
        cpuMs(() => {
          for (const effect of step(this.state, this.#at, { kind: 'round' }))
            if (effect.kind === 'wake') atMs = effect.atMs;
        }),
      );
    }
    return rounds;
  }

  appointAnew(): void {
    this.#appointment += 1;
    this.#seen = 0;
    this.feed([]);
  }

  /** Every agent is looked at in the next round. */
  considerAll(): void {
    this.feed([{ role: { role: '*', weight: 1 } }]);
  }

  /** Everything decided comes back. */
  declineAll(refuseMs: number): void {
    const items = this.decisions.flatMap(({ agentId, frameworkId, role, resources }): Item[] => {
      const filter = { agentId, frameworkId, role, resources: toWire(resources), refuseMs };
      return refuseMs > 0 ? [{ filter }] : [];
    });
    this.#seen = Math.max(this.#seen, ...this.decisions.map(({ number }) => number));
    this.decisions = [];
    this.feed(items);
  }

  suppress(percent: number): void {
    const { frameworks } = this.cluster;
    const suppressed = Math.floor((frameworks.length * percent) / 100);
    this.feed(
      frameworks.slice(0, suppressed).map(({ framework }) => ({
        framework: { ...framework, suppressedRoles: framework?.roles ?? [] },
      })),
    );
  }

  /** Everything is offered; one agent after the other gets something back, which is offered again. */
  changeOneByOne(count: number): number[] {
    const times: number[] = [];
    for (let i = 0; i < count; i += 1) {
      this.#at += 1;
      const index = Math.floor((i * this.cluster.agents) / count);
      const batch = this.#travelled([this.cluster.freedAgentItem(index)]);
      const before = performance.now();
      step(this.state, this.#at, { kind: 'feed', batch });
      const effects = step(this.state, this.#at, { kind: 'round' });
      times.push(performance.now() - before);
      if (!effects.some(({ kind }) => kind === 'allocated')) throw new Error('what was freed was not offered');
    }
    return times;
  }
}

function cpuMs(work: () => void): number {
  const before = process.threadCpuUsage();
  work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1_000;
}
