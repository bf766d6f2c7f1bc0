// A leader whose books change in every way that a leader's books do, with the allocator and its plain double beside it.
import assert from 'node:assert/strict';
import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import {
  add,
  contains,
  equals,
  formatResources,
  nonRevocable,
  noResources,
  parseResources,
  pushReservation,
  type Resources,
  resources,
  resourcesOf,
  revocable,
  select,
  toRevocable,
  toUnreserved,
  toWire,
  trySubtract,
} from '@mesobus/sdk/resources';
import { type Decision, defaultSettings, initialState, type Settings, type State, step } from '../../src/core/index.ts';
import { createRandom, type Random } from '../../src/core/random.ts';
import { PlainBooks, type PlainDecision, type PlainReclaim } from './plain-books.ts';
import { PlainReclaiming } from './plain-reclaiming.ts';
import { PlainRound } from './plain-round.ts';

type Item = mesobus.v1.FeedItem.$Properties;
const { OFFER, RECLAIM } = mesobus.v1.Allocation.Kind;

interface Held {
  readonly frameworkId: string;
  readonly role: string;
  allocated: Resources;
  offered: Resources;
  /** Of what is allocated the tasks that may be asked back. */
  tasks?: WorldTask[] | undefined;
}

export interface WorldTask {
  readonly resources: Resources;
  readonly launchedAtMs: number;
}

/** Tasks that are asked back for somebody, as long as they run and a little longer. */
interface WorldReclaim {
  readonly frameworkId: string;
  readonly role: string;
  victims: readonly { readonly held: Held; readonly task: WorldTask }[];
}

export interface WorldAgent {
  book: mesobus.v1.AgentBook.$Properties;
  /** Without what is revocable. */
  total: Resources;
  /** Revocable cpus. */
  estimate: Resources;
  held: Held[];
  reclaim?: WorldReclaim | undefined;
}

/** As the leader has it: revocable as much as is estimated, or as is allocated if that is more. */
export function totalOf({ total, estimate, held }: Omit<WorldAgent, 'book'>): Resources {
  const allocated = held.map((one) => revocable(one.allocated)).reduce(add, noResources);
  return add(total, contains(estimate, allocated) ? estimate : allocated);
}

/** Dice that remember what they threw. */
class RecordedDice implements Random {
  readonly #dice = createRandom(11);
  thrown: number[] = [];

  below(bound: number): number {
    const value = this.#dice.below(bound);
    this.thrown.push(value);
    return value;
  }
}

export class World {
  readonly state: State;
  readonly plain: PlainBooks = new PlainBooks();
  readonly agents: Map<string, WorldAgent> = new Map();
  readonly frameworks: Map<string, mesobus.v1.FrameworkBook.$Properties> = new Map();
  readonly roles: Map<string, mesobus.v1.RoleBook.$Properties> = new Map();
  cluster: Item = { cluster: {} };
  /** Decided, and on their way to the leader. */
  sent: Decision[] = [];
  readonly rescinded: Decision[] = [];
  at = 0;
  /** When the allocator wants the next round, if nothing changes before. */
  wakeAtMs: number = Number.POSITIVE_INFINITY;
  #appointment = 1;
  #seen = 0;
  readonly #dice = new RecordedDice();
  /** Agents drawn at once, and how many dice had been thrown then. */
  readonly #drawn: { agents: string[]; thrown: number }[] = [];
  readonly #compares: boolean;
  /** Of the plain double. */
  readonly #settings: Settings;

  /**
   * @param compares - whether the plain double decides too, which takes its time
   * @param planted - what the allocator does otherwise than its double
   */
  constructor(settings: Partial<Settings> = {}, compares = true, planted: Partial<Settings> = {}) {
    this.#compares = compares;
    this.#settings = { ...defaultSettings, ...settings };
    this.state = Object.assign(initialState('al1', 7, { ...settings, ...planted }), { random: this.#dice });
    const { candidates } = this.state;
    const draw = candidates.draw.bind(candidates);
    candidates.draw = (count, random) => {
      const agents = draw(count, random);
      this.#drawn.push({ agents: agents.map(({ id }) => id), thrown: this.#dice.thrown.length });
      return agents;
    };
    this.snapshot();
  }

  feed(items: Item[], extra: mesobus.v1.FeedBatch.$Properties = {}): void {
    const common = { appointment: this.#appointment, appointedAllocatorId: 'al1', allocationsSeen: this.#seen };
    const bytes = encode(mesobus.v1.FeedBatch, { ...common, items, ...extra });
    step(this.state, this.at, { kind: 'feed', batch: decode(mesobus.v1.FeedBatch, bytes) });
    if (this.#compares) this.plain.feed(this.at, decode(mesobus.v1.FeedBatch, bytes));
  }

  snapshot(): void {
    this.#seen = 0;
    this.sent = [];
    const agents = [...this.agents.keys()].map((id) => this.agentItem(id));
    const frameworks = [...this.frameworks.values()].map((framework): Item => ({ framework }));
    const roles = [...this.roles.values()].map((role): Item => ({ role }));
    this.feed([this.cluster, ...roles, ...frameworks, ...agents], { snapshotBegins: true, snapshotEnds: true });
  }

  gap(): void {
    step(this.state, this.at, { kind: 'gap' });
    assert.deepEqual(this.#step(), [], 'nothing is decided after a gap');
    this.snapshot();
  }

  appointAnew(): void {
    this.#appointment += 1;
    this.#seen = 0;
    this.sent = [];
    this.feed([]);
  }

  #step(): readonly Decision[] {
    const effects = step(this.state, this.at, { kind: 'round' });
    this.wakeAtMs = Number.POSITIVE_INFINITY;
    for (const effect of effects) if (effect.kind === 'wake') this.wakeAtMs = effect.atMs;
    return effects.flatMap((effect) => (effect.kind === 'allocated' ? effect.decisions : []));
  }

  /** A round of both, which must decide the same. */
  round(): readonly Decision[] {
    this.#dice.thrown = [];
    this.#drawn.length = 0;
    const decisions = this.#step();
    this.sent.push(...decisions);
    if (!this.#compares) return decisions;
    // The plain double visits the same agents, and throws the same dice after those that drew the agents.
    const expected = this.#drawn.flatMap(({ agents, thrown }) => {
      const dice = this.#dice.thrown.slice(thrown);
      const replayed: Random = { below: () => dice.shift() ?? assert.fail('the plain double throws more dice') };
      return new PlainRound(this.plain, this.#settings, replayed).run(this.at, agents);
    });
    const offers = decisions.filter(({ kind }) => kind === OFFER);
    assert.deepEqual(offers.map(inWords), expected.map(inWords));
    const reclaims = new PlainReclaiming(this.plain, this.#settings).run(this.at);
    assert.deepEqual(
      decisions.filter(({ kind }) => kind === RECLAIM).map(reclaimInWords),
      reclaims.map(reclaimInWords),
    );
    return decisions;
  }

  /** What the plain double would still offer, of any agent to anyone. */
  leftOver(): string[] {
    const round = new PlainRound(this.plain, this.#settings, this.#dice);
    const left: string[] = [];
    for (const agentId of this.plain.agents.keys()) {
      for (const { frameworkId, roles, active, suppressedRoles } of this.plain.frameworks.values()) {
        for (const role of active ? roles.filter((one) => !suppressedRoles.includes(one)) : []) {
          for (const stage of ['guarantee', 'share'] as const) {
            const resources = round.offerable(this.at, agentId, frameworkId, role, stage);
            if (resources !== undefined)
              left.push(`${agentId} to ${frameworkId} as ${role}: ${formatResources(resources)}`);
          }
        }
      }
    }
    return left;
  }

  /** Rounds until nothing more changes by itself but by time, and the time that all agents are looked at again. */
  settle(): void {
    for (let i = 0; i < 3; i += 1) {
      this.at += this.state.settings.allocationIntervalMs;
      for (let decided = true; decided; ) decided = this.round().length > 0;
    }
  }

  agentItem(id: string): Item {
    const { book, held, reclaim } = this.agent(id);
    const holdings = held
      .map(({ allocated, offered, ...whose }) => ({ ...whose, resources: add(allocated, offered), offered }))
      .filter(({ resources }) => resources.length > 0)
      .map(({ resources, offered, tasks, ...whose }) => ({
        ...whose,
        resources: toWire(resources),
        offered: toWire(offered),
        reclaimable: preferred(tasks ?? []).map((task) => ({ ...task, resources: toWire(task.resources) })),
      }));
    const reclaiming = reclaim && {
      frameworkId: reclaim.frameworkId,
      role: reclaim.role,
      victims: stillHeld(this.agent(id), reclaim).map(({ held: { frameworkId, role }, task }) => {
        return { frameworkId, role, resources: toWire(task.resources) };
      }),
    };
    const total = toWire(totalOf(this.agent(id)));
    return { agent: { agentId: id, hostname: id, ...book, total, holdings, ...(reclaiming && { reclaiming }) } };
  }

  agent(id: string): WorldAgent {
    const agent = this.agents.get(id);
    assert.ok(agent !== undefined, `no agent ${id}`);
    return agent;
  }

  putAgent(id: string, change: Partial<WorldAgent> & { book?: mesobus.v1.AgentBook.$Properties }): void {
    const before = this.agents.get(id) ?? {
      book: { active: true },
      total: noResources,
      estimate: noResources,
      held: [],
    };
    this.agents.set(id, { ...before, ...change, book: { ...before.book, ...change.book } });
    this.feed([this.agentItem(id)]);
  }

  /** Agents of these resources, `a1` and on, which can do everything. */
  addAgents(...totals: string[]): void {
    for (const total of totals) {
      const capabilities = [agentCan.MULTI_ROLE, agentCan.HIERARCHICAL_ROLE].map((type) => ({ type }));
      this.putAgent(`a${this.agents.size + 1}`, { total: parseResources(total), book: { active: true, capabilities } });
    }
  }

  /** Rounds, each of them judged, until nothing more is decided. @returns what was offered */
  offerAll(): Decision[] {
    const offers: Decision[] = [];
    for (let decisions = this.round(); decisions.length > 0; decisions = this.round()) {
      offers.push(...decisions.filter(({ kind }) => kind === OFFER));
      this.judge(this.sent.length);
    }
    return offers;
  }

  /** An agent estimates something else to be idle: offers of what is not there any more are taken back. */
  estimate(id: string, cpus: number): void {
    const agent = this.agent(id);
    agent.estimate = toRevocable(resources({ cpus }));
    let left = trySubtract(
      revocable(totalOf(agent)),
      agent.held.map(({ allocated }) => revocable(allocated)).reduce(add, noResources),
    );
    for (const held of agent.held) {
      const rest: Resources | undefined = left && trySubtract(left, revocable(held.offered));
      if (rest === undefined) held.offered = noResources;
      else left = rest;
    }
    this.feed([this.agentItem(id)]);
  }

  removeAgent(id: string): void {
    this.agents.delete(id);
    this.sent = this.sent.filter(({ agentId }) => agentId !== id);
    this.feed([{ agentRemoved: id }]);
  }

  putFramework(id: string, change: mesobus.v1.FrameworkBook.$Properties): void {
    const before = this.frameworks.get(id) ?? { frameworkId: id, active: true, roles: [] };
    this.frameworks.set(id, { ...before, ...change });
    this.feed([{ framework: this.frameworks.get(id) ?? {} }]);
  }

  removeFramework(id: string): void {
    this.frameworks.delete(id);
    const changed: Item[] = [];
    for (const [agentId, agent] of this.agents) {
      const kept = agent.held.filter(({ frameworkId }) => frameworkId !== id);
      if (kept.length === agent.held.length) continue;
      agent.held = kept;
      changed.push(this.agentItem(agentId));
    }
    this.feed([...changed, { frameworkRemoved: id }]);
  }

  putRole(role: string, change: mesobus.v1.RoleBook.$Properties): void {
    const before = this.roles.get(role) ?? { role, weight: 0 };
    this.roles.set(role, { ...before, ...change });
    this.feed([{ role: this.roles.get(role) ?? {} }]);
  }

  quota(role: string, guarantees: Record<string, number>, limits: Record<string, number>): void {
    const read = (amounts: Record<string, number>) =>
      Object.fromEntries(Object.entries(amounts).map(([name, value]) => [name, { value }]));
    this.putRole(role, { quota: { role, guarantees: read(guarantees), limits: read(limits) } });
  }

  /** The leader judges all decisions up to one: they become offers, or are refused. */
  judge(count: number, accepts = true): void {
    for (const decision of this.sent.splice(0, count)) {
      this.#seen = decision.number;
      const { agentId, frameworkId, role, resources, kind } = decision;
      if (kind === RECLAIM) this.#askBack(decision, accepts);
      else if (kind !== OFFER) this.#takeBack(agentId, frameworkId, role);
      else if (accepts && this.#isFree(agentId, resources))
        this.#hold(agentId, frameworkId, role).offered = add(this.#hold(agentId, frameworkId, role).offered, resources);
      if (this.agents.has(agentId)) this.feed([this.agentItem(agentId)]);
      else this.feed([]);
    }
  }

  #isFree(agentId: string, resources: Resources): boolean {
    const agent = this.agents.get(agentId);
    if (agent === undefined) return false;
    let left: Resources | undefined = totalOf(agent);
    const unshared = (list: Resources): Resources => select(list, ({ shared }) => shared === undefined);
    for (const { allocated, offered } of agent.held)
      left = left && trySubtract(left, unshared(add(allocated, offered)));
    return left !== undefined && contains(left, resources);
  }

  #hold(agentId: string, frameworkId: string, role: string): Held {
    const { held } = this.agent(agentId);
    const known = held.find((one) => one.frameworkId === frameworkId && one.role === role);
    if (known !== undefined) return known;
    const fresh: Held = { frameworkId, role, allocated: noResources, offered: noResources, tasks: [] };
    held.push(fresh);
    return fresh;
  }

  #takeBack(agentId: string, frameworkId: string, role: string): void {
    if (this.agents.has(agentId)) this.#hold(agentId, frameworkId, role).offered = noResources;
  }

  /** As the master: the tasks that hold as much, none that is not needed; all of them or none. */
  #askBack({ agentId, frameworkId, role, victims }: Decision, accepts: boolean): void {
    const agent = this.agents.get(agentId);
    if (agent === undefined || !accepts || agent.reclaim !== undefined) return;
    const taken: { held: Held; task: WorldTask }[] = [];
    for (const victim of victims) {
      const held = agent.held.find((one) => one.frameworkId === victim.frameworkId && one.role === victim.role);
      const chosen = held && chooseTasks(held.tasks ?? [], victim.resources);
      if (held === undefined || chosen === undefined) return;
      taken.push(...chosen.map((task) => ({ held, task })));
    }
    for (const { held, task } of taken) held.tasks = held.tasks?.filter((other) => other !== task);
    agent.reclaim = { frameworkId, role, victims: taken };
  }

  /**
   * Tasks that may be asked back are launched on an offer, as many as it holds and at most so many; the rest is declined.
   *
   * @param used - of each; all of the offer, unless given
   * @returns how many
   */
  startTasks(agentId: string, which: number, most: number, used?: string): number {
    const held = this.offerOn(agentId, which);
    if (held === undefined) return 0;
    const takes = used === undefined ? held.offered : parseResources(used);
    let count = 0;
    for (let left = held.offered; count < most && contains(left, takes); count += 1) {
      left = trySubtract(left, takes) ?? noResources;
      held.allocated = add(held.allocated, takes);
      held.tasks = [...(held.tasks ?? []), { resources: takes, launchedAtMs: this.at + count }];
      if (used === undefined) break;
    }
    held.offered = noResources;
    this.feed([this.agentItem(agentId)]);
    return count;
  }

  /** What is asked back on an agent ends; asked again, it is no matter any more. @returns whether there was anything */
  endReclaim(agentId: string): boolean {
    const agent = this.agents.get(agentId);
    if (agent?.reclaim === undefined) return false;
    const { victims } = agent.reclaim;
    for (const { held, task } of victims)
      held.allocated = trySubtract(held.allocated, task.resources) ?? held.allocated;
    if (victims.length > 0) agent.reclaim.victims = [];
    else agent.reclaim = undefined;
    this.feed([this.agentItem(agentId)]);
    return true;
  }

  /** Tasks are asked back for what is lacking for so long; 0: never. A setting of the leader, told with its snapshot. */
  reclaimAfter(ms: number): void {
    this.cluster = { cluster: { ...this.cluster.cluster, reclaimAfterMs: ms } };
    this.feed([this.cluster]);
  }

  /** Somebody's offers on an agent; undefined if nobody has any there. */
  offerOn(agentId: string, which: number): Held | undefined {
    const open = (this.agents.get(agentId)?.held ?? []).filter(({ offered }) => offered.length > 0);
    return open[which % Math.max(1, open.length)];
  }

  /** An offer is answered: so much of it is used, and the rest is declined for a while. */
  answer(agentId: string, which: number, used: string, refuseMs: number): void {
    const held = this.offerOn(agentId, which);
    if (held === undefined) return;
    const { frameworkId, role, offered } = held;
    const takes = parseResources(used);
    const rest = trySubtract(offered, takes);
    held.offered = noResources;
    if (rest !== undefined) held.allocated = add(held.allocated, takes);
    const filter = { frameworkId, role, agentId, resources: toWire(rest ?? offered), refuseMs };
    this.feed([{ filter }, this.agentItem(agentId)]);
  }

  /** All that is used there by somebody is free again. */
  release(agentId: string, which: number): void {
    const agent = this.agents.get(agentId);
    const used = (agent?.held ?? []).filter(({ allocated }) => allocated.length > 0);
    const held = used[which % Math.max(1, used.length)];
    if (held === undefined) return;
    held.allocated = noResources;
    held.tasks = [];
    const reclaim = agent?.reclaim;
    if (reclaim !== undefined) reclaim.victims = reclaim.victims.filter((one) => one.held !== held);
    this.feed([this.agentItem(agentId)]);
  }

  /** What is free and unreserved on the agent is reserved, or what is free and reserved is not any more. */
  reserve(agentId: string, role: string | undefined): void {
    const agent = this.agents.get(agentId);
    if (agent === undefined) return;
    const held = agent.held.map(({ allocated, offered }) => add(allocated, offered)).reduce(add, noResources);
    const rest = trySubtract(totalOf(agent), held);
    if (rest === undefined) return;
    const picks = select(
      rest,
      ({ name, kind, reservations, revocable, disk }) =>
        name === 'cpus' &&
        kind === 'scalar' &&
        !revocable &&
        !disk &&
        (reservations === undefined) === (role !== undefined),
    );
    const changed = role === undefined ? toUnreserved(picks) : pushReservation(picks, { type: 'dynamic', role });
    const left = trySubtract(agent.total, picks) as Resources;
    this.putAgent(agentId, { total: add(left, changed) });
  }
}

export const volumeOf = (role: string, shared: boolean): Resources =>
  resourcesOf([
    {
      name: 'disk',
      kind: 'scalar',
      amount: 100_000,
      reservations: [{ type: 'dynamic', role }],
      disk: { persistence: { id: 'v1' }, volume: { mode: 'read-write', containerPath: 'data' } },
      ...(shared && { shared: true }),
    },
  ]);

/** Revocable ones first, then the youngest. */
function preferred(tasks: readonly WorldTask[]): WorldTask[] {
  const isLent = ({ resources: list }: WorldTask): number => Number(revocable(list).length > 0);
  return [...tasks].sort((a, b) => isLent(b) - isLent(a) || b.launchedAtMs - a.launchedAtMs);
}

/** Those that did not end in another way. */
const stillHeld = ({ held: all }: WorldAgent, { victims }: WorldReclaim): WorldReclaim['victims'] =>
  victims.filter(({ held, task }) => all.includes(held) && contains(held.allocated, task.resources));

function chooseTasks(tasks: readonly WorldTask[], wanted: Resources): WorldTask[] | undefined {
  const holds = (list: readonly WorldTask[]): boolean =>
    contains(list.map((one) => one.resources).reduce(add, noResources), wanted);
  let chosen: WorldTask[] = [];
  for (const task of preferred(tasks)) if (!holds(chosen)) chosen = [...chosen, task];
  if (!holds(chosen)) return undefined;
  for (const task of [...chosen].reverse()) {
    const fewer = chosen.filter((other) => other !== task);
    if (holds(fewer)) chosen = fewer;
  }
  return chosen;
}

const reclaimInWords = (one: Decision | PlainReclaim): string => {
  const { number, agentId, frameworkId, role, victims } = one;
  const taken = victims.map(
    (victim) => `${victim.frameworkId} as ${victim.role}: ${formatResources(victim.resources)}`,
  );
  return `${number}: ${agentId} for ${frameworkId} as ${role}: ${taken.join(', ')}`;
};

const inWords = ({ number, agentId, frameworkId, role, resources }: Decision | PlainDecision): string =>
  `${number}: ${agentId} to ${frameworkId} as ${role}: ${formatResources(resources)}`;

/** What is in the world on an agent, if the books say the same of it. */
export function checkAgent(world: World, id: string, available: Resources): void {
  const { held } = world.agent(id);
  const open = world.sent.filter(({ agentId, kind }) => agentId === id && kind === OFFER);
  const taken = [
    ...held.map(({ allocated, offered }) => add(allocated, offered)),
    ...open.map(({ resources }) => resources),
  ];
  const unshared = (list: Resources): Resources => select(list, ({ shared }) => shared === undefined);
  let left: Resources | undefined = totalOf(world.agent(id));
  for (const resources of taken) left = left && trySubtract(left, unshared(resources));
  assert.ok(equals(available, left ?? noResources), `of ${id} ${formatResources(available)} is taken for available`);
}

/** However much less is lent than tasks hold: no more of it is offered, and what is not revocable is as free as before. */
export function checkLent(world: World, id: string, available: Resources): void {
  const { estimate, total, held } = world.agent(id);
  const open = world.sent.filter(({ agentId, kind }) => agentId === id && kind === OFFER);
  const taken = [
    ...held.flatMap(({ allocated, offered }) => [allocated, offered]),
    ...open.map((one) => one.resources),
  ];
  const sumOf = (pick: (list: Resources) => Resources): Resources => taken.map(pick).reduce(add, noResources);
  const lent = sumOf(revocable);
  assert.ok(
    revocable(available).length === 0 || contains(estimate, add(lent, revocable(available))),
    `more is lent of ${id} than is idle`,
  );
  const unshared = (list: Resources): Resources => select(nonRevocable(list), ({ shared }) => shared === undefined);
  const left = trySubtract(total, sumOf(unshared));
  const isOversold = open.some(({ resources: list }) => revocable(list).length > 0 && !contains(estimate, lent));
  if (left === undefined || isOversold) return; // until the leader has judged
  assert.ok(equals(nonRevocable(available), left), `the estimate of ${id} withholds what is not revocable`);
}

export const frameworkCan: typeof mesos.v1.FrameworkInfo.Capability.Type = mesos.v1.FrameworkInfo.Capability.Type;
export const agentCan: typeof mesos.v1.AgentInfo.Capability.Type = mesos.v1.AgentInfo.Capability.Type;
